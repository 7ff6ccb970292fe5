"""Which nodes are equal: they do the same with what is equal. And which questions are one, in whatever words."""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from harmonia_compiler.contract.program import Compare, with_inputs
from harmonia_compiler.flow.asked import Asked, plain, turned
from harmonia_compiler.flow.graph import Node
from harmonia_compiler.flow.text import show_operation


def first_equal(nodes: Sequence[Node], among: Callable[[int], int | None]) -> list[int]:
    """For each node the first that is equal to it, of those `among` the same ones; None says that it is no other's."""
    first: dict[tuple[str, int], int] = {}
    found: list[int] = []
    for position, node in enumerate(nodes):
        within = among(position)
        if within is None:
            found.append(position)
        else:
            key = show_operation(with_inputs(node.operation, found.__getitem__)), within
            found.append(first.setdefault(key, position))
    return found


class Wordings:
    """The questions that some nodes ask, in one wording for all that is equal. `among` is that of `first_equal`."""

    def __init__(self, nodes: Sequence[Node], among: Callable[[int], int | None]) -> None:
        self._nodes = nodes
        #: For each node the first that is equal to it.
        self.first = first_equal(nodes, among)
        # For each two values the first comparison of them, with what `_sides` says of it.
        self._compared: dict[tuple[Asked, Asked], tuple[int, bool, bool]] = {}
        for position, node in enumerate(nodes):
            if isinstance(node.operation, Compare):
                sides, is_turned, negates = self._sides(node.operation)
                self._compared.setdefault(sides, (position, is_turned, negates))

    def plain(self, asked: Asked) -> tuple[Asked, bool]:
        """What is asked in one wording for all that is alike, and whether that is the negation.

        Two values are compared as where they are first: what is in that wording already stays as it is.
        """
        asked, is_negated = plain(self._nodes, asked)
        operation = self._nodes[asked.position].operation
        if not isinstance(operation, Compare):
            return replace(asked, position=self.first[asked.position]), is_negated
        sides, is_turned, negates = self._sides(operation)
        first, first_is_turned, first_negates = self._compared[sides]
        test, flips = turned(asked.test) if is_turned != first_is_turned else (asked.test, False)
        return replace(asked, position=first, test=test), is_negated ^ flips ^ negates ^ first_negates

    def _sides(self, compare: Compare) -> tuple[tuple[Asked, Asked], bool, bool]:
        """The two values in one order, whether that is the other one, and whether one of them alone is a negation."""
        (one, of_one), (other, of_other) = self._side(compare.left), self._side(compare.right)
        is_turned = _place(other) < _place(one)
        return (other, one) if is_turned else (one, other), is_turned, of_one ^ of_other

    def _side(self, position: int) -> tuple[Asked, bool]:
        asked, is_negated = plain(self._nodes, Asked(position))
        return replace(asked, position=self.first[asked.position]), is_negated


def _place(asked: Asked) -> tuple[int, tuple[str, ...], str]:
    return asked.position, asked.fields, repr(asked.test)
