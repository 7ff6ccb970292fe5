"""What a condition asks of which value: whether it is true, one text, or less than a number.

Names, negations, records that are put together and taken apart, and the way that a comparison is written are seen
through, so that conditions which ask the same are equal.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.program import After, Compare, Constant, GetField, MakeRecord, Not, Operation, Select
from harmonia_compiler.contract.types import Bool, ListOf, Record, Type, Value
from harmonia_compiler.flow.graph import Node

#: What a value is asked: the text that it may equal, the number that it may be less than, or None where it itself is a
#: truth.
Test = str | float | None

#: In a path, the items of a list.
ITEM = "[]"


class Asked(msgspec.Struct, frozen=True):
    """A question about the value of a node, or about that of a field of a field of it.

    Of a value that is no item yet, the `fields` may lead through lists, by `ITEM`.
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
    """The answer, where the value is a constant."""
    asked, is_negated = plain(nodes, asked)
    operation = nodes[asked.position].operation
    if not isinstance(operation, Constant):
        return None
    value: Value = operation.value
    for name in asked.fields:
        value = value[name]
    holds: bool = value if asked.test is None else value == asked.test
    if isinstance(asked.test, float):
        holds = value < asked.test
    return holds != is_negated


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
    return _unwrapped(nodes, operation) if asked == Asked(asked.position) else None


def _unwrapped(nodes: Sequence[Node], operation: Operation) -> tuple[Asked, bool] | None:
    """What is asked by a condition that negates, renames or compares."""
    match operation:
        case Not(operand):
            return Asked(operand), True
        case Select(condition, then, otherwise):
            arms = _constant(nodes, then), _constant(nodes, otherwise)
            return (Asked(condition), arms[0] is False) if arms in ((True, False), (False, True)) else None
        case Compare(operator, left, right):
            return _compared(nodes, operator, left, right) or _compared(nodes, _SWAPPED[operator], right, left)
    return None


#: Each comparison with its sides exchanged.
_SWAPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _compared(nodes: Sequence[Node], operator: str, one: int, other: int) -> tuple[Asked, bool] | None:
    """What a comparison of a value with a constant asks. A bound itself belongs to neither of its sides."""
    value = _constant(nodes, other)
    if operator in ("==", "!="):
        if isinstance(value, bool) and isinstance(nodes[one].type, Bool):
            return Asked(one), value == (operator == "!=")
        return (Asked(one, (), value), operator == "!=") if isinstance(value, str) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Asked(one, (), float(value)), operator[0] == ">"
    return None


def _constant(nodes: Sequence[Node], position: int) -> Value:
    operation = nodes[position].operation
    return operation.value if isinstance(operation, Constant) else None
