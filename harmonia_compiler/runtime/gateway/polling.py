"""A file that another process replaces now and then, and that is looked at again and again."""

from pathlib import Path

from harmonia_compiler.contract.regular import MOST_DOCUMENT_BYTES, read_regular

#: How often files are looked at, in seconds.
POLL_S = 0.5

_Stamp = tuple[int, int, int]


class Polled:
    """One such file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: _Stamp | None = None

    def news(self) -> bytes | None:
        """What the file holds; None where it is the same as last time, or there is none. Raises OSError."""
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp == self._stamp:
                return None
            self._stamp = stamp
            return read_regular(self._path, MOST_DOCUMENT_BYTES)
        except FileNotFoundError:
            return None

    def forget(self) -> None:
        """Let what was read last be news again."""
        self._stamp = None
