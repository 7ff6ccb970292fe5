"""Puts a generation's files into the service's own folder, which is to hold those of the one that serves.

Each file takes the place of its forerunner, one after the other. Whoever is killed amid that leaves a folder of two
generations, of which nothing can be started. So it is said before what is about to be done, and whoever starts or stops
the service next completes it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.generations import Number, folder_of
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular, write_whole
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emit.folder import write_files
from harmonia_compiler.runtime.actuators.supervision.snapshot import files_of
from harmonia_compiler.runtime.bundle import CONTENTS, read_contents

#: Below `run/`, as long as files are being put there.
INSTALLING = "installing.json"


class Installing(msgspec.Struct, frozen=True):
    """The files of generation `to` take the places of others; `before` are digests of those, by their names."""

    to: Number
    before: dict[str, str]


def install(bundle: Path, run: Path, number: int, files: Mapping[str, bytes]) -> None:
    """Make the service's folder hold this generation's files; raises `Rejected` or OSError where it does not yet."""
    contents = read_contents(bundle)
    names = {*contents.files, *files}
    before = {name: found for name in sorted(names) if (found := _digest(bundle / name))}
    mark = run / INSTALLING
    write_whole(mark, msgspec.json.encode(Installing(number, before)))
    write_files(bundle, {name: content for name, content in files.items() if name != CONTENTS}, contents.target)
    mark.unlink(missing_ok=True)


def complete(bundle: Path, run: Path) -> None:
    """End an installation that was cut off; the caller holds the service's lock.

    Where somebody has changed a file since, as by compiling into the folder again, that is what the folder is to hold.
    Raises `Rejected` or OSError where it cannot be ended.
    """
    mark = run / INSTALLING
    try:
        begun = decode_document(read_regular(mark, MOST_DOCUMENT_BYTES), Installing)
        files = files_of(folder_of(run, begun.to))
    except FileNotFoundError:
        return
    except (OSError, msgspec.MsgspecError, Rejected):
        mark.unlink(missing_ok=True)
        return
    after = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    names = {*begun.before, *after} - {CONTENTS}
    if all(_digest(bundle / name) in {begun.before.get(name, ""), after.get(name, "")} for name in names):
        install(bundle, run, begun.to, files)
    mark.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    """A name for what a file holds; empty where there is none that can be read."""
    try:
        return hashlib.sha256(read_regular(path, MOST_DOCUMENT_BYTES)).hexdigest()
    except OSError:
        return ""
