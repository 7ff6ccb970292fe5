"""How large each value of a flow is expected to be, and what each call therefore asks of hardware.

Flows have no blocks here (`expand.py`); the extent of a value inside an `Each` is that of one item's.
"""

from collections.abc import Mapping, Sequence

import msgspec

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.program import (
    After,
    Apply,
    Call,
    Concat,
    Constant,
    GetField,
    MakeList,
    MakeRecord,
    Operation,
    Parameter,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import ListOf, Message, Passage, Text, Type, Value, field_names, field_type
from harmonia_compiler.flow.expand import Chance, Gather, Item
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.functions.registry import functions
from harmonia_compiler.kinds.extents import text_tokens, typed_extent
from harmonia_compiler.kinds.kind import Extent, Kind, Work

_QUANTITIES = Work.__struct_fields__

#: A source such as "guides/setting-up.md", a score, a role.
_BESIDE_TEXT = 5.0


def extents(
    flow: Flow, application: Application, kinds: Mapping[str, Kind], taken: Mapping[int, float]
) -> tuple[Extent, ...]:
    """The expected extent of each node; `taken[i]` is how often a `Select` that is demanded takes `then`."""
    sizes = {port.name: (port.size, port.item_size) for port in flow.ports}
    found: list[Extent] = []
    for position, node in enumerate(flow.nodes):
        match node.operation:
            case Parameter(name):
                found.append(typed_extent(node.type, *sizes[name]))
            case Call() as call:
                component = called(call, application)
                one = kinds[component.kind].result_extent(component, given(call, flow, found))
                found.append(_of_each(one, node.type, batch(call, found)) if call.over else one)
            case Select(_, then, otherwise):
                share = taken.get(position, node.share or 0.0)
                found.append(_mixture(found[then], found[otherwise], share))
            case operation:
                found.append(_extent(operation, flow, node.type, found))
    return tuple(found)


def work(
    call: Call, flow: Flow, application: Application, kinds: Mapping[str, Kind], found: Sequence[Extent], at: int
) -> Work:
    """What the call at a position asks, all extents being known; one for many items asks what they ask together."""
    component = called(call, application)
    items = batch(call, found)
    node = flow.nodes[at]
    result = _item(found[at], node.type) if call.over else found[at]
    one = kinds[component.kind].work(component, given(call, flow, found), result)
    return Work(**{name: items * getattr(one, name) for name in _QUANTITIES}) if call.over else one


def batch(call: Call, found: Sequence[Extent]) -> float:
    """For how many items the call is."""
    lists = (found[at].items for port, at in zip(call.ports, call.inputs, strict=True) if port in call.over)
    return next(lists, 1.0)


def called(call: Call, application: Application) -> Component:
    """The component with the settings that the call says anew."""
    component = application.components[call.component]
    return msgspec.structs.replace(component, settings={**component.settings, **call.settings})


def given(call: Call, flow: Flow, found: Sequence[Extent]) -> dict[str, Extent]:
    """The extents at the call's ports, those of one item where it is given many."""
    return {
        port: _item(found[at], flow.nodes[at].type) if port in call.over else found[at]
        for port, at in zip(call.ports, call.inputs, strict=True)
    }


def _extent(operation: Operation, flow: Flow, of: Type, found: Sequence[Extent]) -> Extent:
    match operation:
        case Constant(value):
            return _constant(value)
        case GetField(record, name):
            return _field(flow, record, name, found)
        case MakeList(items):
            return _sum([found[at] for at in items], float(len(items)), _nested(of, [found[at].items for at in items]))
        case MakeRecord(_, parts):
            return _sum([found[at] for at in parts], 1.0)
        case Concat(left, right):
            return _joined(found[left], found[right])
        case After(_, then) | Whole(then):
            return found[then]
        case Apply():
            return _applied(operation, flow, of, found)
        case _:
            return typed_extent(of)


def _applied(operation: Apply, flow: Flow, of: Type, found: Sequence[Extent]) -> Extent:
    match operation:
        case Item(_, (listed,)):
            return _item(found[listed], flow.nodes[listed].type)
        case Gather(_, (listed, one, *_)):
            return _of_each(found[one], of, found[listed].items)
        case Chance():
            return typed_extent(of)
        case Apply(function, positions, settings):
            return functions()[function].extent([found[at] for at in positions], settings)


def _item(whole: Extent, of: Type) -> Extent:
    """One item of a list."""
    tokens = whole.tokens / whole.items if whole.items else 0.0
    if isinstance(of, ListOf) and isinstance(of.item, ListOf):
        usual = typed_extent(of.item)
        return Extent(tokens, usual.items if whole.nested is None else whole.nested, whole.guessed)
    return Extent(tokens, 1.0, whole.guessed)


def _of_each(one: Extent, of: Type, items: float) -> Extent:
    """A list of so many of what one item gave."""
    return Extent(items * one.tokens, items, one.guessed, _nested(of, [one.items]))


def _nested(of: Type, items: Sequence[float]) -> float | None:
    """How many items each item of a list of lists has."""
    is_nested = isinstance(of, ListOf) and isinstance(of.item, ListOf)
    return sum(items) / len(items) if is_nested and items else None


def _sum(parts: Sequence[Extent], items: float, nested: float | None = None) -> Extent:
    return Extent(sum(part.tokens for part in parts), items, any(part.guessed for part in parts), nested)


def _joined(left: Extent, right: Extent) -> Extent:
    items = left.items + right.items
    return _sum([left, right], items, _weighed(left, right, left.items / items if items else 0.0))


def _mixture(then: Extent, otherwise: Extent, share: float) -> Extent:
    items = share * then.items + (1.0 - share) * otherwise.items
    return Extent(
        share * then.tokens + (1.0 - share) * otherwise.tokens,
        items,
        then.guessed or otherwise.guessed,
        _weighed(then, otherwise, share * then.items / items if items else 0.0),
    )


def _weighed(one: Extent, other: Extent, share: float) -> float | None:
    """The mean `nested` of lists, of whose items this share are of the first; empty ones say nothing."""
    if one.nested is None or other.nested is None:
        return other.nested if one.nested is None and not one.items else one.nested if not other.items else None
    return share * one.nested + (1.0 - share) * other.nested


def _constant(value: Value) -> Extent:
    if not isinstance(value, list):
        return Extent(_tokens(value))
    is_nested = bool(value) and all(isinstance(item, list) for item in value)
    nested = sum(len(item) for item in value) / len(value) if is_nested else None
    return Extent(_tokens(value), float(len(value)), nested=nested)


def _field(flow: Flow, record: int, name: str, found: Sequence[Extent]) -> Extent:
    """A part of a record: its own extent where the record is made here, else its usual part of the whole.

    What is said of a passage or a message is said of its text.
    """
    node, whole = flow.nodes[record], found[record]
    if isinstance(node.operation, MakeRecord):
        return found[node.operation.inputs[node.operation.names.index(name)]]
    if isinstance(node.type, Passage | Message):
        return Extent(whole.tokens, guessed=whole.guessed) if name == "text" else typed_extent(Text(), _BESIDE_TEXT)
    usual = {each: typed_extent(of) for each in field_names(node.type) if (of := field_type(node.type, each))}
    total = sum(extent.tokens for extent in usual.values())
    part = usual[name]
    return Extent(whole.tokens * part.tokens / total if total else 0.0, part.items, guessed=True)


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
