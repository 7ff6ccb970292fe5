"""Bounds the head of a request, in time and in size, for all that listens here; uvicorn itself bounds neither.

The head is the request line and the headers. What comes after it, the body, has limits of its own where it is read;
but what arrives there and becomes no body (trailers, extensions of chunks) is held to the same size.
"""

import asyncio
from http import HTTPStatus

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

#: How long a client may take to connect and send a request's head, in seconds.
HEAD_DEADLINE_S = 10.0
#: The largest head, in bytes; browsers and proxies send a tenth of it.
HEAD_LIMIT = 64 * 2**10

_TOO_LARGE = msgspec.json.encode(
    {
        "error": {
            "message": f"the request line and the headers are larger than {HEAD_LIMIT} bytes",
            "type": "invalid_request_error",
            "code": "head_too_large",
            "param": None,
        }
    }
)


class _TooLarge(Exception):
    """Ends the parsing of a head that is too large."""


class BoundedHeads(HttpToolsProtocol):
    """uvicorn's protocol, which closes a connection whose next request's head does not arrive in time or is too large.

    The time runs from the connection's start and from a request's first byte; in between, uvicorn's own
    limit on idle connections holds.
    """

    _late: asyncio.TimerHandle | None = None
    #: The bytes of the head that the parser has understood, and those that came since it last understood any: it keeps
    #: a header to itself until all of it is there.
    _understood = 0
    _kept = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it only makes larger what is too large already."""
        self._kept += len(data)
        super().data_received(data)
        if self._kept > HEAD_LIMIT and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        """Wait for the rest of the head."""
        super().on_message_begin()
        self._understood = self._kept = 0
        self._wait()

    def on_url(self, url: bytes) -> None:
        """A part of the request line."""
        self._understand(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        self._understand(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there; the body has a limit of its own."""
        self._stop_waiting()
        self._kept = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._kept = 0
        super().on_body(body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is to be waited for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """How uvicorn answers where the parser has stopped, be it because of us."""
        if self._understood > HEAD_LIMIT:
            self._refuse()
        else:
            super().send_400_response(msg)

    def _understand(self, size: int) -> None:
        self._kept = 0
        self._understood += size
        if self._understood > HEAD_LIMIT:
            raise _TooLarge

    def _refuse(self) -> None:
        # In the middle of an answer that is on its way, another would be read as a part of it.
        if not self._answers():
            lines = [
                STATUS_LINE[HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE],
                *(name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers),
                b"content-type: application/json\r\n",
                b"content-length: %d\r\n" % len(_TOO_LARGE),
                b"connection: close\r\n\r\n",
            ]
            self.transport.write(b"".join([*lines, _TOO_LARGE]))
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
