"""Running figures of values that change over time: their mean and their quantiles, each value in constant time.

A histogram with steps of a tenth, in which each value counts a little more than the one before: after `MEMORY` values
the older ones count a third of what they did. It takes about 7 KB, however many values come.
"""

import math
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

#: How many of the newest values a figure is mostly made of.
MEMORY = 200
#: The least value that is told apart, in seconds, how much wider each step is than the one before, and how many.
_LEAST, _STEP, _STEPS = 0.001, 1.1, 160
_LOG_STEP = math.log(_STEP)
#: Where each step begins, and the last one ends.
_EDGES = (0.0, *(_LEAST * _STEP**step for step in range(1, _STEPS + 1)))
_GROWTH = 1.0 + 1.0 / MEMORY
#: Weights are brought down before they outgrow what numbers can hold.
_MOST_WEIGHT = 1e12
#: Steps are added up anew after so many values.
_FRESH = 4


class Quantiles:
    """The distribution of the newest of many values; they are not negative."""

    __slots__ = ("_first", "_from", "_last", "_newest", "_since", "_sums", "_weights")

    def __init__(self, first: float | None = None, counts: float = 1.0) -> None:
        """Begin with a value that somebody expects, which counts as so many."""
        self._weights = array("d", bytes(8 * _STEPS))
        self._newest = 1.0
        self._sums: list[float] | None = None
        self._since = 0
        #: The first and the last step that has a weight: the others need not be added up.
        self._first, self._last = _STEPS, -1
        self._from = 0
        if first is not None:
            self._weights[self._step_within(first)] = counts

    def add(self, value: float) -> None:
        """Take a value in."""
        self._newest *= _GROWTH
        self._weights[self._step_within(value)] += self._newest
        self._since += 1
        if self._since >= _FRESH:
            self._sums = None
        if self._newest > _MOST_WEIGHT:
            self._weights = array("d", (weight / self._newest for weight in self._weights))
            self._newest, self._sums = 1.0, None

    def at(self, part: float) -> float:
        """The value below which so large a part of them lies; 0 where there are none."""
        sums = self._summed()
        left = part * sums[-1] if sums else 0.0
        if not left > 0.0:
            return 0.0
        step = min(_STEPS - 1, self._from + bisect_left(sums, left))
        low, weight = self._up_to(step - 1), self._weights[step]
        return _EDGES[step] + (_EDGES[step + 1] - _EDGES[step]) * ((left - low) / weight if weight else 1.0)

    def below(self, value: float) -> float:
        """The part of them that lies below a value; 1 where there are none."""
        sums = self._summed()
        if not sums or not sums[-1] > 0.0:
            return 1.0
        if value <= 0.0:
            return 0.0
        step = _step_of(value)
        low = self._up_to(step - 1)
        within = min(1.0, (value - _EDGES[step]) / (_EDGES[step + 1] - _EDGES[step]))
        return (low + within * (self._up_to(step) - low)) / sums[-1]

    def _step_within(self, value: float) -> int:
        """The step of a value that is to have a weight."""
        step = _step_of(value)
        if not self._first <= step <= self._last:
            self._first, self._last = min(self._first, step), max(self._last, step)
        return step

    def _summed(self) -> list[float]:
        """The weights up to each of the steps between the first and the last that has one, as of the last few values.

        Adding them up costs more than a value.
        """
        if self._sums is None:
            self._from = self._first
            self._sums = [*accumulate(self._weights[self._first : self._last + 1])]
            self._since = 0
        return self._sums

    def _up_to(self, step: int) -> float:
        """The weights of all steps up to one, as of the last few values."""
        sums, at = self._summed(), step - self._from
        return sums[min(at, len(sums) - 1)] if at >= 0 else 0.0


@dataclass(slots=True)
class Mean:
    """The mean of the newest of many values: at first of all, then each new one counts as one of `memory`."""

    value: float = 0.0
    count: float = 0.0
    memory: float = MEMORY

    def add(self, value: float) -> None:
        """Take a value in."""
        count = self.count
        if count < self.memory:
            self.count = count = min(count + 1.0, self.memory)
        self.value += (value - self.value) / count


def _step_of(value: float) -> int:
    return 0 if value <= _LEAST else min(_STEPS - 1, int(math.log(value / _LEAST) / _LOG_STEP))
