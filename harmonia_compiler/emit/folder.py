"""Puts files into a bundle's folder: all of them, or none where something fails before the first takes its place."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from harmonia_compiler.contract.bundle import FORMAT_VERSION, Contents
from harmonia_compiler.contract.document import decode_versioned, encode_document
from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular, real
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected

CONTENTS = "bundle.json"

#: In the folder in which a bundle's files are first: what its writer locks, and the listing until all are in place.
_LOCK, _BEGUN = ".lock", ".begun"


def write_files(out: Path, files: Mapping[str, bytes], target: str, check: Callable[[], None] = lambda: None) -> None:
    """Make `out` a bundle of exactly these files, beside what a service keeps there (`run`, `data`).

    Everything is first written into a folder beside it, so that a full disk leaves an older bundle as it
    was; then each file takes the place of its forerunner. As long as it does, the listing says so: where that is
    cut off, or fails, nobody takes the folder for a whole bundle, and the next call completes it. Calls for one folder
    wait for each other, and `check` is called once nobody else may write it. Raises `Rejected` where `out` is something
    else than a bundle, holds somebody else's file where one has its place, or cannot be written, and what `check`
    raises.
    """
    _check_place(out)
    is_begun = False
    try:
        with _held(out):
            check()
            before = _checked(out)
            names = tuple(sorted(files))
            listing = encode_document(Contents(target, names))
            begun = encode_document(Contents(target, tuple(sorted({*before, *names})), being_written=True))
            _check_own(out, files, before)
            _check_room_for(out, (*names, CONTENTS), set(before) - set(names))
            with _staged(out) as staged:
                for name, content in {**files, CONTENTS: listing, _BEGUN: begun}.items():
                    (staged / name).parent.mkdir(parents=True, exist_ok=True)
                    (staged / name).write_bytes(content)
                (staged / _BEGUN).replace(out / CONTENTS)
                is_begun = True
                for name in names:
                    _parent_within(out, name).mkdir(parents=True, exist_ok=True)
                    (staged / name).replace(out / name)
                _remove(out, set(before) - set(names))
                (staged / CONTENTS).replace(out / CONTENTS)
    except OSError as problem:
        if is_begun:
            message = f"`{out}` is no whole bundle, since the rest cannot be written: {problem.strerror}"
            raise _refused(message, "see to that and compile it again, or name another folder with --out") from problem
        raise _refused(f"`{out}` cannot be written: {problem.strerror}", "name another folder with --out") from problem


def is_bundle(folder: Path) -> bool:
    """Whether a compilation put it there; not, where its listing cannot be read or is of another tool."""
    try:
        _listed(folder)
    except (OSError, msgspec.MsgspecError):
        return False
    return True


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder, made where it is absent, for nobody else to write as long as the block runs.

    Where nothing comes of it, what was made is removed.
    """
    made, folder = _locked(out)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for each in made:
                each.rmdir()
        raise
    finally:
        os.close(folder)


def _locked(out: Path) -> tuple[list[Path], int]:
    """What of its path was made, and the descriptor by which the folder is locked.

    Whoever was waited for may have removed the folder, which it had made: then it is made anew.
    """
    while True:
        made = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
            is_held = False
            try:
                # Where a file system has no locks, nothing keeps others off.
                with contextlib.suppress(OSError):
                    fcntl.flock(folder, fcntl.LOCK_EX)
                is_held = os.path.samestat(os.fstat(folder), out.stat())
            finally:
                if not is_held:
                    os.close(folder)
            if is_held:
                return made, folder


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A new folder beside `out` for as long as the block runs, and none that somebody left who was killed in it."""
    # Beside it also where it is named as `.`: of what is left within a folder nobody could tell whose it is.
    place = real(out)
    begins = f".{place.name[:48]}.harmoniac-"
    for left in [path for path in place.parent.iterdir() if path.name.startswith(begins)]:
        if _is_left(left / _LOCK):
            shutil.rmtree(left, ignore_errors=True)
    staged = Path(tempfile.mkdtemp(prefix=begins, dir=place.parent))
    try:
        with (staged / _LOCK).open("wb") as lock:
            # Where a file system has no locks, what is left stays.
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _is_left(lock: Path) -> bool:
    """Whether the file is there and whoever locked it is gone."""
    try:
        with lock.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _listed(folder: Path) -> tuple[str, ...]:
    """The files that the listing of a bundle names. Raises OSError or MsgspecError where it has none that says so."""
    listing = read_regular(folder / CONTENTS, MOST_DOCUMENT_BYTES)
    return decode_versioned(listing, Contents, 1, FORMAT_VERSION).files


def _check_place(out: Path) -> None:
    """Raise `Rejected` where there is no folder and none can be made."""
    if out.is_symlink():
        raise _refused(f"`{out}` is a link", "name the folder itself, new or one that holds a bundle, with --out")
    if out.exists() and not out.is_dir():
        raise _refused(f"`{out}` is no folder", "name a new folder, or one that holds a bundle, with --out")
    _check_writable(out)


def _check_writable(folder: Path) -> None:
    """Raise `Rejected` where nothing can be made in a folder, or in the nearest one above it that there is."""
    nearest = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise _refused(f"`{nearest}` cannot be written", "name another folder with --out")


def _checked(out: Path) -> tuple[str, ...]:
    """The files that an earlier compilation put there; none where the folder is empty."""
    listing = out / CONTENTS
    if listing.is_file():
        # What cannot be read may be the user's own: many a tool calls something of its own a bundle.
        try:
            return _listed(out)
        except (OSError, msgspec.MsgspecError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else problem
            step = "name a new folder with --out; if this was a bundle, move its `run/` and `data/` there"
            raise _refused(f"`{listing}` does not say what a bundle holds: {why}", step) from None
    if any(out.iterdir()):
        raise _refused(f"`{out}` holds other files and is no bundle", "name a new or empty folder with --out")
    return ()


def _check_own(out: Path, files: Mapping[str, bytes], before: Iterable[str]) -> None:
    """Raise `Rejected` for a file that no compilation put there; one with what is to be written is as good as ours."""
    for name in sorted(files.keys() - set(before)):
        path = out / name
        if path.is_symlink() or (path.is_file() and path.read_bytes() != files[name]):
            raise _refused(f"`{path}` is not of the bundle", "move it away, or name another folder with --out")


def _check_room_for(out: Path, names: Iterable[str], gone: Iterable[str]) -> None:
    """Raise `Rejected` for what would stop the work when some files have taken their places already."""
    for name in names:
        parent = _parent_within(out, name)
        if (out / name).is_dir():
            raise _refused(f"`{out / name}` is a folder", "move it away, or name another folder with --out")
        _check_writable(parent)
    for name in gone:
        _parent_within(out, name)


def _parent_within(out: Path, name: str) -> Path:
    """The folder that a file goes into; raises `Rejected` where a link leads out of the bundle."""
    parent = (out / name).parent
    if not real(parent).is_relative_to(real(out)):
        raise _refused(f"`{parent}` leads out of the bundle", "remove the link, or name another folder with --out")
    return parent


def _remove(out: Path, names: set[str]) -> None:
    """Remove files of the earlier bundle that this one has not, and the folders that only they were in."""
    for name in sorted(names):
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            continue
        (_parent_within(out, name) / path.name).unlink(missing_ok=True)
        for folder in (out / name).parents:
            if folder == out or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()


def _refused(message: str, step: str) -> Rejected:
    return Rejected([Diagnostic("E0901", message, help=step)])
