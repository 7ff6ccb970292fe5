"""One ingestion at a time for each collection of a service.

The kernel holds the lock and lets go of it however its process ends, so that none is ever stale.
It keeps apart what is started with the same bundle; a store that several bundles share is up to them.
"""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.owning import name_of

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@contextmanager
def locked(folder: Path, collection: str) -> Iterator[None]:
    """Hold the collection's lock in the folder; raises `Rejected` where another process does.

    The folder is there where the bundle runs; what only a Milvus of somebody else's is asked for need not run.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"ingest-{collection}.lock"
    while True:
        opened = _opened(path, collection)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            owner = os.read(opened, 32).decode() or "unknown"
            os.close(opened)
            message = f"another ingestion into `{collection}` is running (process {owner})"
            raise Rejected([Diagnostic("E1010", message, help="wait until it ends, then run this again")]) from held
        if _is_still_there(path, opened):
            break
        os.close(opened)
    try:
        os.truncate(opened, 0)
        os.write(opened, str(os.getpid()).encode())
        yield
    finally:
        if _is_still_there(path, opened):
            path.unlink()
        os.close(opened)


def _opened(path: Path, collection: str) -> int:
    """The lock's file, made where it is missing. Raises `Rejected` where another user left it, or it is no such file.

    What root makes in a folder of a user's is the user's, who could not open it after an ingestion that was killed.
    Where that user has put a link there, what it leads to is neither emptied nor given away.
    """
    while True:
        with suppress(FileExistsError):
            opened = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            if os.geteuid() == 0:
                folder = path.parent.stat()
                os.fchown(opened, folder.st_uid, folder.st_gid)
            return opened
        try:
            opened = os.open(path, _FLAGS)
        except FileNotFoundError:
            continue  # its last holder has just removed it
        except PermissionError:
            owner = name_of(path.lstat().st_uid)
            message = f"`{path}` is of the user {owner}, who ingests or ingested into `{collection}`"
            step = f"where no ingestion of theirs runs, remove it: `rm -f {shell_word(path)}`"
            raise Rejected([Diagnostic("E1010", message, help=step)]) from None
        except OSError:
            raise _no_lock(path, collection) from None
        found = os.fstat(opened)
        if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
            return opened
        os.close(opened)
        raise _no_lock(path, collection)


def _no_lock(path: Path, collection: str) -> Rejected:
    message = f"`{path}` stands where ingestions into `{collection}` have their lock, and is none"
    return Rejected([Diagnostic("E1010", message, help=f"remove it: `rm -rf {shell_word(path)}`")])


def _is_still_there(path: Path, opened: int) -> bool:
    """Whether the file that was locked is the one at the path: its last holder may just have removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False
