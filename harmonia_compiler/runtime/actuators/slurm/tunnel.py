"""Carries connections from the gateway's node to an engine on another, for whoever knows the token of the run.

An engine listens on its own node's loopback alone. Beside it stands an `Outlet`, which takes connections from the
network; beside the gateway an `Inlet` for each replica, on loopback as well, which makes them. Before anything is
passed on, each end proves to the other that it knows the token: both say a number that nobody said before, and answer
the other's with a digest of it. So the token itself is never sent, what was overheard is of no use, and it does not
matter what an engine speaks.
"""

import asyncio
import contextlib
import hashlib
import hmac
import secrets
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

LOOPBACK = "127.0.0.1"

#: How long the other end may take to prove itself, in seconds, and how many may be at it at once.
PATIENCE_S = 5.0
MOST_UNPROVEN = 256

_NUMBER = 32
_DIGEST = 32
_PART = 1 << 16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Distrusted(Exception):
    """The other end does not know the token, or is none of ours."""


def _proof(token: bytes, side: bytes, theirs: bytes, ours: bytes) -> bytes:
    """What only a holder of the token can say; that of one side is of no use to the other."""
    return hmac.digest(token, side + theirs + ours, hashlib.sha256)


async def _accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: bytes) -> None:
    """The outlet's part. Raises `Distrusted`, and what a connection raises that ends."""
    ours = secrets.token_bytes(_NUMBER)
    writer.write(ours)
    said = await reader.readexactly(_NUMBER + _DIGEST)
    theirs, proof = said[:_NUMBER], said[_NUMBER:]
    if not hmac.compare_digest(proof, _proof(token, b"inlet", ours, theirs)):
        raise Distrusted
    writer.write(_proof(token, b"outlet", theirs, ours))


@contextlib.contextmanager
def _unbroken(*writers: asyncio.StreamWriter) -> Iterator[None]:
    """Break these off where what is done with them fails, or is cancelled: nothing else would end them then."""
    try:
        yield
    except BaseException:
        for writer in writers:
            break_off(writer)
        raise


async def dial(host: str, port: int, token: bytes) -> Streams:
    """A connection to an outlet, both ends proven. Raises `Distrusted`, OSError and TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(host, port)
        with _unbroken(writer):
            try:
                theirs = await reader.readexactly(_NUMBER)
                ours = secrets.token_bytes(_NUMBER)
                writer.write(ours + _proof(token, b"inlet", theirs, ours))
                proof = await reader.readexactly(_DIGEST)
            except asyncio.IncompleteReadError:
                raise Distrusted from None
            if not hmac.compare_digest(proof, _proof(token, b"outlet", ours, theirs)):
                raise Distrusted
    return reader, writer


class _End(ABC):
    """One end of the tunnel: takes connections, and carries each on to where it leads."""

    def __init__(self, token: bytes) -> None:
        self._token = token
        self._server: asyncio.Server | None = None
        # The loop itself knows a connection no more once one side has said its last, and that would be swept away.
        self._carrying: set[asyncio.Task[None]] = set()

    async def open(self, host: str) -> int:
        """Listen on this address of the node, and give the port. Raises OSError."""
        self._server = await asyncio.start_server(self._take, host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def close(self) -> None:
        """Take no more connections; those that there are go on."""
        if self._server is not None:
            self._server.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            with contextlib.suppress(Distrusted, OSError, TimeoutError, asyncio.IncompleteReadError):
                with _unbroken(writer):
                    there = await self._onward((reader, writer))
                await _join((reader, writer), there)
        finally:
            self._carrying.discard(task)

    @abstractmethod
    async def _onward(self, here: Streams) -> Streams:
        """Where a connection leads, once it may. Raises `Distrusted`, and what a connection raises."""


class Outlet(_End):
    """Takes connections for the engine whose loopback port `engine` gives; None refuses them."""

    def __init__(self, token: bytes, engine: Callable[[], int | None]) -> None:
        super().__init__(token)
        self._engine = engine
        self._unproven = 0

    async def _onward(self, here: Streams) -> Streams:
        if self._unproven >= MOST_UNPROVEN:
            raise Distrusted
        self._unproven += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                await _accept(*here, self._token)
        finally:
            self._unproven -= 1
        port = self._engine()
        if port is None:
            raise ConnectionRefusedError
        return await asyncio.open_connection(LOOPBACK, port)


class Inlet(_End):
    """Takes connections on loopback and carries them to one outlet."""

    def __init__(self, token: bytes, host: str, port: int) -> None:
        super().__init__(token)
        self._host, self._port = host, port

    async def _onward(self, here: Streams) -> Streams:  # noqa: ARG002 - whoever reaches loopback may
        return await dial(self._host, self._port, self._token)


async def _join(one: Streams, other: Streams) -> None:
    """Pass on what either says until both have ended, or one breaks off: then the other does too. Raises OSError."""
    writers = (one[1], other[1])
    for writer in writers:
        _set_undelayed(writer)
    passing = [
        asyncio.ensure_future(_pass(one[0], other[1])),
        asyncio.ensure_future(_pass(other[0], one[1])),
    ]
    try:
        with _unbroken(*writers):
            await asyncio.gather(*passing)
    finally:
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)
        for writer in writers:
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(_PART):
        writer.write(part)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def break_off(writer: asyncio.StreamWriter) -> None:
    """End a connection so that the other end sees that it was cut, and does not take what it has for all."""
    found = writer.get_extra_info("socket")
    if found is not None and found.fileno() >= 0:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _set_undelayed(writer: asyncio.StreamWriter) -> None:
    """Small parts of a stream leave at once."""
    found = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
