"""Which function of outcomes each condition of a flow is.

One outcome stands for one condition wherever it is tested: the same node, an equal comparison, its negation; the labels
of one value exclude each other, so do the numbers that it may be, and its bounds follow each other. Different
conditions are independent, but where the source says otherwise (`apart.py`). What is asked of one value holds
equally often, in whichever round of a loop or `each` it is asked (`shares.py`), and what has kept items in their list
is known of them. What is said is taken first, each statement once it is known which requests it is of (`taken.py`), and
found together where that has missed some (`together.py`); then all other functions are found (`functions.py`), those
first that stand first.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Select
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.apart import apart, of_classes
from harmonia_compiler.flow.arms import OfArm, is_unheard
from harmonia_compiler.flow.asked import Asked, Test
from harmonia_compiler.flow.expand import Expanded, Several
from harmonia_compiler.flow.functions import Functions, Word
from harmonia_compiler.flow.graph import Written
from harmonia_compiler.flow.labels import SaidOfLabels
from harmonia_compiler.flow.outcomes import TRUE, Outcomes, SpentError, Steps, TooManyError
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.reached import Fact
from harmonia_compiler.flow.said import Said, Statement
from harmonia_compiler.flow.shares import Part, Row
from harmonia_compiler.flow.taken import APART, Taken, TooLargeError
from harmonia_compiler.flow.together import Together

#: A share that is missed by more is worth to be told.
_MATTERS = 0.005

#: How often what is said is taken anew, with more values that are told apart.
_MOST_TURNS = 2

#: So many steps are taken to see what is missed.
_MOST_STEPS = 100_000

#: How many choices around one are looked at where their functions would be too large together.
_NEAREST = 32


class Missed(NamedTuple):
    """A share that is `said` at a place and that comes to another one, by what else is said.

    It is missed `by` that part of the requests that it is of.
    """

    at: Span
    said: float
    found: float
    by: float

    @property
    def matters(self) -> bool:
        """Whether it is missed by so much that it is worth to be told."""
        return self.by > _MATTERS


class Conditions:
    """The function of outcomes that each condition is, once what is said of all of them is taken.

    `limit` is how large a function may become. What is said of arms behind silent ones is to hold `as_written`, or
    else by what is guessed of those.
    """

    def __init__(
        self, expanded: Expanded, questions: Questions, outcomes: Outcomes, limit: int, *, as_written: bool = False
    ) -> None:
        self._nodes = expanded.flow.nodes
        self._questions = questions
        # Whether outcomes have other shares than the table.
        self._is_balanced = False
        self._has_begun = False
        self._said = Said(expanded, questions.plain, questions.one_of_rounds, questions.places)
        classes = of_classes(expanded.flow, questions)
        self._statements = [*_once([*classes, *self._said.all])]
        self._said.of_labels[:0] = _of_labels(classes, questions)
        self._functions = Functions(expanded, questions, outcomes, self._said, self._statements, limit)
        self._taken = Taken(self._statements, self._functions, questions, as_written=as_written)
        # Values of which the table has not all that is said.
        self._mixed = {place_of(one.asked) for one in self._statements if one.is_mixed}
        # At first where the table shows it, which is cheaper than to find all functions.
        self._functions.apart = frozenset(self._apart_if(self._is_missed_by_table))

    @property
    def scopes(self) -> Mapping[int, int]:
        """Of each outcome the innermost scope from whose one item to the next it may differ; 0 where there is none."""
        return self._functions.scopes

    def _apart_if(self, is_missed: Callable[[Statement], bool]) -> set[Place]:
        return apart(self._statements, self._questions, is_missed)

    def _is_missed_by_table(self, one: Statement) -> bool:
        """Whether the table has all that is said of a value, and another share of this."""
        place = place_of(one.asked)
        part = self._questions.parts_of(place)[0]
        return place not in self._mixed and not self._functions.shares.holds(part, one.saying)

    def function(self, position: int, condition: int, guard: int) -> int:
        """When the condition of the choice at a position is true, where the guard is."""
        if not self._has_begun:
            self._has_begun = True
            self._begin()
        return self._functions.found(Asked(condition), self._functions.word(position), guard)

    @property
    def places(self) -> Mapping[int, Place]:
        """Of each outcome of a value, which value it is of."""
        return self._functions.places

    def is_last(self, rounds: Several, guard: int) -> int:
        """When one of some rounds that are left together is the last, where the guard is."""
        word = Word(rounds.share, rounds.guessed, is_silent=rounds.guessed)
        return self._functions.found(Asked(rounds.test), word, guard)

    def _begin(self) -> None:
        """Take what is said, one share of each test for all requests; where that is not so, tell the value apart."""
        mark, worked = self._functions.outcomes.mark(), frozenset[Place]()
        for _ in range(_MOST_TURNS):
            try:
                self._taken.say()
            except TooLargeError:
                self._taken.anew(mark, worked)
                break
            before = self._functions.outcomes.count
            missed = self._apart_if(self._taken.is_missed) - self._functions.apart
            if not missed:
                # Whether they hold may have asked more than the flow does, in another order: all is taken anew.
                if self._functions.outcomes.count > before:
                    self._taken.anew(mark, self._functions.apart)
                break
            worked = self._functions.apart
            if not worked:
                # What independent values leave needs none of them told apart.
                together = Together(self._taken, self._functions, self._questions, mark)
                self._is_balanced = together.find()
                if not together.missed():
                    return
            self._functions.outcomes.back(mark)
            self._functions.begin(self._statements, worked | missed)
        else:
            try:
                self._taken.say()
            except TooLargeError:
                self._taken.anew(mark, worked)
        self._is_balanced = Together(self._taken, self._functions, self._questions, mark).find()

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

    @property
    def rest_on_guesses(self) -> bool:
        """Whether shares behind silent arms hold by what is guessed of those, and may be found as they are written."""
        return self._taken.are_few and any(one.of_branch is not None for one in self._taken.told)

    def missed(self) -> tuple[Missed, ...]:
        """The shares that are missed, in the order of the source, as far as that is seen within bounds of its own.

        Both are of the requests that reach the branch, as they are written. Nothing may be asked of outcomes behind it.
        """
        outcomes = self._functions.outcomes
        outcomes.steps = Steps(_MOST_STEPS)
        # By place what is written, and of how many requests, how many are to be taken and how many are.
        of_each: dict[Written, list[tuple[float, float, float]]] = {}
        with suppress(TooManyError, SpentError):
            for one in self._taken.told:
                written = None if one.select is None else self._nodes[one.select].written
                if written is not None:
                    reached, held, share = self._taken.equation(one, as_written=True)
                    all_, taken = map(outcomes.probability, (reached, held))
                    of_each.setdefault(written, []).append((all_, share * all_, taken))
        found = list[Missed]()
        for written, parts in of_each.items():
            all_, due, taken = map(sum, zip(*parts, strict=True))
            if abs(taken - due) > APART * all_:
                comes_to = written.share * taken / due if due else taken / all_
                found.append(Missed(written.at, written.share, comes_to, abs(taken - due) / all_))
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


def _of_labels(classes: Iterable[Statement], questions: Questions) -> Iterator[SaidOfLabels]:
    """What the loads say of the classes, as of labels."""
    for one in classes:
        labels = questions.labels(place_of(one.asked))
        if labels and isinstance(one.asked.test, str):
            value = replace(one.asked, test=None)
            yield SaidOfLabels(value, frozenset({one.asked.test}), one.saying.share, frozenset(labels))


def _once(said: Iterable[Statement]) -> Iterator[Statement]:
    """What is said of values once for each place of the source and each value, of conditions by each choice."""
    seen: set[Hashable] = set()
    for one in said:
        key = one.select if one.is_made else (one.at, one.asked)
        if key not in seen:
            seen.add(key)
            yield one
