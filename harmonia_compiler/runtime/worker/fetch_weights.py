"""Downloads the weights of one model from a hub into a folder, and says on its output how far it is.

    python -m harmonia_compiler.runtime.worker.fetch_weights NAME REVISION OUT

A process of its own, since nothing else shall know the token (`HF_TOKEN`, or the one that `hf auth login` keeps) and
nothing else needs the hub's client. Each line that it prints is a `Said`; the last one says how it ended.

Only what an engine loads is taken: safetensors, configuration and tokenizer, and no code. OUT appears complete or not
at all. What was begun lies beside it, and the next try goes on from there.
"""

import hashlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling

from harmonia_compiler.runtime.fetching import DRAFT, Said
from harmonia_compiler.runtime.weights import lack_of_room

_ARGUMENTS = 4
#: Files of the model's own folder and of the modules of an embedder (`1_Pooling/config.json`).
_TAKEN = (".safetensors", ".json", ".txt", ".model", ".jinja")
#: Folders of other forms of the same weights.
_OTHER_FORMS = {"original", "onnx", "openvino", "metal", "coreml"}
_SAY_EVERY_S = 0.5
_PART = 2**20


class Unfetched(Exception):
    """Why the weights are not there; the message is a phrase."""


def fetch(name: str, revision: str, out: Path, say: Callable[[Said], None]) -> None:
    """Have the weights in `out`; raises `Unfetched`, and what the hub's client raises, and OSError."""
    files = _wanted(name, revision)
    sizes = {file.rfilename: file.size or 0 for file in files}
    draft = out.with_name(DRAFT)
    draft.mkdir(parents=True, exist_ok=True)
    total = sum(sizes.values())
    if (lack := lack_of_room(draft, "its disk", total, _bytes_in(draft))) is not None:
        raise Unfetched(lack)
    done = threading.Event()
    saying = threading.Thread(target=_say_how_far, args=(draft, total, say, done), daemon=True)
    saying.start()
    try:
        snapshot_download(name, revision=revision, local_dir=draft, allow_patterns=[*sizes])
    finally:
        done.set()
        saying.join()
    for file in files:
        _check(draft / file.rfilename, file)
    # What the client remembers of its downloads.
    shutil.rmtree(draft / ".cache", ignore_errors=True)
    draft.rename(out)


def _wanted(name: str, revision: str) -> list[RepoSibling]:
    """The files of a model that an engine loads, with their sizes."""
    found = HfApi().model_info(name, revision=revision, files_metadata=True).siblings or []
    taken = [file for file in found if _is_taken(file.rfilename)]
    if not any(file.rfilename.endswith(".safetensors") for file in taken):
        raise Unfetched("the hub has no safetensors of it at this revision")
    return taken


def _is_taken(path: str) -> bool:
    *folders, file = path.split("/")
    inside = not any(part.startswith(".") or part in _OTHER_FORMS for part in folders)
    return inside and not file.startswith(".") and file.endswith(_TAKEN)


def _check(path: Path, file: RepoSibling) -> None:
    """That a file is what the hub says it is. Raises `Unfetched`."""
    if file.lfs is None:
        return
    state = hashlib.sha256()
    with path.open("rb") as opened:
        while part := opened.read(_PART):
            state.update(part)
    if state.hexdigest() != file.lfs.sha256:
        path.unlink()
        raise Unfetched(f"{file.rfilename} arrived damaged; it is fetched anew at the next try")


def _say_how_far(folder: Path, total: int, say: Callable[[Said], None], done: threading.Event) -> None:
    while not done.wait(_SAY_EVERY_S):
        say(Said(min(total, _bytes_in(folder)), total))


def _bytes_in(folder: Path) -> int:
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                yield path.stat().st_size
        except FileNotFoundError:
            # The client has just given it its name.
            continue


def _why(problem: Exception) -> str:
    """What the hub, the network or the machine has against it, in a phrase."""
    if isinstance(problem, GatedRepoError):
        return "the hub gives them only to those who accepted the licence, and the token is of none of them"
    if isinstance(problem, RevisionNotFoundError):
        return "the hub does not have this revision"
    if isinstance(problem, RepositoryNotFoundError):
        return "the hub has no model of this name, or not for this token"
    if isinstance(problem, HfHubHTTPError):
        return f"the hub answers {problem.response.status_code}"
    if isinstance(problem, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set"
    if isinstance(problem, LocalEntryNotFoundError):
        return "the hub does not answer"
    if isinstance(problem, OSError) and problem.strerror:
        return f"this machine refuses it: {problem.strerror}"
    said = " ".join(str(problem).split())[:200]
    return said if isinstance(problem, Unfetched) else f"the hub does not answer ({said or type(problem).__name__})"


def _print(said: Said) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(said) + b"\n")
    sys.stdout.buffer.flush()


def main(name: str, revision: str, out: Path) -> int:
    """Fetch, and say how that ended."""
    try:
        fetch(name, revision, out, _print)
    except Exception as problem:  # noqa: BLE001 - the client raises what its HTTP library does, which it has changed twice
        _print(Said(why=_why(problem)))
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != _ARGUMENTS:
        sys.exit("usage: python -m harmonia_compiler.runtime.worker.fetch_weights NAME REVISION OUT")
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
