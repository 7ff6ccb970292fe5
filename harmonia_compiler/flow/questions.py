"""What the conditions of a flow ask about, and where in the table of shares that stands.

Conditions that ask the same are one question, in one wording; of a value is found which parts of what calls give and
requests bring it may be.
"""

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Call, Compare, Constant, Select, inputs
from harmonia_compiler.contract.types import Labels, Type
from harmonia_compiler.flow.alike import Wordings
from harmonia_compiler.flow.asked import Asked, Below, Exactly, Test, plain, settled, type_of
from harmonia_compiler.flow.expand import Chance, Expanded, Gather, Item
from harmonia_compiler.flow.graph import Node
from harmonia_compiler.flow.origins import Way, ways
from harmonia_compiler.flow.shares import Part, Row

#: Of more questions than this a condition is made of many; so deep no more than these lie in each other.
_FEW = 10


class Place(NamedTuple):
    """A value that conditions ask about: a node's, or that of a field of a field of it."""

    position: int
    fields: tuple[str, ...]


class Questions:
    """The questions of one expanded flow.

    A condition that is made of others is looked into where those are no more than `most`, each as often as it is asked.
    """

    def __init__(self, expanded: Expanded, most: float = math.inf) -> None:
        self._expanded = expanded
        self._nodes = expanded.flow.nodes
        self._wordings = Wordings(self._nodes, _among(expanded))
        self._own = _own_bounds(self._nodes, self._wordings)
        self._same = _same(expanded)
        self._times = Counter(self._same)
        self._ways: dict[Place, list[Way]] = {}
        self._parts: dict[Place, list[Part]] = {}
        self._first: dict[Hashable, int] = {}
        self._places: dict[Asked, list[Place]] = {}
        self._rows: dict[Asked, frozenset[Row]] = {}
        self._most = most
        self._sizes: dict[Asked, float] = {}

    @cached_property
    def of_few(self) -> "Questions":
        """The same questions, but conditions that are made of many are looked into no more than values are."""
        return Questions(self._expanded, _FEW)

    def looks_into(self, asked: Asked) -> bool:
        """Whether a question in that wording is about a condition that is made of others, which tell the answer."""
        if not isinstance(self._nodes[asked.position].operation, Select):
            return False
        return self._most == math.inf or self._size(asked) <= self._most

    def _size(self, asked: Asked) -> float:
        """Of how many questions one is made, each as often as it is asked. Iterative, since they may be deep."""
        agenda = [] if asked in self._sizes else [asked]
        while agenda:
            one = agenda[-1]
            parts = self._parts_of_made(one)
            if one not in self._sizes and (unknown := [part for part in parts if part not in self._sizes]):
                agenda += unknown
                continue
            self._sizes[one] = 1.0 + sum(self._sizes[part] for part in parts)
            agenda.pop()
        return self._sizes[asked]

    def _parts_of_made(self, asked: Asked) -> tuple[Asked, ...]:
        """Of a condition that is made of others, what it asks and its arms, all in one wording; nothing of a value."""
        operation = self._nodes[asked.position].operation
        if not isinstance(operation, Select):
            return ()
        arms = (replace(asked, position=at) for at in (operation.then, operation.otherwise))
        return tuple(self.plain(each)[0] for each in (Asked(operation.condition), *arms))

    def plain(self, asked: Asked) -> tuple[Asked, bool]:
        """What is asked in one wording for all that is alike, and whether that is the negation."""
        asked, is_negated = self._wordings.plain(asked)
        if isinstance(asked.test, Below) and asked.test.bound not in self._own:
            asked = replace(asked, test=Below(asked.test.bound))
        return asked, is_negated

    def one_of_rounds(self, asked: Asked) -> Hashable:
        """A question, which is one for all rounds of a loop."""
        return self._same[asked.position], asked.fields, asked.test

    def is_in_rounds(self, place: Place) -> bool:
        """Whether a value is made in more than one round of a loop."""
        return self._times[self._same[place.position]] > 1

    def ways_of(self, place: Place) -> list[Way]:
        """Where a value comes from."""
        if place not in self._ways:
            self._ways[place] = [*ways(self._nodes, *place)]
        return self._ways[place]

    def parts_of(self, place: Place) -> list[Part]:
        """What of the table a value may be."""
        if place not in self._parts:
            parts: dict[tuple[Row, tuple[tuple[Test, bool], ...]], float] = {}
            for way in self.ways_of(place):
                key = self.row(way), tuple((test.test, test.holds) for test in reversed(way.kept))
                parts[key] = parts.get(key, 0.0) + way.weight
            weights = parts if any(parts.values()) else dict.fromkeys(parts, 1.0)
            self._parts[place] = [Part(*key, weight) for key, weight in weights.items() if weight]
        return self._parts[place]

    def made_of(self, asked: Asked) -> dict[Asked, tuple[Asked, ...]]:
        """A question and all that it is made of: of each its condition and its arms, nothing of what is a value's."""
        found: dict[Asked, tuple[Asked, ...]] = {}
        pending = [asked]
        while pending:
            if (one := self.plain(pending.pop())[0]) not in found:
                found[one] = self._parts_of_made(one) if self.looks_into(one) else ()
                pending += found[one]
        return found

    def places(self, asked: Asked) -> list[Place]:
        """The values that a question is about, with all that it is made of."""
        asked, _ = self.plain(asked)
        if asked not in self._places:
            self._places[asked] = [place_of(one) for one, parts in self.made_of(asked).items() if not parts]
        return self._places[asked]

    def rows(self, asked: Asked) -> frozenset[Row]:
        """The rows of the table that a question is about, with all that it is made of."""
        asked, _ = self.plain(asked)
        if asked not in self._rows:
            made_of = self.made_of(asked)
            values = (one for one, parts in made_of.items() if not parts and settled(self._nodes, one) is None)
            self._rows[asked] = frozenset(part.row for one in values for part in self.parts_of(place_of(one)))
        return self._rows[asked]

    def row(self, way: Way) -> Row:
        """The row of the table that a way leads to."""
        position, path = way.origin
        same = self._same[self._wordings.first[position]]
        self._first.setdefault(same, position)
        return Row(same, path)

    def labels_of(self, row: Row) -> Sequence[str] | None:
        """What the values of a row may be; None where that cannot be listed. A way has led there."""
        return _labels(type_of(self._nodes, Asked(self._first[row.node], row.path)))

    def labels(self, place: Place) -> Sequence[str] | None:
        """What the value may be; None where that cannot be listed."""
        return _labels(type_of(self._nodes, Asked(*place)))


