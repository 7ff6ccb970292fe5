"""Reads the card of a model out of its own folder, and puts the folder into the model store.

The numbers come from `config.json` and from the headers of the safetensors files, which say every
tensor's shape; no weights are loaded.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator
from glob import escape
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from harmonia_compiler.contract.card import CARD_FILE, Card, Role, faults, is_added, read_card
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.home import model_store
from harmonia_compiler.contract.regular import read_regular, real
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.model_contents import REMEMBERED, revision_of
from harmonia_compiler.runtime.weights import WEIGHTS_FOLDER, is_model, stored_folder

#: More than this in a header is no header: it would be asked for before anything shows that the file is sound.
_MOST_HEADER_BYTES = 2**27
#: Bytes of a weight; tensors of other types, such as the numbers of positions, are no weights.
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1}

#: A folder's name has no more bytes than this on the file systems that a store lies on.
_MOST_NAME_BYTES = 255
#: More than this a `config.json` does not take, with all the labels that it may list.
_MOST_CONFIG_BYTES = 2**24

_Count = Annotated[int, msgspec.Meta(ge=1)]
_Shape = Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=2**48)]], msgspec.Meta(max_length=32)]
_Document = TypeVar("_Document")


class _Config(msgspec.Struct):
    """What is read of a `config.json`, under the names that Hugging Face's tools give it."""

    hidden_size: _Count
    num_hidden_layers: _Count
    num_attention_heads: _Count
    num_key_value_heads: _Count | None = None
    head_dim: _Count | None = None
    max_position_embeddings: _Count | None = None
    vocab_size: _Count | None = None
    architectures: list[str] | None = None


class _SentenceConfig(msgspec.Struct):
    """The same of a `sentence_bert_config.json`."""

    max_seq_length: _Count | None = None


class _Tensor(msgspec.Struct):
    """What the header of a safetensors file says of a tensor."""

    dtype: str
    shape: _Shape


def read_model_folder(folder: Path, *, name: str | None = None, role: Role | None = None, licence: str) -> Card:
    """The card of the model in a folder; raises `Rejected` where the folder does not hold one.

    `name` is the folder's where it is not given, `role` follows from the model's architecture.
    """
    if not is_model(folder):
        raise _rejected(folder, "it holds no config.json with weights as safetensors")
    config = _read_json(folder / "config.json", _Config)
    return _card(folder, config, name or real(folder).name, role or _role(folder, config), licence)


def add_to_store(card: Card, folder: Path, *, copy: bool) -> Path:
    """Puts the card and a link to the folder, or a copy of it, into the store; gives the model's place there.

    The name means this model from then on. What was added under it before stays for whoever names its revision; but for
    a link to the same folder, which holds that no more. A copy of the same files stays a copy. Of one that was edited
    in the store another is made: its place is that of what it held, and goes when nobody needs that any more.
    """
    copy = copy or _is_copy_of_the_store(folder)
    stored = stored_folder(card)
    staged = stored.with_name(f".adding.{os.getpid()}")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    before = earlier(card)
    known = [_card_in(one) for one in (*before, stored)]
    card = msgspec.structs.replace(card, added=1 + max((one.added or 0 for one in known if one is not None), default=0))
    try:
        kept = _has_copy(stored, card.revision)
        if copy and not kept:
            shutil.copytree(folder, staged / WEIGHTS_FOLDER)
            if _revision(staged / WEIGHTS_FOLDER) != card.revision:
                raise _rejected(
                    folder, "its files changed while they were copied", "add it again once nobody writes there"
                )
        elif not kept:
            (staged / WEIGHTS_FOLDER).symlink_to(real(folder), target_is_directory=True)
        (staged / CARD_FILE).write_text(_as_toml(card), "utf-8")
        if read_card(staged / CARD_FILE) != card:
            raise RuntimeError(f"the card of {card.name!r} does not read back as it was written")
        for one in before:
            if (one / WEIGHTS_FOLDER).is_symlink() and real(one / WEIGHTS_FOLDER) == real(folder):
                shutil.rmtree(one)
            elif _card_in(one) is None:
                # With a card that cannot be read nothing is planned; the weights beside it are found without it.
                (one / CARD_FILE).unlink(missing_ok=True)
        if kept:
            (staged / CARD_FILE).replace(stored / CARD_FILE)
        else:
            _put(staged, stored)
    except shutil.Error as problem:
        source, _, why = problem.args[0][0]
        raise _rejected(folder, f"{Path(source).name} cannot be copied ({why})") from problem
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return stored


def earlier(card: Card) -> list[Path]:
    """The places in the store of the other revisions that were added under the card's name."""
    stored = stored_folder(card)
    found = sorted(stored.parent.glob(f"{escape(stored.name.removesuffix(card.revision))}local-*"))
    # What an earlier version of harmoniac added may bear the folder's name and be another model.
    return [one for one in found if one != stored and getattr(_card_in(one), "name", card.name) == card.name]


def _has_copy(stored: Path, revision: str) -> bool:
    """Whether a place in the store holds the files themselves, all as they were: it may be the folder that is added."""
    weights = stored / WEIGHTS_FOLDER
    try:
        return not weights.is_symlink() and revision_of(weights, stored / REMEMBERED) == revision
    except OSError:
        return False


def _is_copy_of_the_store(folder: Path) -> bool:
    """Whether a folder is where the store keeps a copy of what was added, however it is called."""
    place = real(folder).parent
    return place.parent == real(model_store()) and is_added(place.name.rpartition("@")[2])


