"""What a condition asks of which value: whether it is true, one text, one number, or below a bound.

Names, negations, records that are put together and taken apart, and the way that a comparison is written are seen
through, so that conditions which ask the same are equal. A comparison of two values asks about their difference.
"""

from collections.abc import Sequence
from math import ceil, floor, inf, nextafter
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    After,
    Apply,
    Compare,
    Constant,
    GetField,
    MakeRecord,
    Not,
    Operation,
    Select,
)
from harmonia_compiler.contract.types import Bool, ListOf, Record, Type, Value
from harmonia_compiler.flow.graph import Node
from harmonia_compiler.functions.registry import functions


class Below(NamedTuple):
    """Asks whether a number is less than a bound or, where `or_equal`, no more. The smallest sorts first."""

    bound: float
    or_equal: bool = False

    @property
    def end(self) -> float:
        """The least number that is not below."""
        return nextafter(self.bound, inf) if self.or_equal else self.bound

    def has(self, number: float) -> bool:
        """Whether a number is below."""
        return number < self.end


class Exactly(NamedTuple):
    """Asks whether a number is the only one that is not below `low`, but below `high`."""

    low: Below
    high: Below


def exactly(number: float) -> Exactly:
    """Asks whether a number is this one."""
    return Exactly(Below(number), Below(number, or_equal=True))


#: What a value is asked: the text that it may equal, what number it may be, or None where it itself is a truth.
Test = str | Below | Exactly | None

#: What is asked of a difference by each comparison, and whether the answer is the other one.
_OF_DIFFERENCE: dict[str, tuple[Test, bool]] = {
    "==": (exactly(0.0), False),
    "!=": (exactly(0.0), True),
    "<": (Below(0.0), False),
    ">=": (Below(0.0), True),
    "<=": (Below(0.0, or_equal=True), False),
    ">": (Below(0.0, or_equal=True), True),
}

#: In a path, the items of a list, and how many those are.
ITEM, COUNT = "[]", "#"


class Asked(msgspec.Struct, frozen=True):
    """A question about the value of a node, or about that of a field of a field of it.

    Of a value that is no item yet, the `fields` may lead through lists, by `ITEM`. What is tested of a comparison of
    two values is what its left one is more than its right one; of others than numbers, whether they differ.
    """

    position: int
    fields: tuple[str, ...] = ()
    test: Test = None


def plain(nodes: Sequence[Node], asked: Asked) -> tuple[Asked, bool]:
    """The question without what only renames or negates it, and whether the answer to it is the other one."""
    is_negated = False
    while (step := _step(nodes, asked)) is not None:
        asked, flips = step
        is_negated ^= flips
    return asked, is_negated


def implied(nodes: Sequence[Node], asked: Asked, *, holds: bool) -> list[tuple[Asked, bool]]:
    """The questions that have one answer alone where this one has that: of `a and b` both, where it holds."""
    found: list[tuple[Asked, bool]] = []
    pending = [(asked, holds)]
    while pending:
        asked, holds = pending.pop()
        asked, is_negated = plain(nodes, asked)
        holds ^= is_negated
        operation = nodes[asked.position].operation
        if not isinstance(operation, Select):
            found.append((asked, holds))
            continue
        arms = [replace(asked, position=at) for at in (operation.then, operation.otherwise)]
        known = [settled(nodes, arm) for arm in arms]
        if known[1] is not None and known[1] != holds:
            pending += [(Asked(operation.condition), True), (arms[0], holds)]
        elif known[0] is not None and known[0] != holds:
            pending += [(Asked(operation.condition), False), (arms[1], holds)]
        else:
            found.append((asked, holds))
    return found


def settled(nodes: Sequence[Node], asked: Asked) -> bool | None:
    """The answer, where the value is a constant, or no such value can be."""
    asked, is_negated = plain(nodes, asked)
    operation, test = nodes[asked.position].operation, asked.test
    if isinstance(operation, Constant):
        holds = _holds(test, operation.value, asked.fields)
    elif isinstance(test, Below) and is_count(operation) and not test.has(0.0):
        holds = False
    else:
        return None
    return holds != is_negated