def place_of(asked: Asked) -> Place:
    """The value that a question is about."""
    return Place(asked.position, asked.fields)


def _labels(of: Type | None) -> Sequence[str] | None:
    return of.labels if isinstance(of, Labels) else None


def _among(expanded: Expanded) -> Callable[[int], int | None]:
    """Calls are equal to themselves alone, and items within one scope."""

    def among(position: int) -> int | None:
        operation = expanded.flow.nodes[position].operation
        if isinstance(operation, Call):
            return None
        return expanded.scopes[position] if isinstance(operation, Item) else 0

    return among


def _own_bounds(nodes: Sequence[Node], wordings: Wordings) -> set[float]:
    """The bounds that numbers may be themselves, so that less is not the same as no more: no others are asked about.

    Such are those that a number is compared with for equality, those that it is said how often it is less than and
    how often no more than, and those that a name may be bound to.
    """
    found: set[float] = set()
    said: set[Test] = set()
    for position, node in enumerate(nodes):
        operation = node.operation
        if isinstance(operation, Compare):
            test = plain(nodes, Asked(position))[0].test
            found |= {test.low.bound} if isinstance(test, Exactly) else set()
            continue
        read = (nodes[at].operation for at in inputs(operation))
        values = (each.value for each in read if isinstance(each, Constant))
        found |= {float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)}
        if isinstance(operation, Select) and node.share is not None and not node.guessed:
            said.add(wordings.plain(Asked(operation.condition))[0].test)
    bounds = {test.bound for test in said if isinstance(test, Below) and test.or_equal}
    return found | {bound for bound in bounds if Below(bound) in said}


def _same(expanded: Expanded) -> list[Hashable]:
    """What each node has in common with its copies in other rounds of a loop, and with nothing else."""
    nodes, origins = expanded.flow.nodes, expanded.origins
    found: list[Hashable] = []
    depths: list[int] = []
    for position, node in enumerate(nodes):
        operation, depth = node.operation, 0
        if isinstance(operation, Select) and origins[operation.otherwise] == origins[position]:
            # Which round of a loop was the last is asked by choices in a row, each of fewer rounds.
            depth = depths[operation.otherwise] + 1
        depths.append(depth)
        # How often an attempt succeeds may differ from round to round.
        is_own = isinstance(operation, Chance | Item | Gather)
        found.append(position if is_own else (origins[position], type(operation).__name__, depth))
    return found
