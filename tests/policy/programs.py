"""Programs to execute by hand: a few components that answer with a digest of what they were given, and makers."""

import json
import operator
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.program import Block, Call, Operation, Program
from harmonia_compiler.contract.types import (
    Bool,
    Labels,
    ListOf,
    Number,
    Passage,
    Record,
    Text,
    Type,
    Value,
    Vector,
)
from harmonia_compiler.kinds.paragraphs import PROMPT_ORDER, in_order, paragraphs

TEXT, BOOL, TEXTS = Text(), Bool(), ListOf(Text())
ARGUMENTS = {"question": "why?"}

#: What each comparison says of two values.
COMPARED: dict[str, Callable[[Value, Value], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _component(name: str, ports: tuple[str, ...], result: Type, **settings: Any) -> Component:
    return Component(name, "python", "python", tuple(Port(port, TEXT) for port in ports), result, settings=settings)


COMPONENTS = {
    component.name: component
    for component in (
        _component("say", ("q",), TEXT),
        _component("join", ("one", "other"), TEXT),
        _component("sure", ("q",), BOOL),
        _component("many", ("q",), TEXTS),
        _component("note", ("q",), TEXT, pure=False),
    )
}


def call(component: str, *inputs: int, after: int | None = None, over: tuple[str, ...] = (), **settings: Any) -> Call:
    ports = tuple(port.name for port in COMPONENTS[component].ports)
    return Call(component, ports, inputs, settings, after, over)


def program(*operations: Operation, blocks: tuple[Block, ...] = (), streams: bool = True, **more: Any) -> Program:
    """A program whose answer is its last operation."""
    result = more.pop("result", len(operations) - 1)
    return Program("p", (), more.pop("result_type", TEXT), operations, result, COMPONENTS, blocks, streams, **more)


def reply(component: Component, inputs: Mapping[str, Value], settings: Mapping[str, Any]) -> Value:
    """A value of the component's result type that depends on everything that the call was given.

    A model that may be told its paragraphs in any order says the same in each, as long as it is told all of them.
    """
    said = {name: value for name, value in settings.items() if name != PROMPT_ORDER}
    if PROMPT_ORDER in settings:
        assert component.prompt is not None
        assert settings["reorder"]
        moved = in_order(component.prompt, settings[PROMPT_ORDER])
        assert sorted(map(repr, paragraphs(moved))) == sorted(map(repr, paragraphs(component.prompt)))
    seed = zlib.crc32(json.dumps([component.name, dict(inputs), said], sort_keys=True).encode())
    return _value(component.result, seed)


def replies(
    component: Component, inputs: Mapping[str, Value], settings: Mapping[str, Any], over: tuple[str, ...] = ()
) -> Value:
    """The value of a call, of one over lists: that of each of its items, as if called one by one."""
    if not over:
        return reply(component, inputs, settings)
    items = zip(*(inputs[port] for port in over), strict=True)
    return [reply(component, {**inputs, **dict(zip(over, item, strict=True))}, settings) for item in items]


def _value(of: Type, seed: int) -> Value:
    match of:
        case Labels(labels):
            return labels[seed % len(labels)]
        case Bool():
            return seed % 2 == 0
        case Number():
            return seed % 1000
        case Vector():
            return [float(seed)]
        case Record(fields):
            return {field.name: _value(field.type, zlib.crc32(f"{seed}{field.name}".encode())) for field in fields}
        case Passage():
            return {"text": f"p{seed}", "source": "s", "score": 1.0}
        case ListOf(item):
            return [_value(item or Text(), seed + at) for at in range(seed % 4)]
        case _:
            return f"t{seed}"
