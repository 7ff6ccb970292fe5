"""How often tests hold of what calls answer and requests bring: a table by which plans reckon and answers are drawn.

A row is one part of what one call gives: the same one for all rounds of a loop, and for the items of a list and of all
that is made of that list. What the source says stands in it first; then, as it is asked, what a share of several tests
leaves to one, and what is guessed where nobody says anything. The first share of a test holds.

A value that may come from several places is as the mean of those. Of what a test has kept, a share is among what was
kept: in the row of all it comes behind that test's answer.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from harmonia_compiler.flow.asked import Test
from harmonia_compiler.flow.evenly import shares_of_all
from harmonia_compiler.flow.graph import EVEN
from harmonia_compiler.flow.labels import SaidOfLabels
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Mark, Outcomes
from harmonia_compiler.flow.reached import Fact, Step, questions_of
from harmonia_compiler.flow.said import Saying
from harmonia_compiler.flow.turns import in_turn
from harmonia_compiler.flow.values import Known, Value

#: Shares are reckoned with rounding.
_CLOSE = 1e-9


class Row(NamedTuple):
    """A part of what a node gives, which is one for all rounds of a loop."""

    node: Hashable
    path: tuple[str, ...]


#: Tests with the answers that they have had, the first one first.
_Answers = tuple[tuple[Test, bool], ...]


class Part(NamedTuple):
    """One of what a value may be: of a row, those for which tests had these answers; and how often beside others."""

    row: Row
    kept: _Answers = ()
    weight: float = 1.0


#: What is known of a row: how far its outcomes are filled, what of its value, of what was kept, and if any is said.
KnownOfRow = tuple[Mark, Known, dict[_Answers, int], bool]


class _Row:
    """What is known of a row."""

    def __init__(self, labels: Sequence[str] | None, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self.value = Value(self._outcomes, labels, self._outcomes.outcome)
        self._guards: dict[_Answers, int] = {(): TRUE}
        #: Whether something is said of any of its labels.
        self.is_said = False

    def mark(self) -> KnownOfRow:
        """What is known, for `back`."""
        return self._outcomes.mark(), self.value.mark(), dict(self._guards), self.is_said

    def back(self, mark: KnownOfRow) -> None:
        """Know no more than at a mark."""
        outcomes, value, guards, self.is_said = mark
        self._guards = dict(guards)
        self._outcomes.back(outcomes)
        self.value.back(value)

    def hear(self, test: Test, share: float, kept: _Answers, before: Iterable[Step] = ()) -> None:
        """A test holds in a share of those for which others have these answers, if nothing was known of it."""
        guard = self._among(kept, before)
        if self._outcomes.probability(guard):
            self.value.test(test, share, guard)

    def guess(self, test: Test, share: float) -> int:
        """When a test holds: where nothing was known of it, in a share of what is left or, of labels, as each other."""
        return self.value.guess(test, self.value.even(test, share) if self.is_said else share)

    def share(self, test: Test, kept: _Answers, before: Iterable[Step] = ()) -> float | None:
        """How often a test holds among those; None where nothing is known of it, or there are none."""
        guard = self._among(kept, before)
        likely = self._outcomes.probability(guard)
        if not likely or not self.value.knows(test):
            return None
        return self._outcomes.probability(self._outcomes.both(guard, self.value.test(test, EVEN, TRUE))) / likely

    def shares(self) -> dict[Test, float]:
        """How often each test holds that was asked."""
        return {test: self._outcomes.probability(when) for test, when in self.value}

    def _among(self, kept: _Answers, before: Iterable[Step]) -> int:
        """When tests have these answers."""
        return self._behind(self._of_kept(kept), before)

    def _behind(self, guard: int, before: Iterable[Step]) -> int:
        for one in before:
            if isinstance(one, Fact):
                guard = self._answered(guard, one.asked.test, one.share, holds=one.holds)
            else:
                ways = [self._behind(guard, way) for way in one.ways]
                guard = reduce(self._outcomes.either, ways, FALSE)
        return guard

    def _of_kept(self, kept: _Answers) -> int:
        """The same, once for all that was kept alike: lists that are made of each other have one test more each."""
        known = len(kept)
        while kept[:known] not in self._guards:
            known -= 1
        guard = self._guards[kept[:known]]
        for at, (test, holds) in enumerate(kept[known:], known + 1):
            guard = self._guards[kept[:at]] = self._answered(guard, test, EVEN, holds=holds)
        return guard

    def _answered(self, guard: int, test: Test, share: float, *, holds: bool) -> int:
        is_true = self.guess(test, share)
        return self._outcomes.both(guard, is_true if holds else self._outcomes.negate(is_true))


class Shares:
    """The table. `labels` are those that what a row tells may be, None where they cannot be listed.

    `new` makes a store for the outcomes of a row.
    """

    def __init__(self, labels: Callable[[Row], Sequence[str] | None], new: Callable[[], Outcomes]) -> None:
        self._labels = labels
        self._new = new
        self._rows: dict[Row, _Row] = {}
        #: The rows of which all is known by what is said of labels.
        self.by_labels: set[Row] = set()

    def say(
        self,
        said: Iterable[tuple[Sequence[Part], Saying]],
        of_labels: Iterable[tuple[Sequence[Part], SaidOfLabels]] = (),
    ) -> None:
        """Take what the source says, each of a value that may be some parts, in its order; and `of_labels` before.

        What is said of one part alone goes first, and what rests on fewer other tests; but each behind what says
        something of those tests. What is said of several leaves to those of which nothing is known what the others do
        not make up.
        """
        ordered = [*_in_turn(sorted(said, key=_order))]
        for parts, saying in ordered:
            for part in parts:
                self._row(part).is_said |= isinstance(saying.test, str)
        self._say_of_labels(of_labels)
        for parts, (test, share, before) in ordered:
            known = self._known(parts, test, before)
            rest = sum(part.weight for part, own in zip(parts, known, strict=True) if own is None)
            due = share * sum(part.weight for part in parts)
            due -= sum(part.weight * own for part, own in zip(parts, known, strict=True) if own is not None)
            for part, own in zip(parts, known, strict=True):
                if own is None:
                    self._row(part).hear(test, min(1.0, max(0.0, due / rest)), part.kept, before)

    def _say_of_labels(self, said: Iterable[tuple[Sequence[Part], SaidOfLabels]]) -> None:
        """Take what is said of all requests, or of those of some labels, of values of which that is all."""
        of_each: dict[Row, list[SaidOfLabels]] = {}
        others = set[Row]()
        for parts, one in said:
            for part in parts:
                of_each.setdefault(part.row, []).append(one)
                others |= {part.row} if len(parts) > 1 or part.kept else set()
        for row, all_ in of_each.items():
            labels = self._labels(row)
            self._row(Part(row)).is_said = True
            shares = shares_of_all(labels, all_) if labels and row not in others else {}
            self.by_labels |= {row} if shares else set()
            for label, share in shares.items():
                self._row(Part(row)).hear(label, share, ())

    def holds(self, part: Part, saying: Saying) -> bool:
        """Whether what is said of one part is so; of what no value is left to be, it is."""
        own = self._row(part).share(saying.test, part.kept, saying.before)
        return own is None or abs(own - saying.share) <= _CLOSE

    def of(self, parts: Sequence[Part], test: Test, otherwise: float) -> float | None:
        """How often a test of a value holds; None where nothing is known of that.

        Of several parts of which something is known, those of which this is not are taken to be `otherwise`.
        """
        if all(own is None for own in self._known(parts, test)) and (len(parts) == 1 or not self.known(parts)):
            return None
        for part in parts:
            self._row(part).guess(test, otherwise)
        return _mean(parts, [otherwise if own is None else own for own in self._known(parts, test)])

    def known(self, parts: Sequence[Part]) -> list[Test]:
        """The tests of which something is known, for any of the parts."""
        return list(dict.fromkeys(test for part in parts for test, _ in self._row(part).value))

    def hear(self, parts: Sequence[Part], test: Test, share: float, *, is_said: bool = True) -> None:
        """A test of a value holds so often, where nothing was known of it."""
        for part in parts:
            self._row(part).is_said |= is_said and isinstance(test, str)
            self._row(part).hear(test, share, part.kept)

    def is_said(self, parts: Iterable[Part]) -> bool:
        """Whether something is said of any label of a value."""
        return any(self._row(part).is_said for part in parts)

    def mark(self, rows: Iterable[Row]) -> dict[Row, KnownOfRow | None]:
        """What is known of some rows, for `back`."""
        return {row: self._rows[row].mark() if row in self._rows else None for row in rows}

    def back(self, mark: Mapping[Row, KnownOfRow | None]) -> None:
        """Know no more of those rows than at a mark."""
        for row, before in mark.items():
            if before is not None:
                self._rows[row].back(before)
            else:
                self._rows.pop(row, None)

    def shares(self, part: Part) -> Mapping[Test, float]:
        """How often each test holds that was asked of the row of a part."""
        return self._row(part).shares()

    def _known(self, parts: Sequence[Part], test: Test, before: Sequence[Step] = ()) -> list[float | None]:
        return [self._row(part).share(test, part.kept, before) for part in parts]

    def _row(self, part: Part) -> _Row:
        if part.row not in self._rows:
            self._rows[part.row] = _Row(self._labels(part.row), self._new())
        return self._rows[part.row]


def _mean(parts: Sequence[Part], shares: Sequence[float]) -> float:
    total = sum(part.weight for part in parts)
    return sum(part.weight * share for part, share in zip(parts, shares, strict=True)) / total


def _order(said: tuple[Sequence[Part], Saying]) -> tuple[bool, int]:
    """What is said of one part before what is said of several, and what rests on fewer tests before that of more."""
    parts, saying = said
    return len(parts) > 1, max((len(part.kept) for part in parts), default=0) + len(questions_of(saying.before))


def _in_turn(said: Sequence[tuple[Sequence[Part], Saying]]) -> Iterator[tuple[Sequence[Part], Saying]]:
    """The same, but each behind what first says something of each test that it rests on.

    Else a guess would stand for that test.
    """
    first: dict[tuple[Row, Test], int] = {}
    for number, (parts, saying) in enumerate(said):
        for part in parts:
            first.setdefault((part.row, saying.test), number)

    def rests_on(number: int) -> list[int]:
        parts, saying = said[number]
        asked = {(part.row, each.test) for part in parts for each in questions_of(saying.before)}
        asked |= {(part.row, test) for part in parts for test, _ in part.kept}
        return sorted(first[each] for each in asked if each in first)

    return (said[number] for number in in_turn(range(len(said)), rests_on))
