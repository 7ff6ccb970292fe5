"""How large each value of a flow is expected to be, and what each call therefore asks of hardware.

Flows have no blocks here (`expand.py`); the extent of a value inside an `Each` is that of one item's.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

from harmonia_compiler.contract.component import UNSAID, Component, Port
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
from harmonia_compiler.contract.types import Bool, Number, Type, Value
from harmonia_compiler.flow.expand import Chance, Gather, Item
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.functions.registry import functions
from harmonia_compiler.kinds.extents import (
    bounded,
    has_insides,
    is_fixed,
    item_of,
    item_type,
    list_extent,
    part_of,
    part_types,
    record_extent,
    text_tokens,
    typed_extent,
)
from harmonia_compiler.kinds.kind import Extent, Kind, Work

_QUANTITIES = Work.__struct_fields__


def extents(
    flow: Flow,
    application: Application,
    kinds: Mapping[str, Kind],
    taken: Mapping[int, float],
    tested: Collection[int] = (),
) -> tuple[Extent, ...]:
    """The expected extent of each node; `taken[i]` is how often a `Select` that is demanded takes `then`.

    Of the nodes that are `tested` something else is asked than how large they are.
    """
    ports = {port.name: port for port in flow.ports}
    found: list[Extent] = []
    for position, node in enumerate(flow.nodes):
        match node.operation:
            case Parameter(name):
                found.append(_brought(ports[name], is_tested=position in tested))
            case Call() as call:
                component = called(call, application)
                one = kinds[component.kind].result_extent(component, given(call, flow, found))
                found.append(list_extent(node.type, one, batch(call, found)) if call.over else one)
            case Select(_, then, otherwise):
                share = taken.get(position, node.share or 0.0)
                found.append(_mean(((share, found[then]), (1.0 - share, found[otherwise]))))
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
    result = item_of(found[at], node.type) if call.over else found[at]
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
        port: item_of(found[at], flow.nodes[at].type) if port in call.over else found[at]
        for port, at in zip(call.ports, call.inputs, strict=True)
    }


def _brought(port: Port, *, is_tested: bool) -> Extent:
    """What requests bring for a port: its default where nothing is said of it, as `emulate/scenario.py` has it."""
    if port.default is msgspec.UNSET or port.sizes != UNSAID or is_tested or is_fixed(port.type):
        return typed_extent(port.type, port.sizes)
    return msgspec.structs.replace(_constant(port.default, port.type), guessed=True)


def _extent(operation: Operation, flow: Flow, of: Type, found: Sequence[Extent]) -> Extent:
    match operation:
        case Constant(value):
            return _constant(value, of)
        case GetField(record, name):
            return part_of(found[record], flow.nodes[record].type, name)
        case MakeList(items):
            return _listed([found[at] for at in items], of)
        case MakeRecord(names, parts):
            places = dict(zip(names, parts, strict=True))
            return record_extent(
                {name: found[at] for name, at in places.items()},
                {name: flow.nodes[at].type for name, at in places.items()},
            )
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
            return item_of(found[listed], flow.nodes[listed].type)
        case Gather(_, (listed, one, *_)):
            return list_extent(of, found[one], found[listed].items)
        case Chance():
            return typed_extent(of)
        case Apply(function, positions, settings):
            return functions()[function].extent([found[at] for at in positions], settings)


def _constant(value: Value, of: Type) -> Extent:
    match value:
        case str():
            return Extent(text_tokens(value))
        case bool():
            return typed_extent(Bool())
        case list():
            return _listed([_constant(item, item_type(of)) for item in value], of)
        case dict():
            types = part_types(of)
            return record_extent({name: _constant(part, types[name]) for name, part in value.items()}, types)
        case _:
            return typed_extent(Number())


def _sum(parts: Sequence[Extent], items: float, item: Extent | None = None) -> Extent:
    tokens = sum(part.tokens for part in parts)
    return Extent(bounded(tokens), bounded(items), any(part.guessed for part in parts), item)


def _listed(items: Sequence[Extent], of: Type) -> Extent:
    """A list of these."""
    item = _known_mean([(1.0, item) for item in items]) if has_insides(of) else None
    return _sum(items, float(len(items)), item)


def _joined(left: Extent, right: Extent) -> Extent:
    item = _known_mean([(left.items, left.item), (right.items, right.item)])
    return _sum([left, right], left.items + right.items, item)


def _known_mean(weighed: Sequence[tuple[float, Extent | None]]) -> Extent | None:
    """The mean of these; None where nobody knows one that has a weight, or none has any."""
    known = [(weight, extent) for weight, extent in weighed if extent is not None and weight > 0.0]
    return _mean(known) if known and len(known) == sum(weight > 0.0 for weight, _ in weighed) else None


def _mean(weighed: Sequence[tuple[float, Extent]]) -> Extent:
    """The mean extent, each with its weight; those without weight only count as guesses."""
    whole = sum(weight for weight, _ in weighed)
    shares = [(weight / whole, extent) for weight, extent in weighed]
    return Extent(
        sum(share * each.tokens for share, each in shares),
        sum(share * each.items for share, each in shares),
        any(each.guessed for _, each in shares),
        _known_mean([(share * each.items, each.item) for share, each in shares]),
        _mean_parts([(share, each.parts) for share, each in shares if share > 0.0]),
    )


def _mean_parts(weighed: Sequence[tuple[float, Mapping[str, Extent] | None]]) -> Mapping[str, Extent] | None:
    known = [(share, parts) for share, parts in weighed if parts is not None]
    if not known or len(known) < len(weighed):
        return None
    return {name: _mean([(share, parts[name]) for share, parts in known]) for name in known[0][1]}
