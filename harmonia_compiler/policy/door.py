"""Those that wait at the door: as many are worked on as can be in time, and a place may come free soon enough.

They make no call, and are not at work. Each may wait as long as so large a part of its chance is left as a place is
worth (`vacancies.py`); no more of them wait than places come free within that time.

Of those that were promised the same, who came *last* goes first: it has the most time left. Past what can be in time
there is always somebody who has just come, so that who goes in its turn would use up its time at the door, and so would
everybody after it. Those who came first get their places when fewer come. Of other promises and weights, the more
urgent go first, as everywhere.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import msgspec

from harmonia_compiler.policy.quantile import Quantiles

#: So many requests of a pipeline with one promise wait at the door of one process and generation at most: what they
#: sent stays in memory meanwhile.
MOST_AT_DOOR = 1024


class Knock(msgspec.Struct, eq=False):
    """One that waits at a door since `came_s`, until `until_s` at most: then its driver lets it `leave`.

    Both are in seconds, by the driver's clock.
    `let_in` and `refused` are called once, one of them, and ask nothing of the schedule before they return.
    """

    door: "Door"
    came_s: float
    until_s: float
    let_in: Callable[..., object]
    refused: Callable[[], object]


class Door(OrderedDict[Knock, None]):
    """Those that were promised the same, in the order in which they came; nobody is late before `late_at_s`."""

    late_at_s = -math.inf

    @property
    def oldest(self) -> Knock:
        """Who has waited longest."""
        return next(iter(self))

    @property
    def newest(self) -> Knock:
        """Who came last."""
        return next(reversed(self))

    def late(self, now: float, patience_s: float) -> Iterator[Knock]:
        """Take those away who have waited longer than that."""
        while self and now - self.oldest.came_s > patience_s:
            yield self.popitem(last=False)[0]
        self.late_at_s = self.oldest.came_s + patience_s if self else -math.inf


def patience_s(bounds: Iterable[tuple[float | None, Quantiles]], worth: float) -> float:
    """For how many seconds one may wait so that such a part of its chance is left to keep each bound that it has.

    Bounds are in seconds from its arrival, with how long requests work until they end or their first piece is there.
    Who has no chance need not wait for it.
    """
    return min((_patience_s(bound_s, ahead, worth) for bound_s, ahead in bounds if bound_s is not None), default=0.0)


def _patience_s(bound_s: float, ahead: Quantiles, worth: float) -> float:
    chance = ahead.below(bound_s)
    return bound_s - ahead.at(worth * chance) if chance > 0.0 else 0.0
