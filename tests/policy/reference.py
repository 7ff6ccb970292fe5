"""What a Program means, by recursion alone: the stepper must agree with it.

`look` evaluates as far as the values of finished calls allow and says which calls the rest needs.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from harmonia_compiler.contract.program import (
    Call,
    Compare,
    Concat,
    Constant,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Operation,
    Parameter,
    Program,
    Select,
)
from harmonia_compiler.contract.types import Bool, Labels, ListOf, Type, Value, Vector
from tests.flow.library import COMPONENTS


def answer(component: str, inputs: Mapping[str, Value], settings: Mapping[str, Any]) -> Value:
    """A value of the component's result type that depends on everything that the call was given."""
    if component == "search" and isinstance(inputs["query"], str):
        inputs = {"query": answer("embed", {"text": inputs["query"]}, {})}
    seed = zlib.crc32(json.dumps([component, dict(inputs), dict(settings)], sort_keys=True).encode())
    return _value(COMPONENTS[component].result, seed)


def _value(of: Type, seed: int) -> Value:
    match of:
        case Labels(labels):
            return labels[seed % len(labels)]
        case Bool():
            return seed % 2 == 0
        case Vector():
            return [float(seed)]
        case ListOf():
            return [{"text": f"p{seed}", "source": "s", "score": 1.0}]
        case _:
            return f"t{seed}"


Wanted = dict[int, tuple[dict[str, Value], dict[str, Any]]]


def look(program: Program, arguments: Mapping[str, Value], finished: Mapping[int, Value]) -> tuple[Value, Wanted]:
    """The result, or None while it is not known, and the calls wanted so far with their inputs and settings."""
    wanted: Wanted = {}
    memo: dict[int, Value] = {}

    def value(at: int) -> Value:
        if at not in memo:
            memo[at] = compute(at)
        return memo[at]

    def compute(at: int) -> Value:
        operation = program.operations[at]
        if isinstance(operation, Select):
            test = value(operation.condition)
            return None if test is None else value(operation.then if test else operation.otherwise)
        parts = [value(each) for each in _read(operation)]
        if any(part is None for part in parts):
            return None
        if isinstance(operation, Call):
            own = program.components[operation.component].settings
            wanted[at] = dict(zip(operation.ports, parts, strict=True)), {**own, **operation.settings}
            return finished.get(at)
        return _plain(operation, parts, arguments)

    return value(program.result), wanted


def run(program: Program, arguments: Mapping[str, Value]) -> tuple[Value, set[int]]:
    """The answer, and the calls that it took."""
    finished: dict[int, Value] = {}
    while True:
        result, wanted = look(program, arguments, finished)
        if result is not None:
            return result, set(wanted)
        for at, (inputs, settings) in wanted.items():
            call = program.operations[at]
            assert isinstance(call, Call)
            finished[at] = answer(call.component, inputs, settings)


def _plain(operation: Operation, parts: list[Value], arguments: Mapping[str, Value]) -> Value:
    match operation:
        case Parameter(name):
            return arguments[name]
        case Constant(constant):
            return constant
        case Compare(sign):
            return {"==": parts[0] == parts[1], "!=": parts[0] != parts[1]}[sign]
        case Not():
            return not parts[0]
        case GetField(_, name):
            return parts[0][name]
        case MakeList():
            return parts
        case MakeRecord(names):
            return dict(zip(names, parts, strict=True))
        case _:
            assert isinstance(operation, Concat)
            return [*parts[0], *parts[1]]


def _read(operation: Operation) -> tuple[int, ...]:
    match operation:
        case Call() | MakeList() | MakeRecord():
            return operation.inputs
        case Compare() | Concat():
            return operation.left, operation.right
        case Not(operand) | GetField(operand):
            return (operand,)
        case _:
            return ()
