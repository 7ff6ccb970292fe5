"""Shares of outcomes at which all holds that is said, where taking one statement after the other has missed some.

Each statement is an equation in the shares of the outcomes that its functions rest on. They are solved together, by
steps along straight lines (Gauss-Newton), of all such steps the least one.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from harmonia_compiler.flow.outcomes import Outcomes

#: So near a statement holds, and by so much less each step misses what is said than the one before.
_CLOSE = 1e-9
_LEAST_GAIN = 0.5
_MOST_STEPS = 12
#: A step is tried whole, in halves and in quarters.
_SIZES = (1.0, 0.5, 0.25)

#: What is added to the diagonal, as a part of its largest element.
_RIDGE = 1e-10


class Equation(NamedTuple):
    """Of the requests that are `reached`, those that are `held` are to be a share."""

    reached: int
    held: int
    share: float


def balance(outcomes: Outcomes, equations: Sequence[Equation], free: Collection[int]) -> bool:
    """Give some outcomes, those at the `free` levels, shares by which all equations hold that rest on any of them.

    Gives whether they hold; where no shares are found, all stays as it is.
    """
    before = outcomes.shares
    weights = _weights(outcomes, free)
    equations = [one for one in equations if any(weights[level] for level in _slope(outcomes, one))]
    off = _off(outcomes, equations)
    for _ in range(_MOST_STEPS):
        if max(map(abs, off), default=0.0) <= _CLOSE:
            break
        found, step = outcomes.shares, _step(outcomes, equations, off, free)
        for size in _SIZES:
            outcomes.give([min(1.0, max(0.0, share + size * each)) for share, each in zip(found, step, strict=True)])
            now = _off(outcomes, equations)
            if _norm(now) <= _LEAST_GAIN * _norm(off):
                break
        else:
            break
        off = now
    if max(map(abs, off), default=0.0) <= _CLOSE:
        return True
    outcomes.give(before)
    return False


def _norm(off: Sequence[float]) -> float:
    return math.fsum(each * each for each in off)


def _off(outcomes: Outcomes, equations: Sequence[Equation]) -> list[float]:
    return [outcomes.probability(one.held) - one.share * outcomes.probability(one.reached) for one in equations]


def _step(
    outcomes: Outcomes, equations: Sequence[Equation], off: Sequence[float], free: Collection[int]
) -> list[float]:
    """By how much each share is to change."""
    weights = _weights(outcomes, free)
    slopes = [_slope(outcomes, one) for one in equations]
    products = [
        [math.fsum(weights[level] * each * other.get(level, 0.0) for level, each in slope.items()) for other in slopes]
        for slope in slopes
    ]
    # Statements that say the same leave the steps open.
    ridge = _RIDGE * max(line[at] for at, line in enumerate(products)) or 1.0
    for at, line in enumerate(products):
        line[at] += ridge
    step = [0.0] * len(weights)
    for factor, slope in zip(_solved(products, [-each for each in off]), slopes, strict=True):
        for level, each in slope.items():
            step[level] += factor * weights[level] * each
    return step


def _weights(outcomes: Outcomes, free: Collection[int]) -> list[float]:
    """How far each outcome's share may move beside others: little where it is nearly sure."""
    return [share * (1.0 - share) if level in free else 0.0 for level, share in enumerate(outcomes.shares)]


def _slope(outcomes: Outcomes, one: Equation) -> dict[int, float]:
    """By how much an equation is off for each outcome's share."""
    found = outcomes.slopes(one.held)
    for level, slope in outcomes.slopes(one.reached).items():
        found[level] = found.get(level, 0.0) - one.share * slope
    return found


def _solved(lines: list[list[float]], wanted: list[float]) -> list[float]:
    """The `x` of which `lines · x` is what is wanted, by elimination."""
    rows = [[*line, value] for line, value in zip(lines, wanted, strict=True)]
    count = len(rows)
    for at in range(count):
        pivot = max(range(at, count), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for row in range(at + 1, count):
            factor = rows[row][at] / rows[at][at]
            if factor:
                rows[row] = [one - factor * other for one, other in zip(rows[row], rows[at], strict=True)]
    found = [0.0] * count
    for at in reversed(range(count)):
        rest = math.fsum(rows[at][other] * found[other] for other in range(at + 1, count))
        found[at] = (rows[at][count] - rest) / rows[at][at]
    return found
