"""Reads off a Program which call gives the answer's text, and off its values what the answer stands on."""

from collections.abc import Mapping
from typing import Any

import msgspec

from harmonia_compiler.contract.program import Call, MakeRecord, Program, Select
from harmonia_compiler.contract.types import Labels, ListOf, Passage, Record, Text, Type, Value


def returned_call(program: Program, values: Mapping[int, Value]) -> int | None:
    """The position of the call whose value is the answer, or the first text of it.

    `values` is what the request has so far. None where no call gives the answer, or where a branch
    that is not decided yet says which.
    """
    position = program.result
    while True:
        operation = program.operations[position]
        match operation:
            case Select() if operation.condition in values:
                position = operation.then if values[operation.condition] else operation.otherwise
            case MakeRecord():
                first = _first_text(program.result_type)
                if not first:
                    return None
                position = operation.inputs[first[0]]
            case Call():
                return position
            case _:
                return None


def passages_used(program: Program, values: Mapping[int, Value], value: Value) -> list[dict[str, Any]]:
    """The passages behind the answer: a record's `sources`, else the last passages that the returned call was given."""
    if isinstance(program.result_type, Record):
        for field in program.result_type.fields:
            if field.name == "sources" and _is_passages(field.type):
                return list(value["sources"])
    returned = returned_call(program, values)
    if returned is None:
        return []
    call = program.operations[returned]
    assert isinstance(call, Call)
    types = {port.name: port.type for port in program.components[call.component].ports}
    for port, at in reversed(list(zip(call.ports, call.inputs, strict=True))):
        if _is_passages(types[port]):
            return list(values[at])
    return []


def message_of(value: Value, of: Type) -> str:
    """The answer as one text: text as it is, of a record its first text, of anything else its JSON."""
    if isinstance(of, Record):
        first = _first_text(of)
        return str(value[of.fields[first[0]].name]) if first else msgspec.json.encode(value).decode()
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _first_text(of: Type) -> list[int]:
    """The index of a record's first text, as a list of one or none."""
    if not isinstance(of, Record):
        return []
    return [at for at, field in enumerate(of.fields) if isinstance(field.type, Text | Labels)][:1]


def _is_passages(of: Type) -> bool:
    return isinstance(of, ListOf) and isinstance(of.item, Passage)
