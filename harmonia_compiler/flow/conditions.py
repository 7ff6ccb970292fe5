"""Which function of outcomes each condition of a flow is.

One outcome stands for one condition wherever it is tested: the same node, an equal comparison, its negation; the
labels of one value exclude each other, and its bounds follow each other. Different conditions are independent. What is
asked of one value holds equally often, in whichever round of a loop or `each` it is asked (`shares.py`), and what has
kept items in their list is known of them. A condition that is made of others (`a and b`, whether a loop has been left
early, a name that was bound on two paths) is the function of theirs that it is: what its share leaves, once some of
them are known, is the share of the last one.
"""

from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Call, Select, inputs
from harmonia_compiler.flow.asked import Asked, Test, settled
from harmonia_compiler.flow.expand import Expanded, Item, scopes_around
from harmonia_compiler.flow.graph import EVEN
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes
from harmonia_compiler.flow.questions import Place, Questions, place_of
from harmonia_compiler.flow.said import Said
from harmonia_compiler.flow.shares import Part, Shares
from harmonia_compiler.flow.values import Value, left

#: How deep conditions are looked into that are made of others.
_DEEPEST = 40

#: How many choices around one are looked at where their functions would be too large together.
_NEAREST = 32


class _Word(NamedTuple):
    """How often a condition is to hold, or is guessed to where nobody has said it."""

    share: float
    is_guess: bool


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
        self._values: dict[Place, Value] = {}
        self._asked: set[Place] = set()
        self._made: dict[Asked, int] = {}
        # How many arms have been left out so far that no request takes where their condition was asked.
        self._left_out = 0
        self._said = Said(self._nodes, expanded.flow.result, questions.plain, questions.one_of_rounds)
        self._shares = Shares(questions.labels_of, limit)
        self._shares.say([(questions.parts_of(place_of(asked)), saying) for asked, saying in self._said.of_values])

    def function(self, position: int, condition: int, guard: int) -> int:
        """When the condition of the choice at a position is true, where the guard is."""
        return self._function(Asked(condition), self._word(position), guard, 0)

    def estimate(self, position: int, condition: int) -> float:
        """How often the condition of a choice is true where it is reached, by what is asked there of the same values.

        It forgets the functions that were found before: what is common to conditions of different values is not seen.
        """
        outcomes = self._outcomes = Outcomes(self._limit)
        self._values, self._made = {}, {}
        rows, guard = self._questions.rows(Asked(condition)), TRUE
        nearest = [*islice(self._said.around(position), _NEAREST)]
        for asked, holds, share, _ in reversed(nearest):
            if not rows.isdisjoint(self._questions.rows(asked)):
                is_true = self._function(asked, _Word(share, is_guess=True), guard, 0)
                guard = outcomes.both(guard, is_true if holds else outcomes.negate(is_true))
        word = self._word(position)
        is_true, likely = self._function(Asked(condition), word, guard, 0), outcomes.probability(guard)
        return outcomes.probability(outcomes.both(guard, is_true)) / likely if likely else word.share

    def likely(self) -> dict[Place, Mapping[Test, float]]:
        """How often tests hold of what calls give and requests bring, by the part that tests so far asked about."""
        drawn = {way.origin: way for place in self._asked for way in self._questions.ways_of(place) if way.is_drawn}
        return {Place(*origin): self._shares.shares(Part(self._questions.row(way))) for origin, way in drawn.items()}

    def _word(self, select: int) -> _Word:
        node = self._nodes[select]
        return _Word(EVEN if node.share is None else node.share, node.share is None or node.guessed)

    def _function(self, asked: Asked, word: _Word, guard: int, depth: int) -> int:
        """The function, of which no more than what the guard lets through need be right.

        Iterative along one arm of each choice that it is made of, since those may be many; what lies deeper in other
        places than `_DEEPEST` is an outcome of its own. A guess is one of each value that a name may be bound to; what
        is said is of all of them together.
        """
        outcomes, before = self._outcomes, self._left_out
        whole, flipped = self._questions.plain(asked)
        share, is_guess = word
        asked, share, is_negated = whole, 1.0 - share if flipped else share, False
        if (said := self._said.of_made.get(self._questions.one_of_rounds(asked))) is not None:
            share, is_guess = said, False
        # For each choice when it is true, what one of its arms is, and whether that is the first one.
        passed: list[tuple[int, int, bool]] = []
        while asked not in self._made and depth < _DEEPEST:
            select = self._nodes[asked.position].operation
            if not isinstance(select, Select):
                break
            is_true = self._function(Asked(select.condition), self._word(asked.position), guard, depth + 1)
            with_then, without = outcomes.both(guard, is_true), outcomes.choose(is_true, FALSE, guard)
            then, otherwise = replace(asked, position=select.then), replace(asked, position=select.otherwise)
            if FALSE in (with_then, without):
                self._left_out += 1
                passed.append((is_true, FALSE, with_then == FALSE))
                following = otherwise if with_then == FALSE else then
            elif (known := settled(self._nodes, otherwise)) is not None:
                passed.append((is_true, TRUE if known != is_negated else FALSE, False))
                share = left(outcomes, share, guard, without if known else FALSE, with_then)
                following, guard = then, with_then
            else:
                held = self._function(then, _Word(share, is_guess), with_then, depth + 1)
                passed.append((is_true, outcomes.negate(held) if is_negated else held, True))
                if not is_guess or settled(self._nodes, then) is not None:
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

    def _simple(self, asked: Asked, share: float, guard: int) -> int:
        """What is not made of others: as the table says and, where that says nothing, the share of the guard."""
        if asked in self._made:
            return self._made[asked]
        known = settled(self._nodes, asked)
        if known is not None:
            return TRUE if known else FALSE
        place, test = place_of(asked), asked.test
        value, parts = self._value(place), self._questions.parts_of(place)
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

    def _value(self, place: Place) -> Value:
        """What is known of a value: of an item of a list first the answers of the tests that have kept it there."""
        self._asked.add(place)
        if place not in self._values:
            labels = self._questions.labels(place)
            value = self._values[place] = Value(self._outcomes, labels, lambda share: self._outcome(share, place))
            kept = [way.kept for way in self._questions.ways_of(place)]
            for _, _, test, holds in sorted(set(kept[0]).intersection(*kept), key=repr) if kept else ():
                value.learn(test, holds=holds)
        return self._values[place]

    def _outcome(self, share: float, place: Place) -> int:
        """A new outcome, which differs from item to item as the value that it is about does."""
        self.scopes[self._outcomes.count] = self._varying[place.position]
        return self._outcomes.outcome(share)


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
