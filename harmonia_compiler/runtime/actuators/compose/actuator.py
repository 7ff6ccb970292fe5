"""What a command does with a bundle of target `compose`; what lives on is `keeper.py`."""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.contract.compose import COMPOSE
from harmonia_compiler.contract.decision import DECISION, INSIDE, Decision, fingerprint
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected, in_order
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.compose.asking import SOCKET, Wish, ask
from harmonia_compiler.runtime.actuators.compose.docker import Docker, DockerFailed
from harmonia_compiler.runtime.actuators.compose.engine import elsewhere, last_engine
from harmonia_compiler.runtime.actuators.compose.preflight import preflight
from harmonia_compiler.runtime.actuators.compose.reading import read_compose_bundle
from harmonia_compiler.runtime.actuators.supervision import rundir
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S
from harmonia_compiler.runtime.actuators.supervision.kept import Kept, is_kept
from harmonia_compiler.runtime.bundle import CONTROLLER, GATEWAY, SUPERVISOR, read_service


class Compose(Kept):
    """The actuator of target `compose`."""

    keeper = "harmonia_compiler.runtime.actuators.compose.keeper"
    #: A container has its grace, and Docker takes its time.
    grace_s = 6 * GRACE_S
    takes_over = True
    left = "its keeper ended and left the containers as they were; `harmoniac up DIR` takes them over"

    def preflight(self, bundle: Path, *, port: int | None) -> list[Diagnostic]:
        """See `Actuator.preflight`."""
        bundle = bundle.resolve()
        kept = is_kept(bundle, rundir.RunDirectory(bundle))
        return [] if kept else in_order(preflight(bundle, port, os.environ))

    def models(self, bundle: Path) -> Sequence[str]:
        """See `Actuator.models`: they are mounted into the containers."""
        return [*read_compose_bundle(bundle, os.environ).weights.values()]

    def said_in(self, run: rundir.RunDirectory) -> Path:
        """See `Kept.said_in`: what its container sees as the run's folder."""
        return run.path / INSIDE

    def end_left(self, bundle: Path, run: rundir.RunDirectory, *, known: bool) -> bool:
        """See `Kept.end_left`: containers, and what was made for them."""
        left = _remove_left(bundle, run) if known else False
        preparing.remove(bundle)
        return left

    def room(self, bundle: Path) -> Mapping[str, Sequence[str]]:
        """See `Actuator.room`."""
        # As the controller's container asks, which is on the front host, whatever its own name is.
        scalable = read_compose_bundle(bundle).scalable()
        return {engine: [one.replica for one in these if one.further] for engine, these in scalable.items()}

    def scale(self, bundle: Path, replicas: Mapping[str, int]) -> None:
        """See `Actuator.scale`."""
        if not replicas:
            return
        # A controller in a container sees the socket's folder beside what it sees as `run`; from the host, both lie
        # in the folder of the run.
        socket, service = bundle / "control", bundle / "run"
        if not (socket / SOCKET).exists():
            socket, service = bundle / "run" / preparing.CONTROL, bundle / "run" / INSIDE
        epoch = 0
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            epoch = decode_document(read_regular(service / DECISION, MOST_DOCUMENT_BYTES), Decision).epoch
        wish = Wish(fingerprint(read_service(bundle)), epoch, dict(replicas))
        answer = ask(socket, wish)
        if not answer.accepted:
            raise OSError(None, f"its host refuses: {answer.why}")

    def log_names(self, bundle: Path) -> list[str]:
        """See `Actuator.log_names`."""
        run = rundir.RunDirectory(bundle)
        names = [one.replica for one in read_compose_bundle(bundle).services.services]
        there = [name for name in (*names, GATEWAY, CONTROLLER) if run.log_of(name).is_file()]
        return [*there, SUPERVISOR]


def _remove_left(bundle: Path, run: rundir.RunDirectory) -> bool:
    """Remove what a keeper left behind in Docker, and give whether it did; raises `Rejected` where Docker does not."""
    if shutil.which("docker") is None and not last_engine(run):
        return False
    # Of a plan over several hosts nobody may know any more which part this was.
    docker = Docker(bundle, os.environ, [COMPOSE] if (bundle / COMPOSE).is_file() else [])
    try:
        docker.end_orders()
        is_found = bool(docker.containers() or docker.networks())
        if found := elsewhere(run, docker, is_found=is_found):
            raise Rejected(found)
        if not is_found:
            return False
        docker.down(GRACE_S)
    except DockerFailed as problem:
        message = f"the containers of `{bundle.name}` could not be removed: {problem}"
        raise Rejected([Diagnostic("E0922", message, help="see that Docker answers, then ask again")]) from problem
    return True
