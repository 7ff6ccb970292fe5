"""Takes up no other protocol: a request that offers one (`Upgrade`) is read as the same request without the offer.

That is a server's right (RFC 9110, 7.8), and clients count on it: Java's offers HTTP/2 with whatever it sends first.
httptools takes all that follows such a head for the other protocol's, by which uvicorn makes of one request one without
its body, and another one that begins with it.
"""

from typing import Any

from httptools import HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class _Parser(HttpRequestParser):
    """httptools' parser as uvicorn sets it up, but one that keeps where it stopped instead of raising it."""

    #: Up to where the last piece with a head that offers an upgrade was read: to the end of that head, in bytes.
    stopped_at = 0

    def __init__(self, protocol: object) -> None:
        super().__init__(protocol)
        self.set_dangerous_leniencies(lenient_data_after_close=True)

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # a piece of what came, and nothing else
        """Parse a piece, to its end or to that of the first head that offers an upgrade."""
        try:
            super().feed_data(data)
        except HttpParserUpgrade as offered:
            self.stopped_at = offered.args[0]


class WithoutUpgrades(HttpToolsProtocol):
    """uvicorn's protocol, which is told of a head that offers an upgrade once more, without the offer.

    Of the first time it makes nothing. What came behind the head follows the second.
    """

    parser: _Parser
    #: A head without its offer, from when it was parsed with it until it is parsed again.
    _again: bytes | None = None

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.parser = _Parser(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came; the parser that stopped would not go on after `Connection: close`."""
        super().data_received(data)
        while self._again is not None:
            data = self._again + data[self.parser.stopped_at :]
            self._again = None
            self.parser = _Parser(self)
            super().data_received(data)

    def on_headers_complete(self) -> None:
        """A head is there; CONNECT, which the parser takes for an offer as well, is none."""
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._again = self._without_offer()
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is there, or its head with an offer."""
        if self._again is None:
            super().on_message_complete()

    def _without_offer(self) -> bytes:
        line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade"]
        return b"".join([line, *fields, b"\r\n"])
