"""Which function of outcomes each condition of a flow is.

One outcome stands for one condition wherever it is tested: the same node, an equal comparison, its negation; the
labels of one value exclude each other, and its bounds follow each other. Different conditions are independent; those
of the items of one list hold equally often, in whichever `each` they are asked, and what has kept items in their list
is known of them. A condition that is made of others (`a and b`, whether a loop has been left early, a name that was
bound on two paths) is the function of theirs that it is: what its share leaves, once some of them are known, is the
share of the last one.
"""

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.program import Call, Select, inputs, with_inputs
from harmonia_compiler.contract.types import Labels
from harmonia_compiler.flow.asked import Asked, plain, settled, type_of
from harmonia_compiler.flow.expand import Expanded, Item, scopes_around
from harmonia_compiler.flow.graph import EVEN
from harmonia_compiler.flow.origins import ITEM, ways
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes
from harmonia_compiler.flow.said import Said
from harmonia_compiler.flow.text import show_operation

#: How deep conditions are looked into that are made of others.
_DEEPEST = 40


class Place(NamedTuple):
    """A value that conditions ask about: a node's, or that of a field of a field of it."""

    position: int
    fields: tuple[str, ...]


class _Values(msgspec.Struct):
    """What is known of a value that is compared with constants.

    `none` is true where it equals none of those in `tests`; `unseen` holds the values that it may
    have besides, or None where they cannot be listed.
    """

    tests: dict[str, int] = msgspec.field(default_factory=dict)
    none: int = TRUE
    unseen: set[str] | None = None


class _Word(NamedTuple):
    """How often a branch says that its condition holds, or how often it is taken to where nobody has said it."""

    share: float
    is_said: bool


