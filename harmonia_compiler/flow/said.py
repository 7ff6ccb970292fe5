"""What the source says of how often tests hold, by the value that they ask about.

A share is of those that reach its branch. What reaches it may have been told by tests of the same value before, so that
each comes with those, and by those of other values, its context: these leave its share as it is, unless another one is
said elsewhere (`contexts.py`).
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Constant, Select
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.asked import Asked, Test
from harmonia_compiler.flow.dominators import THEN, dominators
from harmonia_compiler.flow.graph import EVEN, MOST_THROUGH, Node


class Literal(NamedTuple):
    """A test of a value with its answer, and how often it holds by the branch that asks it."""

    test: Test
    holds: bool
    share: float


class Saying(NamedTuple):
    """How often a test of a value holds of those for which the tests in `before` had these answers."""

    test: Test
    share: float
    before: tuple[Literal, ...] = ()


class Around(NamedTuple):
    """A question with its answer where a choice is reached, how often it holds, and whether it is the earlier one.

    `branch` is where the source asks it.
    """

    asked: Asked
    holds: bool
    share: float
    is_earlier: bool
    branch: Span | None


class OfValue(NamedTuple):
    """What a branch says `at` a place of a value.

    The `context` are the questions about other values that say which requests reach the branch, the outermost first.
    """

    asked: Asked
    saying: Saying
    at: Span | None
    context: tuple[Around, ...]


class _Choice(NamedTuple):
    """What a `Select` asks: its condition, the question without negation, and how often it holds or is taken to.

    `value` is the question without its test: one for all that ask about one value.
    """

    condition: int
    asked: Asked
    value: Asked
    is_negated: bool
    share: float


class Said:
    """What a flow says of values and, in `of_made`, of conditions that are made of others.

    `plain` gives a question in the wording that all have that are alike, and whether that is the negation; `same` what
    a condition has in common with its copies in other rounds of a loop.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        result: int,
        plain: Callable[[Asked], tuple[Asked, bool]],
        same: Callable[[Asked], Hashable],
    ) -> None:
        self._nodes = nodes
        self._result = result
        self._plain = plain
        # For each node and each arm, numbered as in `dominators`, the nearest arm around it; -1 where there is none.
        self._arms: list[int] = []
        self._choices: dict[int, _Choice] = {}
        #: What is said of tests of values, in the order of the source.
        self.of_values: list[OfValue] = []
        #: How often conditions hold that are made of others, by what `same` gives of them.
        self.of_made: dict[Hashable, float] = {}
        #: The choices that say so, in the order of the nodes.
        self.made: list[int] = []
        written: list[int] = []
        for position, node in enumerate(nodes):
            if not isinstance(node.operation, Select) or node.share is None or node.guessed:
                continue
            asked, share = self._asks(position).asked, self._asks(position).share
            operation = nodes[asked.position].operation
            if isinstance(operation, Select):
                self.of_made.setdefault(same(asked), share)
                self.made.append(position)
            elif not isinstance(operation, Constant):
                written.append(position)
        for position, (before, context) in sorted(self._read(written).items()):
            asked, share = self._asks(position).asked, self._asks(position).share
            of = nodes[position].written
            at = None if of is None else of.at
            self.of_values.append(OfValue(asked, Saying(asked.test, share, before), at, context))

    def _read(self, written: Sequence[int]) -> dict[int, tuple[tuple[Literal, ...], tuple[Around, ...]]]:
        """What stands before each of some choices, and its context.

        On one walk inwards: there may be so many arms around each that none may look through all of them.
        """
        inside: dict[int, list[int]] = {}
        wanted = {3 * position for position in written}
        for number, arm in enumerate(self._nearest_arms()):
            if number in wanted or (number % 3 and isinstance(self._nodes[number // 3].operation, Select)):
                inside.setdefault(arm, []).append(number)
        found: dict[int, tuple[tuple[Literal, ...], tuple[Around, ...]]] = {}
        # The arms around the one that is looked at, the outermost first.
        of_value: dict[Asked, list[int]] = {}
        of_branch: dict[Span | None, list[int]] = {}
        pending = inside.get(-1, [])
        while pending:
            number = pending.pop()
            position = (number if number >= 0 else ~number) // 3
            if number in wanted:
                own = of_value.get(self._asks(position).value, [])
                found[position] = self._before(position, own), self._context(position, of_branch)
                continue
            groups = (
                of_value.setdefault(self._asks(position).value, []),
                of_branch.setdefault(self._nodes[position].span, []),
            )
            if number < 0:
                for group in groups:
                    group.pop()
                continue
            for group in groups:
                group.append(number)
            pending += [~number, *inside.get(number, [])]
        return found

    def _before(self, select: int, arms: Sequence[int]) -> tuple[Literal, ...]:
        """The earlier tests of the same value that have one answer whenever a choice is reached, the outermost first.

        `arms` are those around it of tests of that value. What comes later in the source may stand around it, too: of
        what a name is bound to twice the last one counts.
        """
        condition = self._asks(select).condition
        earlier = (self._around(arm, select) for arm in arms if self._asks(arm // 3).condition < condition)
        return tuple(Literal(each.asked.test, each.holds, each.share) for each in earlier)

    def _context(self, select: int, of_branch: Mapping[Span | None, Sequence[int]]) -> tuple[Around, ...]:
        """The questions about other values that say in the source which requests reach a choice, the outermost first.

        `of_branch` are the arms around it, by the branch that asks. None where not all are known: behind a loop that
        returns, or an arm of a branch in which only some return.
        """
        written = self._nodes[select].written
        if written is None or not 0 < len(written.through) <= MOST_THROUGH:
            return ()
        arms = [of_branch.get(branch, []) for branch in {*written.through}]
        if not all(arms):
            return ()
        value = self._asks(select).value
        inwards = sorted((arm for each in arms for arm in each), reverse=True)
        return tuple(self._around(arm, select) for arm in inwards if self._asks(arm // 3).value != value)

    def around(self, select: int) -> Iterator[Around]:
        """The questions that have one answer whenever a choice is reached; the innermost first."""
        arm = self._nearest_arms()[3 * select]
        while arm >= 0:
            yield self._around(arm, select)
            arm = self._arms[arm]

    def _around(self, arm: int, select: int) -> Around:
        """What an arm around a choice says."""
        choice = self._asks(arm // 3)
        is_earlier = choice.condition < self._asks(select).condition
        holds = (arm % 3 == THEN) != choice.is_negated
        return Around(choice.asked, holds, choice.share, is_earlier, self._nodes[arm // 3].span)

    def _nearest_arms(self) -> Sequence[int]:
        if not self._arms:
            above = dominators(self._nodes, self._result)
            self._arms = [-1] * len(above)
            # What is around a node is read later than it.
            for position in range(self._result, -1, -1):
                for number in range(3 * position, 3 * position + 3):
                    outer = above[number]
                    self._arms[number] = outer if outer % 3 else self._arms[outer]
        return self._arms

    def _asks(self, select: int) -> _Choice:
        if select not in self._choices:
            node = self._nodes[select]
            assert isinstance(node.operation, Select)
            asked, is_negated = self._plain(Asked(node.operation.condition))
            share = EVEN if node.share is None else node.share
            share = 1.0 - share if is_negated else share
            self._choices[select] = _Choice(
                node.operation.condition, asked, replace(asked, test=None), is_negated, share
            )
        return self._choices[select]
