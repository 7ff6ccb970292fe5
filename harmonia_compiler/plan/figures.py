"""How figures are said to a user: a need is rounded up and a supply down, so that who follows the figure has enough.

Three digits are enough to act on, but whole units are never rounded away: nobody has 10,200 of 10,240 devices.
"""

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from harmonia_compiler.diagnostics import numbers

#: Digits of figures that are worked out; those that the user gave are said with MOST_DIGITS.
DIGITS = 3
MOST_DIGITS = 6


def up(figure: float, digits: int = DIGITS) -> float:
    """The least figure of so few digits that is no less."""
    return _rounded(figure, digits, ROUND_CEILING)


def down(figure: float, digits: int = DIGITS) -> float:
    """The largest figure of so few digits that is no more."""
    return _rounded(figure, digits, ROUND_FLOOR)


def _rounded(figure: float, digits: int, rounding: str) -> float:
    if math.isinf(figure) or figure == int(figure):
        return figure
    certain = Decimal(f"{figure:.{numbers.CERTAIN_DIGITS}g}")
    if certain == int(certain):
        return float(certain)
    step = Decimal(1).scaleb(min(0, certain.adjusted() - digits + 1))
    return float(certain.quantize(step, rounding))


def plain(figure: float) -> str:
    """A figure as people write it: no exponent, but for what is too small to count zeros."""
    if 0.0 < abs(figure) < 1e-6:
        return f"{figure:g}"
    return numbers.plain(figure)


def time_up(ms: float) -> float:
    """A time that is no less, in ms, of few digits in the unit that it is said in."""
    return up(ms / 1000.0) * 1000.0 if ms >= 1000.0 else up(ms)


def time(ms: float) -> str:
    """A time in ms or s."""
    return f"{plain(ms / 1000.0)} s" if ms >= 1000.0 else f"{plain(ms)} ms"


def amounts(of: Mapping[str, float]) -> str:
    """Amounts of resources, as in `9 cores and 2 GiB of memory`; GPUs go by their type."""
    return " and ".join(f"{plain(amount)} {_unit(resource, amount)}" for resource, amount in of.items())


def _unit(resource: str, amount: float) -> str:
    return {"cores": "core" if amount == 1 else "cores", "memory_gib": "GiB of memory"}.get(resource, resource)
