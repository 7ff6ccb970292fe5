"""What the source says of how often tests hold, by the value that they ask about.

A share is of those that reach its branch. What reaches it may have been told by tests of the same value before, so that
each comes with those: the tests of other values leave its share as it is.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from harmonia_compiler.contract.program import Constant, Select, inputs
from harmonia_compiler.flow.asked import Asked
from harmonia_compiler.flow.graph import EVEN, Node


class Literal(NamedTuple):
    """A test of a value with its answer, and how often it holds by the branch that asks it."""

    test: str | float | None
    holds: bool
    share: float


class Saying(NamedTuple):
    """How often a test of a value holds of those for which the tests in `before` had these answers.

    `value` is the node whose value is asked about.
    """

    value: int
    test: str | float | None
    share: float
    before: tuple[Literal, ...]


class _Written(NamedTuple):
    """A share that the source says: of which test, and by which `Select`."""

    asked: Asked
    share: float
    select: int


class _Choice(NamedTuple):
    """What a `Select` asks: its condition, the value that this is about, and how often it holds or is taken to."""

    condition: int
    about: Hashable
    test: str | float | None
    is_negated: bool
    share: float


class Said:
    """What a flow says, found once and put together for each value where it is asked for.

    `plain` gives a question in the wording that all have that are alike, and whether that is the negation; `about` the
    value that is asked about, which may be one for several nodes.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        result: int,
        plain: Callable[[Asked], tuple[Asked, bool]],
        about: Callable[[Asked], Hashable],
    ) -> None:
        self._nodes = nodes
        self._result = result
        self._plain = plain
        self._about = about
        self._written: dict[Hashable, list[_Written]] = {}
        self._found: dict[Hashable, tuple[Saying, ...]] = {}
        self._above: list[int] | None = None
        self._choices: dict[int, _Choice] = {}
        #: Of conditions that are made of others.
        self.of_made: dict[Asked, float] = {}
        for position, node in enumerate(nodes):
            if not isinstance(node.operation, Select) or node.share is None or node.guessed:
                continue
            asked, is_negated = plain(Asked(node.operation.condition))
            share = 1.0 - node.share if is_negated else node.share
            operation = nodes[asked.position].operation
            if isinstance(operation, Select):
                self.of_made.setdefault(asked, share)
            elif not isinstance(operation, Constant):
                self._written.setdefault(about(asked), []).append(_Written(asked, share, position))

    def of(self, value: Hashable) -> tuple[Saying, ...]:
        """All that is said of a value: what rests on fewer other tests of it first, then as the source has it."""
        if value not in self._found:
            found = (
                Saying(each.asked.position, each.asked.test, each.share, self._before(value, each.select))
                for each in self._written.get(value, ())
            )
            self._found[value] = tuple(sorted(found, key=lambda saying: len(saying.before)))
        return self._found[value]

    def _before(self, value: Hashable, select: int) -> tuple[Literal, ...]:
        """The earlier tests of the value that have one answer whenever a choice is reached, the outermost first.

        What comes later in the source may stand around it, too: of what a name is bound to twice the last one counts.
        """
        if self._above is None:
            self._above = _dominators(self._nodes, self._result)
        asked_at = self._asks(select).condition
        found: list[Literal] = []
        at = self._above[3 * select]
        while at >= 0:
            around, arm = divmod(at, 3)
            if arm and self._asks(around).about == value and self._asks(around).condition < asked_at:
                _, _, test, is_negated, share = self._asks(around)
                found.append(Literal(test, (arm == _THEN) != is_negated, 1.0 - share if is_negated else share))
            at = self._above[at]
        return tuple(reversed(found))

    def _asks(self, select: int) -> _Choice:
        if select not in self._choices:
            node = self._nodes[select]
            assert isinstance(node.operation, Select)
            asked, is_negated = self._plain(Asked(node.operation.condition))
            share = EVEN if node.share is None else node.share
            self._choices[select] = _Choice(node.operation.condition, self._about(asked), asked.test, is_negated, share)
        return self._choices[select]


#: The arms of a choice, which stand behind it.
_THEN, _OTHERWISE = 1, 2


def _dominators(nodes: Sequence[Node], result: int) -> list[int]:
    """What each node and each arm of a choice is only demanded through, -1 for the result and for what is not demanded.

    Node i is number 3 i, its arms are the two numbers behind it. A node is read by later ones only, so that one pass
    from the result on finds them.
    """
    above, depth = [-1] * (3 * len(nodes)), [0] * (3 * len(nodes))
    reached = [False] * len(nodes)
    reached[result] = True

    def meet(one: int, other: int) -> int:
        while one != other:
            if depth[one] < depth[other]:
                one, other = other, one
            one = above[one]
        return one

    def read(needed: int, through: int) -> None:
        above[3 * needed] = meet(above[3 * needed], through) if reached[needed] else through
        reached[needed] = True

    for position in range(result, -1, -1):
        if not reached[position]:
            continue
        here, operation = 3 * position, nodes[position].operation
        depth[here] = 0 if position == result else depth[above[here]] + 1
        if not isinstance(operation, Select):
            for needed in inputs(operation):
                read(needed, here)
            continue
        for arm in (_THEN, _OTHERWISE):
            above[here + arm], depth[here + arm] = here, depth[here] + 1
        for needed in (operation.condition, *operation.early):
            read(needed, here)
        read(operation.then, here + _THEN)
        read(operation.otherwise, here + _OTHERWISE)
    return above
