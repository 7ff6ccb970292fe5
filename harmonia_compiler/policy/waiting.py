"""Those who wait, in the order in which they go: a heap in which who leaves is struck out and taken away later.

Coming, going and leaving take a time that grows with the logarithm of how many wait. The numbers of their requests
stand in a sorted list, of which the machine moves ten thousand in a microsecond or two.
"""

import heapq
import math
from bisect import bisect_left, insort
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
    `request` is the number of its request, by which those that came later are told.
    """

    order: float = 0.0
    hopeless_at: float = math.inf
    promised: bool = False
    beginning: int = 0
    request: int = 0

    @property
    def priority(self) -> int:
        """The order as engines take it that let calls wait by a whole number: in milliseconds."""
        return round(self.order * 1000.0)


#: That of a call in a queue where all are equal.
IN_TURN = Standing()


@dataclass(slots=True)
class Requests:
    """The requests of which calls wait, by their numbers in the order in which they came; `calls` are all of theirs."""

    calls: int = 0
    _numbers: list[int] = field(default_factory=list)
    _calls_of: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, number: int) -> bool:
        return number in self._calls_of

    def before(self, number: int) -> int:
        """How many came before this one."""
        return bisect_left(self._numbers, number)

    def add(self, number: int) -> None:
        """One more call of this request waits."""
        self.calls += 1
        found = self._calls_of.get(number, 0)
        self._calls_of[number] = found + 1
        if not found:
            insort(self._numbers, number)

    def leave(self, number: int) -> None:
        """One call of this request waits no more."""
        self.calls -= 1
        left = self._calls_of[number] - 1
        if left:
            self._calls_of[number] = left
            return
        del self._calls_of[number]
        del self._numbers[bisect_left(self._numbers, number)]


@dataclass(slots=True)
class Waiting(Generic[Ticket]):
    """Calls that wait, each known by a ticket that can be told apart by hash.

    They are of requests that were `promised` a time, and of `others`.
    """

    promised: Requests = field(default_factory=Requests)
    others: Requests = field(default_factory=Requests)
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

    @property
    def requests(self) -> int:
        """How many requests the calls are of."""
        return len(self.promised) + len(self.others)

    def before(self, standing: Standing) -> int:
        """How many requests came before that of a call: those that were promised a time, where it was, else all.

        None did where calls of its own wait already.
        """
        own = standing.request
        if own in self._requests_like(standing):
            return 0
        return self.promised.before(own) + (0 if standing.promised else self.others.before(own))

    def add(self, ticket: Ticket, standing: Standing) -> None:
        """Let one wait."""
        self._number += 1
        self._numbers[ticket] = (self._number, standing)
        self._requests_like(standing).add(standing.request)
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
        self._requests_like(entry[1]).leave(entry[1].request)
        if len(self._heap) > 2 * len(self._numbers) + _FEW:
            numbers = self._numbers
            self._heap = [each for each in self._heap if (own := numbers.get(each[2])) and own[0] == each[1]]
            heapq.heapify(self._heap)
        return True

    def _requests_like(self, standing: Standing) -> Requests:
        return self.promised if standing.promised else self.others
