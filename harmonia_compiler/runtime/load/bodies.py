"""What is held of responses while it is read: of each no more than a service that works sends, and of all what fits."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp

from harmonia_compiler.contract.launch import ANSWER_LIMIT
from harmonia_compiler.contract.sse import gathered


@dataclass(slots=True)
class Room:
    """What responses that are read at the same time may take together, in bytes.

    So many answers of the largest size are met by no service that works, and fit into the memory of any machine.
    """

    left: int = 16 * ANSWER_LIMIT

    @contextmanager
    def part(self) -> Iterator[Callable[[int], None]]:
        """What is to be told how many bytes of one response are held now. It raises OSError where there is no room."""
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            self.left += held - size
            held = size
            if self.left < 0:
                raise OSError(errno.ENOMEM, "no room for all answers that are read at once")

        try:
            yield hold
        finally:
            self.left += held


async def body_of(response: aiohttp.ClientResponse, most_bytes: int, room: Room) -> bytes:
    """All of it. Raises Oversized where it is larger than that, and OSError where there is no room for it."""
    with room.part() as hold:
        return await gathered(response.content.iter_any(), most_bytes, hold)
