"""Which function of outcomes each condition of a flow is.

One outcome stands for one condition wherever it is tested: the same node, an equal comparison, its negation; the
labels of one value exclude each other, and its bounds follow each other. Different conditions are independent. A
condition that is made of others (`a and b`, whether a loop has been left early) is the function of theirs that it is:
what its share leaves, once some of them are known, is the share of the last one.
"""

import msgspec

from harmonia_compiler.contract.program import Call, Compare, Constant, Not, Operation, Select, inputs, with_inputs
from harmonia_compiler.contract.types import Bool, Labels, Value
from harmonia_compiler.flow.expand import Expanded, Item, scopes_around
from harmonia_compiler.flow.graph import EVEN, Flow
from harmonia_compiler.flow.outcomes import FALSE, TRUE, Outcomes
from harmonia_compiler.flow.text import show_operation

#: How deep conditions are looked into that are made of others.
_DEEPEST = 40


class _Values(msgspec.Struct):
    """What is known of a value that is compared with constants.

    `none` is true where it equals none of those in `tests`; `unseen` holds the values that it may
    have besides, or None where they cannot be listed.
    """

    tests: dict[str, int] = msgspec.field(default_factory=dict)
    none: int = TRUE
    unseen: set[str] | None = None


class Conditions:
    """The function of outcomes that each condition is; the first share said for an outcome holds.

    `scopes` says of each outcome the innermost scope from whose one item to the next it may differ; 0 where there is
    none.
    """

    def __init__(self, expanded: Expanded, outcomes: Outcomes) -> None:
        self.scopes: dict[int, int] = {}
        self._flow = expanded.flow
        self._outcomes = outcomes
        self._alike = _alike(expanded.flow)
        self._varying = _varying(expanded)
        self._single: dict[int, int] = {}
        self._made: dict[int, int] = {}
        self._values: dict[int, _Values] = {}
        self._numbers: dict[int, dict[float, int]] = {}
        self._said = self._said_directly()

    def function(self, position: int, share: float, guard: int, depth: int = 0) -> int:
        """When the condition is true; `share` says how often, under the guard, if this is the first word on it.

        Iterative along one arm of each choice that it is made of, since those may be many; what lies deeper in other
        places than `_DEEPEST` is an outcome of its own.
        """
        outcomes, nodes = self._outcomes, self._flow.nodes
        whole, flipped = self._plain(position)
        position, share, is_negated = whole, 1.0 - share if flipped else share, False
        # For each choice when it is true, what its known arm is, and whether that is the first one.
        passed: list[tuple[int, int, bool]] = []
        while True:
            node = nodes[position]
            if self._alike[position] in self._made or not isinstance(node.operation, Select) or depth == _DEEPEST:
                break
            select = node.operation
            is_true = self.function(select.condition, EVEN if node.share is None else node.share, guard, depth + 1)
            with_then, without = outcomes.both(guard, is_true), outcomes.choose(is_true, FALSE, guard)
            otherwise = self._constant(select.otherwise)
            if isinstance(otherwise, bool):
                passed.append((is_true, TRUE if otherwise != is_negated else FALSE, False))
                share = self._left(share, guard, without if otherwise else FALSE, with_then)
                following, guard = select.then, with_then
            else:
                then = self.function(select.then, share, with_then, depth + 1)
                passed.append((is_true, outcomes.negate(then) if is_negated else then, True))
                share = self._left(share, guard, outcomes.both(with_then, then), without)
                following, guard = select.otherwise, without
            position, flips = self._plain(following)
            share, is_negated = (1.0 - share if flips else share), is_negated ^ flips
        found = self._simple(position, share, guard)
        found = outcomes.negate(found) if is_negated else found
        for is_true, known, is_first in reversed(passed):
            found = outcomes.choose(is_true, known, found) if is_first else outcomes.choose(is_true, found, known)
        if passed:
            self._made[self._alike[whole]] = found
        return outcomes.negate(found) if flipped else found

    def likely(self) -> dict[int, dict[str | float | None, float]]:
        """How often each condition asked so far holds, by its position; of a value that is compared, what it is.

        The key is None where the condition itself is meant, else the text that a value is, or the number that it is
        less than.
        """
        probability = self._outcomes.probability
        found: dict[int, dict[str | float | None, float]] = {
            at: {None: probability(is_true)} for at, is_true in self._single.items()
        }
        for at, values in self._values.items():
            found[at] = {text: probability(is_it) for text, is_it in values.tests.items()}
        for at, bounds in self._numbers.items():
            found.setdefault(at, {}).update({bound: probability(below) for bound, below in bounds.items()})
        return found

    def _left(self, share: float, guard: int, held: int, rest: int) -> float:
        """How often what is asked next holds under `rest`, so that all holds in a share of the guard."""
        probability = self._outcomes.probability
        likely = probability(rest)
        return min(1.0, max(0.0, (share * probability(guard) - probability(held)) / likely)) if likely else 0.0

    def _said_directly(self) -> dict[int, float]:
        """What branches say of conditions that are one outcome: it goes before what is left by others."""
        found: dict[int, float] = {}
        for node in self._flow.nodes:
            if not isinstance(node.operation, Select) or node.share is None:
                continue
            arms = self._constant(node.operation.then), self._constant(node.operation.otherwise)
            if isinstance(node.type, Bool) and any(isinstance(arm, bool) for arm in arms):
                # Made of several: its share is a guess.
                continue
            position, is_negated = self._plain(node.operation.condition)
            found.setdefault(self._alike[position], 1.0 - node.share if is_negated else node.share)
        return found

    def _simple(self, position: int, share: float, guard: int) -> int:
        """A condition that is not made of others."""
        operation, key = self._flow.nodes[position].operation, self._alike[position]
        if key in self._made:
            return self._made[key]
        if isinstance(operation, Constant):
            return TRUE if operation.value else FALSE
        if (tested := self._tested(operation)) is not None:
            return self._equals(*tested, share, guard)
        if (bounded := self._bounded(operation)) is not None:
            at, bound, is_below = bounded
            below = self._below(at, bound, share if is_below else 1.0 - share, guard)
            return below if is_below else self._outcomes.negate(below)
        if key not in self._single:
            self._single[key] = self._outcome(self._said.get(key, share), position)
        return self._single[key]

    def _outcome(self, share: float, position: int) -> int:
        """A new outcome, which differs from item to item as the value at a position does."""
        self.scopes[self._outcomes.count] = self._varying[position]
        return self._outcomes.outcome(share)

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

    def _bounded(self, operation: Operation) -> tuple[int, float, bool] | None:
        """The value that a condition compares with a number, by an order, the number, and whether it is to be less."""
        if isinstance(operation, Compare) and operation.operator in {"<", "<=", ">", ">="}:
            is_less = operation.operator[0] == "<"
            for one, other, is_below in (
                (operation.left, operation.right, is_less),
                (operation.right, operation.left, not is_less),
            ):
                bound = self._constant(other)
                if isinstance(bound, int | float) and not isinstance(bound, bool):
                    return one, float(bound), is_below
        return None

    def _below(self, position: int, bound: float, share: float, guard: int) -> int:
        """When a value is less than a bound: as soon as it is less than a smaller one, and only below greater ones."""
        outcomes, known = self._outcomes, self._numbers.setdefault(self._alike[position], {})
        if bound not in known:
            low = known[max(smaller)] if (smaller := [each for each in known if each < bound]) else FALSE
            high = known[min(greater)] if (greater := [each for each in known if each > bound]) else TRUE
            room = outcomes.choose(low, FALSE, high)
            within = outcomes.both(guard, room)
            is_it = self._outcome(self._left(share, guard, outcomes.both(guard, low), within), position)
            known[bound] = outcomes.either(low, outcomes.both(is_it, room))
        return known[bound]

    def _equals(self, position: int, text: str, share: float, guard: int) -> int:
        of = self._flow.nodes[position].type
        unseen = set(of.labels) if isinstance(of, Labels) else None
        values = self._values.setdefault(self._alike[position], _Values(unseen=unseen))
        if text not in values.tests:
            values.tests[text] = self._first_test(position, values, text, share, guard)
        return values.tests[text]

    def _first_test(self, position: int, values: _Values, text: str, share: float, guard: int) -> int:
        """A value not compared before: its share is that of the guard, taken from what the others left."""
        outcomes = self._outcomes
        if values.unseen is not None:
            if text not in values.unseen:
                return FALSE
            values.unseen.discard(text)
            if not values.unseen:
                found, values.none = values.none, FALSE
                return found
        is_it = self._outcome(self._left(share, guard, FALSE, outcomes.both(guard, values.none)), position)
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
