"""What the conditions of a flow ask about, and where in the table of shares that stands.

Conditions that ask the same are one question, in one wording; of a value is found which parts of what calls give and
requests bring it may be.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Call, Select
from harmonia_compiler.contract.types import Labels, Type
from harmonia_compiler.flow.alike import first_equal
from harmonia_compiler.flow.asked import Asked, Test, plain, settled, type_of
from harmonia_compiler.flow.expand import Chance, Expanded, Gather, Item
from harmonia_compiler.flow.origins import Way, ways
from harmonia_compiler.flow.shares import Part, Row


class Place(NamedTuple):
    """A value that conditions ask about: a node's, or that of a field of a field of it."""

    position: int
    fields: tuple[str, ...]


class Questions:
    """The questions of one expanded flow."""

    def __init__(self, expanded: Expanded) -> None:
        self._nodes = expanded.flow.nodes
        self._alike = _alike(expanded)
        self._same = _same(expanded)
        self._ways: dict[Place, list[Way]] = {}
        self._parts: dict[Place, list[Part]] = {}
        self._first: dict[Hashable, int] = {}
        self._rows: dict[Asked, frozenset[Row]] = {}

    def plain(self, asked: Asked) -> tuple[Asked, bool]:
        """What is asked in one wording for all that is alike, and whether that is the negation."""
        asked, is_negated = plain(self._nodes, asked)
        return replace(asked, position=self._alike[asked.position]), is_negated

    def one_of_rounds(self, asked: Asked) -> Hashable:
        """A question, which is one for all rounds of a loop."""
        return self._same[asked.position], asked.fields, asked.test

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
                found[one] = ()
                operation = self._nodes[one.position].operation
                if isinstance(operation, Select):
                    arms = (replace(one, position=at) for at in (operation.then, operation.otherwise))
                    found[one] = (Asked(operation.condition), *arms)
                pending += found[one]
        return found

    def places(self, asked: Asked) -> list[Place]:
        """The values that a question is about, with all that it is made of."""
        return [place_of(one) for one, parts in self.made_of(asked).items() if not parts]

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
        same = self._same[self._alike[position]]
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


def _alike(expanded: Expanded) -> list[int]:
    """For each node the first that is equal to it; calls are equal to themselves alone, and items within one scope."""

    def among(position: int) -> int | None:
        operation = expanded.flow.nodes[position].operation
        if isinstance(operation, Call):
            return None
        return expanded.scopes[position] if isinstance(operation, Item) else 0

    return first_equal(expanded.flow.nodes, among)


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
