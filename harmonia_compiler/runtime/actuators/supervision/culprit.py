"""Who keeps a service from being ready, by what its keeper says."""

import contextlib

from harmonia_compiler.runtime.actuators.actuator import Status
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.bundle import SUPERVISOR


def state_by(supervisor: pids.Ident | None, run: rundir.RunDirectory) -> rundir.State | None:
    """What this supervisor says, or said last; None while the state is still that of an earlier one."""
    for read in (run.read_state, run.read_last_state):
        with contextlib.suppress(rundir.Damaged):
            state = read()
            if state is not None and state.supervisor == supervisor:
                return state
    return None


def culprit(last: Status | None, late: str = "") -> tuple[str, str]:
    """The process that keeps the service from being ready, and the reason; `late` says how long it was waited for."""
    if last is not None and last.failure is not None:
        return last.failure.process, last.failure.reason
    if last is not None and late and last.is_stale:
        return SUPERVISOR, f"{late} {last.notes[-1]}"
    if last is not None and late:
        waiting = [process for process in last.processes if process.phase != "ready" and process.waiting_for]
        # Who waits for others is not who keeps them waiting.
        for process in sorted(waiting, key=lambda process: process.phase == "waiting"):
            return process.name, f"{late} it still waits for {process.waiting_for}"
    return SUPERVISOR, f"it did not get that far {late}" if late else "it ended"
