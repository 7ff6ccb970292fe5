"""One ingestion at a time for each collection of a service.

The kernel holds the lock and lets go of it however its process ends, so that none is ever stale.
It keeps apart what is started with the same bundle; a store that several bundles share is up to them.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected


@contextmanager
def locked(folder: Path, collection: str) -> Iterator[None]:
    """Hold the collection's lock in the folder; raises `Rejected` where another process does.

    The folder is there where the bundle runs; what only a Milvus of somebody else's is asked for need not run.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"ingest-{collection}.lock"
    while True:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


def _is_still_there(path: Path, opened: int) -> bool:
    """Whether the file that was locked is the one at the path: its last holder may just have removed it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False
