"""Functions of outcomes: when a condition is true, by what is said of it and of the values that it is made of.

One outcome stands for one condition wherever it is tested. What is asked of one value holds as often as the table says,
`Shares`, or as is known of the part of the requests where it is told apart, `Told`. A condition that is made of others
(`a and b`, whether a loop has been left early, a name that was bound on two paths) is the function of theirs that it
is; where somebody has said how often it holds, those of which nothing is known hold so often that it does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import reduce
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Call, Select, inputs
from harmonia_compiler.flow.apart import KnownApart, Told
from harmonia_compiler.flow.asked import Asked, Test, settled
from harmonia_compiler.flow.expand import Expanded, Item, in_rounds, scopes_around
from harmonia_compiler.flow.graph import EVEN
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Mark, Outcomes, TooManyError
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.reached import Fact, Step, questions_of
from harmonia_compiler.flow.said import Said, Statement
from harmonia_compiler.flow.shares import KnownOfRow, Part, Row, Shares
from harmonia_compiler.flow.values import Known, Value, left

#: How deep conditions are looked into that are made of others, which is done by recursion.
_DEEPEST = 40

#: To look into one takes so many steps: where arms are left out, what is found holds for one place alone, and loops
#: within loops ask for it twice as often in each round.
_LOOK = 5

#: Shares are reckoned with rounding; what leaves one is searched for in so many steps.
_CLOSE = 1e-9
_MOST_TRIES = 40
_MOST_TRIES_IN_ALL = 1_000


class Word(NamedTuple):
    """How often a condition is to hold, or is guessed to where nobody has said it.

    Where it `is_spread`, all that it is made of and nobody has said anything of holds so often, each where it is asked.
    Where it `is_silent`, nobody has said anything of what it is a part of either.
    """

    share: float
    is_guess: bool
    is_spread: bool = False
    is_silent: bool = False


class _Mark(NamedTuple):
    """A state of what is known, to come back to."""

    outcomes: Mark
    values: Mapping[Place, Known | None]
    apart: Mapping[Place, KnownApart]
    rows: Mapping[Row, KnownOfRow | None]
    made: int
    left_out: int


class Functions:
    """What is known of the conditions of a flow, and their functions.

    `said` is what the source says, `statements` are those of values and conditions, each once; `limit` is how large a
    function may become.
    """

    def __init__(
        self,
        expanded: Expanded,
        questions: Questions,
        outcomes: Outcomes,
        said: Said,
        statements: Sequence[Statement],
        limit: int,
    ) -> None:
        self.outcomes = outcomes
        #: Of each outcome the innermost scope from whose one item to the next it may differ, and of which value it is.
        self.scopes: dict[int, int] = {}
        self.places: dict[int, Place] = {}
        #: The values that were asked about.
        self.asked: set[Place] = set()
        #: For each node the innermost scope whose items it differs by.
        self.varying = _varying(expanded)
        self._rounds = in_rounds(expanded)
        self._nodes = expanded.flow.nodes
        self._questions = questions
        self._said = said
        self._limit = limit
        # While it is found what is said of values that are told apart, what their tests are where nothing is by now.
        self._otherwise: int | None = None
        self._is_saying = False
        self.begin(statements)

    def begin(
        self,
        said: Iterable[Statement],
        apart: Iterable[Place] = (),
        found: Mapping[Row, Mapping[Test, float]] = MappingProxyType({}),
    ) -> None:
        """Know nothing but the table of what is said of values alone, and tell some values apart.

        Before what is said stands what is `found` of some rows already, by all that is.
        """
        #: The values that are told apart.
        self.apart = frozenset(apart)
        #: What is known of values, and of those that are told apart.
        self.values: dict[Place, Value] = {}
        self.told: dict[Place, Told] = {}
        self._made: dict[Asked, int] = {}
        # How many arms have been left out so far that no request takes where their condition was asked.
        self._left_out = 0
        self._tries = _MOST_TRIES_IN_ALL
        self.shares = Shares(self._questions.labels_of, self._new_outcomes)
        of_values = [one for one in said if not one.is_made and not one.is_mixed]
        for row, shares in found.items():
            for test, share in shares.items():
                self.shares.hear([Part(row)], test, share)
        parts_of = self._questions.parts_of
        self.shares.say(
            [(parts_of(place_of(one.asked)), one.saying) for one in of_values],
            [(parts_of(place_of(one.value)), one) for one in self._said.of_labels],
        )

    def forget(self) -> None:
        """Know no more of functions than at first, and tell no values apart."""
        self.outcomes = self._new_outcomes()
        self.values, self._made, self.apart = {}, {}, frozenset()

    def _new_outcomes(self) -> Outcomes:
        return Outcomes(self._limit, self.outcomes.steps)

    @contextmanager
    def saying(self) -> Iterator[None]:
        """What is asked meanwhile is asked to find what is said: of other requests more may be said yet."""
        self._is_saying = True
        try:
            yield
        finally:
            self._is_saying = False

    def where(self, steps: Iterable[Step], guard: int) -> int:
        """When all of that is so, of each `Either` one of the ways."""
        for step in steps:
            if isinstance(step, Fact):
                is_true = self.found(step.asked, Word(step.share, is_guess=True, is_silent=True), guard)
                guard = self.outcomes.both(guard, is_true if step.holds else self.outcomes.negate(is_true))
            else:
                ways = [self.where(way, guard) for way in step.ways]
                guard = reduce(self.outcomes.either, ways, FALSE)
        return guard

    def parts(self, steps: Iterable[Step]) -> Iterator[tuple[Asked, tuple[Asked, ...]]]:
        """All questions that those are made of, each with those that it is made of itself."""
        return (each for asked in questions_of(steps) for each in self._questions.made_of(asked).items())

    def leaves(self, steps: Iterable[Step]) -> set[Asked]:
        """The questions among them about values that are told apart."""
        values = (one for one, made_of in self.parts(steps) if not made_of and place_of(one) in self.apart)
        return {one for one in values if settled(self._nodes, one) is None}

    def determined(self, steps: Sequence[Step], leaves: AbstractSet[Asked]) -> int | None:
        """When all of that is so; None while what is said by now leaves that open, by these questions at least."""
        if not all(self.told_of(place_of(one)).is_said(one.test) for one in leaves):
            return None
        if any(self._is_made_and_said(one) and not self._is_known(one) for one, _ in self.parts(steps)):
            return None
        if not leaves:
            return self.where(steps, TRUE)
        before, found = len(self._made), set[int]()
        for otherwise in (FALSE, TRUE):
            self._otherwise = otherwise
            found.add(self.where(steps, TRUE))
            while len(self._made) > before:
                self._made.popitem()
        self._otherwise = None
        return found.pop() if len(found) == 1 else None

    def _is_made_and_said(self, asked: Asked) -> bool:
        """Whether somebody has said how often a condition holds that is made of others, looked into or not."""
        is_made = isinstance(self._nodes[asked.position].operation, Select)
        return is_made and self._questions.one_of_rounds(asked) in self._said.of_made

    def _is_by_labels(self, asked: Asked) -> bool:
        """Whether a condition is made of tests of one value, of whose labels what is said says how often it holds."""
        return asked in self._said.by_labels and self._questions.rows(asked) <= self.shares.by_labels

    def _is_known(self, asked: Asked) -> bool:
        """Whether it is known when a condition is true that is made of others."""
        value = None if self._questions.looks_into(asked) else self.values.get(place_of(asked))
        return asked in self._made or (value is not None and value.knows(asked.test))

    def found(self, asked: Asked, word: Word, guard: int, depth: int = 0) -> int:
        """The function, of which no more than what the guard lets through need be right.

        A condition that is made of others and said to hold in a share of the guard does so, if it can: where what is
        known of some of the others leaves another share than is taken for the rest, that one is searched for which
        leaves this. With it the condition holds the more often, the greater it is.
        """
        whole, flipped = self._questions.plain(asked)
        if self._is_by_labels(whole):
            word = Word(EVEN, is_guess=True, is_silent=True)
        elif self._is_made_and_said(whole):
            said = self._said.of_made[self._questions.one_of_rounds(whole)]
            word = Word(1.0 - said if flipped else said, is_guess=False)
        is_settled = whole in self._made or not self._questions.looks_into(whole)
        outcomes, likely = self.outcomes, self.outcomes.probability(guard)
        if is_settled or word.is_guess or not likely or not self._tries:
            return self._composed(asked, word, guard, depth)
        before = self._mark(asked)

        def missed(word: Word) -> float:
            found = self._composed(asked, word, guard, depth)
            return outcomes.probability(outcomes.both(guard, found)) / likely - share

        def tried(each: float) -> float:
            self._tries = max(0, self._tries - 1)
            self._back(before)
            return missed(Word(each, is_guess=True, is_spread=True))

        share = word.share
        first = missed(word)
        if abs(first) > _CLOSE:
            best = _root(tried)
            if abs(tried(best)) < abs(first):
                word = Word(best, is_guess=True, is_spread=True)
            else:
                self._back(before)
        return self._composed(asked, word, guard, depth)

    def _mark(self, asked: Asked) -> _Mark:
        """What is known of all that a condition is made of, for `_back`."""
        places, rows = self._questions.places(asked), self._questions.rows(asked)
        known = {place: self.values[place].mark() if place in self.values else None for place in places}
        told = {place: self.told_of(place).mark() for place in places if place in self.apart}
        return _Mark(self.outcomes.mark(), known, told, self.shares.mark(rows), len(self._made), self._left_out)

    def _back(self, mark: _Mark) -> None:
        """Know no more of it than at a mark."""
        self.outcomes.back(mark.outcomes)
        for place, before in mark.values.items():
            if before is not None:
                self.values[place].back(before)
            else:
                self.values.pop(place, None)
        for place, known in mark.apart.items():
            self.told[place].back(known)
        self.shares.back(mark.rows)
        while len(self._made) > mark.made:
            self._made.popitem()
        self._left_out = mark.left_out

    def _composed(self, asked: Asked, word: Word, guard: int, depth: int) -> int:
        """The function, by what is said of the condition, or guessed of what it is made of.

        Iterative along one arm of each choice that it is made of, since those may be many. A guess is one of each value
        that a name may be bound to; what is said is of all of them together. Raises TooManyError where it lies deeper
        in other places than `_DEEPEST`.
        """
        outcomes, before = self.outcomes, self._left_out
        whole, flipped = self._questions.plain(asked)
        share, is_guess, is_spread, is_silent = word
        asked, share, is_negated = whole, 1.0 - share if flipped else share, False
        # For each choice when it is true, what one of its arms is, and whether that is the first one.
        passed: list[tuple[int, int, bool]] = []
        while asked not in self._made and self._questions.looks_into(asked):
            if depth > _DEEPEST:
                raise TooManyError
            outcomes.steps.take(_LOOK)
            select = self._nodes[asked.position].operation
            assert isinstance(select, Select)
            then, otherwise = replace(asked, position=select.then), replace(asked, position=select.otherwise)
            of_test = self.word(asked.position)
            if not is_silent:
                of_test = of_test._replace(is_silent=False)
            if is_spread and of_test.is_guess and (grows := self._grows(then, otherwise)) is not None:
                of_test = Word(share if grows else 1.0 - share, is_guess=True, is_spread=True)
            is_true = self.found(Asked(select.condition), of_test, guard, depth + 1)
            with_then, without = outcomes.both(guard, is_true), outcomes.choose(is_true, FALSE, guard)
            if FALSE in (with_then, without):
                self._left_out += 1
                passed.append((is_true, FALSE, with_then == FALSE))
                following = otherwise if with_then == FALSE else then
            elif (known := settled(self._nodes, otherwise)) is not None:
                passed.append((is_true, TRUE if known != is_negated else FALSE, False))
                if not is_spread:
                    share = left(outcomes, share, guard, without if known else FALSE, with_then)
                following, guard = then, with_then
            else:
                held = self.found(then, Word(share, is_guess, is_spread, is_silent), with_then, depth + 1)
                passed.append((is_true, outcomes.negate(held) if is_negated else held, True))
                if is_spread:
                    pass
                elif not is_guess or settled(self._nodes, then) is not None:
                    share = left(outcomes, share, guard, outcomes.both(with_then, held), without)
                following, guard = otherwise, without
            asked, flips = self._questions.plain(following)
            share, is_negated = (1.0 - share if flips else share), is_negated ^ flips
        found = self._simple(asked, share, guard, is_silent=is_silent)
        found = outcomes.negate(found) if is_negated else found
        for is_true, arm, is_first in reversed(passed):
            found = outcomes.choose(is_true, arm, found) if is_first else outcomes.choose(is_true, found, arm)
        if passed and self._left_out == before:
            self._made[whole] = found
        return outcomes.negate(found) if flipped else found

    def _grows(self, then: Asked, otherwise: Asked) -> bool | None:
        """Whether a choice holds the more often, the more often its test does; None where neither arm is settled."""
        if (known := settled(self._nodes, otherwise)) is not None:
            return not known
        return settled(self._nodes, then)

    def _simple(self, asked: Asked, share: float, guard: int, *, is_silent: bool) -> int:
        """What is not made of others: as the table says and, where that says nothing, the share of the guard."""
        if asked in self._made:
            return self._made[asked]
        known = settled(self._nodes, asked)
        if known is not None:
            return TRUE if known else FALSE
        place, test = place_of(asked), asked.test
        if self._is_made_and_said(asked):
            # What is said of one that is not looked into is said of it alone.
            return self._value(place).test(test, share, guard)
        if place not in self.apart:
            return self._tested(place, test, share, guard, is_silent=is_silent)
        told = self.told_of(place)
        if self._otherwise is not None:
            return told.so_far(test, self._otherwise)
        if not self._is_saying:
            return told.of(test, share)
        # Of other requests more may be said.
        told.say(test, share, guard)
        if not told.is_said(test, TRUE):
            self._left_out += 1
        return told.so_far(test, FALSE)

    def _tested(self, place: Place, test: Test, share: float, guard: int, *, is_silent: bool) -> int:
        value, parts = self._value(place), self._questions.parts_of(place)
        if value.knows(test):
            return value.test(test, share, guard)
        if (of_all := self.shares.of(parts, test, share)) is not None:
            return value.test(test, of_all, TRUE)
        for other in self.shares.known(parts):
            if not value.knows(other) and (of_all := self.shares.of(parts, other, EVEN)) is not None:
                value.test(other, of_all, TRUE)
        if not is_silent:
            found = value.test(test, share, guard)
        else:
            found = value.guess(test, value.even(test, share) if self.shares.is_said(parts) else share)
        if value.knows(test):
            self.shares.hear(parts, test, self.outcomes.probability(found), is_said=not is_silent)
        return found

    def told_of(self, place: Place) -> Told:
        """What is known of a value that is told apart."""
        self.asked.add(place)
        if place not in self.told:
            self.told[place] = Told(self.outcomes, lambda: self._new_value(place))
        return self.told[place]

    def _value(self, place: Place) -> Value:
        """What is known of a value: of an item of a list first the answers of the tests that have kept it there."""
        self.asked.add(place)
        if place not in self.values:
            value = self.values[place] = self._new_value(place)
            kept = [way.kept for way in self._questions.ways_of(place)]
            for _, _, test, holds in sorted(set(kept[0]).intersection(*kept), key=repr) if kept else ():
                value.learn(test, holds=holds)
        return self.values[place]

    def _new_value(self, place: Place) -> Value:
        return Value(self.outcomes, self._questions.labels(place), lambda share: self._outcome(share, place))

    def _outcome(self, share: float, place: Place) -> int:
        """A new outcome, which differs from item to item as the value that it is about does."""
        self.scopes[self.outcomes.count] = self.varying[place.position]
        self.places[self.outcomes.count] = place
        return self.outcomes.outcome(share, self._rounds[place.position])

    def word(self, select: int) -> Word:
        """How often the condition of a choice is to hold, by the choice itself."""
        node = self._nodes[select]
        is_guess = node.share is None or node.guessed
        return Word(EVEN if node.share is None else node.share, is_guess, is_silent=is_guess)


def _root(missed: Callable[[float], float]) -> float:
    """The share that misses by nothing, of those from 0 to 1: what it misses by grows with it. Else the nearest one."""
    low, high = 0.0, 1.0
    below, above = missed(low), missed(high)
    if below >= 0.0 or above <= 0.0:
        return low if below >= 0.0 else high
    for turn in range(_MOST_TRIES):
        # By a straight line, and in halves where that is slow.
        share = low - below * (high - low) / (above - below) if turn % 3 < 2 else (low + high) / 2.0
        if abs(by := missed(share)) <= _CLOSE:
            return share
        low, below, high, above = (share, by, high, above) if by < 0.0 else (low, below, share, by)
    return low if -below <= above else high


def _varying(expanded: Expanded) -> list[int]:
    """For each node the innermost scope whose items it differs by: its own for a call, else that of what it reads."""
    found: list[int] = []
    for node, scope in zip(expanded.flow.nodes, expanded.scopes, strict=True):
        if isinstance(node.operation, Call | Item):
            found.append(scope)
        else:
            around = {found[at] for at in inputs(node.operation)}
            found.append(next((each for each in scopes_around(expanded, scope) if each in around), 0))
    return found
