"""Bounds the head of a request, in time and in size, for all that listens here; uvicorn itself bounds neither.

Where a server asks for it, the number of connections is bounded as well.

The head is the request line and the headers, byte for byte as they come. What comes after it, the body, has limits of
its own where it is read; but what arrives there and becomes no body (trailers, extensions of chunks) is held to the
same size.

A request's handler can be told when its client leaves, without a task that waits for it. That a client has left is
seen by whoever reads from its connection alone, so that is read while a request is worked on, too.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

import msgspec
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from harmonia_compiler.runtime.among import Among
from harmonia_compiler.runtime.together import Together
from harmonia_compiler.runtime.upgrades import WithoutUpgrades

#: How long a client may take to connect and send a request's head, in seconds.
HEAD_DEADLINE_S = 10.0
#: The largest head, in bytes; browsers and proxies send a tenth of it.
HEAD_LIMIT = 64 * 2**10

#: How much of an answer waits in this process for a client to read what came before, in bytes.
UNSENT = 16 * 2**10

#: How much is parsed at once, in bytes: the parser does not say where in what it was given something began or ended.
_PIECE = 4 * 2**10
#: How much of a body.
_OF_BODY = 4 * _PIECE

#: From so many requests on that wait for the answer of one before them, no more are read from their connection.
AHEAD = 8

#: Among the extensions of a request's scope, whom to tell when the connection is gone.
_TOLD = "harmonia.told"


def _error(message: str, type_: str, code: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": type_, "code": code, "param": None}})


_TOO_LARGE = _error(
    f"the request line and the headers are larger than {HEAD_LIMIT} bytes", "invalid_request_error", "head_too_large"
)
_TOO_MANY = _error("as many connections are open as may be", "overloaded_error", "connections_full")


class _Flow(FlowControl):
    """uvicorn's, which has no connection read on while as many requests `wait` there as may."""

    def __init__(self, transport: asyncio.Transport, waiting: deque[Any]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, if no more than may be wait."""
        if len(self._waiting) < AHEAD:
            super().resume_reading()


class BoundedHeads(WithoutUpgrades):
    """uvicorn's protocol, which closes a connection whose next request's head does not arrive in time or is too large.

    The time runs from the connection's start and from a request's first byte; in between, uvicorn's own
    limit on idle connections holds. Of a head that begins behind another request, what comes in one piece with that
    is not counted.
    """

    #: So many connections may be open at once: a process that has no descriptor left can call nobody for those it has.
    most = sys.maxsize

    _late: asyncio.TimerHandle | None = None
    _in_head = False
    #: The bytes that came since the last request ended, or since the last that has a limit of its own.
    _came = 0
    _in_body = False

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._told: set[Callable[[], None]] = set()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, if this is not one connection too many."""
        super().connection_made(cast("asyncio.Transport", Together(transport)))
        self.flow = _Flow(self.transport, self.pipeline)
        transport.set_write_buffer_limits(high=UNSENT)
        if len(self.connections) > self.most:
            self._end(HTTPStatus.SERVICE_UNAVAILABLE, _TOO_MANY, b"retry-after: 1\r\n")
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Parse what came, but no more of a head than it may have: where it is not whole then, it is too large."""
        at = 0
        while at < len(data) and not self.transport.is_closing():
            piece = data[at : at + min(_OF_BODY if self._in_body else _PIECE, HEAD_LIMIT - self._came)]
            at += len(piece)
            self._came += len(piece)
            super().data_received(piece)
            if self._came >= HEAD_LIMIT and not self.transport.is_closing():
                self._refuse()
        # Hardly any head comes in several pieces.
        if self._in_head and self._late is None:
            self._wait()

    def on_message_begin(self) -> None:
        """The first byte of a request is there, and maybe its whole head."""
        super().on_message_begin()
        self._stop_waiting()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """The head is there; the body has a limit of its own."""
        self._stop_waiting()
        self._in_head = False
        self._came = 0
        self._in_body = True
        self.scope["extensions"] = {_TOLD: self._told}  # type: ignore[dict-item]  # nobody looks into it but we
        super().on_headers_complete()
        # uvicorn stops at the first request that has to wait.
        self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._came = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What comes from here on is the next request's."""
        self._came = 0
        self._in_body = False
        super().on_message_complete()
        # uvicorn stops in a body until more of it is asked for, as nobody does of one that is whole.
        self.flow.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is to be waited for."""
        self._stop_waiting()
        super().connection_lost(exc)
        for told in tuple(self._told):
            told()

    def _refuse(self) -> None:
        # In the middle of an answer that is on its way, another would be read as a part of it.
        if self._answers():
            self.transport.close()
        else:
            self._end(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)

    def _end(self, status: HTTPStatus, body: bytes, *headers: bytes) -> None:
        """Answer, and close the connection."""
        lines = [
            STATUS_LINE[status],
            *(name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers),
            *headers,
            b"content-type: application/json\r\n",
            b"content-length: %d\r\n" % len(body),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"".join([*lines, body]))
        self.transport.close()

    def _wait(self) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(HEAD_DEADLINE_S, self._close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        # One that sends the next head while an answer is on its way keeps the connection until that has left.
        if self._answers():
            self._wait()
        elif not self.transport.is_closing():
            self.transport.close()

    def _answers(self) -> bool:
        """Whether a request that came before is still being answered."""
        return self.cycle is not None and not self.cycle.response_complete  # type: ignore[redundant-expr]


def told_when_gone(scope: Scope, told: Callable[[], None]) -> Among[Callable[[], None]]:
    """Call this if the client of a request leaves meanwhile. Only the requests of `BoundedHeads` know."""
    return Among(scope["extensions"][_TOLD], told)


def within(most: int) -> type[BoundedHeads]:
    """The protocol of a server that keeps at most so many connections open."""
    return type(BoundedHeads.__name__, (BoundedHeads,), {"most": most})
