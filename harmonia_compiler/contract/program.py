"""The Program: what the gateway, the simulator and the reference interpreter all execute.

A list of operations in which each reads the results of earlier ones by position. Nothing says when
an operation runs: the stepper (`policy/stepper.py`) demands the result and works backwards, so
what a taken path does not need never runs, and what does not depend on each other runs at once.
A `Select` demands its condition first and then one arm alone: that is all that a branch is.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.types import Type

FORMAT_VERSION = 1

Comparison = Literal["==", "!=", "<", "<=", ">", ">="]


class Parameter(msgspec.Struct, frozen=True, tag="parameter"):
    """A port of the pipeline: the value that the request brings."""

    name: str


class Constant(msgspec.Struct, frozen=True, tag="constant"):
    """A literal."""

    value: Any


class Call(msgspec.Struct, frozen=True, tag="call"):
    """One call of a component; `ports[i]` receives the value at position `inputs[i]`.

    `settings` are call settings given at the call, over the component's own.
    """

    component: str
    ports: tuple[str, ...]
    inputs: tuple[int, ...]
    settings: dict[str, Any] = {}


class Select(msgspec.Struct, frozen=True, tag="select"):
    """The value of `then` where the condition is true, of `otherwise` where it is not; lazily."""

    condition: int
    then: int
    otherwise: int


class Compare(msgspec.Struct, frozen=True, tag="compare"):
    """A comparison of two values."""

    operator: Comparison
    left: int
    right: int


class Not(msgspec.Struct, frozen=True, tag="not"):
    """The other truth value."""

    operand: int


class GetField(msgspec.Struct, frozen=True, tag="field"):
    """A named part of a record, a passage or a message."""

    record: int
    name: str


class MakeList(msgspec.Struct, frozen=True, tag="list"):
    """A list of values."""

    inputs: tuple[int, ...]


class MakeRecord(msgspec.Struct, frozen=True, tag="record"):
    """A record of named values."""

    names: tuple[str, ...]
    inputs: tuple[int, ...]


class Concat(msgspec.Struct, frozen=True, tag="concat"):
    """Two lists, one after the other."""

    left: int
    right: int


Operation = Parameter | Constant | Call | Select | Compare | Not | GetField | MakeList | MakeRecord | Concat


def inputs(operation: Operation) -> tuple[int, ...]:
    """The positions that an operation reads, in their order."""
    match operation:
        case Call() | MakeList() | MakeRecord():
            return operation.inputs
        case Select(condition, then, otherwise):
            return (condition, then, otherwise)
        case Compare(_, left, right) | Concat(left, right):
            return (left, right)
        case Not(operand):
            return (operand,)
        case GetField(record, _):
            return (record,)
        case _:
            return ()


def with_inputs(operation: Operation, moved: Callable[[int], int]) -> Operation:
    """The same operation reading from other positions: how passes and lowering renumber."""
    match operation:
        case Call() | MakeList() | MakeRecord():
            return msgspec.structs.replace(operation, inputs=tuple(moved(at) for at in operation.inputs))
        case Select(condition, then, otherwise):
            return Select(moved(condition), moved(then), moved(otherwise))
        case Compare(operator, left, right):
            return Compare(operator, moved(left), moved(right))
        case Concat(left, right):
            return Concat(moved(left), moved(right))
        case Not(operand):
            return Not(moved(operand))
        case GetField(record, name):
            return GetField(moved(record), name)
        case _:
            return operation


def answering(operations: Sequence[Operation], result: int) -> frozenset[int]:
    """The calls whose value is the answer, or a part of an answer that is a record, on whatever path they lie."""
    found: set[int] = set()
    seen = {result}
    pending = [result]
    while pending:
        position = pending.pop()
        operation = operations[position]
        if isinstance(operation, Call):
            found.add(position)
            continue
        parts: tuple[int, ...] = ()
        if isinstance(operation, Select):
            parts = (operation.then, operation.otherwise)
        elif isinstance(operation, MakeRecord):
            parts = operation.inputs
        pending += {*parts} - seen
        seen.update(parts)
    return frozenset(found)


class ProgramParameter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port of the pipeline as a request fills it."""

    name: str
    type: Type
    default: Any = msgspec.UNSET


class Program(msgspec.Struct, frozen=True, omit_defaults=True):
    """One pipeline, ready to be executed.

    `result` is the position of the answer. `streams` says that the answer's text may be forwarded
    as it is generated. Durations are milliseconds and absent where the user promised none.
    """

    pipeline: str
    parameters: tuple[ProgramParameter, ...]
    result_type: Type
    operations: tuple[Operation, ...]
    result: int
    components: dict[str, Component]
    streams: bool = False
    deadline_ms: float | None = None
    format_version: int = FORMAT_VERSION
