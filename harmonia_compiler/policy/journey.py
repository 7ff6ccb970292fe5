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

    `met` is how many were at work once it had come, `number` says which requests came before it. `coming` are the
    calls that it is expected to make still, by engine, `passed` the points that it has passed: how long it had worked
    until then, and the engine. `widest` is how many of its calls were on their way at once, at most.
    """

    pipeline: Pipeline
    group: Group
    arrived_s: float
    met: Crowd = NOBODY
    number: int = 0
    widest: int = 0
    worked_s: float = 0.0
    first_worked_s: float | None = None
    first_at_s: float | None = None
    coming: dict[str, float] = {}
    passed: list[tuple[Ahead, float, str]] = []
    _since_s: float = 0.0
    _on_way: int = 0
    _working: int = 0

    def __post_init__(self) -> None:
        self._since_s = self.arrived_s

    @property
    def works(self) -> bool:
        """Whether a replica has one of its calls, or it makes none: else it waits."""
        return self._working > 0 or self._on_way <= 0

    def tick(self, now: float, on_way: int = 0, working: int = 0) -> None:
        """Let the time be `now`; so many calls more, or fewer, are on their way and with a replica from then on."""
        worked = self.works
        if worked and now > self._since_s:
            self.worked_s += now - self._since_s
        self._since_s = now
        if not (on_way or working):
            return
        self._on_way += on_way
        self.widest = max(self.widest, self._on_way)
        self._working += working
        self.group.at_work += self.works - worked

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
