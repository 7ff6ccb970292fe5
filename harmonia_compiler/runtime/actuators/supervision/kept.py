"""A service that a process of this host looks after: started, watched and stopped by way of that process.

Everything here runs in the command that a person typed. The keeper lives on; the two share nothing but the files under
`DIR/run`.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.actuators.actuator import NOTHING_LEFT, NotStarted, Status, Watch
from harmonia_compiler.runtime.actuators.supervision import pids, rundir, scratch
from harmonia_compiler.runtime.actuators.supervision.beside import last_words
from harmonia_compiler.runtime.actuators.supervision.command import basics
from harmonia_compiler.runtime.actuators.supervision.culprit import culprit, state_by
from harmonia_compiler.runtime.actuators.supervision.ending import HELD_BY_ANOTHER, STOPPED
from harmonia_compiler.runtime.actuators.supervision.keeper import keeper_of, keepers_of
from harmonia_compiler.runtime.actuators.supervision.refusing import (
    SHOWN_LINES,
    check_asked,
    not_seen,
    not_started,
    not_stopped,
    not_taken_over,
    stopped_meanwhile,
    unusable,
)
from harmonia_compiler.runtime.actuators.supervision.standing import standing
from harmonia_compiler.runtime.actuators.supervision.store import expected_of, open_on
from harmonia_compiler.runtime.actuators.supervision.tailing import lines_of, tail
from harmonia_compiler.runtime.bundle import SUPERVISOR, read_service
from harmonia_compiler.runtime.interruptions import put_off
from harmonia_compiler.runtime.modules import module_command

#: How often files are looked at, in seconds.
_LOOK_EVERY_S = 0.1

_TAKEN = "it goes on as it was while it is taken over"

# Keepers outlive the command that starts them, and whoever started them in it: one of them that nothing holds any more
# is warned of. Within the command they are to be waited for once they end.
_spawned: list["subprocess.Popen[bytes]"] = []


class _Waited:
    """The service that a command waits for: `was_up` is whether it was when the command began.

    `spawned` is the keeper that the command started, and `keeper` whoever looks after the service, or did last.
    """

    spawned: "subprocess.Popen[bytes] | None" = None
    keeper: pids.Ident | None = None

    def __init__(self, bundle: Path, run: rundir.RunDirectory, *, was_up: bool) -> None:
        self.bundle, self.run, self._was_up = bundle, run, was_up

    def begin(self, spawned: "subprocess.Popen[bytes]") -> None:
        """Wait for the keeper that this command has started."""
        self.spawned, self.keeper = spawned, pids.identify(spawned.pid)

    @property
    def is_ours(self) -> bool:
        """Whether the keeper that this command started is the one that looks after the bundle."""
        return self.spawned is not None and self.spawned.poll() != HELD_BY_ANOTHER

    @property
    def is_taken_over(self) -> bool:
        """Whether it goes on where its start fails, since it was up before: its keeper says, where it got that far."""
        state = state_by(self.keeper, self.run)
        return self._was_up if state is None else state.was_up


class Kept(ABC):
    """What actuators have in common whose keeper is the module `keeper`, and has `grace_s` to stop everything.

    `left` says in a sentence what is so where the keeper ended without stopping its service, which stands in `DIR`.
    `takes_over` is whether a keeper goes on with what a killed one left running: no start that fails stops that.
    """

    keeper: str
    grace_s: float
    left: str
    takes_over = False

    @abstractmethod
    def end_left(self, bundle: Path, run: rundir.RunDirectory, *, known: bool) -> bool:
        """End what a keeper left behind, and remove what it made beside its own files; whether there was anything.

        `known` says that there was a service of which no keeper said that it is stopped. Raises `Rejected` where it
        does not end.
        """

    def said_in(self, run: rundir.RunDirectory) -> Path:
        """The folder in which the controller writes."""
        return run.path

    def start(self, bundle: Path, *, port: int | None, reembed: bool, timeout_s: float, watch: Watch) -> bool:
        """See `Actuator.start`."""
        run, asked = _prepared(bundle.resolve()), rundir.Asked(port, reembed)
        waited = _Waited(bundle, run, was_up=self.takes_over and _is_up(run))
        try:
            if is_kept(bundle.resolve(), run):
                _check_asked(bundle, run, asked)
            else:
                with put_off():
                    # So that this command knows what it has started.
                    waited.begin(self._spawn(bundle.resolve(), run, asked))
            _await_ready(waited, timeout_s, watch)
        except (NotStarted, KeyboardInterrupt) as problem:
            if waited.is_ours and not waited.is_taken_over:
                try:
                    # One that has only just begun bears no mark yet, by which it would be found.
                    pids.end([waited.keeper] if waited.keeper is not None else [], self.grace_s)
                    self.stop(bundle)
                except Rejected as refused:
                    # Where somebody else stops it at this moment there is nothing left to do, and nothing to say of it.
                    if isinstance(problem, NotStarted) and self._may_be_left(bundle):
                        raise not_stopped(bundle, problem, refused) from problem
            raise
        if not waited.is_ours:
            _check_asked(bundle, run, asked)
        return waited.is_ours and not waited.is_taken_over

    def status(self, bundle: Path) -> Status:
        """See `Actuator.status`."""
        named, bundle = shell_word(bundle), bundle.resolve()
        run = rundir.RunDirectory(bundle)
        keeper = keeper_of(bundle, run)
        kept = keeper is not None or run.is_held()
        try:
            state = run.read_state()
        except rundir.Damaged as damaged:
            return Status("starting" if kept else "down", notes=(f"{damaged}; `harmoniac down {named}` cleans up",))
        if state is None:
            return Status("starting") if kept else Status("down")
        if kept:
            status = standing(state, run) if state.supervisor == keeper else Status("starting")
            is_taken = self.takes_over and keeper is not None and state.is_up and status.phase == "starting"
            # Where its keeper says what becomes of it, that is so.
            notes = status.notes or ((_TAKEN,) if is_taken else ())
            said = last_words(self.said_in(run)) if state.supervisor == keeper else None
            return msgspec.structs.replace(status, notes=notes, said=said)
        left = self.left.replace("DIR", named)
        if state.status.phase == "failed":
            notes = ("the last start failed", *([left] if state.may_leave else []))
            return Status("down", failure=state.status.failure, notes=notes)
        return Status("down", notes=(left,))

    def stop(self, bundle: Path) -> bool:
        """See `Actuator.stop`."""
        bundle = bundle.resolve()
        run = rundir.RunDirectory(bundle)
        if not run.path.is_dir():
            return False
        try:
            return self._stop(bundle, run)
        except OSError as problem:
            raise unusable(run, problem) from problem

    def absent(self, bundle: Path) -> frozenset[str]:
        """See `Actuator.absent`."""
        waiting = [process for process in self.status(bundle).processes if process.absent]
        if not waiting:
            return frozenset()
        service = read_service(bundle)
        found: set[str] = set()
        for process in waiting:
            expected = expected_of(service, process.engine, may_differ=True)
            # Whoever only asks writes nothing, and least of all where the service's own keeper puts things in order.
            port = process.port
            opened = None if port is None else asyncio.run(open_on(port, expected, basics(os.environ), None))
            found |= {*(process.absent if opened is None or opened.problems else opened.absent)}
        return frozenset(found)

    def log(self, bundle: Path, names: Sequence[str], *, lines: int, follow: bool) -> Iterator[tuple[str, str]]:
        """See `Actuator.log`."""
        run = rundir.RunDirectory(bundle)
        return lines_of({name: run.log_of(name) for name in names}, lines=lines, follow=follow)

    def _may_be_left(self, bundle: Path) -> bool:
        """Whether something of a service may be left that nobody looks after any more."""
        status = self.status(bundle)
        return status.phase == "down" and status != NOTHING_LEFT

    def _stop(self, bundle: Path, run: rundir.RunDirectory) -> bool:
        keepers = keepers_of(bundle, run)
        known = run.has_state() or bool(keepers)
        # Told to end, a keeper first stops its service; that somebody removed its lock changes nothing.
        pids.end(keepers, self.grace_s)
        # One that did so well has forgotten it.
        is_left = run.has_state()
        lock = run.lock()
        if lock is None:
            does = "starting" if run.is_signed() else "stopping"
            message = f"another command is {does} `{bundle.name}` right now"
            raise Rejected([Diagnostic("E0911", message, help="wait for it to end, then ask again")])
        try:
            # Whom it named has ended: nobody may take the name for that of who holds it now.
            os.ftruncate(lock, 0)
            left = self.end_left(bundle, run, known=is_left)
            run.clear()
        finally:
            os.close(lock)
            _spawned[:] = [keeper for keeper in _spawned if keeper.poll() is None]
        return known or left

    def _spawn(self, bundle: Path, run: rundir.RunDirectory, asked: rundir.Asked) -> "subprocess.Popen[bytes]":
        command = module_command(self.keeper, str(bundle))
        command += [] if asked.port is None else ["--port", str(asked.port)]
        command += ["--reembed"] if asked.reembed else []
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(run.log_of(SUPERVISOR), flags, 0o600), "wb") as log:
            keeper = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=bundle,
                # It runs in another folder than this command, and so do its processes.
                env={**os.environ, "TMPDIR": str(scratch.parent(os.environ)), pids.SUPERVISES: str(bundle)},
                start_new_session=True,
            )
        _spawned.append(keeper)
        return keeper


def is_kept(bundle: Path, run: rundir.RunDirectory) -> bool:
    """Whether a live keeper looks after the bundle; who cleans up after one is waited for by the next."""
    return keeper_of(bundle, run) is not None


def _prepared(bundle: Path) -> rundir.RunDirectory:
    run = rundir.RunDirectory(bundle)
    try:
        run.prepare()
    except OSError as problem:
        raise unusable(run, problem) from problem
    return run


def _is_up(run: rundir.RunDirectory) -> bool:
    """Whether what was said last of a service is that it is up."""
    with contextlib.suppress(rundir.Damaged):
        state = run.read_state()
        return state is not None and state.is_up
    return False


def _check_asked(bundle: Path, run: rundir.RunDirectory, asked: rundir.Asked) -> None:
    """Raise `Rejected` where a service that runs, or is starting, was started with other options than these."""
    state = state_by(keeper_of(bundle.resolve(), run), run)
    if state is not None:
        listens = state.status.url.rpartition(":")[2]
        check_asked(bundle, asked, state.asked, int(listens) if listens else state.asked.port)


def _was_stopped(last: Status | None, run: rundir.RunDirectory, ours: "subprocess.Popen[bytes] | None") -> bool:
    """Whether the keeper that has ended was told to; `last` is what it said last, and `ours` our child."""
    if not run.path.is_dir():
        # It ended by itself, for that.
        return False
    if ours is not None:
        # Until it hears signals it ends by them.
        return ours.poll() in (STOPPED, -signal.SIGTERM)
    return not run.has_state() if last is None else last.phase == "stopping"


def _await_ready(waited: _Waited, timeout_s: float, watch: Watch) -> None:
    """Return once the service is up, by this command's keeper or another's.

    Raises `NotStarted`, and `Rejected` where somebody stopped it meanwhile.
    """
    bundle, run = waited.bundle, waited.run
    until = time.monotonic() + timeout_s
    last: Status | None = None
    while last is None or not last.is_running:
        ours = waited.spawned if waited.is_ours else None
        if ours is not None:
            ended = ours.poll() is not None
        else:
            other = keeper_of(bundle.resolve(), run)
            ended = other is None and not run.is_held()
            # Also of one that has ended is read what it said last.
            waited.keeper = other or waited.keeper
        state = state_by(waited.keeper, run)
        last = last if state is None else standing(state, run)
        if last is not None:
            watch(last)
        if ended and _was_stopped(last, run, ours):
            raise stopped_meanwhile(bundle)
        if not ended and ours is None and last is not None and last.is_stale and time.monotonic() > until:
            raise not_seen(bundle, last.notes[-1], tail(run.log_of(SUPERVISOR), SHOWN_LINES))
        if ended or time.monotonic() > until:
            process, why = culprit(last, "" if ended else f"after {timeout_s:g} s in all")
            said = tail(run.log_of(process), SHOWN_LINES)
            if waited.is_taken_over:
                raise not_taken_over(bundle, process, why, said, goes_on=not ended)
            raise not_started(bundle, process, why, said, goes_on=not ended and ours is None)
        time.sleep(_LOOK_EVERY_S)
