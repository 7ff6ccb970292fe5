"""What a compose file finds on its host: folders, the variables that it takes, secrets as files."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from harmonia_compiler.contract.compose import SERVICES
from harmonia_compiler.contract.decision import INSIDE
from harmonia_compiler.contract.readings import TOKEN
from harmonia_compiler.contract.regular import real, write_whole
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.actuators.compose.asking import SOCKET
from harmonia_compiler.runtime.actuators.compose.counts import WISH
from harmonia_compiler.runtime.actuators.compose.docker import VARIABLES
from harmonia_compiler.runtime.actuators.compose.reading import ComposeBundle
from harmonia_compiler.runtime.actuators.supervision.rundir import move_folder_away
from harmonia_compiler.runtime.bundle import CONTENTS, PLAN, SERVICE
from harmonia_compiler.runtime.controller import measured
from harmonia_compiler.runtime.weights import locate

#: Below `run/`: the controller's socket, and secrets.
CONTROL, SECRETS = "control", "secrets"

#: What else of a bundle is mounted, read only: nothing of it is secret.
_DOCUMENTS = (CONTENTS, PLAN, SERVICE, SERVICES, "compose/etcd.yaml", "code")

#: Who the processes are where root starts them: somebody who owns nothing else.
NOBODY = 10_001


def owner() -> tuple[int, int]:
    """The user and the group that processes in containers run as: never root."""
    return (os.getuid(), os.getgid()) if os.getuid() != 0 else (NOBODY, NOBODY)


def laid_out(documents: ComposeBundle) -> tuple[str, ...]:
    """What lies below `run/` for the containers as long as the service runs."""
    folders = (f"{INSIDE}/logs", f"{INSIDE}/{TOKEN}", f"{CONTROL}/{SOCKET}", SECRETS, TOKEN, VARIABLES)
    return (*folders, *(f"{SECRETS}/{name}" for name in _secrets_of(documents)))


def is_laid_out(run: Path, documents: ComposeBundle) -> bool:
    """Whether all of it is there, and nothing else in the place of any."""
    kinds = {f"{INSIDE}/logs": Path.is_dir, SECRETS: Path.is_dir, f"{CONTROL}/{SOCKET}": Path.is_socket}
    return all(kinds.get(name, Path.is_file)(run / name) for name in laid_out(documents))


def prepare_folders(bundle: Path, documents: ComposeBundle) -> None:
    """Make the folders that are mounted, for the containers' user alone, and let it read the documents.

    Raises OSError.
    """
    kept = {one.data for one in documents.here if one.data}
    for name in (
        f"run/{INSIDE}",
        f"run/{INSIDE}/logs",
        f"run/{CONTROL}",
        f"run/{SECRETS}",
        *(f"data/{one}" for one in sorted(kept)),
    ):
        (bundle / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        _give(bundle / name)
    for one in sorted(kept):
        # What another target, or root, wrote there must be writable again.
        for path in (bundle / "data" / one).rglob("*"):
            _give(path)
    for name in _DOCUMENTS:
        if (bundle / name).exists():
            _let_read(bundle / name)


def write_secrets(bundle: Path, documents: ComposeBundle, outer: Mapping[str, str]) -> None:
    """Put what processes are handed as files where the compose file says; raises OSError."""
    for name in _secrets_of(documents):
        path = bundle / "run" / SECRETS / name
        _put(path, outer.get(name, "").encode())
        _give(path)


def _secrets_of(documents: ComposeBundle) -> list[str]:
    return sorted({name for launch in documents.launches_here for name in launch.late.values()})


def write_variables(bundle: Path, documents: ComposeBundle, port: int) -> None:
    """Say who the processes are, where weights lie, and which port the gateway has; raises OSError and `Rejected`."""
    user, group = owner()
    weights = {name: str(weights_of(model)) for name, model in sorted(documents.weights.items())}
    found = {"HARMONIA_USER": f"{user}:{group}", "HARMONIA_PORT": str(port), **weights}
    _put(bundle / "run" / VARIABLES, "".join(f"{name}='{value}'\n" for name, value in found.items()).encode())


def weights_of(model: str) -> Path:
    """The folder of a model's weights, of which all lie in it: only that folder is mounted. Raises `Rejected`."""
    folder = real(locate(model))
    leaving = [path for path in folder.rglob("*") if path.is_symlink() and not real(path).is_relative_to(folder)]
    if "'" in str(folder) or "\n" in str(folder):
        message = f"the weights of `{model}` lie in {str(folder)!r}, and compose cannot be told of `'` or a line break"
        raise Rejected([Diagnostic("E0920", message, help="give that folder another name")])
    if leaving:
        message = f"the weights of `{model}` are links out of `{folder}`, which a container cannot follow"
        step = f"copy them into the model store with `harmoniac models add {folder} --copy`"
        raise Rejected([Diagnostic("E0920", message, help=step)])
    _let_read(folder)
    return folder


def _let_read(folder: Path) -> None:
    """Where root starts the containers, let their user read what root alone may: it is mounted into them, read only."""
    if os.geteuid() != 0:
        return
    # Where a link leads is in the folder too, or nowhere.
    for path in (one for one in (folder, *folder.rglob("*")) if not one.is_symlink()):
        mode = path.stat().st_mode
        wanted = mode | (0o055 if path.is_dir() else 0o044)
        if wanted != mode:
            path.chmod(wanted & 0o7777)


def remove(bundle: Path) -> None:
    """Leave nothing behind of what was made for the containers but data and what was measured; secrets first.

    A wish of the service that ended is none of the next one's, whose controller begins with its first epoch.
    """
    measured.keep(bundle / "run" / INSIDE, bundle / "run")
    for name in (SECRETS, CONTROL, INSIDE):
        shutil.rmtree(bundle / "run" / name, ignore_errors=True)
    for name in (VARIABLES, TOKEN, WISH):
        (bundle / "run" / name).unlink(missing_ok=True)


def hand_over(folder: Path, name: str, content: bytes) -> None:
    """Write a file that the containers' user reads, as a whole; raises OSError."""
    _put(folder / name, content)
    _give(folder / name)


def _put(path: Path, content: bytes) -> None:
    """Write a file as a whole, also where somebody put a folder in its place; raises OSError."""
    move_folder_away(path)
    write_whole(path, content, 0o600)


def _give(path: Path) -> None:
    """Root gives what it makes to the containers' user; whoever else starts them is that user."""
    if os.geteuid() == 0:
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, *owner(), follow_symlinks=False)
