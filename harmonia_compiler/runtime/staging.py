"""Brings weights from where many hosts see them onto a disk of this one: once, whoever needs them, before they load.

A copy appears complete or not at all, and stays for the next start. Its name holds the model's revision.
"""

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from harmonia_compiler.contract.card import Card
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.model_contents import REMEMBERED, files_of, is_digest, revision_of
from harmonia_compiler.runtime.weights import gib, lack_of_room, locate, stored_folder, wanted

_DRAFT, _COPY, _LOCK = ".copying", "weights", ".lock"
_PART = 2**23
_LOOK_EVERY_S = 0.2

#: Is told, in words, what is waited for.
Tell = Callable[[str], None]


class GivenUp(Exception):
    """Nobody needs the weights any more."""


def staged(model: str, disk: Path, tell: Tell, given_up: Event) -> Path:
    """The folder on that disk that holds a model's weights, copied there where they are not.

    Raises `Rejected` where they are nowhere, do not fit or cannot be written, and `GivenUp` soon after that is set.
    """
    card = wanted(model)
    folder = disk / stored_folder(card).name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _held(folder / _LOCK, tell, given_up):
            if not _is_whole(card, folder):
                shutil.rmtree(folder / _COPY, ignore_errors=True)
                _copy(model, locate(model), folder, tell, given_up)
    except OSError as problem:
        raise _refused(model, f"`{folder}` cannot be written: {problem.strerror or problem}") from problem
    return folder / _COPY


def _is_whole(card: Card, folder: Path) -> bool:
    """Whether the copy is there and, where its revision says what it holds, holds that still."""
    if not (folder / _COPY).is_dir():
        return False
    return not is_digest(card.revision) or revision_of(folder / _COPY, folder / REMEMBERED) == card.revision


def _copy(model: str, weights: Path, folder: Path, tell: Tell, given_up: Event) -> None:
    files = files_of(weights)
    total, done = sum(path.stat().st_size for path in files.values()), 0
    draft = folder / _DRAFT
    # What one that was killed had begun.
    shutil.rmtree(draft, ignore_errors=True)
    if (lack := lack_of_room(folder, f"`{folder}`", total)) is not None:
        raise _refused(model, lack)
    try:
        for name, path in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            with path.open("rb") as there, (draft / name).open("wb") as here:
                while part := there.read(_PART):
                    if given_up.is_set():
                        raise GivenUp
                    here.write(part)
                    done += len(part)
                    tell(f"its weights to be on this node's disk: {gib(done)} of {gib(total)}")
        draft.rename(folder / _COPY)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def _held(path: Path, tell: Tell, given_up: Event) -> Iterator[None]:
    """A lock, waited for as long as the weights are needed."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tell("its weights, which another replica brings onto this node's disk")
                if given_up.is_set():
                    raise GivenUp from None
                time.sleep(_LOOK_EVERY_S)
            else:
                break
        yield


def _refused(model: str, why: str) -> Rejected:
    step = "name another folder in the site profile (`stage`), or none to load them from where they are"
    return Rejected([Diagnostic("E0811", f"the weights of `{model}` cannot be copied to this host: {why}", help=step)])
