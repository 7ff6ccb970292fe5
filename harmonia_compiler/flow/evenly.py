"""How often the labels of a value come by what is said of some: each of the others as often as each other one of them.

What is said of labels may be of those requests that are left when others have returned, of which nobody speaks. How
often these come is what is left in the end, whichever is asked for first: all of it are linear equations.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise

from harmonia_compiler.flow.labels import SaidOfLabels

#: Shares are reckoned with rounding.
_CLOSE = 1e-9

#: Equations are of shares that are rounded where they are written: of one that says no more than this, nothing is new.
_LEAST = 0.05


def shares_of_all(labels: Sequence[str], said: Iterable[SaidOfLabels]) -> dict[str, float]:
    """How often each label comes, over all, by what is said of some.

    What is said of most labels counts first, and before what is said later; what is reckoned by what others come to
    counts behind all. What does not fit with that is left out. What is said of several is divided evenly among
    those of which nothing is said alone, and what is left in the end among those of which nothing is said. Where it
    stays open how much that is, each is one of so many. Nothing where there are no such shares.
    """
    ordered = sorted(said, key=lambda one: (one.is_behind, -len(one.left)))
    found = _Equations(labels)
    found.add(dict.fromkeys(labels, 1.0), 1.0)
    for one in ordered:
        # Of all that are left, which are all but those that are gone.
        gone = [label for label in labels if label not in one.left]
        of_them = [label for label in labels if label in one.labels]
        found.add(dict.fromkeys(of_them, 1.0) | dict.fromkeys(gone, one.share), one.share)
    alone = frozenset[str]().union(*(one.labels for one in ordered if len(one.labels) == 1))
    for one in sorted(ordered, key=lambda one: len(one.labels)):
        found.equate(one.labels - alone)
    silent = {*labels}.difference(*(one.labels for one in ordered))
    found.equate(silent)
    for label in sorted(labels, key=lambda label: label not in silent):
        if found.is_open(label):
            found.add({label: 1.0}, 1.0 / len(labels))
    shares = found.shares()
    if not all(-_CLOSE <= share <= 1.0 + _CLOSE for share in shares.values()):
        return {}
    return {label: min(1.0, max(0.0, shares[label])) for label in labels if label not in silent}


class _Equations:
    """Linear equations of the shares of labels, each solved for one that stands in none of the others."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        # Of each label that is solved for the number, and how many times each one that is open comes to it.
        self._solved: dict[str, tuple[float, dict[str, float]]] = {}

    def add(self, times: Mapping[str, float], value: float) -> None:
        """So many times the shares come to that value; unless what is known says so, or something else."""
        left: dict[str, float] = {}
        for label, many in times.items():
            number, of_open = self._solved.get(label, (0.0, {label: 1.0}))
            value -= many * number
            for other, often in of_open.items():
                left[other] = left.get(other, 0.0) + many * often
        if max(map(abs, left.values()), default=0.0) < _LEAST:
            return
        label = max(left, key=lambda each: abs(left[each]))
        by = left.pop(label)
        solved = value / by, {other: -many / by for other, many in left.items() if many}
        for other, (number, of_open) in self._solved.items():
            if many := of_open.pop(label, 0.0):
                for each, often in solved[1].items():
                    of_open[each] = of_open.get(each, 0.0) + many * often
                self._solved[other] = number + many * solved[0], of_open
        self._solved[label] = solved

    def equate(self, labels: Collection[str]) -> None:
        """Those of some labels that are open come equally often."""
        for one, other in pairwise([label for label in self._labels if label in labels and self.is_open(label)]):
            self.add({one: 1.0, other: -1.0}, 0.0)

    def is_open(self, label: str) -> bool:
        """Whether it is not known how often a label comes."""
        return label not in self._solved or any(abs(many) > _CLOSE for many in self._solved[label][1].values())

    def shares(self) -> dict[str, float]:
        """How often each label comes, when none is open."""
        return {label: self._solved[label][0] for label in self._labels}
