"""What speaks against starting a bundle's containers on this host, found before anything is started."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from harmonia_compiler.contract.launch import FOR_GATEWAY
from harmonia_compiler.contract.utf8 import is_utf8
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.emit.targets.compose_services import is_in_our_image
from harmonia_compiler.runtime.actuators.compose.containers import listens_on
from harmonia_compiler.runtime.actuators.compose.docker import PROJECT, Docker, DockerFailed
from harmonia_compiler.runtime.actuators.compose.engine import elsewhere
from harmonia_compiler.runtime.actuators.compose.reading import HOST, ComposeBundle, read_compose_bundle
from harmonia_compiler.runtime.actuators.supervision.ports import is_free
from harmonia_compiler.runtime.actuators.supervision.preflight import (
    check_weights,
    exceeded_here,
    missing_variables,
    moving_embedders,
    wrong_variables,
)
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.bundle import GATEWAY


def preflight(bundle: Path, port: int | None, outer: Mapping[str, str]) -> list[Diagnostic]:
    """Every finding at once; those that begin with W do not forbid the start."""
    documents = read_compose_bundle(bundle, outer)
    if not documents.host:
        hosts = [*documents.services.files]
        message = f"the plan is for {len(hosts)} hosts, and this machine is none of them: {listed(hosts)}"
        step = f"say which part is started here: `{HOST}={hosts[0]} harmoniac up DIR`"
        return [Diagnostic("E0921", message, help=step)]
    found = moving_embedders(documents.service.engines, documents.services.replicas)
    found += [*missing_variables(documents.launches_here, outer), *_not_text(documents, outer), *_weights(documents)]
    found += wrong_variables(documents.service, outer) if documents.is_front else []
    docker = Docker(bundle, outer, documents.files)
    try:
        docker.version()
        running = docker.containers()
    except DockerFailed as problem:
        step = "install Docker with its compose plugin, and start its engine; DOCKER_HOST says where another one is"
        return [*found, Diagnostic("E0922", f"Docker cannot be used here: {problem}", help=step)]
    if away := elsewhere(RunDirectory(bundle), docker, is_found=bool(running)):
        return [*found, *away]
    found += _images(documents, docker)
    if not running:
        ports = [one.port for one in documents.here if not one.further]
        found += [_taken(one) for one in ports if not is_free(one)]
    if port is not None:
        # Where a service is taken over that runs, its own gateway may have it already.
        found += _unfit(port, documents, is_its_own=listens_on(running.get(GATEWAY, {}), port))
    mine = tuple(one for one in documents.plan.replicas if one.host == documents.host)
    return [*found, *exceeded_here(msgspec.structs.replace(documents.plan, replicas=mine))]


def _unfit(port: int, documents: ComposeBundle, *, is_its_own: bool) -> list[Diagnostic]:
    """Why the gateway cannot have the port that is asked for."""
    step = "name another with --port, or none to have one found"
    # Also that of one which the controller may add.
    theirs = {one.port: one.replica for one in documents.here}
    if port in theirs:
        return [Diagnostic("E0908", f"port {port} is that of `{theirs[port]}`", help=step)]
    return [] if is_its_own or is_free(port) else [_taken(port, step)]


def _not_text(documents: ComposeBundle, outer: Mapping[str, str]) -> list[Diagnostic]:
    """Variables that processes are given and whose bytes are no text: no document of the run could hold them."""
    names = {*FOR_GATEWAY, *(name for launch in documents.launches_here for name in launch.late.values())}
    return [
        Diagnostic(
            "E0916",
            f"the environment variable `{name}` is not UTF-8",
            help=f"set it to text for this command: `{name}=… harmoniac up DIR`",
        )
        for name in sorted(names)
        if not is_utf8(outer.get(name, ""))
    ]


def _weights(documents: ComposeBundle) -> list[Diagnostic]:
    """Models of which nothing is here."""
    found: list[Diagnostic] = []
    for model in documents.weights.values():
        try:
            check_weights(model)
        except Rejected as rejected:
            found += rejected.found
    return found


def _images(documents: ComposeBundle, docker: Docker) -> list[Diagnostic]:
    """Images that have to come from somewhere first, which takes its time."""
    built = {documents.services.gateway_image: True} if documents.is_front else {}
    launches = documents.launches
    built |= {one.image: is_in_our_image(launches[one.replica]) for one in documents.here}
    files = " ".join(f"-f {name}" for name in documents.files)
    found = []
    for name, ours in built.items():
        if docker.has_image(name):
            continue
        # One that the site names is there to be pulled, and is never built.
        is_built = ours and not documents.services.site.worker_image
        message = (
            f"the image `{name}` is not here: it is {'built' if is_built else 'pulled'} first, which takes minutes"
        )
        step = f"`docker compose {files} build` in the bundle" if is_built else f"`docker pull {name}`"
        found.append(Diagnostic("W0920", message, help=f"{step} does it beforehand, and shows how far it is"))
    return found


#: What is left of a bundle whose folder was removed is known to Docker alone.
_ELSEWHERE = (
    f"say another `first_port` in the site profile given with --site; `docker ps --filter label={PROJECT}` shows what "
    "a bundle that is gone may have left there"
)


def _taken(port: int, step: str = _ELSEWHERE) -> Diagnostic:
    return Diagnostic("E0908", f"port {port} is in use", help=step)
