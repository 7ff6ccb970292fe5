"""Which labels a value has where a place is reached, as far as what is so of the requests there comes to that.

However it was asked: by a test for several labels, on one of several ways, before a branch that returns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Select
from harmonia_compiler.flow.asked import Asked, settled
from harmonia_compiler.flow.graph import EVEN, Node
from harmonia_compiler.flow.reached import Fact, Step, merged

#: Tests of tests within tests are looked into so deep.
_DEEPEST = 50

LabelSet = frozenset[str]


class SaidOfLabels(NamedTuple):
    """How often a value has one of some labels, of those that are `left` where that is said.

    How often is reckoned where the arm `is_behind` silent ones, by what these come to.
    """

    value: Asked
    labels: LabelSet
    share: float
    left: LabelSet
    is_behind: bool = False


@dataclass(frozen=True)
class OfLabels:
    """A value of a flow, by the question for it without a test, and the labels that it may have."""

    nodes: Sequence[Node]
    plain: Callable[[Asked], tuple[Asked, bool]]
    value: Asked
    labels: Sequence[str]

    def told(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """The same, but what only together comes to labels, as those that the value does not have.

        Of labels one is true: on whatever way requests have come, what counts is which labels are left of them.
        """
        own = [step for step in steps if self._is_own(step)]
        known = self.left(own)
        left, others = self._split([step for step in steps if not self._is_own(step)], known)
        return (*own, *self._none_of(known - left), *dict.fromkeys(others))

    def _is_own(self, step: Step) -> bool:
        """Whether that is a test of the value by itself."""
        return isinstance(step, Fact) and replace(step.asked, test=None) == self.value

    def left(self, steps: Iterable[Step]) -> LabelSet:
        """The labels with which all of that may be so."""
        return self._split(steps, frozenset(self.labels))[0]

    def _split(self, steps: Iterable[Step], known: LabelSet) -> tuple[LabelSet, tuple[Step, ...]]:
        """The labels of those known with which all of that may be so, and what it says besides, of other values too."""
        left, others = known, list[Step]()
        for step in sorted(steps, key=lambda one: not isinstance(one, Fact)):
            if isinstance(step, Fact):
                holding = self.holding(step.asked)
                if holding is None:
                    others.append(step)
                else:
                    left = left & holding if step.holds else left - holding
                continue
            ways: dict[tuple[Step, ...], LabelSet] = {}
            for way in step.ways:
                labels, beside = self._split(way, left)
                ways[beside] = ways.get(beside, frozenset()) | labels
            if ways.keys() == {()}:
                left = ways[()]
            else:
                others += merged((*self._none_of(left - labels), *beside) for beside, labels in ways.items() if labels)
        return left, tuple(others)

    def holding(self, asked: Asked) -> LabelSet | None:
        """The labels with which the answer to a question is yes; None where they do not say it."""
        if isinstance(asked.test, str) and replace(asked, test=None) == self.value:
            return frozenset({asked.test})
        found = set[str]()
        for label in self.labels:
            if (answer := self._answer(asked, label)) is None:
                return None
            found |= {label} if answer else set()
        return frozenset(found)

    def _none_of(self, labels: LabelSet) -> list[Fact]:
        """That it has none of some, in the order of its type."""
        return [Fact(replace(self.value, test=each), holds=False, share=EVEN) for each in self.labels if each in labels]

    def _answer(self, asked: Asked, label: str, depth: int = 0) -> bool | None:
        """The answer to a question where the value has some label; None where that does not say it."""
        asked, is_negated = self.plain(asked)
        operation = self.nodes[asked.position].operation
        if isinstance(asked.test, str) and replace(asked, test=None) == self.value:
            answer: bool | None = asked.test == label
        elif isinstance(operation, Select) and depth < _DEEPEST:
            holds = self._answer(Asked(operation.condition), label, depth + 1)
            arm = operation.then if holds else operation.otherwise
            answer = None if holds is None else self._answer(replace(asked, position=arm), label, depth + 1)
        else:
            answer = settled(self.nodes, asked)
        return None if answer is None else answer ^ is_negated
