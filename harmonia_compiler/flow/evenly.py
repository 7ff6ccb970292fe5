"""How often the labels of a value come by what is said of some: each of the others as often as each other one of them.

What is said of a label may be of those requests that are left when others have returned, of which nobody speaks. How
often these come is what is left in the end, whichever is asked for first.
"""

from collections.abc import Iterable, Sequence

from harmonia_compiler.flow.reached import Fact, Step, questions_of
from harmonia_compiler.flow.said import Saying

#: Shares are reckoned with rounding.
_CLOSE = 1e-9

#: Where shares of all labels that are left come to 1, but for rounding, they say nothing of how many those are.
_LEAST = 0.1


def shares_of_all(labels: Sequence[str], said: Iterable[Saying]) -> dict[str, float]:
    """How often each label comes of which something is said, over all, by what is said of it first.

    Each said share is of all but some labels: a number and so many times what one comes to of which nothing is said.
    With these they come to 1. Nothing where that settles no shares.
    """
    first: dict[str, Saying] = {}
    for saying in said:
        asked = (saying.test, *(each.test for each in questions_of(saying.before)))
        if not all(isinstance(test, str) for test in asked):
            return {}
        first.setdefault(str(saying.test), saying)
    # Of each label the number, and how many times.
    found = {label: (0.0, 1.0) for label in labels if label not in first}
    least = _LEAST * len(found)
    for label, (_, share, before) in first.items():
        gone = [each for each in labels if not _is_so(before, each)]
        if not found.keys() >= {*gone}:
            return {}
        number, times = (sum(found[each][part] for each in gone) for part in range(2))
        found[label] = share * (1.0 - number), -share * times
    number, times = (sum(each[part] for each in found.values()) for part in range(2))
    if least and times < least:
        return {}
    one = (1.0 - number) / times if least else 0.0
    shares = {label: found[label][0] + found[label][1] * one for label in found}
    if not all(-_CLOSE <= share <= 1.0 + _CLOSE for share in shares.values()):
        return {}
    return {label: min(1.0, max(0.0, shares[label])) for label in first}


def _is_so(steps: Iterable[Step], label: str) -> bool:
    """Whether what is asked of a value alone is so where it has a label."""
    return all(
        (step.asked.test == label) == step.holds
        if isinstance(step, Fact)
        else any(_is_so(way, label) for way in step.ways)
        for step in steps
    )
