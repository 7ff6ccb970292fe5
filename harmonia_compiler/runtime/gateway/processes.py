"""Several processes that are one gateway: started, watched, and stopped together.

They are copies of this one, made once everything is read, so that they share its memory, and what cannot be used is
said once. This one serves nothing. A process that is killed is started again; one that ends by itself had a reason that
a new one would have as well, and ends all. If this one is killed, the others end at once: they learn it from a pipe.
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import NoReturn

from harmonia_compiler.runtime.gateway.logs import log, log_bug

#: How long one that was killed is waited with, so that a machine without memory is not kept busy by it.
PAUSE_S = 1.0
#: Tells one of them to end what runs. Another SIGTERM does not: where all of a group are told to stop, each of them is
#: told so by this process as well.
CUT = signal.SIGUSR1
_TO_STOP = (signal.SIGTERM, signal.SIGINT)


class Processes:
    """`serve` is what each of them does, given its number; it returns at a signal to stop.

    Nobody can connect to what they are `listening` on once they all have stopped accepting: this one has it open, too.
    """

    def __init__(self, count: int, serve: Callable[[int], None], listening: Sequence[socket.socket]) -> None:
        self._count, self._serve, self._listening = count, serve, listening
        self._numbers: dict[int, int] = {}
        self._stopping = self._is_told = False
        # Nobody writes into it: the end that writes is closed when this process ends, however it does.
        self.alive, self._open = os.pipe()

    def run(self) -> int:
        """Run them until a signal to stop; the code to exit with."""
        for sent in _TO_STOP:
            signal.signal(sent, self._stop)
        for number in range(self._count):
            self._start(number)
        code = 0
        while self._numbers:
            pid, status = os.wait()
            if pid in self._numbers:
                code = max(code, self._ended(self._numbers.pop(pid), os.waitstatus_to_exitcode(status)))
        return code

    def _ended(self, number: int, code: int) -> int:
        """What becomes of the others now that one has ended; with which code all of it ends for its part."""
        if self._stopping:
            return max(0, code)
        log("process_ended", number=number, code=code)
        if code >= 0:
            self._stop()
            return code
        time.sleep(PAUSE_S)
        self._start(number)
        return 0

    def _start(self, number: int) -> None:
        # A signal in between would be taken by a process that is no longer this one, and not yet another.
        signal.pthread_sigmask(signal.SIG_BLOCK, _TO_STOP)
        if not self._stopping:
            pid = os.fork()
            if not pid:
                self._become(number)
            self._numbers[pid] = number
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_STOP)

    def _become(self, number: int) -> NoReturn:
        """From here on this is one of them."""
        for sent in _TO_STOP:
            signal.signal(sent, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TO_STOP)
        os.close(self._open)
        try:
            self._serve(number)
        except BaseException as bug:  # noqa: BLE001 - whatever it is, the copy must not go on as what it was copied from
            log_bug("process_bug", bug, number=number)
            os._exit(1)
        os._exit(0)

    def _stop(self, sent: int = 0, _: object = None) -> None:
        """Tell all to stop and, at another SIGTERM, to end what runs. Ctrl-C reaches them by itself."""
        tell = CUT if self._is_told and sent == signal.SIGTERM else signal.SIGTERM
        self._stopping, self._is_told = True, self._is_told or sent == signal.SIGTERM
        for one in self._listening:
            one.close()
        for pid in tuple(self._numbers):
            os.kill(pid, tell)


def end_with(alive: int) -> None:
    """Called once the pipe is closed: end at once, as a gateway that is one process and is killed."""
    os.close(alive)
    log("ended_with_parent")
    os._exit(1)