class Conditions:
    """The function of outcomes that each condition is; the first share said for an outcome holds.

    What is said of a test anywhere goes before what a branch that says nothing is taken to do.

    `scopes` says of each outcome the innermost scope from whose one item to the next it may differ; 0 where there is
    none.
    """

    def __init__(self, expanded: Expanded, outcomes: Outcomes) -> None:
        self.scopes: dict[int, int] = {}
        self._nodes = expanded.flow.nodes
        self._outcomes = outcomes
        self._alike = _alike(expanded)
        self._of_items: dict[Asked, float] = {}
        self._varying = _varying(expanded)
        self._single: dict[Place, int] = {}
        self._values: dict[Place, _Values] = {}
        self._numbers: dict[Place, dict[float, int]] = {}
        self._made: dict[Asked, int] = {}
        # How many arms have been left out so far that no request takes where their condition was asked.
        self._left_out = 0
        self._said = Said(self._nodes, expanded.flow.result, self._plain, self._about)
        # The values of which all that is said has been put in place.
        self._settled: set[Place] = set()
        # The values of items of which is known what has kept them in their list.
        self._passed: set[Place] = set()

    def function(self, position: int, condition: int, guard: int) -> int:
        """When the condition of the choice at a position is true, where the guard is."""
        return self._function(Asked(condition), self._word(position), guard, 0)

    def _word(self, select: int) -> "_Word":
        node = self._nodes[select]
        return _Word(EVEN if node.share is None else node.share, node.share is not None and not node.guessed)

    def likely(self) -> dict[Place, dict[str | float | None, float]]:
        """How often each condition asked so far holds, by the value that it asks about.

        The key is None for a truth, else the text that a value is, or the number that it is less than.
        """
        probability = self._outcomes.probability
        found: dict[Place, dict[str | float | None, float]] = {
            at: {None: probability(is_true)} for at, is_true in self._single.items()
        }
        for at, values in self._values.items():
            found[at] = {text: probability(is_it) for text, is_it in values.tests.items()}
        for at, bounds in self._numbers.items():
            found.setdefault(at, {}).update({bound: probability(below) for bound, below in bounds.items()})
        return found

    def _function(self, asked: Asked, word: "_Word", guard: int, depth: int) -> int:
        """The function, of which no more than what the guard lets through need be right.

        Iterative along one arm of each choice that it is made of, since those may be many; what lies deeper in other
        places than `_DEEPEST` is an outcome of its own.
        """
        outcomes, before = self._outcomes, self._left_out
        whole, flipped = self._plain(asked)
        share, is_said = word
        asked, share, is_negated = whole, 1.0 - share if flipped else share, False
        if not is_said:
            share = self._said.of_made.get(asked, share)
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
                share = self._left(share, guard, without if known else FALSE, with_then)
                following, guard = then, with_then
            else:
                held = self._function(then, _Word(share, is_said=False), with_then, depth + 1)
                passed.append((is_true, outcomes.negate(held) if is_negated else held, True))
                share = self._left(share, guard, outcomes.both(with_then, held), without)
                following, guard = otherwise, without
            asked, flips = self._plain(following)
            share, is_negated = (1.0 - share if flips else share), is_negated ^ flips
        found = self._simple(asked, share, guard, is_said=is_said and not passed)
        found = outcomes.negate(found) if is_negated else found
        for is_true, arm, is_first in reversed(passed):
            found = outcomes.choose(is_true, arm, found) if is_first else outcomes.choose(is_true, found, arm)
        if passed and self._left_out == before:
            self._made[whole] = found
        return outcomes.negate(found) if flipped else found

    def _plain(self, asked: Asked) -> tuple[Asked, bool]:
        """What is asked in one wording for all that is alike, and whether that is the negation."""
        asked, is_negated = plain(self._nodes, asked)
        return replace(asked, position=self._alike[asked.position]), is_negated

    def _left(self, share: float, guard: int, held: int, rest: int) -> float:
        """How often what is asked next holds under `rest`, so that all holds in a share of the guard."""
        probability = self._outcomes.probability
        likely = probability(rest)
        return min(1.0, max(0.0, (share * probability(guard) - probability(held)) / likely)) if likely else 0.0

    def _about(self, asked: Asked) -> Place:
        """The value that is asked about: of the items of a list, and of lists that are alike, it is one."""
        operation = self._nodes[asked.position].operation
        if isinstance(operation, Item):
            (listed,) = operation.inputs
            return Place(self._alike[listed], (ITEM, *asked.fields))
        return _place(asked)

    def _simple(self, asked: Asked, share: float, guard: int, *, is_said: bool) -> int:
        """What is not made of others. What is said of it elsewhere goes before a share that is not `is_said`."""
        if asked in self._made:
            return self._made[asked]
        known, place = settled(self._nodes, asked), _place(asked)
        if known is not None:
            return TRUE if known else FALSE
        about = self._about(asked)
        if about != place and place not in self._passed:
            self._passed.add(place)
            self._pass(place)
        if place not in self._settled and (not is_said or self._is_said_twice(about)):
            self._settled.add(place)
            self._put_in_place(place, about)
        if about != place and all(saying.test != asked.test for saying in self._said.of(about)):
            share = self._of_items.setdefault(replace(asked, position=about.position), share)
        return self._test(place, asked.test, share, guard)

    def _pass(self, place: Place) -> None:
        """Let the tests that have kept an item in its list have the answers that they had, if of the same value."""
        kept = [way.kept for way in ways(self._nodes, *place)]
        for _, _, tested, holds in sorted(set(kept[0]).intersection(*kept), key=repr) if kept else ():
            answer = TRUE if holds else FALSE
            match tested:
                case None:
                    self._single[place] = answer
                case str() as text:
                    self._know(place, text, answer)
                case bound:
                    self._numbers.setdefault(place, {})[bound] = answer

    def _know(self, place: Place, text: str, answer: int) -> None:
        """A value is this text, or is not."""
        values = self._compared(place)
        values.tests[text] = answer
        if values.unseen is not None:
            values.unseen = set() if answer == TRUE else values.unseen - {text}
        if answer == TRUE or values.unseen == set():
            values.none = FALSE

    def _is_said_twice(self, about: Place) -> bool:
        """Whether shares are said that differ for one test, or of items in more than one place."""
        said = self._said.of(about)
        values = {saying.value for saying in said}
        tests = {saying.test for saying in said}
        return len(values) > 1 or len({(saying.test, saying.share) for saying in said}) > len(tests)

    def _put_in_place(self, place: Place, about: Place) -> None:
        """Let the tests of a value hold as often as is said of them, wherever."""
        for saying in self._said.of(about):
            guard = TRUE
            for test, holds, share in saying.before:
                is_true = self._test(place, test, share, guard)
                guard = self._outcomes.both(guard, is_true if holds else self._outcomes.negate(is_true))
            if guard != FALSE:
                self._test(place, saying.test, saying.share, guard)

    def _test(self, place: Place, test: str | float | None, share: float, guard: int) -> int:
        """When a test of a value holds: of those that the guard lets through in this share, if it is a new one."""
        match test:
            case None:
                if place not in self._single:
                    self._single[place] = self._outcome(share, place)
                return self._single[place]
            case str() as text:
                return self._equals(place, text, share, guard)
            case bound:
                return self._below(place, bound, share, guard)

    def _outcome(self, share: float, place: Place) -> int:
        """A new outcome, which differs from item to item as the value that it is about does."""
        self.scopes[self._outcomes.count] = self._varying[place.position]
        return self._outcomes.outcome(share)

    def _below(self, place: Place, bound: float, share: float, guard: int) -> int:
        """When a value is less than a bound: as soon as it is less than a smaller one, and only below greater ones."""
        outcomes, known = self._outcomes, self._numbers.setdefault(place, {})
        if bound not in known:
            low = known[max(smaller)] if (smaller := [each for each in known if each < bound]) else FALSE
            high = known[min(greater)] if (greater := [each for each in known if each > bound]) else TRUE
            room = outcomes.choose(low, FALSE, high)
            within = outcomes.both(guard, room)
            is_it = self._outcome(self._left(share, guard, outcomes.both(guard, low), within), place)
            known[bound] = outcomes.either(low, outcomes.both(is_it, room))
        return known[bound]

    def _equals(self, place: Place, text: str, share: float, guard: int) -> int:
        values = self._compared(place)
        if text not in values.tests:
            values.tests[text] = self._first_test(place, values, text, share, guard)
        return values.tests[text]

    def _compared(self, place: Place) -> _Values:
        of = type_of(self._nodes, Asked(*place))
        unseen = set(of.labels) if isinstance(of, Labels) else None
        return self._values.setdefault(place, _Values(unseen=unseen))

    def _first_test(self, place: Place, values: _Values, text: str, share: float, guard: int) -> int:
        """A value not compared before: its share is that of the guard, taken from what the others left."""
        outcomes = self._outcomes
        if values.unseen is not None:
            if text not in values.unseen:
                return FALSE
            values.unseen.discard(text)
            if not values.unseen:
                found, values.none = values.none, FALSE
                return found
        is_it = self._outcome(self._left(share, guard, FALSE, outcomes.both(guard, values.none)), place)
        found = outcomes.choose(is_it, values.none, FALSE)
        values.none = outcomes.choose(is_it, FALSE, values.none)
        return found


def _place(asked: Asked) -> Place:
    return Place(asked.position, asked.fields)


def _alike(expanded: Expanded) -> list[int]:
    """For each node the first that is equal to it; calls are equal to themselves alone, and items within one scope."""
    first: dict[tuple[str, int], int] = {}
    alike: list[int] = []
    for position, (node, scope) in enumerate(zip(expanded.flow.nodes, expanded.scopes, strict=True)):
        if isinstance(node.operation, Call):
            alike.append(position)
        else:
            key = show_operation(with_inputs(node.operation, alike.__getitem__))
            alike.append(first.setdefault((key, scope if isinstance(node.operation, Item) else 0), position))
    return alike


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
