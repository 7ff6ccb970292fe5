"""From shares among the items that a test has kept to shares among those that it was asked of.

A component answers before anything is kept of what it answers. Where nothing can be told of those that were left out,
nothing is said: of texts other than the one that was kept, of bounds beyond one that was.
"""

from collections.abc import Mapping, Sequence

from harmonia_compiler.flow.conditions import Place
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.origins import Kept

#: How often each test of a value holds: None for a truth, the text that it is, or the number that it is less than.
Chances = Mapping[str | float | None, float]


def of_those_before(demand: Demand, kept: Sequence[Kept], chances: Chances) -> Chances:
    """The chances among all values, from those among the ones that have passed some tests, the last one first."""
    for position, fields, test, holds in kept:
        share = demand.likely.get(Place(position, fields), {}).get(test)
        if share is not None:
            chances = _before(chances, test, share, is_true=holds)
    return chances


def _before(chances: Chances, by: str | float | None, share: float, *, is_true: bool) -> Chances:
    """The chances before those were kept for which one test of the value holds, or does not."""
    stays = share if is_true else 1.0 - share
    found: dict[str | float | None, float] = {}
    for tested, chance in chances.items():
        left_out = _of_left_out(tested, by, was_true=not is_true)
        if left_out is not None:
            found[tested] = stays * chance + (1.0 - stays) * left_out
    return found


def _of_left_out(tested: str | float | None, by: str | float | None, *, was_true: bool) -> float | None:
    """How often a test holds where another one of the same value held, or did not; None where that does not tell."""
    if tested == by:
        return 1.0 if was_true else 0.0
    if isinstance(tested, float) and isinstance(by, float):
        if was_true:
            return 1.0 if tested > by else None
        return 0.0 if tested < by else None
    return 0.0 if was_true else None
