"""Server-sent events, in which answers are streamed, as bytes: written, and cut out of what arrives.

Engines and the gateway write them. The gateway, whoever puts a service under load and whoever measures an engine read
them, each with sockets of its own.
"""

import msgspec

#: The data of the event that ends a stream of OpenAI's routes, and that event.
DONE = b"[DONE]"
END = b"data: " + DONE + b"\n\n"
#: The largest single event that is read, in bytes.
EVENT_LIMIT = 2**20


class Oversized(Exception):
    """An event is larger than any that an engine sends."""


def event(document: object) -> bytes:
    """An event whose data is this document as JSON."""
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


class EventParser:
    """Cuts a byte stream into server-sent events; keeps what is not yet complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events that this chunk completes; comments and other fields are dropped.

        Raises Oversized.
        """
        pending = (self._rest + chunk).replace(b"\r\n", b"\n")
        *events, self._rest = pending.split(b"\n\n")
        if len(self._rest) > EVENT_LIMIT:
            raise Oversized(f"an event is larger than {EVENT_LIMIT} bytes")
        return [data for event in events if (data := _data(event))]


def _data(event: bytes) -> bytes:
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
