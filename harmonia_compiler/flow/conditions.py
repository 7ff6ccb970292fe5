"""Which function of outcomes each condition of a flow is.

One outcome stands for one condition wherever it is tested: the same node, an equal comparison, its negation; the labels
of one value exclude each other, so do the numbers that it may be, and its bounds follow each other. Different
conditions are independent, but where the source says otherwise (`apart.py`). What is asked of one value holds
equally often, in whichever round of a loop or `each` it is asked (`shares.py`), and what has kept items in their list
is known of them. A condition that is made of others (`a and b`, whether a loop has been left early, a name that was
bound on two paths) is the function of theirs that it is. Where somebody has said how often it holds, those of which
nothing is known hold so often that it does; what stands first is found first.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import reduce
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Call, Select, inputs
from harmonia_compiler.flow.apart import KnownApart, Pending, Told, apart, in_groups, next_turn, of_classes
from harmonia_compiler.flow.arms import OfArm, is_unheard
from harmonia_compiler.flow.asked import Asked, Test, settled
from harmonia_compiler.flow.balance import Equation, balance
from harmonia_compiler.flow.expand import Expanded, Item, scopes_around
from harmonia_compiler.flow.graph import EVEN
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Mark, Outcomes, TooManyError
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.reached import Fact, Step, questions_of
from harmonia_compiler.flow.said import Said, Statement
from harmonia_compiler.flow.shares import KnownOfRow, Part, Row, Shares
from harmonia_compiler.flow.values import Known, Value, left

#: How deep conditions are looked into that are made of others.
_DEEPEST = 40

#: Shares are reckoned with rounding; what leaves one is searched for in so many steps.
_CLOSE = 1e-9
#: A share that is not met by so much is not met.
_APART = 1e-7
_MOST_TRIES = 40
_MOST_TRIES_IN_ALL = 1_000

#: How often what is said is taken anew, with more values that are told apart.
_MOST_TURNS = 2

#: So large the functions of values may become that are told apart; beyond, fewer are.
_MOST_NODES = 10_000

#: Of more statements those are left that are missed.
_MOST_BALANCED = 60

#: How many choices around one are looked at where their functions would be too large together.
_NEAREST = 32


class _TooLargeError(Exception):
    """Functions of values that are told apart have become larger than is worth it."""


class _Word(NamedTuple):
    """How often a condition is to hold, or is guessed to where nobody has said it.

    Where it `is_spread`, all that it is made of and nobody has said anything of holds so often, each where it is asked.
    """

    share: float
    is_guess: bool
    is_spread: bool = False


class _Mark(NamedTuple):
    """A state of what is known, to come back to."""

    outcomes: Mark
    values: Mapping[Place, Known | None]
    apart: Mapping[Place, KnownApart]
    rows: Mapping[Row, KnownOfRow | None]
    made: int
    left_out: int


class Conditions:
    """The function of outcomes that each condition is. How often tests of values hold is the table's, `Shares`.

    `scopes` says of each outcome the innermost scope from whose one item to the next it may differ; 0 where there is
    none. `limit` is how large a function may become.
    """

    def __init__(self, expanded: Expanded, questions: Questions, outcomes: Outcomes, limit: int) -> None:
        self.scopes: dict[int, int] = {}
        self._nodes = expanded.flow.nodes
        self._outcomes = outcomes
        self._questions = questions
        self._varying = _varying(expanded)
        self._limit = limit
        # The values that were asked about.
        self._asked: set[Place] = set()
        # While it is found what is said of values that are told apart, what their tests are where nothing is by now.
        self._otherwise: int | None = None
        self._is_saying = False
        # Of which value each outcome is.
        self._places: dict[int, Place] = {}
        # Whether outcomes have other shares than the table.
        self._is_balanced = False
        self._has_begun = False
        self._said = Said(self._nodes, expanded.flow.result, questions.plain, questions.one_of_rounds, questions.places)
        self._statements = [*_once([*of_classes(expanded.flow, questions), *self._said.all])]
        self._know_nothing()
        # Those that are told apart: at first where the table shows it, which is cheaper than to find all functions.
        self._apart = self._apart_if(
            lambda one: (
                not one.is_mixed and not self._shares.holds(questions.parts_of(place_of(one.asked))[0], one.saying)
            )
        )

    def _apart_if(self, is_missed: Callable[[Statement], bool]) -> set[Place]:
        return apart(self._statements, self._questions, is_missed)

    def _know_nothing(self) -> None:
        """Begin with nothing but the table of what is said."""
        self._values: dict[Place, Value] = {}
        self._told: dict[Place, Told] = {}
        self._made: dict[Asked, int] = {}
        # How many arms have been left out so far that no request takes where their condition was asked.
        self._left_out = 0
        self._tries = _MOST_TRIES_IN_ALL
        self._shares = Shares(self._questions.labels_of, self._limit)
        of_values = [one for one in self._statements if not one.is_made and not one.is_mixed]
        self._shares.say([(self._questions.parts_of(place_of(one.asked)), one.saying) for one in of_values])

    def function(self, position: int, condition: int, guard: int) -> int:
        """When the condition of the choice at a position is true, where the guard is."""
        if not self._has_begun:
            self._has_begun = True
            self._begin()
        return self._function(Asked(condition), self._word(position), guard, 0)

    def _begin(self) -> None:
        """Take what is said, one share of each test for all requests; where that is not so, tell the value apart."""
        mark, worked = self._outcomes.mark(), set[Place]()
        for _ in range(_MOST_TURNS):
            try:
                self._say()
            except _TooLargeError:
                self._anew(mark, worked)
                break
            before = self._outcomes.count
            missed = self._apart_if(self._is_missed) - self._apart
            if not missed:
                # Whether they hold may have asked more than the flow does, in another order: all is taken anew.
                if self._outcomes.count > before:
                    self._anew(mark, self._apart)
                break
            worked = self._apart
            self._outcomes.back(mark)
            self._know_nothing()
            self._apart = worked | missed
        else:
            try:
                self._say()
            except _TooLargeError:
                self._anew(mark, worked)
        self._balance()

    def _anew(self, mark: Mark, apart: set[Place]) -> None:
        """Take what is said from the beginning, with these values told apart."""
        self._outcomes.back(mark)
        self._know_nothing()
        self._apart = apart
        self._say()

    def _balance(self) -> None:
        """Give outcomes shares by which all holds that is said, if they can; else it stays as it was taken.

        Those of values alone which are drawn once for a request: by other shares they would be drawn in one round of a
        loop and not in the next, or for one item.
        """
        places: dict[Row, set[Place]] = {}
        for place in self._asked:
            for part in self._questions.parts_of(place):
                places.setdefault(part.row, set()).add(place)
        alone = {
            place
            for place in self._asked
            if not self._varying[place.position]
            and [places[part.row] for part in self._questions.parts_of(place)] == [{place}]
        }
        told = [one for one in self._statements if one.is_told and (one.is_made or place_of(one.asked) in alone)]
        if len(told) > _MOST_BALANCED:
            return
        free = {level for level, place in self._places.items() if place in alone}
        self._is_balanced = balance(self._outcomes, [*map(self._equation, told)], free)

    def _equation(self, one: Statement) -> Equation:
        reached = self._where(one.reached, TRUE)
        return Equation(reached, self._outcomes.both(reached, self._held(one, reached)), one.saying.share)

    def _held(self, one: Statement, reached: int) -> int:
        """When that holds which is said of those requests."""
        return self._function(one.asked, _Word(one.saying.share, is_guess=False), reached, 0)

    def _is_missed(self, one: Statement) -> bool:
        """Whether a share is not of the requests that it is said of."""
        likely, (reached, held, share) = self._outcomes.probability, self._equation(one)
        return abs(likely(held) - share * likely(reached)) > _APART

    def _say(self) -> None:
        """Take what is said of values that are told apart and of conditions that are made, each in its turn."""
        self._is_saying = True
        try:
            if self._apart:
                # Of whom nothing is told, that is so of those who ask.
                told = [one for one in self._statements if one.is_told or not self._is_apart(one)]
                for group in in_groups(told, self._subject, self._waits_for(told)):
                    self._say_together(group)
            else:
                for one in self._statements:
                    if one.is_made or one.is_mixed:
                        self._take(one, self._where(one.reached, TRUE))
        finally:
            self._is_saying = False

    def _waits_for(self, said: Sequence[Statement]) -> Callable[[Statement], Iterator[Hashable]]:
        """What has to be said before a statement: all of the values and conditions that tell its requests."""
        made: dict[Asked, list[Statement]] = {}
        for one in said:
            if one.is_made:
                made.setdefault(one.asked, []).append(one)

        def subjects(one: Statement) -> Iterator[Hashable]:
            if not (one.is_made or one.is_mixed or self._is_apart(one)):
                return
            yield from map(place_of, self._leaves(one.reached))
            if not self._is_apart(one):
                yield from self._apart.intersection(self._questions.places(one.asked))
            for part, made_of in self._parts(one.reached):
                yield from made.get(part, ()) if made_of else ()

        return subjects

    def _subject(self, one: Statement) -> Hashable:
        """What the turn of a statement goes by: the value that is told apart, or the statement alone."""
        return place_of(one.asked) if self._is_apart(one) else one

    def _say_together(self, pending: list[Statement]) -> None:
        """Take what is said, each once it is known which requests it is of, as far as that can be."""
        needs = {one: self._leaves(one.reached) for one in pending}
        reached: dict[Statement, int] = {}
        while pending:
            for one in pending:
                if one not in reached and (found := self._determined(one.reached, needs[one])) is not None:
                    reached[one] = found
            one = pending.pop(next_turn([self._pending(one, needs[one], reached.get(one)) for one in pending]))
            self._take(one, reached[one] if one in reached else self._where(one.reached, TRUE))
            if self._outcomes.size > _MOST_NODES:
                raise _TooLargeError

    def _take(self, one: Statement, reached: int) -> None:
        """Take what is said of those requests."""
        if self._is_apart(one):
            self._told_of(place_of(one.asked)).say(one.saying.test, one.saying.share, reached)
        else:
            self._held(one, reached)

    def _is_apart(self, one: Statement) -> bool:
        return place_of(one.asked) in self._apart

    def _pending(self, one: Statement, needs: AbstractSet[Asked], reached: int | None) -> Pending:
        place, is_apart = place_of(one.asked), self._is_apart(one)
        likely = None if reached is None else self._outcomes.probability(reached)
        is_new = is_apart and not self._told_of(place).is_said(one.asked.test)
        places = {place} if is_apart else {*self._questions.places(one.asked)}
        return Pending(one.asked, places, needs, is_apart, likely, is_new)

    def _determined(self, steps: Sequence[Step], leaves: AbstractSet[Asked]) -> int | None:
        """When all of that is so; None while what is said by now leaves that open, by these questions at least."""
        if not all(self._told_of(place_of(one)).is_said(one.test) for one in leaves):
            return None
        for one, made_of in self._parts(steps):
            if made_of and one not in self._made and self._questions.one_of_rounds(one) in self._said.of_made:
                return None
        if not leaves:
            return self._where(steps, TRUE)
        before, found = len(self._made), set[int]()
        for otherwise in (FALSE, TRUE):
            self._otherwise = otherwise
            found.add(self._where(steps, TRUE))
            while len(self._made) > before:
                self._made.popitem()
        self._otherwise = None
        return found.pop() if len(found) == 1 else None

    def _parts(self, steps: Iterable[Step]) -> Iterator[tuple[Asked, tuple[Asked, ...]]]:
        """All questions that those are made of, each with those that it is made of itself."""
        return (each for asked in questions_of(steps) for each in self._questions.made_of(asked).items())

    def _leaves(self, steps: Iterable[Step]) -> set[Asked]:
        """The questions among them about values that are told apart."""
        values = (one for one, made_of in self._parts(steps) if not made_of and place_of(one) in self._apart)
        return {one for one in values if settled(self._nodes, one) is None}

    def _where(self, steps: Iterable[Step], guard: int) -> int:
        """When all of that is so, of each `Either` one of the ways."""
        for step in steps:
            if isinstance(step, Fact):
                is_true = self._function(step.asked, _Word(step.share, is_guess=True), guard, 0)
                guard = self._outcomes.both(guard, is_true if step.holds else self._outcomes.negate(is_true))
            else:
                ways = [self._where(way, guard) for way in step.ways]
                guard = reduce(self._outcomes.either, ways, FALSE)
        return guard

    def _mark(self, asked: Asked) -> _Mark:
        """What is known of all that a condition is made of, for `_back`."""
        places, rows = self._questions.places(asked), self._questions.rows(asked)
        known = {place: self._values[place].mark() if place in self._values else None for place in places}
        told = {place: self._told_of(place).mark() for place in places if place in self._apart}
        return _Mark(self._outcomes.mark(), known, told, self._shares.mark(rows), len(self._made), self._left_out)

    def _back(self, mark: _Mark) -> None:
        """Know no more of it than at a mark."""
        self._outcomes.back(mark.outcomes)
        for place, before in mark.values.items():
            if before is not None:
                self._values[place].back(before)
            else:
                self._values.pop(place, None)
        for place, known in mark.apart.items():
            self._told[place].back(known)
        self._shares.back(mark.rows)
        while len(self._made) > mark.made:
            self._made.popitem()
        self._left_out = mark.left_out

    def estimate(self, position: int, condition: int) -> float:
        """How often the condition of a choice is true where it is reached, by what is asked there of the same values.

        It forgets the functions that were found before: what is common to conditions of different values is not seen.
        """
        self._forget()
        outcomes = self._outcomes
        rows = self._questions.rows(Asked(condition))
        nearest = [*islice(self._said.around(position), _NEAREST)]
        related = (fact for fact in reversed(nearest) if not rows.isdisjoint(self._questions.rows(fact.asked)))
        guard = self._where(related, TRUE)
        word = self._word(position)
        is_true, likely = self._function(Asked(condition), word, guard, 0), outcomes.probability(guard)
        return outcomes.probability(outcomes.both(guard, is_true)) / likely if likely else word.share

    def _forget(self) -> None:
        """Know no more of functions than at first, and tell no values apart."""
        self._outcomes = Outcomes(self._limit)
        self._values, self._made, self._apart = {}, {}, set()

    def arms(self, *, are_alone: bool = False) -> dict[int, OfArm]:
        """For choices of arms behind silent ones, how often those take them that the tests before have left.

        By what all else says of these tests; for each one by itself where all `are_alone`.
        """
        found: dict[int, OfArm] = {}
        unheard = {
            node.written.at: self._questions.rows(Asked(node.operation.condition))
            for node in self._nodes
            if is_unheard(node) and node.written is not None and isinstance(node.operation, Select)
        }
        for position, (around, reached) in self._said.arms.items():
            node = self._nodes[position]
            before = [step for step in reached if isinstance(step, Fact) and step.branch == node.span]
            if node.arm is None or len(before) != node.arm.number:
                continue
            if are_alone:
                self._forget()
            try:
                branch = self._outcomes.probability(self._where(around, TRUE))
                left = self._outcomes.probability(self._where(reached, TRUE))
            except TooManyError:
                continue
            if branch:
                rows = {row for fact in before for row in self._questions.rows(fact.asked)}
                own = None if node.written is None else node.written.at
                is_open = any(at != own and not rows.isdisjoint(others) for at, others in unheard.items())
                found[position] = OfArm(node.arm.share(left / branch), is_open)
        return found

    def likely(self) -> dict[Place, Mapping[Test, float]]:
        """How often tests hold of what calls give and requests bring, by the part that tests so far asked about."""
        drawn = {way.origin: way for place in self._asked for way in self._questions.ways_of(place) if way.is_drawn}
        return {Place(*origin): self._drawn(self._questions.row(way)) for origin, way in drawn.items()}

    def _drawn(self, row: Row) -> Mapping[Test, float]:
        """How often each test of a row holds, over all requests."""
        found = dict(self._shares.shares(Part(row)))
        for place, value in self._values.items() if self._is_balanced else ():
            if self._questions.parts_of(place) == [Part(row)]:
                found |= {test: self._outcomes.probability(holds) for test, holds in value}
        for place, told in self._told.items():
            if self._questions.parts_of(place)[0].row == row:
                found |= told.shares
        return found

    def _word(self, select: int) -> _Word:
        node = self._nodes[select]
        return _Word(EVEN if node.share is None else node.share, node.share is None or node.guessed)

    def _function(self, asked: Asked, word: _Word, guard: int, depth: int) -> int:
        """The function, of which no more than what the guard lets through need be right.

        A condition that is made of others and said to hold in a share of the guard does so, if it can: where what is
        known of some of the others leaves another share than is taken for the rest, that one is searched for which
        leaves this. With it the condition holds the more often, the greater it is.
        """
        whole, flipped = self._questions.plain(asked)
        if whole in self._made or not isinstance(self._nodes[whole.position].operation, Select):
            return self._composed(asked, word, guard, depth)
        said = self._said.of_made.get(self._questions.one_of_rounds(whole))
        if said is not None:
            word = _Word(1.0 - said if flipped else said, is_guess=False)
        outcomes, likely = self._outcomes, self._outcomes.probability(guard)
        if word.is_guess or not likely or not self._tries:
            return self._composed(asked, word, guard, depth)
        before = self._mark(asked)

        def missed(word: _Word) -> float:
            found = self._composed(asked, word, guard, depth)
            return outcomes.probability(outcomes.both(guard, found)) / likely - share

        def tried(each: float) -> float:
            self._tries = max(0, self._tries - 1)
            self._back(before)
            return missed(_Word(each, is_guess=True, is_spread=True))

        share = word.share
        first = missed(word)
        if abs(first) > _CLOSE:
            best = _root(tried)
            if abs(tried(best)) < abs(first):
                word = _Word(best, is_guess=True, is_spread=True)
            else:
                self._back(before)
        return self._composed(asked, word, guard, depth)

    def _composed(self, asked: Asked, word: _Word, guard: int, depth: int) -> int:
        """The function, by what is said of the condition, or guessed of what it is made of.

        Iterative along one arm of each choice that it is made of, since those may be many; what lies deeper in other
        places than `_DEEPEST` is an outcome of its own. A guess is one of each value that a name may be bound to; what
        is said is of all of them together.
        """
        outcomes, before = self._outcomes, self._left_out
        whole, flipped = self._questions.plain(asked)
        share, is_guess, is_spread = word
        asked, share, is_negated = whole, 1.0 - share if flipped else share, False
        # For each choice when it is true, what one of its arms is, and whether that is the first one.
        passed: list[tuple[int, int, bool]] = []
        while asked not in self._made and depth < _DEEPEST:
            select = self._nodes[asked.position].operation
            if not isinstance(select, Select):
                break
            then, otherwise = replace(asked, position=select.then), replace(asked, position=select.otherwise)
            of_test = self._word(asked.position)
            if is_spread and of_test.is_guess and (grows := self._grows(then, otherwise)) is not None:
                of_test = _Word(share if grows else 1.0 - share, is_guess=True, is_spread=True)
            is_true = self._function(Asked(select.condition), of_test, guard, depth + 1)
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
                held = self._function(then, _Word(share, is_guess, is_spread), with_then, depth + 1)
                passed.append((is_true, outcomes.negate(held) if is_negated else held, True))
                if is_spread:
                    pass
                elif not is_guess or settled(self._nodes, then) is not None:
                    share = left(outcomes, share, guard, outcomes.both(with_then, held), without)
                following, guard = otherwise, without
            asked, flips = self._questions.plain(following)
            share, is_negated = (1.0 - share if flips else share), is_negated ^ flips
        found = self._simple(asked, share, guard)
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

    def _simple(self, asked: Asked, share: float, guard: int) -> int:
        """What is not made of others: as the table says and, where that says nothing, the share of the guard."""
        if asked in self._made:
            return self._made[asked]
        known = settled(self._nodes, asked)
        if known is not None:
            return TRUE if known else FALSE
        place, test = place_of(asked), asked.test
        if place not in self._apart:
            return self._tested(self._value(place), self._questions.parts_of(place), test, share, guard)
        told = self._told_of(place)
        if self._otherwise is not None:
            return told.so_far(test, self._otherwise)
        if not self._is_saying:
            return told.of(test, share, guard)
        # Of other requests more may be said.
        told.say(test, share, guard)
        if not told.is_said(test, TRUE):
            self._left_out += 1
        return told.so_far(test, FALSE)

    def _tested(self, value: Value, parts: Sequence[Part], test: Test, share: float, guard: int) -> int:
        if value.knows(test):
            return value.test(test, share, guard)
        if (of_all := self._shares.of(parts, test, share)) is not None:
            return value.test(test, of_all, TRUE)
        for other in self._shares.known(parts):
            if not value.knows(other) and (of_all := self._shares.of(parts, other, EVEN)) is not None:
                value.test(other, of_all, TRUE)
        found = value.test(test, share, guard)
        if value.knows(test):
            self._shares.hear(parts, test, self._outcomes.probability(found))
        return found

    def _told_of(self, place: Place) -> Told:
        """What is known of a value that is told apart."""
        self._asked.add(place)
        if place not in self._told:
            self._told[place] = Told(self._outcomes, lambda: self._new_value(place))
        return self._told[place]

    def _value(self, place: Place) -> Value:
        """What is known of a value: of an item of a list first the answers of the tests that have kept it there."""
        self._asked.add(place)
        if place not in self._values:
            value = self._values[place] = self._new_value(place)
            kept = [way.kept for way in self._questions.ways_of(place)]
            for _, _, test, holds in sorted(set(kept[0]).intersection(*kept), key=repr) if kept else ():
                value.learn(test, holds=holds)
        return self._values[place]

    def _new_value(self, place: Place) -> Value:
        return Value(self._outcomes, self._questions.labels(place), lambda share: self._outcome(share, place))

    def _outcome(self, share: float, place: Place) -> int:
        """A new outcome, which differs from item to item as the value that it is about does."""
        self.scopes[self._outcomes.count] = self._varying[place.position]
        self._places[self._outcomes.count] = place
        return self._outcomes.outcome(share)


def _once(said: Iterable[Statement]) -> Iterator[Statement]:
    """What is said of values once for each place of the source and each value, of conditions by each choice."""
    seen: set[Hashable] = set()
    for one in said:
        key = one.select if one.is_made else (one.at, one.asked)
        if key not in seen:
            seen.add(key)
            yield one


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
