"""Virtual time: what is to happen, in its order. Times are in milliseconds."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count


@dataclass(slots=True, eq=False)
class Happening:
    """Something that is to happen, unless it is called off."""

    action: Callable[[], object] | None

    def call_off(self) -> None:
        """It does not happen. Of no consequence where it has."""
        self.action = None


@dataclass(slots=True)
class Loop:
    """Happenings by time; those of one time in the order in which they were planned."""

    now_ms: float = 0.0
    happened: int = 0
    _planned: list[tuple[float, int, Happening]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)

    def after(self, ms: float, action: Callable[[], object]) -> Happening:
        """Plan something for so many milliseconds from now."""
        return self.at(self.now_ms + ms, action)

    def at(self, at_ms: float, action: Callable[[], object]) -> Happening:
        """Plan something; what lies in the past happens next."""
        happening = Happening(action)
        heapq.heappush(self._planned, (max(at_ms, self.now_ms), next(self._numbers), happening))
        return happening

    def run(self, until_ms: float | None = None) -> None:
        """Let everything happen, what that brings about included, or all up to a time."""
        planned = self._planned
        while planned and (until_ms is None or planned[0][0] <= until_ms):
            at_ms, _, happening = heapq.heappop(planned)
            action, happening.action = happening.action, None
            if action is not None:
                self.now_ms = at_ms
                self.happened += 1
                action()
