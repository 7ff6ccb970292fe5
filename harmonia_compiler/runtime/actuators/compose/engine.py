"""In which engine of Docker's the containers of a service are: none is said to be gone that may be elsewhere."""

import contextlib

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.runtime.actuators.compose.docker import Docker
from harmonia_compiler.runtime.actuators.supervision.rundir import STATE, Damaged, RunDirectory


def last_engine(run: RunDirectory) -> str:
    """The one of which a keeper said last that they are in it; empty where none did."""
    with contextlib.suppress(Damaged):
        state = run.read_state()
        return "" if state is None else state.engine
    return ""


def is_another(said: str, answers: str, *, is_found: bool) -> bool:
    """Whether the engine that answers is another than the one that said this of itself, as `Docker.engine` does.

    Where our containers are found its ID alone tells: hosts are named anew, and its folder may be moved. Where none
    are, it may be one of two that have the same ID, on one host or on a copied one.
    """
    if not said or answers in ("", said):
        return False
    return not is_found or answers.partition(" ")[0] != said.partition(" ")[0]


def elsewhere(run: RunDirectory, docker: Docker, *, is_found: bool) -> list[Diagnostic]:
    """What speaks against seeing to them by an engine that answers, where they are in another, or nobody knows."""
    said = last_engine(run)
    if said and is_another(said, docker.engine(), is_found=is_found):
        message = f"the containers of `{run.path.parent.name}` are in another engine of Docker's than what answers here"
        step = (
            f"say the DOCKER_HOST or the context of the `up` that started them; if it is no more, remove `{run.path}`"
        )
        return [Diagnostic("E0922", message, help=step)]
    return [] if is_found else _unknown(run)


def _unknown(run: RunDirectory) -> list[Diagnostic]:
    """That the name of the containers cannot be read, and that none bear that of a bundle that was never moved."""
    try:
        run.read_state()
    except Damaged as damaged:
        message = f"{damaged}, so that nobody knows what the containers of `{run.path.parent.name}` are named"
        step = (
            "`docker compose ls --all` shows the files that all are of; end its own, if there are any, with "
            f"`docker compose --project-name NAME down`, then remove `{run.path / STATE}`"
        )
        return [Diagnostic("E0922", message, help=step)]
    return []
