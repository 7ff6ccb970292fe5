"""Shares of outcomes at which all holds that is said, where taking one statement after the other has missed some.

Each statement is an equation in the shares of the outcomes that its functions rest on. They are solved together, by
steps along straight lines (Gauss-Newton), of all such steps the least one.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from harmonia_compiler.flow.outcomes import Outcomes

#: So near a statement holds.
_CLOSE = 1e-9

#: Each step misses what is said by so much less than the one before; it is tried whole, in halves, in quarters.
_LEAST_GAIN = 0.98
_MOST_STEPS = 30
_SIZES = (1.0, 0.5, 0.25, 0.125, 0.0625)

#: More equations are not solved.
_MOST_EQUATIONS = 100

#: How far shares are moved to begin elsewhere, in so many tries for a few statements and in fewer for more.
_MOVED = (0.1, 0.1, 0.3, 0.3, 0.5, 0.5, 0.5, 0.5)
_MOST_TRIED = 120
#: No share begins nearer than this to where it would be sure, and so stay.
_LEAST = 0.05
#: What a step leaves of the way to where a share would be sure.
_LEFT = 0.1
#: Its multiples lie evenly between whole numbers.
_GOLDEN = 0.6180339887498949

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
    # Where each is sure by now, statements rest on outcomes all the same.
    open_ = [min(1.0 - _LEAST, max(_LEAST, share)) if level in free else share for level, share in enumerate(before)]
    resting = _resting(outcomes, equations, free)
    if len(resting) > _MOST_EQUATIONS:
        return False
    if _search(outcomes, resting, free):
        return True
    outcomes.give(open_)
    equations = _resting(outcomes, equations, free)
    for turn, by in enumerate(_MOVED[: 1 + _MOST_TRIED // max(1, len(equations))]):
        outcomes.give([_moved(share, by, level, turn) if level in free else share for level, share in enumerate(open_)])
        if _search(outcomes, equations, free):
            return True
    outcomes.give(before)
    return False


def _resting(outcomes: Outcomes, equations: Sequence[Equation], free: Collection[int]) -> list[Equation]:
    """Those that rest on what may move."""
    weights = _weights(outcomes, free)
    return [one for one in equations if any(weights[level] for level in _slope(outcomes, one))]


def _moved(share: float, by: float, level: int, turn: int) -> float:
    """Another share to begin with: where one outcome is as the other, no step leads on."""
    return min(1.0 - _LEAST, max(_LEAST, share + by * (2.0 * (_GOLDEN * (level + 1) * (turn + 1) % 1.0) - 1.0)))


def _search(outcomes: Outcomes, equations: Sequence[Equation], free: Collection[int]) -> bool:
    """Give shares by which all equations hold, from those that outcomes have. Gives whether they do."""
    off = _off(outcomes, equations)
    for _ in range(_MOST_STEPS):
        if max(map(abs, off), default=0.0) <= _CLOSE:
            return True
        found, step = outcomes.shares, _step(outcomes, equations, off, free)
        for size in _SIZES:
            outcomes.give([_stepped(share, size * each) for share, each in zip(found, step, strict=True)])
            now = _off(outcomes, equations)
            if _norm(now) <= _LEAST_GAIN * _norm(off):
                break
        else:
            return False
        off = now
    return max(map(abs, off), default=0.0) <= _CLOSE


def _stepped(share: float, by: float) -> float:
    """A share after a step: where that leads beyond what is sure, most of the way there, whence it may come back."""
    return max(_LEFT * share, min(1.0 - _LEFT * (1.0 - share), share + by))


def _norm(off: Sequence[float]) -> float:
    return math.fsum(each * each for each in off)


def _off(outcomes: Outcomes, equations: Sequence[Equation]) -> list[float]:
    """By how much each share is missed. What nobody reaches is missed by all: else nobody would come to reach it."""
    reached = [outcomes.probability(one.reached) for one in equations]
    return [
        outcomes.probability(one.held) / likely - one.share if likely else 1.0
        for one, likely in zip(equations, reached, strict=True)
    ]


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
    found, reached = outcomes.slopes(one.held), outcomes.probability(one.reached)
    share = outcomes.probability(one.held) / reached if reached else one.share
    for level, slope in outcomes.slopes(one.reached).items():
        found[level] = found.get(level, 0.0) - share * slope
    return {level: slope / (reached or 1.0) for level, slope in found.items()}


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
