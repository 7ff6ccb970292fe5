"""Notices which of an engine's own processes ended before the engine did, which then often ends without a fault."""

import asyncio
import contextlib
import os
import sys
from typing import Self

import psutil

from harmonia_compiler.runtime.actuators.supervision.pids import Ident, is_alive


class Helpers:
    """What an engine has started by now, watched until the block is left. Elsewhere than on Linux nothing is."""

    def __init__(self, leader: Ident | None) -> None:
        self.first_ended = ""
        self._leader = leader
        self._descriptors: list[int] = []

    def __enter__(self) -> Self:
        if sys.platform == "linux" and self._leader is not None:
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(self._leader.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error, OSError):
                        self._watch(os.pidfd_open(process.pid), process.name())
        return self

    def __exit__(self, *_: object) -> None:
        while self._descriptors:
            self._forget(self._descriptors[-1])

    def _watch(self, descriptor: int, name: str) -> None:
        self._descriptors.append(descriptor)
        asyncio.get_running_loop().add_reader(descriptor, self._ended, descriptor, name)

    def _ended(self, descriptor: int, name: str) -> None:
        """Only what ended while its leader still lived is news: the others it took with it."""
        self._forget(descriptor)
        if not self.first_ended and self._leader is not None and is_alive(self._leader):
            self.first_ended = name

    def _forget(self, descriptor: int) -> None:
        self._descriptors.remove(descriptor)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
