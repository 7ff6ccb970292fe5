"""Those who wait, in the order in which they go: a heap in which who leaves is struck out and taken away later.

Coming, going and leaving take a time that grows with the logarithm of how many wait.
"""

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

Ticket = TypeVar("Ticket")

#: So many struck-out entries are left alone before the heap is made anew, when they outnumber those who wait.
_FEW = 64


class Standing(msgspec.Struct, frozen=True):
    """Where a call stands among those that wait. Times are in seconds, by the driver's clock.

    The least `order` goes first, of equal ones who came first. After `hopeless_at` it is not worth serving any more.
    `promised` says that its request was promised a time, `beginning` how its prompt begins (`routing/affinity.py`).
    """

    order: float = 0.0
    hopeless_at: float = math.inf
    promised: bool = False
    beginning: int = 0

    @property
    def priority(self) -> int:
        """The order as engines take it that let calls wait by a whole number: in milliseconds."""
        return round(self.order * 1000.0)


#: That of a call in a queue where all are equal.
IN_TURN = Standing()


@dataclass(slots=True)
class Waiting(Generic[Ticket]):
    """Calls that wait, each known by a ticket that can be told apart by hash."""

    promised: int = 0
    _heap: list[tuple[float, int, Ticket, Standing]] = field(default_factory=list)
    _numbers: dict[Ticket, tuple[int, Standing]] = field(default_factory=dict)
    _number: int = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._numbers

    def __iter__(self) -> Iterator[Ticket]:
        """All, in no order."""
        return iter(self._numbers)

    def add(self, ticket: Ticket, standing: Standing) -> None:
        """Let one wait."""
        self._number += 1
        self._numbers[ticket] = (self._number, standing)
        self.promised += standing.promised
        heapq.heappush(self._heap, (standing.order, self._number, ticket, standing))

    def first(self) -> tuple[Ticket, Standing] | None:
        """Who goes next; None where nobody waits."""
        heap, numbers = self._heap, self._numbers
        while heap:
            _, number, ticket, standing = heap[0]
            entry = numbers.get(ticket)
            if entry is not None and entry[0] == number:
                return ticket, standing
            heapq.heappop(heap)
        return None

    def leave(self, ticket: Ticket) -> bool:
        """One waits no more; whether it did."""
        entry = self._numbers.pop(ticket, None)
        if entry is None:
            return False
        self.promised -= entry[1].promised
        if len(self._heap) > 2 * len(self._numbers) + _FEW:
            numbers = self._numbers
            self._heap = [each for each in self._heap if (own := numbers.get(each[2])) and own[0] == each[1]]
            heapq.heapify(self._heap)
        return True
