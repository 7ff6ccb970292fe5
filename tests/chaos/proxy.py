"""A proxy between the gateway and one replica that does to its connections what networks and kernels do.

`hold` is what a stopped process looks like: connections are taken in and nothing comes back, until it goes on, when all
that was held is delivered late.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Literal, Self

Way = Literal["pass", "hold", "reset", "truncate", "trickle", "delay"]

_CHUNK = 65536


@dataclass
class FaultProxy:
    """Forwards to `target`. `way` may change at any time and meets open connections too.

    `after_bytes` is how much of an answer `truncate` lets through, `pause_s` how long `delay` holds each chunk and
    `trickle` each byte back.
    """

    target: int
    way: Way = "pass"
    after_bytes: int = 200
    pause_s: float = 0.001
    port: int = 0
    _server: asyncio.Server | None = None
    _goes: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> Self:
        self._goes.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def turn(self, way: Way) -> None:
        """Go wrong in this way from now on."""
        self.way = way
        if way == "hold":
            self._goes.clear()
        else:
            self._goes.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._forward(reader, there_writer, answers=False))
                both.create_task(self._forward(there_reader, writer, answers=True))
        except* (OSError, _Ended):
            pass
        finally:
            writer.transport.abort()
            there_writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        let_through = 0
        while data := await reader.read(_CHUNK):
            await self._goes.wait()
            if answers:
                match self.way:
                    case "reset":
                        raise _Ended
                    case "truncate":
                        data = data[: max(0, self.after_bytes - let_through)]
                        let_through += len(data)
                    case "delay":
                        await asyncio.sleep(self.pause_s)
                    case "trickle":
                        for at in range(len(data)):
                            writer.write(data[at : at + 1])
                            await writer.drain()
                            await asyncio.sleep(self.pause_s)
                        continue
            writer.write(data)
            await writer.drain()
            if answers and self.way == "truncate" and let_through >= self.after_bytes:
                raise _Ended
        # Whoever closes its side ends the whole, as a process does that dies.
        raise _Ended


class _Ended(Exception):
    """A connection is at its end."""
