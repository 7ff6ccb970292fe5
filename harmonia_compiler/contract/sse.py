"""Server-sent events, in which answers are streamed, as bytes: written, and cut out of what arrives.

Engines and the gateway write them. The gateway, whoever puts a service under load and whoever measures an engine read
them, each with sockets of its own.
"""

from collections.abc import AsyncIterable, Callable

import msgspec

#: The data of the event that ends a stream of OpenAI's routes, and that event.
DONE = b"[DONE]"
END = b"data: " + DONE + b"\n\n"
#: The largest single event of an engine that is read, and the largest error, in bytes.
EVENT_LIMIT = 2**20


class Oversized(Exception):
    """An event, or what is read as a whole, is larger than any that is sent by what works."""


def event(document: object) -> bytes:
    """An event whose data is this document as JSON."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


class EventParser:
    """Cuts a byte stream into server-sent events; keeps what is not yet complete, of so many bytes at most."""

    def __init__(self, most_bytes: int = EVENT_LIMIT) -> None:
        self._most_bytes = most_bytes
        self._rest = bytearray()

    @property
    def held(self) -> int:
        """How many bytes are kept."""
        return len(self._rest)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes; comments and other fields are dropped.

        Raises Oversized.
        """
        self._rest += chunk
        size, events = len(self._rest), list[bytes]()
        # A large one comes in many chunks, and is not looked through for each of them.
        if b"\n" in chunk:
            *events, rest = bytes(self._rest).replace(b"\r\n", b"\n").split(b"\n\n")
            self._rest = bytearray(rest)
        if size > self._most_bytes and max(map(len, (*events, self._rest))) > self._most_bytes:
            raise Oversized(f"an event is larger than {self._most_bytes} bytes")
        return [data for event in events if (data := _data(event))]


def _data(event: bytes) -> bytes:
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


async def gathered(
    chunks: AsyncIterable[bytes], most_bytes: int, hold: Callable[[int], object] = lambda _size: None
) -> bytes:
    """A body that comes in chunks, which is no larger than that. Raises Oversized.

    `hold` is told how many bytes are kept.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        hold(len(body))
        if len(body) > most_bytes:
            raise Oversized(f"a body is larger than {most_bytes} bytes")
    return bytes(body)
