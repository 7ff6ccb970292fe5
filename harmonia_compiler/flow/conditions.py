"""Which function of outcomes each condition of a flow is.

One outcome stands for one condition wherever it is tested: the same node, an equal comparison, its negation; the labels
of one value exclude each other, so do the numbers that it may be, and its bounds follow each other. Different
conditions are independent, but where the source says otherwise (`apart.py`). What is asked of one value holds
equally often, in whichever round of a loop or `each` it is asked (`shares.py`), and what has kept items in their list
is known of them. What is said is taken first, each statement once it is known which requests it is of; then all other
functions are found (`functions.py`), those first that stand first.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import NamedTuple

from harmonia_compiler.contract.program import Select
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.apart import Pending, apart, in_groups, next_turn, of_classes
from harmonia_compiler.flow.arms import OfArm, is_unheard
from harmonia_compiler.flow.asked import Asked, Test
from harmonia_compiler.flow.balance import Equation, balance
from harmonia_compiler.flow.expand import Expanded
from harmonia_compiler.flow.functions import Functions, Word
from harmonia_compiler.flow.graph import Written
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Mark, Outcomes, TooManyError
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.reached import Fact, questions_of
from harmonia_compiler.flow.said import Said, Statement
from harmonia_compiler.flow.shares import Part, Row

#: A share that is not met by so much is not met.
_APART = 1e-7

#: A share that is missed by more is worth to be told.
_MATTERS = 0.005

#: How often what is said is taken anew, with more values that are told apart.
_MOST_TURNS = 2

#: So large the functions of values may become that are told apart; beyond, fewer are.
_MOST_NODES = 10_000

#: Of more statements those are left that are missed.
_MOST_BALANCED = 60

#: How many choices around one are looked at where their functions would be too large together.
_NEAREST = 32


class Missed(NamedTuple):
    """A share that is `said` at a place and that comes to another one, by what else is said."""

    at: Span
    said: float
    found: float


class _TooLargeError(Exception):
    """Functions of values that are told apart have become larger than is worth it."""


class Conditions:
    """The function of outcomes that each condition is, once what is said of all of them is taken.

    `limit` is how large a function may become.
    """

    def __init__(self, expanded: Expanded, questions: Questions, outcomes: Outcomes, limit: int) -> None:
        self._nodes = expanded.flow.nodes
        self._questions = questions
        # Whether outcomes have other shares than the table.
        self._is_balanced = False
        self._has_begun = False
        # How often tests of values hold that are drawn again and again, where that was found of all that is said.
        self._found: Mapping[Row, Mapping[Test, float]] = {}
        self._said = Said(expanded, questions.plain, questions.one_of_rounds, questions.places)
        self._statements = [*_once([*of_classes(expanded.flow, questions), *self._said.all])]
        self._functions = Functions(expanded, questions, outcomes, self._statements, self._said.of_made, limit)
        # At first where the table shows it, which is cheaper than to find all functions.
        self._functions.apart = frozenset(self._apart_if(self._is_missed_by_table))

    @property
    def scopes(self) -> Mapping[int, int]:
        """Of each outcome the innermost scope from whose one item to the next it may differ; 0 where there is none."""
        return self._functions.scopes

    def _apart_if(self, is_missed: Callable[[Statement], bool]) -> set[Place]:
        return apart(self._statements, self._questions, is_missed)

    def _is_missed_by_table(self, one: Statement) -> bool:
        """Whether the table has another share than is said."""
        part = self._questions.parts_of(place_of(one.asked))[0]
        return not one.is_mixed and not self._functions.shares.holds(part, one.saying)

    def function(self, position: int, condition: int, guard: int) -> int:
        """When the condition of the choice at a position is true, where the guard is."""
        if not self._has_begun:
            self._has_begun = True
            self._begin()
        return self._functions.found(Asked(condition), self._functions.word(position), guard)

    def _begin(self) -> None:
        """Take what is said, one share of each test for all requests; where that is not so, tell the value apart."""
        mark, worked = self._functions.outcomes.mark(), frozenset[Place]()
        for _ in range(_MOST_TURNS):
            try:
                self._say()
            except _TooLargeError:
                self._anew(mark, worked)
                break
            before = self._functions.outcomes.count
            missed = self._apart_if(self._is_missed) - self._functions.apart
            if not missed:
                # Whether they hold may have asked more than the flow does, in another order: all is taken anew.
                if self._functions.outcomes.count > before:
                    self._anew(mark, self._functions.apart)
                break
            worked = self._functions.apart
            self._functions.outcomes.back(mark)
            self._functions.begin(self._statements, worked | missed)
        else:
            try:
                self._say()
            except _TooLargeError:
                self._anew(mark, worked)
        self._balance(mark)

    def _anew(self, mark: Mark, apart: frozenset[Place]) -> None:
        """Take what is said from the beginning, with these values told apart."""
        self._functions.outcomes.back(mark)
        self._functions.begin(self._statements, apart, self._found)
        self._say()

    def _balance(self, mark: Mark) -> None:
        """Give values shares by which all holds that is said, if they can; else it stays as it was taken."""
        told = [one for one in self._statements if one.is_told]
        if len(told) <= _MOST_BALANCED:
            self._balance_rows(mark, told)
            self._balance_outcomes(mark, told)

    def _balance_rows(self, mark: Mark, told: Sequence[Statement]) -> None:
        """Of values that are drawn more than once, in rounds or for items, find what the table is to say of them all.

        What is said of the first of their places is solved together; in the others it holds by the same shares, or no
        more of it does than before.
        """
        before, worked = self._functions.outcomes.count, self._functions.apart
        missed = self._all_missed(told)
        first = self._first_places(self._related(missed, told))
        if not first:
            # To see whether all holds may have asked more than the flow does, in another order.
            if self._functions.outcomes.count > before:
                self._anew(mark, worked)
            return
        apart = frozenset(
            place for place in worked if not any(part.row in first for part in self._questions.parts_of(place))
        )
        try:
            self._anew(mark, apart)
            self._found = self._solved(told, first)
            if self._found:
                self._anew(mark, apart)
            is_better = bool(self._found) and len(self._all_missed(told)) < len(missed)
        except (TooManyError, _TooLargeError):
            is_better = False
        if not is_better:
            self._found = {}
        self._anew(mark, apart if is_better else worked)

    def _all_missed(self, told: Sequence[Statement]) -> list[Statement]:
        """What is said and not so, as far as that can be seen."""
        try:
            return [one for one in told if self._is_missed(one)]
        except TooManyError:
            return []

    def _related(self, missed: Sequence[Statement], told: Sequence[Statement]) -> set[Row]:
        """What the table has of all values on which it rests whether some statements hold, by way of others too."""
        found: set[Row] = set()
        of_each = [self._rows(one) for one in told] if missed else []
        more = {row for one in missed for row in self._rows(one)}
        while more:
            found |= more
            more = {row for rows in of_each if not rows.isdisjoint(found) for row in rows} - found
        return found

    def _rows(self, one: Statement) -> set[Row]:
        """What the table has of the values that a statement and the requests that it is of rest on."""
        return {row for asked in (one.asked, *questions_of(one.reached)) for row in self._questions.rows(asked)}

    def _first_places(self, rows: AbstractSet[Row]) -> dict[Row, Place]:
        """Those of the rows that are drawn more than once, each by its value alone; of each the first place."""
        found: dict[Row, list[Place]] = {}
        for place in sorted(self._functions.asked):
            for part in self._questions.parts_of(place):
                found.setdefault(part.row, []).append(place)
        return {
            row: places[0]
            for row, places in found.items()
            if row in rows
            and all(self._questions.parts_of(place) == [Part(row)] for place in places)
            and (len(places) > 1 or self._functions.varying[places[0].position])
        }

    def _solved(self, told: Sequence[Statement], first: Mapping[Row, Place]) -> Mapping[Row, Mapping[Test, float]]:
        """How often tests of those rows hold, so that all holds that is said at their first places; nothing if none."""
        equations = [self._equation(one) for one in told]
        row_of = {place: row for row, place in first.items()}
        free = {level for level, place in self._functions.places.items() if place in row_of}
        if not balance(self._functions.outcomes, equations, free):
            return {}
        return {
            row: {test: self._functions.outcomes.probability(holds) for test, holds in self._functions.values[place]}
            for place, row in row_of.items()
            if place in self._functions.values
        }

    def _balance_outcomes(self, mark: Mark, told: Sequence[Statement]) -> None:
        """Give outcomes of values alone that are drawn once for a request shares by which all holds that is said.

        By other shares others would be drawn in one round of a loop and not in the next, or for one item.
        """
        before, is_found = self._functions.outcomes.count, True
        try:
            equations = [(one, self._equation(one)) for one in told]
            alone = self._alone()
            free = {level for level, place in self._functions.places.items() if place in alone}
            of_these = [each for one, each in equations if one.is_made or place_of(one.asked) in alone]
            self._is_balanced = balance(self._functions.outcomes, of_these, free)
        except TooManyError:
            is_found = False
        # To see whether all holds may have asked more than the flow does, in another order.
        if not is_found or (not self._is_balanced and self._functions.outcomes.count > before):
            self._anew(mark, self._functions.apart)

    def _alone(self) -> set[Place]:
        """The values that were asked about and are drawn once for a request, each by itself."""
        places: dict[Row, set[Place]] = {}
        for place in self._functions.asked:
            for part in self._questions.parts_of(place):
                places.setdefault(part.row, set()).add(place)
        return {
            place
            for place in self._functions.asked
            if not self._functions.varying[place.position]
            and [places[part.row] for part in self._questions.parts_of(place)] == [{place}]
        }

    def _equation(self, one: Statement) -> Equation:
        reached = self._functions.where(one.reached, TRUE)
        return Equation(reached, self._functions.outcomes.both(reached, self._held(one, reached)), one.saying.share)

    def _held(self, one: Statement, reached: int) -> int:
        """When that holds which is said of those requests."""
        return self._functions.found(one.asked, Word(one.saying.share, is_guess=False), reached)

    def _is_missed(self, one: Statement) -> bool:
        """Whether a share is not of the requests that it is said of."""
        likely, (reached, held, share) = self._functions.outcomes.probability, self._equation(one)
        return abs(likely(held) - share * likely(reached)) > _APART

    def _say(self) -> None:
        """Take what is said of values that are told apart and of conditions that are made, each in its turn."""
        with self._functions.saying():
            if self._functions.apart:
                # Of whom nothing is told, that is so of those who ask.
                told = [one for one in self._statements if one.is_told or not self._is_apart(one)]
                for group in in_groups(told, self._subject, self._waits_for(told)):
                    self._say_together(group)
            else:
                for one in self._statements:
                    if one.is_made or one.is_mixed:
                        self._take(one, self._functions.where(one.reached, TRUE))

    def _waits_for(self, said: Sequence[Statement]) -> Callable[[Statement], Iterator[Hashable]]:
        """What has to be said before a statement: all of the values and conditions that tell its requests."""
        made: dict[Asked, list[Statement]] = {}
        for one in said:
            if one.is_made:
                made.setdefault(one.asked, []).append(one)

        def subjects(one: Statement) -> Iterator[Hashable]:
            yield from map(place_of, self._functions.leaves(one.reached))
            if not self._is_apart(one):
                yield from self._functions.apart.intersection(self._questions.places(one.asked))
            for part, made_of in self._functions.parts(one.reached):
                yield from made.get(part, ()) if made_of else ()

        return subjects

    def _subject(self, one: Statement) -> Hashable:
        """What the turn of a statement goes by: the value that is told apart, or the statement alone."""
        return place_of(one.asked) if self._is_apart(one) else one

    def _say_together(self, pending: list[Statement]) -> None:
        """Take what is said, each once it is known which requests it is of, as far as that can be."""
        needs = {one: self._functions.leaves(one.reached) for one in pending}
        reached: dict[Statement, int] = {}
        while pending:
            for one in pending:
                if one not in reached and (found := self._functions.determined(one.reached, needs[one])) is not None:
                    reached[one] = found
            one = pending.pop(next_turn([self._pending(one, needs[one], reached.get(one)) for one in pending]))
            self._take(one, reached[one] if one in reached else self._functions.where(one.reached, TRUE))
            if self._functions.outcomes.size > _MOST_NODES:
                raise _TooLargeError

    def _take(self, one: Statement, reached: int) -> None:
        """Take what is said of those requests."""
        if self._is_apart(one):
            self._functions.told_of(place_of(one.asked)).say(one.saying.test, one.saying.share, reached)
        else:
            self._held(one, reached)

    def _is_apart(self, one: Statement) -> bool:
        return place_of(one.asked) in self._functions.apart

    def _pending(self, one: Statement, needs: AbstractSet[Asked], reached: int | None) -> Pending:
        place, is_apart = place_of(one.asked), self._is_apart(one)
        likely = None if reached is None else self._functions.outcomes.probability(reached)
        is_new = is_apart and not self._functions.told_of(place).is_said(one.asked.test)
        places = {place} if is_apart else {*self._questions.places(one.asked)}
        return Pending(one.asked, places, needs, is_apart, likely, is_new)

    def estimate(self, position: int, condition: int) -> float:
        """How often the condition of a choice is true where it is reached, by what is asked there of the same values.

        It forgets the functions that were found before: what is common to conditions of different values is not seen.
        """
        self._functions.forget()
        outcomes = self._functions.outcomes
        rows = self._questions.rows(Asked(condition))
        nearest = [*islice(self._said.around(position), _NEAREST)]
        related = (fact for fact in reversed(nearest) if not rows.isdisjoint(self._questions.rows(fact.asked)))
        guard = self._functions.where(related, TRUE)
        word = self._functions.word(position)
        is_true, likely = self._functions.found(Asked(condition), word, guard), outcomes.probability(guard)
        return outcomes.probability(outcomes.both(guard, is_true)) / likely if likely else word.share

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
                self._functions.forget()
            try:
                branch = self._functions.outcomes.probability(self._functions.where(around, TRUE))
                left = self._functions.outcomes.probability(self._functions.where(reached, TRUE))
            except TooManyError:
                continue
            if branch:
                rows = {row for fact in before for row in self._questions.rows(fact.asked)}
                own = None if node.written is None else node.written.at
                is_open = any(at != own and not rows.isdisjoint(others) for at, others in unheard.items())
                found[position] = OfArm(node.arm.share(left / branch), is_open)
        return found

    def missed(self) -> tuple[Missed, ...]:
        """The shares that are missed, in the order of the source; of more than 60 that are said it is not looked for.

        Both are of the requests that reach the branch, as they are written.
        """
        told = [one for one in self._statements if one.is_told]
        # By place what is written, and of how many requests, how many are to be taken and how many are.
        of_each: dict[Written, list[tuple[float, float, float]]] = {}
        try:
            for one in told if len(told) <= _MOST_BALANCED else ():
                node = None if one.select is None else self._nodes[one.select]
                if node is not None and node.written is not None and isinstance(node.operation, Select):
                    reached, held, share = self._equation(one)
                    if self._questions.plain(Asked(node.operation.condition))[1]:
                        held, share = self._functions.outcomes.choose(held, FALSE, reached), 1.0 - share
                    all_, taken = map(self._functions.outcomes.probability, (reached, held))
                    of_each.setdefault(node.written, []).append((all_, share * all_, taken))
        except TooManyError:
            return ()
        found = list[Missed]()
        for written, parts in of_each.items():
            all_, due, taken = map(sum, zip(*parts, strict=True))
            if abs(taken - due) > _MATTERS * all_:
                found.append(Missed(written.at, written.share, written.share * taken / due if due else taken / all_))
        return tuple(sorted(found, key=lambda one: (one.at.source.name, one.at.start)))

    def likely(self) -> dict[Place, Mapping[Test, float]]:
        """How often tests hold of what calls give and requests bring, by the part that tests so far asked about."""
        ways = (way for place in self._functions.asked for way in self._questions.ways_of(place))
        drawn = {way.origin: way for way in ways if way.is_drawn}
        return {Place(*origin): self._drawn(self._questions.row(way)) for origin, way in drawn.items()}

    def _drawn(self, row: Row) -> Mapping[Test, float]:
        """How often each test of a row holds, over all requests."""
        found = dict(self._functions.shares.shares(Part(row)))
        for place, value in self._functions.values.items() if self._is_balanced else ():
            if self._questions.parts_of(place) == [Part(row)]:
                found |= {test: self._functions.outcomes.probability(holds) for test, holds in value}
        for place, told in self._functions.told.items():
            if self._questions.parts_of(place)[0].row == row:
                found |= told.shares
        return found


def _once(said: Iterable[Statement]) -> Iterator[Statement]:
    """What is said of values once for each place of the source and each value, of conditions by each choice."""
    seen: set[Hashable] = set()
    for one in said:
        key = one.select if one.is_made else (one.at, one.asked)
        if key not in seen:
            seen.add(key)
            yield one
