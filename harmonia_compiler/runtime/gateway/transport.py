"""What carries a call to a replica and its answer back, and the ways in which that fails."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import Wire


class Unreachable(Exception):
    """The replica could not be reached or hung up before the first byte of an answer: another may be tried."""


class Broken(Exception):
    """The answer began and did not come to its end."""


#: What is said of a collection that is not there yet: whoever reads it may know where to ingest.
INGEST_MAKES_IT = "`harmoniac ingest` makes it"


class Refused(Exception):
    """The replica answered with an error; `status` is HTTP's, or its nearest equal."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Transport(Protocol):
    """One way to talk to replicas; connections are kept and shared by all requests."""

    async def send(self, endpoint: Endpoint, wire: Wire) -> bytes:
        """The whole answer. Raises Unreachable, Broken or Refused; cancelling it closes the connection."""
        ...

    def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[Sequence[bytes], None]:
        """The data of the events of the answer, those together that came together; raises as `send` does."""
        ...

    async def answers(self, endpoint: Endpoint) -> str | None:
        """Why the replica is not ready, as a short phrase; None where it is. Whoever asks sets the time limit."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
