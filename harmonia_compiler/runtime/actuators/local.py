"""Target `local`: processes on this machine, looked after by a supervisor of their own.

Everything here runs in the command that a person typed; what lives on is `supervisor.py`. The two
share nothing but the files under `DIR/run`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status, Watch
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S, HELD_BY_ANOTHER, ORPHAN_GRACE_S
from harmonia_compiler.runtime.actuators.supervision.orphans import left_behind
from harmonia_compiler.runtime.actuators.supervision.preflight import preflight
from harmonia_compiler.runtime.actuators.supervision.rundir import GATEWAY, SUPERVISOR
from harmonia_compiler.runtime.actuators.supervision.tailing import Tailed, tail
from harmonia_compiler.runtime.bundle import read_local_processes

#: How often files are looked at, in seconds.
_LOOK_EVERY_S = 0.1

#: How long a supervisor has to stop everything: the gateway's grace, the replicas', and some.
_SUPERVISOR_GRACE_S = 3 * GRACE_S

#: How many lines of a log are shown where a start failed.
_SHOWN_LINES = 12


class Local:
    """The actuator of target `local`."""

    def __init__(self) -> None:
        # Supervisors outlive the command that starts them; within it they are to be waited for once they end.
        self._spawned: list[subprocess.Popen[bytes]] = []

    def preflight(self, bundle: Path, *, port: int | None) -> list[Diagnostic]:
        """See `Actuator.preflight`."""
        held = rundir.RunDirectory(bundle.resolve()).is_held()
        return [] if held else preflight(bundle.resolve(), port, os.environ)

    def start(self, bundle: Path, *, port: int | None, timeout_s: float, watch: Watch) -> bool:
        """See `Actuator.start`."""
        bundle = bundle.resolve()
        run = _prepared(bundle)
        if run.is_held():
            self._await_ready(bundle, run, timeout_s, watch, None)
            return False
        supervisor = _spawn(bundle, run, port)
        self._spawned.append(supervisor)
        return self._await_ready(bundle, run, timeout_s, watch, supervisor)

    def status(self, bundle: Path) -> Status:
        """See `Actuator.status`."""
        run = rundir.RunDirectory(bundle.resolve())
        held = run.is_held()
        try:
            state = run.read_state()
        except rundir.Damaged as damaged:
            return Status("starting" if held else "down", notes=(f"{damaged}; `harmoniac down` cleans up",))
        if state is None:
            return Status("starting") if held else Status("down")
        if held:
            return state.status
        if state.status.phase == "failed":
            return Status("down", failure=state.status.failure, notes=("the last start failed",))
        return Status("down", notes=("its supervisor ended without stopping it; `harmoniac down` cleans up",))

    def stop(self, bundle: Path) -> bool:
        """See `Actuator.stop`."""
        bundle = bundle.resolve()
        run = rundir.RunDirectory(bundle)
        if not run.path.is_dir():
            return False
        try:
            return self._stop(bundle, run)
        except OSError as problem:
            raise _unusable(run, problem) from problem

    def _stop(self, bundle: Path, run: rundir.RunDirectory) -> bool:
        known = run.has_state()
        _end_supervisor(run)
        lock = run.lock()
        if lock is None:
            message = f"another command is starting `{bundle.name}` right now"
            raise Rejected([Diagnostic("E0911", message, help="wait for it to end, then ask again")])
        try:
            orphans = left_behind(bundle, run)
            pids.end(orphans, ORPHAN_GRACE_S)
            run.clear()
        finally:
            os.close(lock)
            self._spawned = [supervisor for supervisor in self._spawned if supervisor.poll() is None]
        return known or bool(orphans)

    def log_names(self, bundle: Path) -> list[str]:
        """See `Actuator.log_names`."""
        names = [replica.replica for replica in read_local_processes(bundle).replicas]
        return [*names, GATEWAY, SUPERVISOR]

    def log(self, bundle: Path, names: Sequence[str], *, lines: int, follow: bool) -> Iterator[tuple[str, str]]:
        """See `Actuator.log`."""
        run = rundir.RunDirectory(bundle)
        logs = {name: Tailed(run.log_of(name)) for name in names}
        for name, log in logs.items():
            yield from ((name, line) for line in log.last(lines))
        while follow:
            for name, log in logs.items():
                yield from ((name, line) for line in log.new())
            time.sleep(_LOOK_EVERY_S)

    def _await_ready(
        self,
        bundle: Path,
        run: rundir.RunDirectory,
        timeout_s: float,
        watch: Watch,
        supervisor: "subprocess.Popen[bytes] | None",
    ) -> bool:
        """Until the service is ready; whether it is this command that started it. What failed is stopped again."""
        try:
            return self._await(bundle, run, timeout_s, watch, supervisor)
        except KeyboardInterrupt:
            if supervisor is not None:
                self.stop(bundle)
            raise

    def _await(
        self,
        bundle: Path,
        run: rundir.RunDirectory,
        timeout_s: float,
        watch: Watch,
        supervisor: "subprocess.Popen[bytes] | None",
    ) -> bool:
        until = time.monotonic() + timeout_s
        last: Status | None = None
        while True:
            ended = supervisor is not None and supervisor.poll() is not None
            if ended and supervisor is not None and supervisor.returncode == HELD_BY_ANOTHER:
                supervisor = None
                continue
            last = _status_of(run, supervisor) or last
            if last is not None:
                watch(last)
            if last is not None and last.ready:
                return supervisor is not None
            if ended or (supervisor is None and not run.is_held()):
                raise self._given_up(bundle, run, last)
            if time.monotonic() > until:
                raise self._given_up(bundle, run, last, f"after {timeout_s:g} s in all")
            time.sleep(_LOOK_EVERY_S)

    def _given_up(self, bundle: Path, run: rundir.RunDirectory, last: Status | None, late: str = "") -> NotStarted:
        """Stop what was started, and say what failed with the last lines that it wrote."""
        name, reason = _culprit(last, late)
        said = tail(run.log_of(name), _SHOWN_LINES)
        with contextlib.suppress(Rejected):
            self.stop(bundle)
        return NotStarted(
            Diagnostic(
                "E0909",
                f"`{name}` did not become ready: {reason}",
                help=f"read all that it wrote with `harmoniac logs {bundle.name} {name}`; everything was stopped again",
            ),
            name,
            said,
        )


ACTUATOR = Local()


def _prepared(bundle: Path) -> rundir.RunDirectory:
    run = rundir.RunDirectory(bundle)
    try:
        run.prepare()
    except OSError as problem:
        raise _unusable(run, problem) from problem
    return run


def _unusable(run: rundir.RunDirectory, problem: OSError) -> Rejected:
    message = f"`{run.path}` cannot be written: {problem.strerror}"
    step = "the state and the logs of a running service go there: give it room and write permission"
    return Rejected([Diagnostic("E0910", message, help=step)])


def _spawn(bundle: Path, run: rundir.RunDirectory, port: int | None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-P", "-m", "harmonia_compiler.runtime.actuators.supervisor", str(bundle)]
    with run.log_of(SUPERVISOR).open("wb") as log:
        return subprocess.Popen(
            [*command, *(() if port is None else ("--port", str(port)))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=bundle,
            start_new_session=True,
        )


def _status_of(run: rundir.RunDirectory, supervisor: "subprocess.Popen[bytes] | None") -> Status | None:
    """The state, unless it is still that of an earlier supervisor."""
    with contextlib.suppress(rundir.Damaged):
        state = run.read_state()
        if state is not None and (supervisor is None or state.supervisor.pid == supervisor.pid):
            return state.status
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


def _end_supervisor(run: rundir.RunDirectory) -> None:
    """Ask the supervisor to stop the service, and end it where it does not."""
    holder = run.holder()
    if holder is None:
        with contextlib.suppress(rundir.Damaged):
            state = run.read_state()
            holder = None if state is None else state.supervisor
    if not run.is_locked() or holder is None:
        return
    if pids.is_alive(holder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGTERM)
    until = time.monotonic() + _SUPERVISOR_GRACE_S
    while run.is_locked() and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
    pids.end([holder], 0.0)
