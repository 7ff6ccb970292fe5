"""The files of a service's generations, kept below `run/generations` as they were when each was asked for.

What runs is started, and started again, from there: whatever becomes of the folder that a bundle came from, the
generation stays what it was. The service's own folder holds the files of the one that serves.
"""

import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harmonia_compiler.contract.generations import FOLDER, folder_of
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.bundle import CONTENTS, PLAN, PROCESSES, SERVICE, read_contents

#: Where a generation has the user's own Python, as the bundle had it.
CODE = "code"

_DOCUMENTS = (PLAN, SERVICE, PROCESSES, CONTENTS)


def files_of(bundle: Path) -> dict[str, bytes]:
    """The files that make a bundle, by their names in it; raises `Rejected`."""
    listed = read_contents(bundle).files
    found: dict[str, bytes] = {}
    for name in dict.fromkeys((*_DOCUMENTS, *listed)):
        path = PurePosixPath(name)
        try:
            if path.is_absolute() or ".." in path.parts:
                raise _unusable(bundle, name, "it leads out of the bundle")
            found[name] = read_regular(bundle / name, MOST_DOCUMENT_BYTES)
        except FileNotFoundError as problem:
            if name in _DOCUMENTS:
                raise _unusable(bundle, name, "it is not there") from problem
        except OSError as problem:
            raise _unusable(bundle, name, problem.strerror or "it cannot be read") from problem
    return found


def keep(run: Path, files: Mapping[str, bytes]) -> int:
    """Put the files of one more generation there; its number, above all others. Raises OSError."""
    parent = run / FOLDER
    parent.mkdir(mode=0o700, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".", dir=parent))
    try:
        for name, content in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_bytes(content)
        for number in itertools.count(max(numbers(run), default=0) + 1):
            try:
                draft.rename(folder_of(run, number))
            except OSError:
                # Somebody else has just taken the number.
                if not folder_of(run, number).exists():
                    raise
            else:
                return number
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    raise AssertionError("numbers do not end")


def numbers(run: Path) -> list[int]:
    """The generations that there are files of."""
    found = (run / FOLDER).iterdir() if (run / FOLDER).is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdecimal())


def forget(run: Path, number: int) -> None:
    """Remove the files of a generation that nobody goes back to."""
    shutil.rmtree(folder_of(run, number), ignore_errors=True)


def digest_of_code(files: Mapping[str, bytes]) -> str:
    """A name for the user's own Python in a bundle; equal where it is."""
    code = sorted((name, hashlib.sha256(content).hexdigest()) for name, content in files.items() if _is_code(name))
    return hashlib.sha256(repr(code).encode()).hexdigest() if code else ""


def _is_code(name: str) -> bool:
    return PurePosixPath(name).parts[0] == CODE


def _unusable(bundle: Path, name: str, why: str) -> Rejected:
    return Rejected([Diagnostic("E0905", f"`{bundle / name}` cannot be used: {why}", help="compile the bundle again")])
