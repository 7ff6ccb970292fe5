"""Why a start was given up, for whoever asked for it."""

import contextlib
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.actuators.supervision.tailing import tail
from harmonia_compiler.runtime.bundle import SUPERVISOR

#: How many lines of a log are shown where a start failed.
SHOWN_LINES = 12


def not_started(
    bundle: Path, run: rundir.RunDirectory, last: Status | None, late: str = "", *, goes_on: bool = False
) -> NotStarted:
    """What failed, with the last lines that it wrote; where another command's start `goes_on`, nothing is stopped."""
    name, reason = _culprit(last, late)
    read = f"read all that it wrote with `harmoniac logs {bundle} {name}`"
    step = f"{read}; what was started is stopped again"
    if goes_on:
        step = f"another `up` started it, and that start goes on: `harmoniac status {bundle}` shows how far it is"
    found = Diagnostic("E0909", f"`{name}` did not become ready: {reason}", help=step)
    return NotStarted(found, name, tail(run.log_of(name), SHOWN_LINES))


def state_by(supervisor: pids.Ident | None, run: rundir.RunDirectory) -> rundir.State | None:
    """What this supervisor says; None while the state is still that of an earlier one."""
    with contextlib.suppress(rundir.Damaged):
        state = run.read_state()
        if state is not None and state.supervisor == supervisor:
            return state
    return None


def _culprit(last: Status | None, late: str) -> tuple[str, str]:
    """The process that keeps the service from being ready, and the reason."""
    if last is not None and last.failure is not None:
        return last.failure.process, last.failure.reason
    if last is not None and late:
        for process in last.processes:
            if process.phase != "ready" and process.waiting_for:
                return process.name, f"{late} it still waits for {process.waiting_for}"
    return SUPERVISOR, f"it did not get that far {late}" if late else "it ended"
