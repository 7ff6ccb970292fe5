"""Notices which of an engine's own processes ended before the engine did, which then often ends without a fault."""

import asyncio
import contextlib
import os
import select
import sys
from pathlib import Path
from typing import Self

import psutil

from harmonia_compiler.runtime.actuators.supervision.ending import signal_name
from harmonia_compiler.runtime.actuators.supervision.pids import Ident, is_alive


class Helpers:
    """What an engine has started by now, watched until the block is left. Elsewhere than on Linux nothing is."""

    def __init__(self, leader: Ident | None) -> None:
        self.first_ended = ""
        self._leader = leader
        #: The number and name of each, by the descriptor that tells of its end.
        self._watched: dict[int, tuple[int, str]] = {}

    def __enter__(self) -> Self:
        if sys.platform == "linux" and self._leader is not None:
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(self._leader.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error, OSError):
                        self._watch(os.pidfd_open(process.pid), process.pid, process.name())
        return self

    def __exit__(self, *raised: object) -> None:
        if not self._watched:
            return
        # Where the machine is busy, the end of the leader may be told before that of what ended first.
        told = select.poll()
        for descriptor in self._watched:
            told.register(descriptor, select.POLLIN)
        for ready, _ in told.poll(0):
            self._ended(ready)
        for descriptor in [*self._watched]:
            self._forget(descriptor)

    def _watch(self, descriptor: int, pid: int, name: str) -> None:
        self._watched[descriptor] = pid, name
        asyncio.get_running_loop().add_reader(descriptor, self._ended, descriptor)

    def _ended(self, descriptor: int) -> None:
        """Only what ended while its leader still lived is news, or was killed: the others it took with it."""
        pid, name = self._watched[descriptor]
        by = _signal_that_ended(pid)
        self._forget(descriptor)
        if not self.first_ended and self._leader is not None and (by == "SIGKILL" or is_alive(self._leader)):
            self.first_ended = f"{name} ({by})" if by else name

    def _forget(self, descriptor: int) -> None:
        del self._watched[descriptor]
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def _signal_that_ended(pid: int) -> str:
    """The signal that ended a process of which its parent has not heard yet, if one did; else nothing is known."""
    with contextlib.suppress(OSError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # The status as `wait` gives it, whose low bits are the signal.
        return signal_name(int(fields[-1]) & 0x7F) if fields[0] == "Z" else ""
    return ""
