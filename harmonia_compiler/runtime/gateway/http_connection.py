"""One connection to a replica: HTTP/1.1, one call after the other, and of it no more than calls of replicas need.

A client for the whole web takes several times as long for a call as this one, most of a short flow's time in the
gateway. What it would do beside is not needed here: replicas listen at addresses that the target writes, without
TLS, redirects, cookies or compression.
"""

import asyncio
from collections.abc import Callable

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from harmonia_compiler.runtime.gateway.transport import Broken, Unreachable

#: The largest head of an answer, in bytes.
HEAD_LIMIT = 64 * 2**10
#: How much of a stream is kept for a client that reads it slowly, in bytes, and how much is read at once. What is kept
#: lies there up to three times: as it came, as events, and as what is sent on.
AHEAD_LIMIT, READ_LIMIT = 8 * 2**10, 16 * 2**10

CLOSED = "the connection was closed"
_NO_HTTP = "what came is not HTTP"
#: Statuses below this announce another one.
_FINAL = 200


class Connection(asyncio.BufferedProtocol):
    """Owned by whoever makes a call over it. `ended` is told once, when it can be used no more."""

    #: Where all connections of a process read to: what came is parsed before anything else is read.
    _buffer = memoryview(bytearray(READ_LIMIT))

    def __init__(self, address: tuple[str, int], ended: Callable[["Connection"], None]) -> None:
        self.address = address
        self.idle_since = 0.0
        #: Of the answer at hand, once `begin` was called: 0 as long as its head is not there.
        self.status = 0
        self.reason = b""
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        # Nothing is under way: what came before was read to its end.
        self._is_whole = True
        self._may_stay = True
        self._is_interim = False
        self._has_length = False
        self._lost = ""
        self._wants_pieces = False
        self._is_paused = False
        self._parts: list[bytes] = []
        self._held = 0
        self._limit = 0

    @property
    def is_reusable(self) -> bool:
        """Whether another call can be made: all of the last answer was there, and the replica keeps the connection."""
        transport = self._transport
        return self._is_whole and self._may_stay and transport is not None and not transport.is_closing()

    def begin(self, head: bytes, body: bytes, limit: int, *, pieces: bool) -> None:
        """Make a call whose answer has at most so many bytes; it is read in pieces as they come, or as a whole."""
        self.status, self.reason = 0, b""
        self._is_whole = self._has_length = False
        self._wants_pieces, self._limit, self._held = pieces, limit, 0
        self._parts = []
        if self._lost or self._transport is None:
            raise Unreachable(self._lost or CLOSED)
        self._transport.write(head + body)

    async def whole(self) -> bytes:
        """The body of the answer, once all of it is there. Raises Unreachable or Broken."""
        while not self._is_whole:
            await self._happened()
        return self._taken()

    async def opened(self) -> None:
        """Wait for the head of the answer. Raises Unreachable."""
        while not self.status:
            await self._happened()

    async def more(self) -> bytes:
        """What has come of the body since the last time, or comes next; nothing at its end. Raises Broken."""
        while not self._parts and not self._is_whole:
            await self._happened()
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return self._taken()

    def close(self) -> None:
        """Close the connection; a call that is under way on it is broken off."""
        if self._transport is not None:
            self._transport.abort()

    async def _happened(self) -> None:
        """Wait for the next thing that whoever reads is to know of."""
        if self._lost:
            what = "stream" if self._wants_pieces else "answer"
            raise Broken(f"the {what} broke off: {self._lost}") if self.status else Unreachable(self._lost)
        if self._held > self._limit:
            raise Broken(f"the answer is larger than {self._limit} bytes")
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _taken(self) -> bytes:
        parts, self._parts = self._parts, []
        if self._wants_pieces:
            self._held = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        self._may_stay = False
        self._wake()

    # What the event loop tells of the connection.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It is open."""
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - what the event loop calls
        """Where to put what comes next."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read what came; what nobody asked for ends the connection."""
        if self._is_whole:
            self._lose(_NO_HTTP)
            self.close()
            return
        try:
            self._parser.feed_data(self._buffer[:nbytes])
        except (HttpParserError, HttpParserUpgrade):
            self._lose(_NO_HTTP)
            self.close()
            return
        if self._held > self._limit:
            self._wake()
        elif not self.status:
            self._held += nbytes
            if self._held > HEAD_LIMIT:
                self._lose(_NO_HTTP)
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, which ends an answer that does not say how long it is."""
        if exc is None and self.status and not self._has_length and not self._is_whole and not self._lost:
            self._is_whole = True
        self._lose(CLOSED)
        self._ended(self)

    # What the parser tells of the answer.

    def on_message_begin(self) -> None:
        """Another answer begins; one that follows the answer to the call is to nothing that was asked."""
        if self._is_whole:
            self._may_stay = False

    def on_status(self, reason: bytes) -> None:
        """The words behind the status."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002 - what the parser calls
        """Note whether the answer says where it ends."""
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._has_length = True

    def on_headers_complete(self) -> None:
        """The head is there."""
        status = self._parser.get_status_code()
        self._is_interim = status < _FINAL
        if self._is_interim:
            self.reason = b""
        elif not self._is_whole:
            self.status, self._held = status, 0
            if self._wants_pieces:
                self._wake()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._is_whole:
            return
        self._parts.append(body)
        self._held += len(body)
        if self._wants_pieces:
            if self._held > AHEAD_LIMIT and not self._is_paused and self._transport is not None:
                self._is_paused = True
                self._transport.pause_reading()
            self._wake()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._is_interim or self._is_whole:
            return
        self._is_whole = True
        self._may_stay = self._may_stay and self._parser.should_keep_alive()
        self._wake()
