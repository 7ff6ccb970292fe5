"""Reads off an answer its text, and off what its call was given the passages that it stands on."""

from collections.abc import Mapping
from typing import Any

import msgspec

from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import ListOf, Passage, Record, Type, Value, first_text


def passages_used(
    program: Program, given: tuple[str, Mapping[str, Value]] | None, value: Value
) -> list[dict[str, Any]]:
    """The passages behind the answer: a record's `sources`, else the last passages that the answering call was given.

    `given` are that call's component and inputs; None where no call gives the answer.
    """
    if isinstance(program.result_type, Record):
        for field in program.result_type.fields:
            if field.name == "sources" and _is_passages(field.type):
                return list(value["sources"])
    if given is None:
        return []
    component, inputs = given
    for port in reversed(program.components[component].ports):
        if port.name in inputs and _is_passages(port.type):
            return list(inputs[port.name])
    return []


def message_of(value: Value, of: Type) -> str:
    """The answer as one text: text as it is, of a record its first text, of anything else its JSON."""
    if isinstance(of, Record):
        first = first_text(of)
        return msgspec.json.encode(value).decode() if first is None else str(value[first])
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _is_passages(of: Type) -> bool:
    return isinstance(of, ListOf) and isinstance(of.item, Passage)
