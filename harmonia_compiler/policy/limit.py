"""How many requests of a pipeline may be under way at once, so that the most of them are answered in time.

Engines that work on many calls together have no queue that would show that there are too many: each takes longer, and
at some point all are late. Of `N` under way that take `T` and of which the part `F` is in time, `N F / T` a second
are. One more is worth its place while `e (1 + h) < 1`:

- `e` is by how many percent a request takes longer where one percent more are under way, `GROWING`: less where engines
  are idle, nearly one where they are full. A line through what requests took does not find it, since how many are
  under way changes while they are; docs/scheduling.md says what a constant costs.
- `h` is by how many percent fewer are in time where all take one percent longer: from how many end just before their
  promise. Of those that were cut off at it nothing more is known, and nothing more is needed.

So a promise that leaves room is kept for nearly all who are let in, and one that hardly does for fewer: there, letting
nobody in who might be late would leave the engines idle. Times are parts of what was promised, so that requests with
other promises share a limit. It comes down while one more is not worth its place, and goes up while one is; both are
learned only from requests that were among nearly as many as may be.
"""

import math
from dataclasses import dataclass, field

from harmonia_compiler.policy.quantile import Mean

#: By which part of itself the limit moves with a request that ends, at most: less than it takes to see what came of it.
PACE = 1.0 / 800.0
#: The limit begins so many times above what is under way: how many that is varies from one moment to the next.
SPARE = 1.2
#: A limit is nearly reached where at least so large a part of it is under way.
NEAR = 0.8
#: By how many percent a request takes longer where one percent more are under way.
GROWING = 0.6
#: Where fewer than this part are in time, there are too many, whatever else is known.
MANY = 0.5
#: What is as close to its promise as this ended just before it.
JUST_BEFORE = 0.85
#: Over how many requests that end figures are taken, and from how many on they say something.
RECENT, FEWEST = 200.0, 50.0


def _recent() -> Mean:
    return Mean(memory=RECENT)


@dataclass(slots=True)
class Limit:
    """The limit of one pipeline; there is none until one more was not worth its place."""

    most: float = math.inf
    in_time: Mean = field(default_factory=_recent)
    just_in_time: Mean = field(default_factory=_recent)

    def ended(self, under_way: int, part: float) -> None:
        """A request ended after such a part of what it was promised, all of it if late; so many were under way at most.

        Where those were not nearly as many as may be, it says nothing of how many more could be: what a burst taught
        is still known at the next one.
        """
        if self.most < math.inf and under_way < NEAR * self.most:
            return
        self.in_time.add(float(part < 1.0))
        self.just_in_time.add(float(JUST_BEFORE <= part < 1.0))
        if self.in_time.count < FEWEST:
            return
        worth = self._worth()
        if worth < 0.0:
            self.most = min(self.most, SPARE * under_way)
        self.most = max(1.0, self.most * (1.0 + PACE * worth))

    def _worth(self) -> float:
        """What one more is worth, from 1 for a whole one down to -1."""
        share = self.in_time.value
        if share < MANY:
            # So far beyond what can be in time, those that end just before it are no measure.
            return -1.0
        # With a little more time, as many are late as are in time only with a little less: if so many are late.
        nearly = (self.just_in_time.value + min(self.just_in_time.value, 1.0 - share)) / 2.0
        losing = nearly / share / -math.log(JUST_BEFORE)
        return max(-1.0, 1.0 - GROWING * (1.0 + losing))
