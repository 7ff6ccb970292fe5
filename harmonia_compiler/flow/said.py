"""What the source says of how often tests hold, by the value that they ask about.

A share is of those that reach its branch. What reaches it may have been told by tests of the same value before, so that
each comes with those, and by those of other values, its context: these leave its share as it is, unless another one is
said elsewhere (`contexts.py`).
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
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
    """What a `Select` asks: its condition, the question without negation, and how often it holds or is taken to."""

    condition: int
    asked: Asked
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
        self._above: list[int] = []
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
            _, asked, _, share = self._asks(position)
            operation = nodes[asked.position].operation
            if isinstance(operation, Select):
                self.of_made.setdefault(same(asked), share)
                self.made.append(position)
            elif not isinstance(operation, Constant):
                written.append(position)
        for position in written:
            _, asked, _, share = self._asks(position)
            saying, of = Saying(asked.test, share, self._before(position)), nodes[position].written
            at = None if of is None else of.at
            self.of_values.append(OfValue(asked, saying, at, self._context(position)))

    def _before(self, select: int) -> tuple[Literal, ...]:
        """The earlier tests of the same value that have one answer whenever a choice is reached, the outermost first.

        What comes later in the source may stand around it, too: of what a name is bound to twice the last one counts.
        """
        here = self._asks(select).asked
        found = (
            Literal(each.asked.test, each.holds, each.share)
            for each in self.around(select)
            if each.is_earlier and replace(each.asked, test=here.test) == here
        )
        return tuple(found)[::-1]

    def _context(self, select: int) -> tuple[Around, ...]:
        """The questions about other values that say in the source which requests reach a choice, the outermost first.

        None where not all are known: behind a loop that returns, or an arm of a branch in which only some return.
        """
        written, here = self._nodes[select].written, self._asks(select).asked
        if written is None or not 0 < len(written.through) <= MOST_THROUGH:
            return ()
        through = {*written.through}
        found = [each for each in self.around(select) if each.branch in through]
        if len({each.branch for each in found}) < len(through):
            return ()
        return tuple(each for each in found if replace(each.asked, test=here.test) != here)[::-1]

    def around(self, select: int) -> Iterator[Around]:
        """The questions that have one answer whenever a choice is reached; the innermost first."""
        if not self._above:
            self._above = dominators(self._nodes, self._result)
        condition, at = self._asks(select).condition, self._above[3 * select]
        while at >= 0:
            above, arm = divmod(at, 3)
            if arm:
                choice = self._asks(above)
                is_earlier = choice.condition < condition
                holds = (arm == THEN) != choice.is_negated
                yield Around(choice.asked, holds, choice.share, is_earlier, self._nodes[above].span)
            at = self._above[at]

    def _asks(self, select: int) -> _Choice:
        if select not in self._choices:
            node = self._nodes[select]
            assert isinstance(node.operation, Select)
            asked, is_negated = self._plain(Asked(node.operation.condition))
            share = EVEN if node.share is None else node.share
            share = 1.0 - share if is_negated else share
            self._choices[select] = _Choice(node.operation.condition, asked, is_negated, share)
        return self._choices[select]
