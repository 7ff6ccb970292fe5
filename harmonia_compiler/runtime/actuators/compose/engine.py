"""In which engine of Docker's the containers of a service are: no other one may be taken for it."""

import contextlib

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.runtime.actuators.compose.docker import Docker
from harmonia_compiler.runtime.actuators.supervision.rundir import Damaged, RunDirectory


def last_engine(run: RunDirectory) -> str:
    """The one of which a keeper said last that they are in it; empty where none did."""
    with contextlib.suppress(Damaged):
        state = run.read_state()
        return "" if state is None else state.engine
    return ""


def elsewhere(run: RunDirectory, docker: Docker) -> list[Diagnostic]:
    """What speaks against seeing to them by an engine that answers, where they are in another."""
    said = last_engine(run)
    if not said or docker.engine() in ("", said):
        return []
    message = f"the containers of `{run.path.parent.name}` are in another engine of Docker's than what answers here"
    step = f"say the DOCKER_HOST or the context of the `up` that started them; if it is no more, remove `{run.path}`"
    return [Diagnostic("E0922", message, help=step)]
