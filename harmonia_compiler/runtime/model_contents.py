"""What the folder of a local model holds: the revision that says it, and whether the folder still does.

A model that a hub gave is known by its commit. One that lies in a folder of the user's has none, so that its revision
is a digest of all that an engine may read there, by name and by content: what a collection was embedded with is told by
it. Folders are linked to and edited, and so are looked at before each start. What was read once is remembered beside
the card, by what the file system says of each file, as long as that cannot have stayed the same by chance.

    python -m harmonia_compiler.runtime.model_contents FOLDER REVISION COMMAND...

becomes the command where the folder holds that revision, and ends with one line and exit code 1 where it does not:
containers are started again by whoever runs them, and not by us.
"""

import errno
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, open_regular, read_regular, write_whole

#: What was read of a model's files, in its folder of the store.
REMEMBERED = "contents.json"

_LOCAL = re.compile(r"local-[0-9a-f]{16}")
#: Folders of other forms of the same weights, and ends of names of what is for people: no engine reads them.
_OTHER_FORMS = frozenset({"original", "onnx", "openvino", "metal", "coreml"})
_FOR_PEOPLE = (".md", ".rst", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg")
_PART = 2**20
#: A file that was changed so shortly before it was read may change again without another time of change: a file system
#: counts in steps. In nanoseconds.
_YOUNG_NS = 3 * 10**9


class _Seen(msgspec.Struct, frozen=True):
    """A file as the file system told of it when it was read, and what it held then."""

    stat: tuple[int, int, int, int, int]
    digest: str

    @property
    def changed_ns(self) -> int:
        """When the file system last saw it changed, which nobody sets."""
        return self.stat[-1]


def is_digest(revision: str) -> bool:
    """Whether a revision says what a folder holds."""
    return _LOCAL.fullmatch(revision) is not None


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a model's folder that an engine may read, by their path in it, in its order; links are followed.

    Raises OSError where a folder cannot be listed.
    """
    try:
        return dict(sorted(_files(folder, "", frozenset())))
    except RecursionError as problem:
        raise OSError(errno.ELOOP, "folders in it lie too deep in one another", str(folder)) from problem


def revision_of(folder: Path, remembered: Path | None = None) -> str:
    """The revision of the model that a folder holds: `local-` and 16 hex digits; raises OSError.

    What was read earlier is taken from the file `remembered`, which is renewed where it can be written.
    """
    old_enough = time.time_ns() - _YOUNG_NS
    known = {} if remembered is None else _read(remembered)
    named = {_as_text(name): path for name, path in files_of(folder).items()}
    found = {name: _look(path, known.get(name)) for name, path in named.items()}
    if remembered is not None:
        kept = {name: seen for name, seen in found.items() if seen.changed_ns < old_enough}
        if kept != known:
            # Whoever may not write there reads again.
            with suppress(OSError):
                write_whole(remembered, msgspec.json.encode(kept))
    state = hashlib.sha256(msgspec.json.encode([(name, seen.digest) for name, seen in found.items()]))
    return f"local-{state.hexdigest()[:16]}"


def _as_text(name: str) -> str:
    """A name as text that can be written down: of one that is no UTF-8 its bytes, behind what no other name holds."""
    written = os.fsencode(name)
    try:
        return written.decode("utf-8")
    except UnicodeDecodeError:
        return f"\0{written.hex()}"


def _files(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, Path]]:
    """The same within a folder; a link to one of those `above`, which has no end, is not followed."""
    inside = above | {_identity(folder.stat())}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = Path(entry.path)
            if entry.is_file():
                if not entry.name.lower().endswith(_FOR_PEOPLE):
                    yield prefix + entry.name, path
            elif entry.is_dir() and entry.name not in _OTHER_FORMS and _identity(entry.stat()) not in inside:
                yield from _files(path, f"{prefix}{entry.name}/", inside)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _look(path: Path, known: _Seen | None) -> _Seen:
    with open_regular(path) as file:
        if known is not None and known.stat == _stat(file.fileno()):
            return known
        state = hashlib.sha256()
        while part := file.read(_PART):
            state.update(part)
        # What changed meanwhile is young, and so is read again.
        return _Seen(_stat(file.fileno()), state.hexdigest())


def _stat(descriptor: int) -> tuple[int, int, int, int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(remembered: Path) -> dict[str, _Seen]:
    try:
        return decode_document(read_regular(remembered, MOST_DOCUMENT_BYTES), dict[str, _Seen])
    except (OSError, msgspec.MsgspecError):
        return {}


def main() -> None:
    """Look at the folder and become the command."""
    folder, revision, *command = sys.argv[1:]
    try:
        now = revision_of(Path(folder))
        if now != revision:
            sys.exit(f"{folder} does not hold any more what it was compiled for: {now} in place of {revision}")
        os.execvp(command[0], command)  # noqa: S606 - the words are the bundle's own
    except OSError as problem:
        sys.exit(f"{folder} cannot be read: {problem}")


if __name__ == "__main__":
    main()
