"""One request on its way, as the schedule sees it: how long it has worked, what it has passed, whom it still calls."""

import msgspec

from harmonia_compiler.policy.growing import Crowd
from harmonia_compiler.policy.lookahead import Ahead
from harmonia_compiler.policy.pipeline import Group, Pipeline

#: Of one request so many calls are remembered to learn from: of thousands the first ones say enough.
MOST_REMEMBERED = 64

#: As a request finds the service that comes to it alone.
NOBODY = Crowd()


class Journey(msgspec.Struct, eq=False):
    """One request. Times are in seconds, by the driver's clock; `worked_s` is without waits (`lookahead.py`).

    It came at `arrived_s`, and what it does counts `since_s`: later where it waited at the door.

    `met` is how many were at work once it had come, `number` says which requests came before it. `coming` are the
    calls that it is expected to make still, by engine, `passed` the points that it has passed: how long it had worked
    until then, and the engine. `widest` is how many of its calls were on their way at once, at most.
    """

    pipeline: Pipeline
    group: Group
    arrived_s: float
    met: Crowd = NOBODY
    number: int = 0
    since_s: float = 0.0
    widest: int = 0
    worked_s: float = 0.0
    first_worked_s: float | None = None
    first_at_s: float | None = None
    coming: dict[str, float] = {}
    passed: list[tuple[Ahead, float, str]] = []
    _on_way: int = 0
    _working: int = 0

    @property
    def works(self) -> bool:
        """Whether a replica has one of its calls, or it makes none: else it waits."""
        return self._working > 0 or self._on_way <= 0

    def tick(self, now: float, on_way: int = 0, working: int = 0) -> None:
        """Let the time be `now`; so many calls more, or fewer, are on their way and with a replica from then on."""
        worked = self.works
        if worked and now > self.since_s:
            self.worked_s += now - self.since_s
        self.since_s = now
        if not (on_way or working):
            return
        self._on_way += on_way
        self.widest = max(self.widest, self._on_way)
        self._working += working
        self.group.at_work += self.works - worked

    def part(self, now: float) -> float:
        """Which part of what it was promised it took, if it is answered now: below 1 where it kept all."""
        first_s = now if self.first_at_s is None else self.first_at_s
        return self._part_of(now - self.arrived_s, first_s - self.arrived_s)

    @property
    def worked_part(self) -> float:
        """Which part of what it was promised it worked."""
        return self._part_of(self.worked_s, self.worked_s if self.first_worked_s is None else self.first_worked_s)

    def _part_of(self, whole_s: float, first_s: float) -> float:
        promise = self.group.promise
        bounds = (whole_s, promise.deadline_s), (first_s, promise.first_s)
        return max((of_it_s / bound_s for of_it_s, bound_s in bounds if bound_s is not None), default=0.0)

    def expect(self, coming: dict[str, float]) -> None:
        """It is expected to make so many calls more, by engine."""
        self.group.expect(self.coming, coming)
        self.coming = coming


class Leg(msgspec.Struct, eq=False):
    """One call of a request: it waits for a replica, works, and ends; on the way back to the queue it waits again."""

    journey: Journey
    ahead: Ahead
    engine: str
    works: bool = False
    began_s: float = 0.0
    ended: bool = False
