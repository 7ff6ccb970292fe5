"""What a loop that may return says of the requests that reach a place of its round.

Whether a round has returned is asked behind it, so that no test on the way to a place of the round tells that. Those of
its branch that stand before the place do, and each branch before it that may return: that is a truth of its own, one
for each copy of the round.
"""

from collections.abc import Sequence

from harmonia_compiler.contract.program import Constant, Select
from harmonia_compiler.contract.types import Bool
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.dominators import OTHERWISE, THEN
from harmonia_compiler.flow.expand import Expanded
from harmonia_compiler.flow.graph import Passed

#: Of more ways past a branch nothing is said.
_MOST_WAYS = 32


class Returned:
    """The choices of a flow by the branches that they are of."""

    def __init__(self, expanded: Expanded) -> None:
        self._nodes = expanded.flow.nodes
        self._copies = expanded.copies
        self._around = expanded.around
        # By branch and which of its tests they ask.
        self._tests: dict[Span, dict[int, list[int]]] = {}
        #: By branch, those that are true where it has returned.
        self._flags: dict[Span, list[int]] = {}
        for position, node in enumerate(self._nodes):
            if node.span is None or not isinstance(node.operation, Select):
                continue
            if node.number is not None:
                self._tests.setdefault(node.span, {}).setdefault(node.number, []).append(position)
            # A loop has been left where a branch in it has returned: what else ends it stands in the other arm.
            if self._nodes[node.operation.then].operation == Constant(value=True):
                self._add(node.operation.condition, node.span)

    def arms_to(self, passed: Passed, select: int) -> list[int]:
        """The arms of its copy that a branch around a choice has sent its requests by; none where one is not found.

        Arms are numbered as in `dominators`.
        """
        tests = self._tests.get(passed.branch, {})
        arms: list[int] = []
        for number in range((passed.failed or 0) + passed.taken):
            if (found := self._of_copy(tests.get(number, ()), select)) is None:
                return []
            arms.append(3 * found + (OTHERWISE if number != passed.failed else THEN))
        return arms

    def has(self, branch: Span) -> bool:
        """Whether a branch is one of a loop that may return in it."""
        return branch in self._flags

    def ways_past(self, branch: Span, select: int) -> list[list[int]]:
        """By which arms of its copy a branch before a choice has not returned; none where the branch says nothing.

        Where it has not, what it gives is for the branches behind it to say.
        """
        flag = self._of_copy(self._flags.get(branch, ()), select)
        found: list[list[int]] = []
        pending: list[tuple[int, list[int]]] = [] if flag is None else [(flag, [])]
        while pending and len(found) <= _MOST_WAYS:
            position, arms = pending.pop()
            node = self._nodes[position]
            if isinstance(node.operation, Select) and node.span is not None and _is_around(branch, node.span):
                pending.append((node.operation.otherwise, [*arms, 3 * position + OTHERWISE]))
                pending.append((node.operation.then, [*arms, 3 * position + THEN]))
            elif node.operation != Constant(value=True):
                found.append(arms)
        return found if len(found) <= _MOST_WAYS else []

    def _of_copy(self, choices: Sequence[int], select: int) -> int | None:
        """The one of the copy of its body in which a choice is, or of one around that; None where there is none."""
        of = {self._copies[each]: each for each in choices}
        copy = self._copies[select]
        while copy >= 0 and copy not in of:
            copy = self._around[copy]
        return of.get(copy)

    def _add(self, position: int, loop: Span) -> None:
        """Take a node for one that is true where a branch of a loop has returned, and what that is made of likewise.

        It is made of branches inside of it, and of those behind it, which are reached where it has not.
        """
        pending, known = [(position, loop)], set[int]()
        while pending:
            position, outer = pending.pop()
            node = self._nodes[position]
            if position in known or node.span is None or not _is_around(loop, node.span) or node.span == loop:
                continue
            known.add(position)
            if not isinstance(node.operation, Select) or not isinstance(node.type, Bool):
                continue
            of_branch = self._flags.setdefault(node.span, [])
            # Of a branch the first of its tests stands for all.
            if node.span != outer and position not in of_branch:
                of_branch.append(position)
            pending += [(node.operation.otherwise, node.span), (node.operation.then, node.span)]


def _is_around(span: Span, place: Span) -> bool:
    return span.source.name == place.source.name and span.start <= place.start and place.end <= span.end
