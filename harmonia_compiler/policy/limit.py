"""How many requests of a pipeline may be under way at once, so that enough of them are answered in time.

Engines that work on many calls together have no queue that would show that there are too many: each takes longer, and
at some point all are late. Where that point lies is found by looking: while fewer than `ENOUGH` of those that end do
so in time, there are too many, and the limit comes down from what there are; while more do, it goes up. With so many
in time, one request more delays the others by about as much as it is worth itself, where times grow with the number
under way and spread as those of language models do.
"""

import math
from dataclasses import dataclass, field

from harmonia_compiler.policy.quantile import Mean

#: The part of requests let in that is to be answered in time where the service is full.
ENOUGH = 0.65
#: By how much the limit moves with a request that ends, in requests.
PACE = 0.5
#: The limit begins so many times above what is under way: how many that is varies from one moment to the next.
SPARE = 1.2
#: Over how many requests that end their part is taken, and from how many on it says something.
RECENT, FEWEST = 120.0, 20.0


@dataclass(slots=True)
class Limit:
    """The limit of one pipeline; there is none until too many were late."""

    most: float = math.inf
    in_time: Mean = field(default_factory=lambda: Mean(memory=RECENT))

    def ended(self, under_way: int, *, in_time: bool) -> None:
        """A request has ended, in time or too late, while so many were under way."""
        self.in_time.add(float(in_time))
        if self.in_time.count < FEWEST:
            return
        if self.in_time.value < ENOUGH:
            self.most = min(self.most, SPARE * under_way)
        self.most = max(1.0, self.most + PACE * (float(in_time) - ENOUGH))
