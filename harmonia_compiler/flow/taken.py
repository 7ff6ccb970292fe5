"""Taking what is said into functions of outcomes: one statement after the other, each once its requests are known."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from harmonia_compiler.flow.apart import Pending, in_groups, next_turn
from harmonia_compiler.flow.asked import Asked, Test
from harmonia_compiler.flow.balance import Equation
from harmonia_compiler.flow.functions import Functions, Word
from harmonia_compiler.flow.outcomes import TRUE, Mark
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.reached import questions_of
from harmonia_compiler.flow.said import Statement
from harmonia_compiler.flow.shares import Row

#: A share that is not met by so much is not met.
APART = 1e-7

#: So large the functions of values may become that are told apart; beyond, fewer are.
_MOST_NODES = 10_000

#: So many shares that are written are found together at most; of more, those that are missed stay so.
_MOST_BALANCED = 60


class TooLargeError(Exception):
    """Functions of values that are told apart have become larger than is worth it."""


class Taken:
    """Statements, and the functions that they are taken into.

    What is said of arms behind silent ones is to hold `as_written`, or else by what is guessed of those.
    """

    def __init__(
        self, statements: Sequence[Statement], functions: Functions, questions: Questions, *, as_written: bool
    ) -> None:
        self.statements = statements
        #: Those of which it is known of whom they are.
        self.told = [one for one in statements if one.is_told]
        self._functions = functions
        self._questions = questions
        self._as_written = as_written

    def anew(
        self,
        mark: Mark,
        apart: frozenset[Place],
        found: Mapping[Row, Mapping[Test, float]] = MappingProxyType({}),
    ) -> None:
        """Take all from the beginning, from a mark of outcomes on, with some values told apart and some rows `found`.

        Raises TooLargeError.
        """
        self._functions.outcomes.back(mark)
        self._functions.begin(self.statements, apart, found)
        self.say()

    def missed(self) -> list[Statement]:
        """What is told and not so. Raises TooManyError."""
        return [one for one in self.told if self.is_missed(one)]

    @property
    def are_few(self) -> bool:
        """Whether so few shares are written that they may be found together."""
        return len({one.at for one in self.told}) <= _MOST_BALANCED

    def equation(self, one: Statement, *, as_written: bool = False) -> Equation:
        """Of which requests a statement is, when it holds of them, and how often it is to. Raises TooManyError.

        By what is guessed of silent arms before it or, `as_written`, of the requests that reach its branch.
        """
        reached, outcomes = self._functions.where(one.reached, TRUE), self._functions.outcomes
        held, share = self._held(one, reached), one.saying.share
        if one.is_negated:
            held, share = outcomes.negate(held), 1.0 - share
        held = outcomes.both(reached, held)
        if one.of_branch is None or not (as_written or self._as_written):
            return Equation(reached, held, share)
        return Equation(self._functions.where(one.of_branch.around, TRUE), held, one.of_branch.share)

    def about(self, one: Statement) -> set[Asked]:
        """What a statement says something of: as it is written, of the tests of the silent arms before it as well."""
        told = one.of_branch.around if self._as_written and one.of_branch is not None else one.reached
        return {one.asked, *questions_of([step for step in one.reached if step not in told])}

    def is_missed(self, one: Statement) -> bool:
        """Whether a share is not of the requests that it is said of."""
        likely, (reached, held, share) = self._functions.outcomes.probability, self.equation(one)
        return abs(likely(held) - share * likely(reached)) > APART

    def say(self) -> None:
        """Take what is said of values that are told apart and of conditions that are made, each in its turn.

        Raises TooLargeError.
        """
        with self._functions.saying():
            if self._functions.apart:
                # Of whom nothing is told, that is so of those who ask.
                told = [one for one in self.statements if one.is_told or not self._is_apart(one)]
                for group in in_groups(told, self._subject, self._waits_for(told)):
                    self._say_together(group)
            else:
                for one in self.statements:
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
                raise TooLargeError

    def _take(self, one: Statement, reached: int) -> None:
        """Take what is said of those requests."""
        if self._is_apart(one):
            self._functions.told_of(place_of(one.asked)).say(one.saying.test, one.saying.share, reached)
        else:
            self._held(one, reached)

    def _held(self, one: Statement, reached: int) -> int:
        """When that holds which is said of those requests."""
        return self._functions.found(one.asked, Word(one.saying.share, is_guess=False), reached)

    def _is_apart(self, one: Statement) -> bool:
        return place_of(one.asked) in self._functions.apart

    def _pending(self, one: Statement, needs: AbstractSet[Asked], reached: int | None) -> Pending:
        place, is_apart = place_of(one.asked), self._is_apart(one)
        likely = None if reached is None else self._functions.outcomes.probability(reached)
        is_new = is_apart and not self._functions.told_of(place).is_said(one.asked.test)
        places = {place} if is_apart else {*self._questions.places(one.asked)}
        return Pending(one.asked, places, needs, is_apart, likely, is_new)
