"""How large each value of a flow is expected to be, and what each call therefore asks of hardware."""

from collections.abc import Mapping, Sequence

import msgspec

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.program import (
    Call,
    Concat,
    Constant,
    GetField,
    MakeList,
    MakeRecord,
    Operation,
    Parameter,
    Select,
)
from harmonia_compiler.contract.types import Type, Value, field_names, field_type
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.kinds.extents import text_tokens, typed_extent
from harmonia_compiler.kinds.kind import Extent, Kind, Work


def extents(
    flow: Flow, application: Application, kinds: Mapping[str, Kind], taken: Mapping[int, float]
) -> tuple[Extent, ...]:
    """The expected extent of each node; `taken[i]` is how often a `Select` that is demanded takes `then`."""
    sizes = {port.name: port.size for port in flow.ports}
    found: list[Extent] = []
    for position, node in enumerate(flow.nodes):
        match node.operation:
            case Parameter(name):
                found.append(typed_extent(node.type, sizes[name]))
            case Call() as call:
                component = called(call, application)
                found.append(kinds[component.kind].result_extent(component, given(call, found)))
            case Select(_, then, otherwise):
                share = taken.get(position, node.share or 0.0)
                found.append(_mixture(found[then], found[otherwise], share))
            case operation:
                found.append(_extent(operation, flow, node.type, found))
    return tuple(found)


def work(call: Call, application: Application, kinds: Mapping[str, Kind], found: Sequence[Extent], at: int) -> Work:
    """What the call at a position asks, all extents being known."""
    component = called(call, application)
    return kinds[component.kind].work(component, given(call, found), found[at])


def called(call: Call, application: Application) -> Component:
    """The component with the settings that the call says anew."""
    component = application.components[call.component]
    return msgspec.structs.replace(component, settings={**component.settings, **call.settings})


def given(call: Call, found: Sequence[Extent]) -> dict[str, Extent]:
    """The extents at the call's ports."""
    return {port: found[at] for port, at in zip(call.ports, call.inputs, strict=True)}


def _extent(operation: Operation, flow: Flow, of: Type, found: Sequence[Extent]) -> Extent:
    match operation:
        case Constant(value):
            return Extent(_tokens(value), float(len(value)) if isinstance(value, list) else 1.0)
        case GetField(record, name):
            return _field(flow, record, name, found)
        case MakeList(items):
            return _sum([found[at] for at in items], float(len(items)))
        case MakeRecord(_, parts):
            return _sum([found[at] for at in parts], 1.0)
        case Concat(left, right):
            return _sum([found[left], found[right]], found[left].items + found[right].items)
        case _:
            return typed_extent(of)


def _sum(parts: Sequence[Extent], items: float) -> Extent:
    return Extent(sum(part.tokens for part in parts), items, any(part.guessed for part in parts))


def _mixture(then: Extent, otherwise: Extent, share: float) -> Extent:
    return Extent(
        share * then.tokens + (1.0 - share) * otherwise.tokens,
        share * then.items + (1.0 - share) * otherwise.items,
        then.guessed or otherwise.guessed,
    )


def _field(flow: Flow, record: int, name: str, found: Sequence[Extent]) -> Extent:
    """A part of a record: its own extent where the record is made here, else its usual part of the whole."""
    node = flow.nodes[record]
    if isinstance(node.operation, MakeRecord):
        return found[node.operation.inputs[node.operation.names.index(name)]]
    usual = {each: typed_extent(of) for each in field_names(node.type) if (of := field_type(node.type, each))}
    total = sum(extent.tokens for extent in usual.values())
    part = usual[name]
    return Extent(found[record].tokens * part.tokens / total if total else 0.0, part.items, guessed=True)


def _tokens(value: Value) -> float:
    match value:
        case str():
            return text_tokens(value)
        case list():
            return sum(_tokens(item) for item in value)
        case dict():
            return sum(_tokens(part) for part in value.values())
        case _:
            return 1.0
