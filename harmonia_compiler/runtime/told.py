"""Being told by a signal to end: what a process of ours waits for between two looks.

A handler may run while its own thread is within the wait. One that sets a `threading.Event` then wants the lock which
that thread holds, and both wait for ever; a byte in a pipe wants none.
"""

import os
import select
import signal


class Told:
    """Whether SIGTERM or SIGINT has come; made in the main thread, which takes their handlers."""

    def __init__(self) -> None:
        self._heard, self._tell = os.pipe()
        self._is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def is_set(self) -> bool:
        """Whether one has come."""
        return self._is_set

    def wait(self, timeout: float) -> bool:
        """Wait for one, for so many seconds at most; whether one has come."""
        if not self._is_set:
            select.select([self._heard], [], [], max(0.0, timeout))
        return self._is_set

    def _note(self, *_: object) -> None:
        if not self._is_set:
            self._is_set = True
            os.write(self._tell, b"\0")
