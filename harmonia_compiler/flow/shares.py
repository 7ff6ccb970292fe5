"""How often tests hold of what calls answer and requests bring: a table by which plans reckon and answers are drawn.

A row is one part of what one call gives: the same one for all rounds of a loop, and for the items of a list and of all
that is made of that list. What the source says stands in it first; then, as it is asked, what a share of several tests
leaves to one, and what is guessed where nobody says anything. The first share of a test holds.

A value that may come from several places is as the mean of those. Of what a test has kept, a share is among what was
kept: in the row of all it comes behind that test's answer.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from harmonia_compiler.flow.asked import Test
from harmonia_compiler.flow.graph import EVEN
from harmonia_compiler.flow.outcomes import TRUE, Outcomes
from harmonia_compiler.flow.said import Literal, Saying
from harmonia_compiler.flow.values import Value


class Row(NamedTuple):
    """A part of what a node gives, which is one for all rounds of a loop."""

    node: Hashable
    path: tuple[str, ...]


class Part(NamedTuple):
    """One of what a value may be: of a row, those for which tests had these answers; and how often beside others."""

    row: Row
    kept: tuple[tuple[Test, bool], ...] = ()
    weight: float = 1.0


class _Row:
    """What is known of a row."""

    def __init__(self, labels: Sequence[str] | None, limit: int) -> None:
        self._outcomes = Outcomes(limit)
        self.value = Value(self._outcomes, labels, self._outcomes.outcome)

    def hear(self, test: Test, share: float, before: Iterable[Literal]) -> None:
        """A test holds in a share of those for which others have these answers, if nothing was known of it."""
        guard = self._among(before)
        if self._outcomes.probability(guard):
            self.value.test(test, share, guard)

    def share(self, test: Test, before: Iterable[Literal]) -> float | None:
        """How often a test holds among those; None where nothing is known of it, or there are none."""
        guard = self._among(before)
        likely = self._outcomes.probability(guard)
        if not likely or not self.value.knows(test):
            return None
        return self._outcomes.probability(self._outcomes.both(guard, self.value.test(test, EVEN, TRUE))) / likely

    def shares(self) -> dict[Test, float]:
        """How often each test holds that was asked."""
        return {test: self._outcomes.probability(when) for test, when in self.value}

    def _among(self, before: Iterable[Literal]) -> int:
        """When tests have these answers."""
        guard = TRUE
        for test, holds, share in before:
            is_true = self.value.test(test, share, guard)
            guard = self._outcomes.both(guard, is_true if holds else self._outcomes.negate(is_true))
        return guard


class Shares:
    """The table. `labels` are those that what a row tells may be, None where they cannot be listed."""

    def __init__(self, labels: Callable[[Row], Sequence[str] | None], limit: int) -> None:
        self._labels = labels
        self._limit = limit
        self._rows: dict[Row, _Row] = {}

    def say(self, said: Iterable[tuple[Sequence[Part], Saying]]) -> None:
        """Take what the source says, each of a value that may be some parts, in its order.

        What is said of one part alone goes first, and what rests on fewer other tests. What is said of several leaves
        to those of which nothing is known what the others do not make up.
        """
        found = [(parts, _literals(parts, saying.before), saying) for parts, saying in said]
        for parts, before, (test, share, _) in sorted(
            found, key=lambda one: (len(one[0]) > 1, max(map(len, one[1]), default=0))
        ):
            known = self._known(parts, before, test)
            rest = sum(part.weight for part, own in zip(parts, known, strict=True) if own is None)
            due = share * sum(part.weight for part in parts)
            due -= sum(part.weight * own for part, own in zip(parts, known, strict=True) if own is not None)
            for part, own, answers in zip(parts, known, before, strict=True):
                if own is None:
                    self._row(part).hear(test, min(1.0, max(0.0, due / rest)), answers)

    def of(self, parts: Sequence[Part], test: Test, otherwise: float) -> float | None:
        """How often a test of a value holds; None where nothing is known of that.

        Of several parts of which something is known, those of which this is not are taken to be `otherwise`.
        """
        before = _literals(parts)
        if all(own is None for own in self._known(parts, before, test)) and (len(parts) == 1 or not self.known(parts)):
            return None
        self.hear(parts, test, otherwise)
        return _mean(parts, [otherwise if own is None else own for own in self._known(parts, before, test)])

    def share(self, parts: Sequence[Part], test: Test) -> float | None:
        """How often a test of a value holds; None where that is not known of all of its parts, or of what kept them."""
        if not all(self.is_told(part) for part in parts):
            return None
        known = [own for own in self._known(parts, _literals(parts), test) if own is not None]
        return _mean(parts, known) if parts and len(known) == len(parts) else None

    def is_told(self, part: Part) -> bool:
        """Whether it is known how often the tests hold that have kept a part."""
        value = self._row(part).value
        return all(value.knows(test) for test, _ in part.kept)

    def known(self, parts: Sequence[Part]) -> list[Test]:
        """The tests of which something is known, for any of the parts."""
        return list(dict.fromkeys(test for part in parts for test, _ in self._row(part).value))

    def hear(self, parts: Sequence[Part], test: Test, share: float) -> None:
        """A test of a value holds so often, where nothing was known of it."""
        for part, answers in zip(parts, _literals(parts), strict=True):
            self._row(part).hear(test, share, answers)

    def shares(self, part: Part) -> Mapping[Test, float]:
        """How often each test holds that was asked of the row of a part."""
        return self._row(part).shares()

    def _known(self, parts: Sequence[Part], before: Sequence[Sequence[Literal]], test: Test) -> list[float | None]:
        return [self._row(part).share(test, answers) for part, answers in zip(parts, before, strict=True)]

    def _row(self, part: Part) -> _Row:
        if part.row not in self._rows:
            self._rows[part.row] = _Row(self._labels(part.row), self._limit)
        return self._rows[part.row]


def _mean(parts: Sequence[Part], shares: Sequence[float]) -> float:
    total = sum(part.weight for part in parts)
    return sum(part.weight * share for part, share in zip(parts, shares, strict=True)) / total


def _literals(parts: Iterable[Part], also: Sequence[Literal] = ()) -> list[tuple[Literal, ...]]:
    """For each part the answers that it comes with, then those that more tests have had."""
    return [(*(Literal(test, holds, EVEN) for test, holds in part.kept), *also) for part in parts]
