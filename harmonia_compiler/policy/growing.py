"""Whether requests take longer where more are worked on, and by how much.

How long requests take and how many are at work rise and fall together whatever the cause: where engines slow down for
a while, requests stay longer, so that more are at work, and a line through both says that the crowd made them slow.
What tells cause from consequence is who *came*, since requests come however long others take, and the swing of the
limit (`limit.py`), which nothing but the number of requests brings about. So times and crowds are each compared with
how many would be at work by these alone, with every request taking half of its promise: by how much more requests take
where that is greater, over how many more are at work then (an estimate by an instrumental variable).

What does not vary says nothing. So old comparisons fade only as new ones come that say something, and not with time. As
long as little was compared, requests are taken to grow as they usually do in engines that are busy. Where fewer are at
work than when it was compared, they grow by less: times are taken to lie on a line, which begins with that of a request
alone. Else what was seen of full engines would keep them idle.
"""

import math
from dataclasses import dataclass, field

from harmonia_compiler.policy.quantile import Mean

#: What is compared with comes before: the mean of so many times as many requests as are at work, within these.
GENERATIONS, LEAST_BEFORE, MOST_BEFORE = 2.0, 50.0, 1000.0
#: How many requests end before anything is compared.
FEWEST = 20
#: As how far apart two crowds count at most, by the logarithm: of a leap, which has a cause of its own, not all counts.
APART = 0.3
#: So much of what was compared is remembered, in squares of differences, and so much stands for the usual growth.
REMEMBERED, BEFOREHAND, USUAL = 30.0, 5.0, 0.6
#: As growing by more percent than this, for one percent more at work, no requests are taken.
MOST = 0.8
#: Of those that were cut off it is not known how long they would have taken: less is seen of growth by their part.
LEAST_SEEN = 0.25


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many requests are at work at some time, and how many would be by what came and the limit's swing alone."""

    at_work: int = 1
    by_coming: float = 1.0


@dataclass(slots=True)
class Coming:
    """How many requests would be at work by what came alone. Times are in seconds, by the driver's clock.

    All of them are taken to stay as long as they do in the mean, whatever each was promised.
    """

    _value: float = 0.0
    _since_s: float = 0.0
    _stay_s: Mean = field(default_factory=Mean)

    def came(self, now: float, within_s: float) -> None:
        """One more came, to be answered within so many seconds, whether it was let in or not."""
        self._value = self.at(now) + 1.0
        self._since_s = now
        self._stay_s.add(within_s / 2.0)

    def at(self, now: float) -> float:
        """How many would be at work now."""
        return self._value * math.exp((self._since_s - now) / self._stay_s.value) if self._value else 0.0

    def per_second(self, now: float) -> float:
        """How many came a second lately."""
        return self.at(now) / self._stay_s.value if self._value else 0.0


@dataclass(slots=True)
class Growing:
    """By how many percent requests take longer where one percent more are at work."""

    _ended: float = 0.0
    _crowd: float = 0.0
    _by_coming: float = 0.0
    _taken: float = 0.0
    _compared: float = 0.0
    #: The crowd among which most was compared, by its logarithm as the others.
    _among: float = 0.0
    _crowds: float = 0.0
    _times: float = 0.0

    def ended(self, met: Crowd, left: Crowd, part: float, *, tells: bool) -> None:
        """A request ended that met such a crowd as it came, and left such a one, and worked such a part of its promise.

        It `tells` something of times unless nearly all are cut off.
        """
        crowd = (math.log(met.at_work) + math.log(left.at_work)) / 2.0
        by_coming = (math.log(max(1.0, met.by_coming)) + math.log(max(1.0, left.by_coming))) / 2.0
        taken = math.log(max(0.01, part))
        before = min(MOST_BEFORE, max(LEAST_BEFORE, GENERATIONS * left.at_work))
        self._ended = min(self._ended + 1.0, before)
        if tells and self._ended > FEWEST:
            self._compare(_near(by_coming - self._by_coming), _near(crowd - self._crowd), taken - self._taken)
        self._crowd += (crowd - self._crowd) / self._ended
        self._by_coming += (by_coming - self._by_coming) / self._ended
        self._taken += (taken - self._taken) / self._ended

    def by(self, seen: float) -> float:
        """The growth among as many as there were lately, where such a part of the requests was not cut off."""
        times = self._times / max(LEAST_SEEN, seen) + USUAL * BEFOREHAND
        found = max(0.0, min(MOST, times / (max(0.0, self._crowds) + BEFOREHAND)))
        fewer = found * math.exp(min(0.0, self._crowd - self._among))
        return fewer / (1.0 - found + fewer)

    def _compare(self, by_coming: float, crowd: float, taken: float) -> None:
        said = by_coming * by_coming
        kept = min(1.0, REMEMBERED / (self._compared + said)) if said else 1.0
        self._compared = (self._compared + said) * kept
        self._among += (self._crowd - self._among) * said / self._compared if said else 0.0
        self._crowds = (self._crowds + by_coming * crowd) * kept
        self._times = (self._times + by_coming * taken) * kept


def _near(difference: float) -> float:
    return max(-APART, min(APART, difference))
