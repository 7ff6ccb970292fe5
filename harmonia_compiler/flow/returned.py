"""What a loop that may return says of the requests that reach a place of its round.

Whether a round has returned is asked behind it, so that no test on the way to a place of the round tells that. Those of
its branch that stand before the place do, and each branch before it that may return: that is a truth of its own, one
for each copy of the round.
"""

from collections.abc import Iterator, Sequence

from harmonia_compiler.contract.program import Constant, Select
from harmonia_compiler.contract.types import Bool
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Node


class Returned:
    """The choices of a flow by the branches that they are of."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        # By branch, and where in it their condition stands.
        self._tests: dict[Span, dict[int, list[int]]] = {}
        #: By branch, those that are true where it has returned.
        self._flags: dict[Span, list[int]] = {}
        for position, node in enumerate(nodes):
            if node.span is None or not isinstance(node.operation, Select):
                continue
            if (start := self._start(position)) is not None:
                self._tests.setdefault(node.span, {}).setdefault(start, []).append(position)
            # A loop has been left where a branch in it has returned: what else ends it stands in the other arm.
            if nodes[node.operation.then].operation == Constant(value=True):
                self._add(node.operation.condition, node.span)

    def tests_before(self, select: int) -> Iterator[int]:
        """For each arm before that of a choice, in its branch, a choice that asks its test, of the same copy."""
        branch, own = self._nodes[select].span, self._start(select)
        if branch is not None and own is not None:
            tests = self._tests[branch]
            yield from (self._nearest(tests[start], select) for start in sorted(tests) if start < own)

    def flag(self, branch: Span, select: int) -> int | None:
        """What is true where a branch before a choice has returned, of the same copy; None where none is there."""
        flags = [each for each in self._flags.get(branch, ()) if self._condition(each) < select]
        return self._nearest(flags, select) if flags else None

    def _nearest(self, choices: Sequence[int], select: int) -> int:
        """Of copies the last one whose condition stands before a choice."""
        return max(choices, key=lambda each: (self._condition(each) < select, self._condition(each)))

    def _condition(self, select: int) -> int:
        operation = self._nodes[select].operation
        assert isinstance(operation, Select)
        return operation.condition

    def _start(self, select: int) -> int | None:
        """Where the condition of a choice stands, if that is in its branch."""
        branch, place = self._nodes[select].span, self._nodes[self._condition(select)].span
        is_inside = place is not None and branch is not None and _is_around(branch, place)
        return place.start if place is not None and is_inside else None

    def _add(self, position: int, around: Span) -> None:
        """Take a node for one that is true where a branch has returned, and what it is made of for branches in that."""
        node = self._nodes[position]
        is_inside = node.span is not None and node.span != around and _is_around(around, node.span)
        if node.span is None or not is_inside or not isinstance(node.operation, Select):
            return
        if isinstance(node.type, Bool) and position not in self._flags.setdefault(node.span, []):
            self._flags[node.span].append(position)
            self._add(node.operation.then, node.span)
            self._add(node.operation.otherwise, node.span)


def _is_around(span: Span, place: Span) -> bool:
    return span.source.name == place.source.name and span.start <= place.start and place.end <= span.end
