"""Bounds the time in which a client sends the head of a request; uvicorn itself would wait for ever."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: How long a client may take to connect and send a request's head, in seconds.
HEADERS_DEADLINE_S = 10.0


class HeadersInTime(HttpToolsProtocol):
    """uvicorn's protocol, which closes a connection whose next request's head does not arrive in time.

    The time runs from the connection's start and from a request's first byte; in between, uvicorn's own
    limit on idle connections holds.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def on_message_begin(self) -> None:
        """Wait for the rest of the head."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """The head is there; the body has a limit of its own."""
        self._stop_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is to be waited for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop_waiting()
        self._late = self.loop.call_later(HEADERS_DEADLINE_S, self._close)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        # One that sends the next head while an answer is on its way keeps the connection until that has left.
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]
            self._wait()
        elif not self.transport.is_closing():
            self.transport.close()
