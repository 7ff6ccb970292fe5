"""Files that a command writes: none of them may be one that it reads, and each is written by one function."""

import contextlib
import errno
import os
import select
import stat
import sys
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

import click

from harmonia_compiler.cli.options import GivenPath, OutFile
from harmonia_compiler.contract.regular import real, write_whole
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected

#: Links that lead to a descriptor: there is one of `/dev/stdout`, and a user may have one to that.
_MOST_LINKS = 8


def refuse_overwriting(read: Iterable[Path] = ()) -> None:
    """Raise `Rejected` where an output of the command at hand is one of its inputs, or two outputs are one file.

    Outputs are the options that take an `OutFile`. Inputs are all other paths of the command line, folders with what
    is in them, and what else it has `read`. To be called before anything is written.
    """
    context = click.get_current_context()
    outputs: list[tuple[str, Path]] = []
    inputs = [*read]
    for parameter in context.command.params:
        paths = list(_paths(context.params.get(parameter.name or "")))
        if isinstance(parameter.type, OutFile):
            outputs += [(parameter.opts[0], path) for path in paths]
        elif isinstance(parameter.type, GivenPath):
            inputs += paths
    for option, path in outputs:
        if found := next((one for one in inputs if _is_in(path, one)), None):
            does = f"overwrite `{path}`" if _is_same(path, found) else f"write into `{found}`"
            message = f"`{option}` would {does}, which is read"
            raise Rejected([Diagnostic("E1134", message, help=f"name another file with `{option}`")])
    for (first, path), (second, other) in combinations(outputs, 2):
        if _is_in(path, other):
            message = f"`{first}` and `{second}` would both write `{path}`"
            raise Rejected([Diagnostic("E1134", message, help="name two files")])


def write_output(path: Path, content: bytes) -> None:
    """Write a file that the command was told to write. Raises `Rejected` or `OSError`, either with the path.

    A pipe is written to where somebody reads it, and not waited for. What stdout or stderr goes to is written to as
    what is printed is, and so after what was: opened anew, either would overwrite the other. So is what another
    descriptor of ours goes to, as with `/dev/fd/3`: whoever opened it may append to it, or let nobody write. A file
    that is there is replaced as a whole, so that it stays as it was where there is no room, and of a new one nothing
    is left then.
    """
    held = _held(path)
    if held is None and _is_replaceable(path) and _is_replaced(path, content):
        return
    is_new = not path.exists()
    with open(path if held is None else held, "wb", opener=_without_waiting, buffering=0) as file:
        if held is None:
            os.set_blocking(file.fileno(), True)
        left = memoryview(content)
        try:
            while left:
                written: int | None = file.write(left)
                if written is None:
                    # Who shares the pipe made it one that does not wait.
                    select.select([], [file], [])
                left = left[written or 0 :]
        except OSError as problem:
            if is_new:
                real(path).unlink(missing_ok=True)
            raise _unwritable(path, problem) from None


def _is_replaced(path: Path, content: bytes) -> bool:
    """Put a file in the place of one; whether that could be done, as it cannot where another disk begins there."""
    place = real(path)
    try:
        write_whole(place, content, stat.S_IMODE(place.stat().st_mode))
    except OSError as problem:
        if problem.errno == errno.EBUSY:
            return False
        raise _unwritable(path, problem) from None
    return True


def _unwritable(path: Path, problem: OSError) -> Rejected:
    steps = {
        errno.EPIPE: "see that whoever reads it reads to its end, or name a file",
        errno.EBADF: "open it for writing, or name a file",
    }
    step = steps.get(problem.errno or 0, "make room there, or name another file")
    return Rejected([Diagnostic("E1131", f"`{path}` cannot be written: {problem.strerror}", help=step)])


def _is_replaceable(path: Path) -> bool:
    """Whether another file may take its place: nobody else's, of no other name or group, in a folder that takes it.

    Nor one that has attributes, as a list of who may read it is, which another one would not have.
    """
    place = real(path)
    try:
        found, folder = place.stat(), place.parent.stat()
    except OSError:
        return False
    group = folder.st_gid if folder.st_mode & stat.S_ISGID else os.getegid()
    is_own = stat.S_ISREG(found.st_mode) and (found.st_uid, found.st_gid) == (os.geteuid(), group)
    is_alone = found.st_nlink == 1 and not _has_attributes(place)
    return is_own and is_alone and os.access(place, os.W_OK) and os.access(place.parent, os.W_OK | os.X_OK)


def _has_attributes(place: Path) -> bool:
    """Whether somebody gave a file attributes, or its folder such as a new file there is given.

    What the system gives each by itself, another one is given too.
    """
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError):
        own = any(name.startswith(("user.", "system.posix_acl_")) for name in os.listxattr(place))
        return own or "system.posix_acl_default" in os.listxattr(place.parent)
    return False


def is_no_file(path: Path) -> bool:
    """Whether there is something that is written to and not replaced, as a pipe or a device."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _paths(given: object) -> Iterator[Path]:
    for one in given if isinstance(given, tuple) else (given,):
        if isinstance(one, Path):
            yield one


def _is_in(path: Path, other: Path) -> bool:
    """Whether writing the one changes the other, by whatever names, or something in it where that is a folder."""
    if is_no_file(path):
        return False
    return _is_same(path, other) or real(path).is_relative_to(real(other))


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:
        # One that is not there yet is known by where it would be.
        return real(path) == real(other)


def _held(path: Path) -> int | None:
    """A descriptor of its own for what is open already: where the path names one, or leads to what is printed to."""
    named = _descriptor(path)
    if (named, None) in ((1, sys.__stdout__), (2, sys.__stderr__)):
        # What has its number since goes nowhere.
        raise _unwritable(path, OSError(errno.EBADF, os.strerror(errno.EBADF)))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            number = stream.fileno()
            found = os.fstat(number)
            if number == named or (stat.S_ISREG(found.st_mode) and os.path.samestat(found, path.stat())):
                stream.flush()
                return os.dup(number)
    return None if named is None else os.dup(named)


def _descriptor(path: Path) -> int | None:
    """The number of the open descriptor that a path names, as `/dev/fd/3` and `/dev/stdout` do."""
    folders = [os.path.realpath(folder) for folder in ("/proc/self/fd", "/dev/fd")]
    # A descriptor looks like a link to what it goes to, which is not to be followed.
    for _ in range(_MOST_LINKS):
        if os.path.realpath(path.parent) in folders and path.name.isdecimal():
            return int(path.name) if path.exists() else None
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _without_waiting(name: str, flags: int) -> int:
    try:
        return os.open(name, flags | os.O_NONBLOCK, 0o666)
    except OSError as problem:
        if problem.errno != errno.ENXIO:
            raise
        message = f"`{name}` cannot be written: nobody reads from it"
        raise Rejected([Diagnostic("E1131", message, help="start what reads it first, or name a file")]) from None
