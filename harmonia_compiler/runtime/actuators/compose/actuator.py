"""What a command does with a bundle of target `compose`; what lives on is `keeper.py`."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import DECISION, Decision, fingerprint
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected, in_order
from harmonia_compiler.runtime.actuators.actuator import NotStarted, Status, Watch
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.asking import SOCKET, Wish, ask
from harmonia_compiler.runtime.actuators.compose.docker import Docker, DockerFailed
from harmonia_compiler.runtime.actuators.compose.preflight import preflight
from harmonia_compiler.runtime.actuators.compose.reading import read_compose_bundle
from harmonia_compiler.runtime.actuators.supervision import pids, rundir
from harmonia_compiler.runtime.actuators.supervision.beside import last_words
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S, HELD_BY_ANOTHER
from harmonia_compiler.runtime.actuators.supervision.keeper import keeper_of, keepers_of
from harmonia_compiler.runtime.actuators.supervision.tailing import Tailed, tail
from harmonia_compiler.runtime.bundle import CONTROLLER, GATEWAY, SUPERVISOR, read_service

#: How often files are looked at, in seconds.
_LOOK_EVERY_S = 0.2
#: How long a keeper has to stop everything: a container has its grace, and Docker takes its time.
_KEEPER_GRACE_S = 6 * GRACE_S
#: How many lines of a log are shown where a start failed.
_SHOWN_LINES = 12


class Compose:
    """The actuator of target `compose`."""

    def __init__(self) -> None:
        # Keepers outlive the command that starts them; within it they are to be waited for once they end.
        self._spawned: list[subprocess.Popen[bytes]] = []

    def preflight(self, bundle: Path, *, port: int | None) -> list[Diagnostic]:
        """See `Actuator.preflight`."""
        bundle = bundle.resolve()
        return [] if _is_kept(bundle) else in_order(preflight(bundle, port, os.environ))

    def start(self, bundle: Path, *, port: int | None, reembed: bool, timeout_s: float, watch: Watch) -> bool:
        """See `Actuator.start`."""
        bundle = bundle.resolve()
        keeper = None
        if _is_kept(bundle):
            self._check_asked(bundle, rundir.Asked(port, reembed))
        else:
            keeper = self._spawn(bundle, rundir.Asked(port, reembed))
        try:
            self._await_ready(bundle, timeout_s, watch, keeper)
        except (NotStarted, KeyboardInterrupt):
            if keeper is not None and keeper.poll() != HELD_BY_ANOTHER:
                with contextlib.suppress(Rejected):
                    self.stop(bundle)
            raise
        return keeper is not None and keeper.poll() != HELD_BY_ANOTHER

    def status(self, bundle: Path) -> Status:
        """See `Actuator.status`."""
        bundle = bundle.resolve()
        run = rundir.RunDirectory(bundle)
        kept = _is_kept(bundle)
        try:
            state = run.read_state()
        except rundir.Damaged as damaged:
            return Status("starting" if kept else "down", notes=(f"{damaged}; `harmoniac down` cleans up",))
        if state is None:
            return Status("starting") if kept else Status("down")
        if kept:
            if state.supervisor != keeper_of(bundle, run):
                return Status("starting")
            return msgspec.structs.replace(state.status, said=last_words(run.path / preparing.INSIDE))
        if state.status.phase == "failed":
            return Status("down", failure=state.status.failure, notes=("the last start failed",))
        note = "its keeper ended and left the containers as they were; `harmoniac up` takes them over"
        return Status("down", notes=(note,))

    def room(self, bundle: Path) -> Mapping[str, Sequence[str]]:
        """See `Actuator.room`."""
        found = read_compose_bundle(bundle)
        kept = {one.engine for one in found.services.services if one.data}
        return {
            engine: [one.replica for one in these if one.further]
            for engine, these in found.by_engine().items()
            if engine not in kept
        }

    def scale(self, bundle: Path, replicas: Mapping[str, int]) -> None:
        """See `Actuator.scale`."""
        if not replicas:
            return
        # A controller in a container sees the socket's folder beside what it sees as `run`; from the host, both lie
        # in the folder of the run.
        socket, service = bundle / "control", bundle / "run"
        if not (socket / SOCKET).exists():
            socket, service = bundle / "run" / preparing.CONTROL, bundle / "run" / preparing.INSIDE
        epoch = 0
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            epoch = decode_document(read_regular(service / DECISION, MOST_DOCUMENT_BYTES), Decision).epoch
        wish = Wish(fingerprint(read_service(bundle)), epoch, dict(replicas))
        answer = ask(socket, wish)
        if not answer.accepted:
            raise OSError(None, f"its host refuses: {answer.why}")

    def stop(self, bundle: Path) -> bool:
        """See `Actuator.stop`."""
        bundle = bundle.resolve()
        run = rundir.RunDirectory(bundle)
        if not run.path.is_dir():
            return False
        keepers = keepers_of(bundle, run)
        known = run.has_state() or bool(keepers)
        pids.end(keepers, _KEEPER_GRACE_S)
        lock = run.lock()
        if lock is None:
            message = f"another command is starting `{bundle.name}` right now"
            raise Rejected([Diagnostic("E0911", message, help="wait for it to end, then ask again")])
        try:
            os.ftruncate(lock, 0)
            left = _remove_left(bundle) if known else False
            preparing.remove(bundle)
            run.clear()
        finally:
            os.close(lock)
            self._spawned = [keeper for keeper in self._spawned if keeper.poll() is None]
        return known or left

    def absent(self, bundle: Path) -> frozenset[str]:
        """See `Actuator.absent`: as it stood when the store was opened last."""
        return frozenset(name for process in self.status(bundle).processes for name in process.absent)

    def log_names(self, bundle: Path) -> list[str]:
        """See `Actuator.log_names`."""
        run = rundir.RunDirectory(bundle)
        names = [one.replica for one in read_compose_bundle(bundle).services.services]
        there = [name for name in (*names, GATEWAY, CONTROLLER) if run.log_of(name).is_file()]
        return [*there, SUPERVISOR]

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

    def _check_asked(self, bundle: Path, asked: rundir.Asked) -> None:
        """Raise `Rejected` where a service that runs was started with other options than these."""
        with contextlib.suppress(rundir.Damaged):
            state = rundir.RunDirectory(bundle).read_state()
            listens = None if state is None else state.status.url.rpartition(":")[2]
            if asked.port is not None and listens and str(asked.port) != listens:
                message = f"`{bundle}` runs already, and `--port {asked.port}` changes nothing there"
                step = f"`harmoniac down {bundle}` first, then `up` with the options that you want; or leave them out"
                raise Rejected([Diagnostic("E0917", message, help=step)])

    def _spawn(self, bundle: Path, asked: rundir.Asked) -> "subprocess.Popen[bytes]":
        run = rundir.RunDirectory(bundle)
        try:
            run.prepare()
            log = run.log_of(SUPERVISOR).open("wb")
        except OSError as problem:
            message = f"`{run.path}` cannot be written: {problem.strerror}"
            step = "the state and the logs of a running service go there: give it room and write permission"
            raise Rejected([Diagnostic("E0910", message, help=step)]) from problem
        command = [sys.executable, "-P", "-m", "harmonia_compiler.runtime.actuators.compose.keeper", str(bundle)]
        command += [] if asked.port is None else ["--port", str(asked.port)]
        command += ["--reembed"] if asked.reembed else []
        with log:
            keeper = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=bundle,
                env={**os.environ, pids.SUPERVISES: str(bundle)},
                start_new_session=True,
            )
        self._spawned.append(keeper)
        return keeper

    def _await_ready(
        self, bundle: Path, timeout_s: float, watch: Watch, keeper: "subprocess.Popen[bytes] | None"
    ) -> None:
        """Return once the service is up, by this command's keeper or another's; raises `NotStarted`."""
        run, until = rundir.RunDirectory(bundle), time.monotonic() + timeout_s
        me = None if keeper is None else pids.identify(keeper.pid)
        last: Status | None = None
        while last is None or last.phase != "running":
            ours = keeper is not None and keeper.poll() != HELD_BY_ANOTHER
            ended = keeper.poll() is not None if keeper is not None and ours else not _is_kept(bundle)
            with contextlib.suppress(rundir.Damaged):
                state = run.read_state()
                if state is not None and state.supervisor == (
                    me if ours else keeper_of(bundle, run) or state.supervisor
                ):
                    last = state.status
                    watch(last)
            if ended or time.monotonic() > until:
                late = "" if ended else f"after {timeout_s:g} s in all"
                raise _not_started(bundle, run, last, late, goes_on=not ended and not ours)
            time.sleep(_LOOK_EVERY_S)


def _is_kept(bundle: Path) -> bool:
    """Whether a live keeper looks after the bundle, or somebody holds its lock and has not said who it is."""
    run = rundir.RunDirectory(bundle)
    return keeper_of(bundle, run) is not None or run.is_held()


def _remove_left(bundle: Path) -> bool:
    """Remove the containers that a keeper left behind; raises `Rejected` where Docker does not."""
    if shutil.which("docker") is None:
        return False
    docker = Docker(bundle, os.environ)
    try:
        if not docker.containers():
            return False
        docker.down(GRACE_S)
    except DockerFailed as problem:
        message = f"the containers of `{bundle.name}` could not be removed: {problem}"
        raise Rejected([Diagnostic("E0922", message, help="see that Docker answers, then ask again")]) from problem
    return True


def _not_started(
    bundle: Path, run: rundir.RunDirectory, last: Status | None, late: str, *, goes_on: bool
) -> NotStarted:
    """What failed, with the last lines that it wrote; where another command's start `goes_on`, nothing is stopped."""
    name, reason = SUPERVISOR, f"it did not get that far {late}" if late else "it ended"
    if last is not None and last.failure is not None:
        name, reason = last.failure.process, last.failure.reason
    elif last is not None and late:
        waiting = [one for one in last.processes if one.phase != "ready" and one.waiting_for]
        # Who waits for others is not who keeps them waiting.
        for one in sorted(waiting, key=lambda one: one.phase == "waiting")[:1]:
            name, reason = one.name, f"{late} it still waits for {one.waiting_for}"
    step = f"read all that it wrote with `harmoniac logs {bundle} {name}`; what was started is stopped again"
    if goes_on:
        step = f"another `up` started it, and that start goes on: `harmoniac status {bundle}` shows how far it is"
    found = Diagnostic("E0909", f"`{name}` did not become ready: {reason}", help=step)
    return NotStarted(found, name, tail(run.log_of(name), _SHOWN_LINES))
