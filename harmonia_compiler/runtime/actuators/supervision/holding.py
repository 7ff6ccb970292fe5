"""What a supervisor has in its run directory, lock, files and logs: put back where somebody removes or changes them."""

import contextlib
import os
from collections.abc import Mapping

from harmonia_compiler.runtime.actuators.supervision.logs import Logs
from harmonia_compiler.runtime.actuators.supervision.pids import Ident, is_alive
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.bundle import SUPERVISOR

#: What tells a file that was written from any other of its name.
_Stamp = tuple[int, int]


class Holding:
    """The run directory of one supervisor, from when it has the lock."""

    def __init__(self, run: RunDirectory, lock: int, holder: Ident) -> None:
        self.run, self._lock, self._holder = run, lock, holder
        #: Whether another supervisor has the lock now: then nothing here is this one's any more.
        self.is_lost = False
        self.logs = Logs(run)
        self.logs.open(SUPERVISOR)
        self._written: dict[str, tuple[bytes, _Stamp | None]] = {}

    def write(self, documents: Mapping[str, bytes]) -> None:
        """Write what changed, and what is no longer as it was written; raises OSError."""
        for name, content in documents.items():
            if self.is_lost:
                return
            found = self._stamp(name)
            if found is None or self._written.get(name) != (content, found):
                self.run.write(name, content)
                self._written[name] = content, self._stamp(name)

    def keep(self) -> None:
        """Take the lock anew where its file was removed, and begin anew the logs that were; raises OSError.

        A lock that somebody only borrows, to look or to clean up, is waited for.
        """
        self.logs.keep()
        if not self.run.is_lock(self._lock):
            again = self.run.try_lock()
            if again is None:
                other = self.run.holder()
                self.is_lost = other is not None and other != self._holder and is_alive(other)
                return
            os.close(self._lock)
            self._lock = again
        if self.run.holder() != self._holder:
            self.run.sign(self._lock, self._holder)

    def leave(self) -> None:
        """See that also the last words of all processes are in the logs, where those are this supervisor's."""
        if not self.is_lost:
            with contextlib.suppress(OSError):
                self.logs.keep()

    def _stamp(self, name: str) -> _Stamp | None:
        try:
            found = (self.run.path / name).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
