"""Which outcome of a branch each condition of a flow is.

One outcome stands for one condition wherever it is tested: the same node, an equal comparison, its
negation; the labels of one value exclude each other. Different conditions are independent, and a
condition made of several (`a and b`) has an outcome of its own, whose share the user said.
"""

import msgspec

from harmonia_compiler.contract.program import Call, Compare, Constant, Not, Operation, Select, inputs, with_inputs
from harmonia_compiler.contract.types import Bool, Labels, Value
from harmonia_compiler.flow.expand import Expanded, Item, scopes_around
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes
from harmonia_compiler.flow.text import show_operation


class _Values(msgspec.Struct):
    """What is known of a value that is compared with constants.

    `none` is true where it equals none of those in `tests`; `unseen` holds the values that it may
    have besides, or None where they cannot be listed.
    """

    tests: dict[str, int] = msgspec.field(default_factory=dict)
    none: int = TRUE
    unseen: set[str] | None = None


class Conditions:
    """The function of outcomes that each condition is; the first share said for an outcome holds."""

    def __init__(self, expanded: Expanded, outcomes: Outcomes) -> None:
        self._flow = expanded.flow
        self._outcomes = outcomes
        self._alike = _alike(expanded.flow)
        self._scopes = _varying(expanded)
        self._single: dict[int, int] = {}
        self._values: dict[int, _Values] = {}

    def function(self, position: int, share: float, guard: int) -> int:
        """When the condition is true; `share` says how often, under the guard, if this is the first word on it."""
        position, is_negated = self._plain(position)
        share = 1.0 - share if is_negated else share
        operation = self._flow.nodes[position].operation
        if isinstance(operation, Constant):
            is_true = TRUE if operation.value else FALSE
        elif (tested := self._tested(operation)) is not None:
            is_true = self._equals(*tested, share, guard)
        else:
            key = self._alike[position]
            if key not in self._single:
                self._single[key] = self._outcomes.outcome(share)
            is_true = self._single[key]
        return self._outcomes.negate(is_true) if is_negated else is_true

    def scope(self, position: int) -> int:
        """The innermost scope from whose one item to the next a condition may differ; 0 where there is none."""
        position, _ = self._plain(position)
        tested = self._tested(self._flow.nodes[position].operation)
        return self._scopes[position if tested is None else tested[0]]

    def likely(self) -> dict[int, dict[str | None, float]]:
        """How often each condition asked so far holds, by its position; of a value that is compared, which text it is.

        The key is None where the condition itself is meant.
        """
        outcomes = self._outcomes
        found: dict[int, dict[str | None, float]] = {
            at: {None: outcomes.probability(is_true)} for at, is_true in self._single.items()
        }
        for at, values in self._values.items():
            found[at] = {text: outcomes.probability(is_it) for text, is_it in values.tests.items()}
        return found

    def _plain(self, position: int) -> tuple[int, bool]:
        """The condition without what only renames or negates it, and whether it is the negation."""
        is_negated = False
        while (step := self._step(self._flow.nodes[position].operation)) is not None:
            position, flips = step
            is_negated ^= flips
        operation = self._flow.nodes[position].operation
        if self._tested(operation) is not None and isinstance(operation, Compare):
            is_negated ^= operation.operator == "!="
        return position, is_negated

    def _step(self, operation: Operation) -> tuple[int, bool] | None:
        """The condition that this one renames or negates, and whether it negates."""
        match operation:
            case Not(operand):
                return operand, True
            case Select(condition, then, otherwise):
                arms = self._constant(then), self._constant(otherwise)
                return (condition, arms[0] is False) if arms in ((True, False), (False, True)) else None
            case Compare("==" | "!=" as operator, left, right):
                for one, other in ((left, right), (right, left)):
                    value = self._constant(other)
                    if isinstance(value, bool) and isinstance(self._flow.nodes[one].type, Bool):
                        return one, value == (operator == "!=")
        return None

    def _constant(self, position: int) -> Value:
        operation = self._flow.nodes[position].operation
        return operation.value if isinstance(operation, Constant) else None

    def _tested(self, operation: Operation) -> tuple[int, str] | None:
        """The value that a condition compares with a text, by `==` or `!=`, and the text."""
        if isinstance(operation, Compare) and operation.operator in {"==", "!="}:
            for one, other in ((operation.left, operation.right), (operation.right, operation.left)):
                text = self._constant(other)
                if isinstance(text, str):
                    return one, text
        return None

    def _equals(self, position: int, text: str, share: float, guard: int) -> int:
        of = self._flow.nodes[position].type
        unseen = set(of.labels) if isinstance(of, Labels) else None
        values = self._values.setdefault(self._alike[position], _Values(unseen=unseen))
        if text not in values.tests:
            values.tests[text] = self._first_test(values, text, share, guard)
        return values.tests[text]

    def _first_test(self, values: _Values, text: str, share: float, guard: int) -> int:
        """A value not compared before: its share is that of the guard, taken from what the others left."""
        outcomes = self._outcomes
        if values.unseen is not None:
            if text not in values.unseen:
                return FALSE
            values.unseen.discard(text)
            if not values.unseen:
                found, values.none = values.none, FALSE
                return found
        left = outcomes.probability(outcomes.both(guard, values.none))
        wanted = share * outcomes.probability(guard)
        is_it = outcomes.outcome(min(1.0, wanted / left) if left else 0.0)
        found = outcomes.choose(is_it, values.none, FALSE)
        values.none = outcomes.choose(is_it, FALSE, values.none)
        return found


def _alike(flow: Flow) -> list[int]:
    """For each node the first that is equal to it, calls being equal to themselves alone."""
    first: dict[str, int] = {}
    alike: list[int] = []
    for position, node in enumerate(flow.nodes):
        if isinstance(node.operation, Call):
            alike.append(position)
        else:
            key = show_operation(with_inputs(node.operation, alike.__getitem__))
            alike.append(first.setdefault(key, position))
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
