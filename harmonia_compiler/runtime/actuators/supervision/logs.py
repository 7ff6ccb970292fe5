"""The logs of the processes that run: one that somebody removes is begun anew.

A process writes on into a file that is in no folder any more, where nobody finds it. So each is held open here as well,
and what comes is carried to where it is looked for.
"""

import os
from pathlib import Path

from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND

#: How much is carried at once, in bytes.
_PART = 1 << 20


class Logs:
    """The logs that processes of one service write to."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._held: dict[str, _Log] = {}

    def open(self, name: str) -> int:
        """The descriptor of a process's log, for its next life; it stays this object's. Raises OSError."""
        if name in self._held:
            self._held[name].keep()
            self._held.pop(name).close()
        self._held[name] = _Log(self._run.log_of(name))
        return self._held[name].descriptor

    def keep(self) -> None:
        """Put each log in its place; raises OSError where that cannot be."""
        for log in self._held.values():
            log.keep()


class _Log:
    """One log, from when a process was started with it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = self._open()
        self._seen = os.fstat(self.descriptor).st_size

    def keep(self) -> None:
        """Where the file is not in its place any more, write there what came since the last look."""
        size = os.fstat(self.descriptor).st_size
        if self._is_in_place():
            self._seen = size
            return
        self._seen = min(self._seen, size)
        with os.fdopen(self._open(), "ab") as anew:
            while part := os.pread(self.descriptor, _PART, self._seen):
                self._seen += anew.write(part)

    def close(self) -> None:
        os.close(self.descriptor)

    def _open(self) -> int:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(self._path, _FLAGS, 0o600)

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self.descriptor), self._path.stat())
        except FileNotFoundError:
            return False
