"""A controller that is a process beside a gateway, and what it writes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from harmonia_compiler.contract.decision import DECISION, REMEMBERED, SAID, Decision, Said
from harmonia_compiler.policy.control.state import State
from tests.chaos.beside import Beside, Start

T = TypeVar("T")


@dataclass
class Beheld:
    """A controller that is a process, and what it writes."""

    run: Path
    command: Sequence[str]
    how: Start
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.how.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdout=log, env={**os.environ, **self.how.environment}
            )

    async def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        await self.process.wait()

    def decision(self) -> Decision | None:
        return self._read(DECISION, Decision)

    def said(self) -> Said | None:
        return self._read(SAID, Said)

    def state(self) -> State | None:
        return self._read(REMEMBERED, State)

    def _read(self, name: str, of: type[T]) -> T | None:
        try:
            return msgspec.json.decode((self.run / name).read_bytes(), type=of)
        except FileNotFoundError:
            return None

    async def until(self, holds: Callable[[], object], within_s: float) -> float:
        """Wait until it holds; how long that took. Fails where it does not in time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not holds():
            assert loop.time() - began < within_s, self.said()
            await asyncio.sleep(0.05)
        return loop.time() - began


@asynccontextmanager
async def controlled(gateway: Beside, every_s: float, how: Start | None = None) -> AsyncIterator[Beheld]:
    """A controller of the bundle, until the end of the context."""
    command = [sys.executable, "-m", "harmonia_compiler.runtime.controller", str(gateway.bundle)]
    found = Beheld(gateway.run, [*command, "--every", str(every_s)], how or Start())
    await found.start()
    try:
        yield found
    finally:
        assert found.process is not None
        if found.process.returncode is None:
            found.process.send_signal(signal.SIGCONT)
            found.process.terminate()
            assert await found.process.wait() == 0