def _put(staged: Path, stored: Path) -> None:
    """Have the one folder in the place of the other, which may be there."""
    replaced = stored.with_name(f".replaced.{os.getpid()}")
    if stored.exists():
        stored.rename(replaced)
    staged.rename(stored)
    shutil.rmtree(replaced, ignore_errors=True)


def _card_in(stored: Path) -> Card | None:
    """The card of a place in the store; None where it has none that can be read."""
    try:
        return read_card(stored / CARD_FILE)
    except Rejected:
        return None


def _card(folder: Path, config: _Config, name: str, role: Role, licence: str) -> Card:
    """The card that these facts make; raises `Rejected` where one of them is out of all bounds."""
    heads, hidden = config.num_attention_heads, config.hidden_size
    parameters, stored_bytes = _count(folder)
    if not parameters:
        raise _rejected(folder, "its safetensors hold no weights")
    facts: dict[str, Any] = {
        "name": name,
        "role": role,
        "revision": _revision(folder),
        "licence": licence,
        "parameters": parameters,
        "weight_bytes": round(stored_bytes / parameters, 3),
        "layers": config.num_hidden_layers,
        "hidden": hidden,
        "heads": heads,
        "kv_heads": config.num_key_value_heads or heads,
        "head_dim": config.head_dim or hidden // heads,
        "context": _context(folder, config),
        "source": "config.json and the safetensors headers of the folder that was added",
    }
    if role == "embedder":
        facts["dimension"] = hidden
        if not (folder / "modules.json").is_file():
            # As our own worker takes it; vLLM would take what is usual for the architecture.
            facts["pooling"] = "mean"
    for fault in faults(facts):
        raise _rejected(folder, fault.message, fault.step)
    card = msgspec.convert(facts, Card)
    if (more := len(stored_folder(card).name.encode()) - _MOST_NAME_BYTES) > 0:
        taken = len(name.encode())
        step = f"give one of at most {taken - more} with `--name`: a folder of the store is called by it"
        raise _rejected(folder, f"`name` takes {taken} bytes", step)
    return card


def _role(folder: Path, config: _Config) -> Role:
    architecture = next(iter(config.architectures or [""]))
    if architecture.endswith("ForCausalLM"):
        return "llm"
    if architecture.endswith("ForSequenceClassification"):
        return "reranker"
    if (folder / "modules.json").is_file() or architecture.endswith("Model"):
        return "embedder"
    raise _rejected(folder, f"what its architecture {architecture!r} is for is not known; say it with `--role`")


def _context(folder: Path, config: _Config) -> int:
    """The most tokens of a sequence: what an embedder's own file says, else the number of positions."""
    own = folder / "sentence_bert_config.json"
    said = _read_json(own, _SentenceConfig).max_seq_length if own.is_file() else None
    found = said or config.max_position_embeddings
    if found is None:
        raise _rejected(folder, "its config.json does not say `max_position_embeddings`")
    return found


def _count(folder: Path) -> tuple[int, int]:
    """How many weights the folder's safetensors hold, and in how many bytes."""
    weights = stored_bytes = 0
    for file in _weight_files(folder):
        header, room = _header(folder, file)
        counts = [
            (math.prod(tensor.shape), _BYTES[tensor.dtype]) for tensor in header.values() if tensor.dtype in _BYTES
        ]
        taken = sum(count * size for count, size in counts)
        if taken > room:
            raise _rejected(folder, f"{file.name} names more weights than it holds")
        weights += sum(count for count, _ in counts)
        stored_bytes += taken
    return weights, stored_bytes


def _weight_files(folder: Path) -> Iterator[Path]:
    yield from sorted(file for file in folder.glob("*.safetensors") if file.is_file())


def _header(folder: Path, file: Path) -> tuple[dict[str, _Tensor], int]:
    """What a safetensors file says of its tensors (eight bytes of length, then JSON), and the bytes that follow."""
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if not 0 < length <= _MOST_HEADER_BYTES:
            raise _rejected(folder, f"{file.name} is no safetensors file")
        try:
            header = decode_document(opened.read(length), dict[str, Any])
            header.pop("__metadata__", None)
            tensors = msgspec.convert(header, dict[str, _Tensor])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            raise _rejected(folder, f"{file.name} is no safetensors file") from problem
        return tensors, os.fstat(opened.fileno()).st_size - opened.tell()


def _revision(folder: Path) -> str:
    try:
        return revision_of(folder)
    except OSError as problem:
        name = Path(problem.filename or "").name
        raise _rejected(
            folder, f"{name} cannot be read ({problem.strerror})", "let yourself read its files"
        ) from problem


def _read_json(path: Path, of: type[_Document]) -> _Document:
    try:
        return decode_document(read_regular(path, _MOST_CONFIG_BYTES), of)
    except (OSError, msgspec.MsgspecError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else problem
        raise _rejected(path.parent, f"its {path.name} cannot be used ({why})") from problem


def _as_toml(card: Card) -> str:
    """The card as TOML; its values are texts, numbers and truth values, which JSON writes the same way.

    But for two things: TOML has no pairs of surrogates, and wants DEL escaped.
    """
    facts = {name: getattr(card, name) for name in Card.__struct_fields__}
    return "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n".replace("\x7f", "\\u007f")
        for name, value in facts.items()
        if value is not None and value != ()
    )


def _rejected(
    folder: Path, why: str, step: str = "give a folder as `hf download` or `save_pretrained` writes it"
) -> Rejected:
    return Rejected([Diagnostic("E0805", f"the folder {folder} cannot be added as a model: {why}", help=step)])
