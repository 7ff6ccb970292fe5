"""How an engine's calls are divided over its replicas, and how long one of them takes in the mean.

What a replica has in progress is its rate times its latency, which bends upward: the busier it is, the more a further
call adds. So calls are divided such that the next one adds as little as it would anywhere, the quick replicas being
busier than the slow ones. That is the division of least latency, and about what a gateway comes to that sends each call
where least is in progress for what the replica carries: those that answer sooner are free again sooner.

Since the curve goes in straight lines between LEVELS (`profile/queueing.py`), it is a sum of stretches, cheapest first.
The integer program has the same as a linear one (`plan/latency.py`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harmonia_compiler.profile.queueing import LEVELS


@dataclass(frozen=True, slots=True)
class Sharing:
    """The stretches of an engine's replicas by what a call adds there, and what it takes on the slowest when idle.

    Each stretch is a rate, and what its calls take. Rates are in multiples of the declared loads.
    """

    stretches: tuple[tuple[float, float], ...]
    slowest: float

    def mean(self, rate: float) -> float:
        """What a call takes in the mean at a rate. Beyond the highest level calls go on as in the last stretch."""
        if rate <= 0.0 or math.isinf(self.stretches[0][0]):
            return self.stretches[0][1]
        left, spent = rate, 0.0
        for most, takes in self.stretches:
            spent += min(left, most) * takes
            left -= most
            if left <= 0.0:
                return spent / rate
        return (spent + left * self.stretches[-1][1]) / rate


def shared(replicas: Iterable[tuple[float, Sequence[float]]]) -> Sharing:
    """How calls are shared by replicas, each given by the rate at which it is never idle and its latency by level."""
    stretches: list[tuple[float, float]] = []
    slowest = 0.0
    for full, times in replicas:
        slowest = max(slowest, times[0])
        stretches += [(width * full, takes) for width, takes in _stretches(times)]
    return Sharing(tuple(sorted(stretches, key=lambda stretch: stretch[1])), slowest)


def at(times: Sequence[float], utilisation: float) -> float:
    """The latency of a replica that is busy for a part of the time."""
    return shared([(1.0, times)]).mean(utilisation)


def _stretches(times: Sequence[float]) -> list[tuple[float, float]]:
    """The widths and slopes of what is in progress by utilisation; where that bends downward, straight across."""
    found: list[tuple[float, float]] = []
    before, spent = 0.0, 0.0
    for level, time in zip(LEVELS, times, strict=True):
        width, takes = level - before, (level * time - spent) / (level - before)
        before, spent = level, level * time
        while found and found[-1][1] > takes:
            other, took = found.pop()
            width, takes = width + other, (width * takes + other * took) / (width + other)
        found.append((width, takes))
    return found
