"""Hands on together what is written together: an answer's head and its body, which a server writes one after the other.

Each call of the system costs about as much as the other, and wakes whoever reads.
"""

import asyncio


class Together:
    """A transport of which all is written that was handed to it before the event loop went on."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._written: list[bytes] = []
        self.get_extra_info = transport.get_extra_info
        self.is_closing = transport.is_closing
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading

    def write(self, data: bytes) -> None:
        """Write this once nothing more comes with it."""
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        """Close the connection once all has left."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._written.clear()
        self._transport.abort()

    def _flush(self) -> None:
        if self._written:
            written, self._written = self._written, []
            self._transport.write(written[0] if len(written) == 1 else b"".join(written))
