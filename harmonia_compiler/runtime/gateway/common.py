"""What the generations of one process have in common: the places of replicas that several of them route to.

So whoever came first has them, and a request that comes is told of what waits there, whosever it is.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Protocol

from harmonia_compiler.policy.routing.places import Occupied
from harmonia_compiler.policy.schedule import Schedule


class Queue(Protocol):
    """The calls of one generation that wait for an engine."""

    def hand_out(self) -> None:
        """Give places that are free to those who wait."""
        ...

    @property
    def next_order(self) -> float | None:
        """Where whoever goes next stands; None where nobody waits."""
        ...


class Common:
    """Owned by one event loop. `occupied` says how many calls each replica works on, whoever sent them.

    `schedules` are those of the generations that serve.
    """

    def __init__(self) -> None:
        self.occupied = Occupied()
        self.schedules: list[Schedule] = []
        self._queues: list[Sequence[Queue]] = []

    def join(self, queues: Sequence[Queue]) -> None:
        """One more generation has these queues."""
        self._queues.append(queues)

    def leave(self, queues: Sequence[Queue]) -> None:
        """A generation serves nobody any more."""
        if queues in self._queues:
            self._queues.remove(queues)

    def hand_out(self, own: Queue) -> None:
        """A place has become free that this queue had: whoever comes first gets it, of whatever generation."""
        if len(self._queues) <= 1:
            own.hand_out()
            return
        waiting = [
            (order, number, queue)
            for number, queue in enumerate(chain.from_iterable(self._queues))
            if (order := queue.next_order) is not None
        ]
        for _, _, queue in sorted(waiting):
            queue.hand_out()
