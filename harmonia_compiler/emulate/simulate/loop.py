"""Virtual time: what is to happen, in its order. Times are in milliseconds."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Happening(list[Any]):
    """Something that is to happen, unless it is called off: its time, its number, and the action.

    A list, since a simulation makes millions of them and the heap compares no others as fast.
    """

    __slots__ = ()

    @property
    def at_ms(self) -> float:
        """When it is to happen."""
        return float(self[0])

    @property
    def is_off(self) -> bool:
        """Whether it was called off."""
        return self[2] is None

    def call_off(self) -> None:
        """It does not happen. Of no consequence where it has."""
        self[2] = None


@dataclass(slots=True)
class Loop:
    """Happenings by time; those of one time in the order in which they were planned."""

    now_ms: float = 0.0
    happened: int = 0
    _planned: list[Happening] = field(default_factory=list)
    _number: int = 0

    def after(self, ms: float, action: Callable[[], object]) -> Happening:
        """Plan something for so many milliseconds from now."""
        return self.at(self.now_ms + ms, action)

    def at(self, at_ms: float, action: Callable[[], object]) -> Happening:
        """Plan something; what lies in the past happens next."""
        self._number = number = self._number + 1
        happening = Happening((max(at_ms, self.now_ms), number, action))
        heapq.heappush(self._planned, happening)
        return happening

    def run(self, until_ms: float | None = None) -> None:
        """Let everything happen, what that brings about included, or all up to a time."""
        planned, pop = self._planned, heapq.heappop
        while planned and (until_ms is None or planned[0][0] <= until_ms):
            happening = pop(planned)
            action = happening[2]
            if action is not None:
                happening[2] = None
                self.now_ms = happening[0]
                self.happened += 1
                action()