def _holds(test: Test, value: Value, fields: Sequence[str]) -> bool:
    """Whether a test holds of a field of a field of a value."""
    for name in fields:
        value = value[name]
    match test:
        case Below():
            return test.has(value)
        case Exactly(low, high):
            return high.has(value) and not low.has(value)
        case None:
            return bool(value)
        case text:
            return bool(value == text)


def type_of(nodes: Sequence[Node], asked: Asked) -> Type | None:
    """The type of the value that is asked about; None inside of what is neither a record nor a list."""
    of: Type | None = nodes[asked.position].type
    for name in asked.fields:
        if name == ITEM:
            of = of.item if isinstance(of, ListOf) else None
        else:
            fields = of.fields if isinstance(of, Record) else ()
            of = next((field.type for field in fields if field.name == name), None)
    return of


def turned(test: Test) -> tuple[Test, bool]:
    """What is asked of a difference by a test of it the other way round, and whether the answer is the other one."""
    return (Below(-test.bound, not test.or_equal), True) if isinstance(test, Below) else (test, False)


def _step(nodes: Sequence[Node], asked: Asked) -> tuple[Asked, bool] | None:
    """A question that has the same answer or, where that is said, the other one."""
    operation, fields = nodes[asked.position].operation, asked.fields
    match operation:
        case After(_, then):
            return replace(asked, position=then), False
        case GetField(record, name):
            return replace(asked, position=record, fields=(name, *fields)), False
        case MakeRecord(names, values) if fields:
            return replace(asked, position=values[names.index(fields[0])], fields=fields[1:]), False
    if is_count(operation) and (test := _of_count(asked.test)) != asked.test:
        return replace(asked, test=test), False
    return _unwrapped(nodes, asked.position) if asked == Asked(asked.position) else None


def _unwrapped(nodes: Sequence[Node], position: int) -> tuple[Asked, bool] | None:
    """What is asked by a condition that negates, renames or compares."""
    match nodes[position].operation:
        case Not(operand):
            return Asked(operand), True
        case Select(condition, then, otherwise):
            arms = _constant(nodes, then), _constant(nodes, otherwise)
            return (Asked(condition), arms[0] is False) if arms in ((True, False), (False, True)) else None
        case Compare(operator, left, right):
            found = _compared(nodes, operator, left, right) or _compared(nodes, _SWAPPED[operator], right, left)
            if found is None:
                test, is_negated = _OF_DIFFERENCE[operator]
                found = Asked(position, (), test), is_negated
            return found
    return None


#: Each comparison with its sides exchanged.
_SWAPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _compared(nodes: Sequence[Node], operator: str, one: int, other: int) -> tuple[Asked, bool] | None:
    """What a comparison of a value with a constant asks."""
    value = _constant(nodes, other)
    if isinstance(value, bool) and isinstance(nodes[one].type, Bool):
        return Asked(one), value == (operator == "!=")
    if isinstance(value, str):
        return Asked(one, (), value), operator == "!="
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if operator in ("==", "!="):
        return Asked(one, (), exactly(float(value))), operator == "!="
    return Asked(one, (), Below(float(value), operator in ("<=", ">"))), operator[0] == ">"


def is_count(operation: Operation) -> bool:
    """Whether a value is a whole number, and no less than 0."""
    return isinstance(operation, Apply) and operation.function in functions() and functions()[operation.function].counts


def _of_count(test: Test) -> Test:
    """The same question of a whole number that is no less than 0."""
    match test:
        case Below(bound, or_equal):
            return Below(float(floor(bound) + 1 if or_equal else ceil(bound)))
        case Exactly(Below(bound), high) if high.or_equal:
            next_one = Below(bound + 1.0)
            if bound <= 0.0 or not bound.is_integer():
                return next_one if bound == 0.0 else Below(0.0)
            return Exactly(Below(bound), next_one)
    return test


def _constant(nodes: Sequence[Node], position: int) -> Value:
    operation = nodes[position].operation
    return operation.value if isinstance(operation, Constant) else None
