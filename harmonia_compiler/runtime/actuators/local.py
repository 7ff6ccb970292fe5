"""Target `local`: processes on this machine, looked after by a supervisor of their own.

Everything here runs in the command that a person typed; what lives on is `supervisor.py`. The two
share nothing but the files under `DIR/run`.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status, Watch
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.actuators.supervision.beside import last_words
from harmonia_compiler.runtime.actuators.supervision.command import basics
from harmonia_compiler.runtime.actuators.supervision.culprit import not_started, state_by
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S, HELD_BY_ANOTHER, ORPHAN_GRACE_S
from harmonia_compiler.runtime.actuators.supervision.keeper import keeper_of, keepers_of
from harmonia_compiler.runtime.actuators.supervision.orphans import left_behind
from harmonia_compiler.runtime.actuators.supervision.preflight import preflight
from harmonia_compiler.runtime.actuators.supervision.replacing import Service
from harmonia_compiler.runtime.actuators.supervision.room import further_here
from harmonia_compiler.runtime.actuators.supervision.scaling import want
from harmonia_compiler.runtime.actuators.supervision.store import expected_of, open_on
from harmonia_compiler.runtime.actuators.supervision.tailing import Tailed
from harmonia_compiler.runtime.bundle import (
    CONTROLLER,
    GATEWAY,
    SUPERVISOR,
    read_local_bundle,
    read_local_processes,
    read_service,
)

#: How often files are looked at, in seconds.
_LOOK_EVERY_S = 0.1

#: How long a supervisor has to stop everything: the gateway's grace, the replicas', and some.
_SUPERVISOR_GRACE_S = 3 * GRACE_S


class Local:
    """The actuator of target `local`."""

    def __init__(self) -> None:
        # Supervisors outlive the command that starts them; within it they are to be waited for once they end.
        self._spawned: list[subprocess.Popen[bytes]] = []

    def preflight(self, bundle: Path, *, port: int | None) -> list[Diagnostic]:
        """See `Actuator.preflight`."""
        bundle = bundle.resolve()
        return [] if _is_kept(bundle, rundir.RunDirectory(bundle)) else preflight(bundle, port, os.environ)

    def start(self, bundle: Path, *, port: int | None, reembed: bool, timeout_s: float, watch: Watch) -> bool:
        """See `Actuator.start`."""
        run, asked = _prepared(bundle.resolve()), rundir.Asked(port, reembed)
        supervisor = None
        if _is_kept(bundle.resolve(), run):
            _check_asked(bundle, run, asked)
        else:
            supervisor = self._spawn(bundle.resolve(), run, asked)
        try:
            _await_ready(bundle, run, timeout_s, watch, supervisor)
        except (NotStarted, KeyboardInterrupt):
            if _is_ours(supervisor):
                # Where somebody else stops it at this moment there is nothing left to do, and nothing to say of it.
                with contextlib.suppress(Rejected):
                    self.stop(bundle)
            raise
        if _is_ours(supervisor):
            return True
        _check_asked(bundle, run, asked)
        return False

    def status(self, bundle: Path) -> Status:
        """See `Actuator.status`."""
        bundle = bundle.resolve()
        run = rundir.RunDirectory(bundle)
        keeper = keeper_of(bundle, run)
        kept = keeper is not None or run.is_held()
        try:
            state = run.read_state()
        except rundir.Damaged as damaged:
            return Status("starting" if kept else "down", notes=(f"{damaged}; `harmoniac down` cleans up",))
        if state is None:
            return Status("starting") if kept else Status("down")
        if kept:
            said = last_words(run.path)
            return (
                msgspec.structs.replace(state.status, said=said) if state.supervisor == keeper else Status("starting")
            )
        if state.status.phase == "failed":
            return Status("down", failure=state.status.failure, notes=("the last start failed",))
        return Status("down", notes=("its supervisor ended without stopping it; `harmoniac down` cleans up",))

    def room(self, bundle: Path) -> Mapping[str, Sequence[str]]:
        """See `Actuator.room`."""
        found = further_here(read_local_bundle(bundle))
        return {engine: [one.replica for one in launches] for engine, launches in found.items()}

    def scale(self, bundle: Path, replicas: Mapping[str, int]) -> None:
        """See `Actuator.scale`."""
        want(rundir.RunDirectory(bundle.resolve()), replicas)

    def replace(
        self, bundle: Path, new: Path, *, share: float, make_room: bool, timeout_s: float, watch: Watch
    ) -> Status | None:
        """See `Replacing.replace`."""
        return Service(bundle).replace(new, share=share, make_room=make_room, timeout_s=timeout_s, watch=watch)

    def promote(self, bundle: Path, *, timeout_s: float, watch: Watch) -> Status:
        """See `Replacing.promote`."""
        return Service(bundle).promote(timeout_s=timeout_s, watch=watch)

    def roll_back(self, bundle: Path, *, timeout_s: float, watch: Watch) -> Status:
        """See `Replacing.roll_back`."""
        return Service(bundle).roll_back(timeout_s=timeout_s, watch=watch)

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
        keepers = keepers_of(bundle, run)
        known = run.has_state() or bool(keepers)
        # Told to end, a supervisor first stops its service; that somebody removed its lock changes nothing.
        pids.end(keepers, _SUPERVISOR_GRACE_S)
        lock = run.lock()
        if lock is None:
            message = f"another command is starting `{bundle.name}` right now"
            raise Rejected([Diagnostic("E0911", message, help="wait for it to end, then ask again")])
        try:
            # Whom it named has ended: nobody may take the name for that of who holds it now.
            os.ftruncate(lock, 0)
            orphans = left_behind(bundle, run)
            pids.end(orphans, ORPHAN_GRACE_S)
            run.clear()
        finally:
            os.close(lock)
            self._spawned = [supervisor for supervisor in self._spawned if supervisor.poll() is None]
        return known or bool(orphans)

    def absent(self, bundle: Path) -> frozenset[str]:
        """See `Actuator.absent`."""
        waiting = [process for process in self.status(bundle).processes if process.absent]
        if not waiting:
            return frozenset()
        service, run = read_service(bundle), rundir.RunDirectory(bundle.resolve())
        found: set[str] = set()
        for process in waiting:
            expected = expected_of(service, process.engine, may_differ=True)
            port, log = process.port, run.log_of(process.name)
            opened = None if port is None else asyncio.run(open_on(port, expected, basics(os.environ), log))
            found |= {*(process.absent if opened is None or opened.problems else opened.absent)}
        return frozenset(found)

    def log_names(self, bundle: Path) -> list[str]:
        """See `Actuator.log_names`."""
        names = [replica.replica for replica in read_local_processes(bundle).replicas]
        beside = [CONTROLLER] if rundir.RunDirectory(bundle).log_of(CONTROLLER).is_file() else []
        status = self.status(bundle)
        others = [one.name for one in (*status.processes, *status.beside)]
        return [*dict.fromkeys([*names, GATEWAY, *beside, *others, SUPERVISOR])]

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

    def _spawn(self, bundle: Path, run: rundir.RunDirectory, asked: rundir.Asked) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-P", "-m", "harmonia_compiler.runtime.actuators.supervisor", str(bundle)]
        command += [] if asked.port is None else ["--port", str(asked.port)]
        command += ["--reembed"] if asked.reembed else []
        with run.log_of(SUPERVISOR).open("wb") as log:
            supervisor = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=bundle,
                env={**os.environ, pids.SUPERVISES: str(bundle)},
                start_new_session=True,
            )
        self._spawned.append(supervisor)
        return supervisor


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


def _is_kept(bundle: Path, run: rundir.RunDirectory) -> bool:
    """Whether a live supervisor looks after the bundle, or somebody holds its lock and has not said who it is."""
    return keeper_of(bundle, run) is not None or run.is_held()


def _check_asked(bundle: Path, run: rundir.RunDirectory, asked: rundir.Asked) -> None:
    """Raise `Rejected` where a service that runs, or is starting, was started with other options than these."""
    state = state_by(keeper_of(bundle.resolve(), run), run)
    if state is None:
        return
    gateway = next((process.port for process in state.status.processes if process.name == GATEWAY), None)
    listens = gateway or state.asked.port
    found: dict[str, str] = {}
    if asked.port not in (None, listens):
        why = "its gateway takes any port that is free" if listens is None else f"its gateway listens on port {listens}"
        found[f"--port {asked.port}"] = why
    if asked.reembed and not state.asked.reembed:
        found["--reembed"] = "it was started without"
    if found:
        step = f"`harmoniac down {bundle}` first, then `up` with the options that you want; or leave them out"
        raise Rejected(
            [
                Diagnostic("E0917", f"`{bundle}` runs already, and `{option}` changes nothing there: {why}", help=step)
                for option, why in found.items()
            ]
        )


def _is_ours(supervisor: "subprocess.Popen[bytes] | None") -> bool:
    """Whether the supervisor that this command started is the one that looks after the bundle."""
    return supervisor is not None and supervisor.poll() != HELD_BY_ANOTHER


def _await_ready(
    bundle: Path,
    run: rundir.RunDirectory,
    timeout_s: float,
    watch: Watch,
    supervisor: "subprocess.Popen[bytes] | None",
) -> None:
    """Return once the service is up, by this command's supervisor or another's; raises `NotStarted`."""
    until = time.monotonic() + timeout_s
    me = None if supervisor is None else pids.identify(supervisor.pid)
    last: Status | None = None
    while last is None or last.phase != "running":
        ours = supervisor if _is_ours(supervisor) else None
        keeper = keeper_of(bundle.resolve(), run) if ours is None else me
        ended = not _is_kept(bundle.resolve(), run) if ours is None else ours.poll() is not None
        state = state_by(keeper, run)
        last = last if state is None else state.status
        if last is not None:
            watch(last)
        if ended:
            raise not_started(bundle, run, last)
        if time.monotonic() > until:
            raise not_started(bundle, run, last, f"after {timeout_s:g} s in all", goes_on=ours is None)
        time.sleep(_LOOK_EVERY_S)
