"""The canonical text of a flow: one node a line, equal for equal flows. Goldens and bug reports use it.

Blocks stand before the main nodes, each numbered as the operation that runs it names it and each
with positions of its own. In `block 2(%3; %4)` what comes before the semicolon is carried by a loop
or is a list to go through; what comes after it is the same for every round and item.
"""

from collections.abc import Iterable

import msgspec

from harmonia_compiler.contract.component import UNSAID, Port, Sizes
from harmonia_compiler.contract.program import (
    After,
    Apply,
    Argument,
    Attempt,
    Call,
    Compare,
    Concat,
    Constant,
    Each,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Operation,
    Output,
    Parameter,
    Repeat,
    RequestClass,
    Select,
    Whole,
    block_of,
    inputs,
)
from harmonia_compiler.contract.types import ListOf, Record, Type, show
from harmonia_compiler.flow.graph import Flow, Load, Node


def show_flow(flow: Flow) -> str:
    """The flow from its name to its result, each line ended by a newline.

    A block that nothing runs, as passes leave some until dead code goes, is not shown. Durations are in ms and loads in
    requests per second; a size is the expected tokens or items.
    """
    ports = ", ".join(_show_port(port) for port in flow.ports)
    lines = [f"pipeline {flow.name}({ports}) -> {show(flow.result_type)}"]
    lines += [_show_class(each) for each in flow.classes]
    if flow.class_port is not None:
        lines.append(f"  class from {flow.class_port}")
    lines += [f"  slo p{goal.quantile * 100:g} {goal.metric} <= {goal.bound_ms:g} ms" for goal in flow.objectives]
    if flow.load is not None:
        lines.append(f"  load {_show_load(flow.load)}")
        lines += [f"  load {name} {_show_load(load)}" for name, load in flow.load.by_class.items()]
    for index, count in argument_counts(flow).items():
        body = flow.blocks[index]
        lines.append(f"  block {index}({count} argument{'' if count == 1 else 's'})")
        lines += [f"    %{position} = {show_node(node)}" for position, node in enumerate(body.nodes)]
        lines.append(f"    results {_positions(body.results)}")
    lines += [f"  %{position} = {show_node(node)}" for position, node in enumerate(flow.nodes)]
    lines.append(f"  return {'stream ' if flow.streams else ''}%{flow.result}")
    return "\n".join(lines) + "\n"


def argument_counts(flow: Flow) -> dict[int, int]:
    """How many arguments each block is handed by what runs it; nothing of one that nothing runs any more."""
    counts: dict[int, int] = {}
    bodies = [*enumerate(flow.blocks), (None, flow.main)]
    # From the outside in, since nothing runs what only such a block would run.
    for index, body in reversed(bodies):
        if index is not None and index not in counts:
            continue
        for node in body.nodes:
            if (block := block_of(node.operation)) is not None:
                otherwise = isinstance(node.operation, Attempt) and node.operation.otherwise is not None
                counts[block] = len(inputs(node.operation)) - otherwise
    return dict(sorted(counts.items()))


def show_node(node: Node) -> str:
    """One node without its position: operation, expected share of a branch, type."""
    share = "" if node.share is None else f" ~ {node.share:g}"
    return f"{show_operation(node.operation)}{share} : {show(node.type)}"


def show_operation(operation: Operation) -> str:
    """An operation with the positions that it reads; values and settings are JSON."""
    match operation:
        case Call():
            return _show_call(operation)
        case Select(condition, then, otherwise, early):
            begun = f" early {_positions(early)}" if early else ""
            return f"select %{condition} then %{then} else %{otherwise}{begun}"
        case Apply(function, given, settings):
            return f"apply {function}({_positions(given)}){_settings(settings)}"
        case After(first, then):
            return f"after %{first} give %{then}"
        case Output(repeat, index):
            return f"output {index} of %{repeat}"
        case Repeat() | Each() | Attempt():
            return _show_runner(operation)
        case _:
            return _show_value(operation)


def _show_value(operation: Operation) -> str:
    """What neither calls nor branches."""
    match operation:
        case Parameter(name):
            return f"parameter {name}"
        case Argument(index):
            return f"argument {index}"
        case Constant(value):
            return f"constant {_json(value)}"
        case Compare(operator, left, right):
            return f"compare %{left} {operator} %{right}"
        case Not(operand):
            return f"not %{operand}"
        case GetField(record, name):
            return f"field %{record}.{name}"
        case MakeList(items):
            return f"list({_positions(items)})"
        case MakeRecord(names, parts):
            return "record(" + ", ".join(f"{name}: %{at}" for name, at in zip(names, parts, strict=True)) + ")"
        case Concat(left, right):
            return f"concat %{left} + %{right}"
        case Whole(value):
            return f"whole %{value}"
        case _:
            raise TypeError(f"no text for a {type(operation).__name__}")


def _show_call(call: Call) -> str:
    given = ", ".join(
        f"{port}: {'each ' if port in call.over else ''}%{at}" for port, at in zip(call.ports, call.inputs, strict=True)
    )
    after = "" if call.after is None else f" after %{call.after}"
    return f"call {call.component}({given}){_settings(call.settings)}{after}"


def _show_runner(operation: Repeat | Each | Attempt) -> str:
    match operation:
        case Repeat(block, positions, carried, limit):
            given = _parted(positions[:carried], positions[carried:])
            return f"repeat block {block}({given}) up to {limit}"
        case Each(block, lists, positions):
            return f"each block {block}({_parted(lists, positions)})"
        case Attempt(block, positions, within_ms, otherwise, awaits):
            within = "" if within_ms is None else f" within {within_ms:g} ms"
            other = "" if otherwise is None else f" else %{otherwise}"
            waits = f" awaits {_positions(awaits)}" if awaits else ""
            return f"attempt block {block}({_positions(positions)}){within}{other}{waits}"


def _parted(changing: tuple[int, ...], same: tuple[int, ...]) -> str:
    return _positions(changing) + (f"; {_positions(same)}" if same else "")


def _positions(positions: Iterable[int]) -> str:
    return ", ".join(f"%{at}" for at in positions)


def _settings(settings: dict[str, object]) -> str:
    return f" {_json(settings)}" if settings else ""


def _show_class(of: RequestClass) -> str:
    deadline = "" if of.deadline_ms is None else f" deadline {of.deadline_ms:g} ms"
    return f"  class {of.name}{deadline} weight {of.weight:g}"


def _show_load(load: Load) -> str:
    return f"{load.rps:g} rps peak {load.peak_rps:g} rps"


def _show_port(port: Port) -> str:
    default = "" if port.default is msgspec.UNSET else f" = {_json(port.default)}"
    return f"{port.name}: {_show_sized(port.type, port.sizes)}{default}"


def _show_sized(of: Type, sizes: Sizes) -> str:
    match of:
        case ListOf(item) if item is not None:
            shown = f"[{_show_sized(item, sizes.item or UNSAID)}]"
        case Record(fields):
            parts = (f"{each.name}: {_show_sized(each.type, sizes.parts.get(each.name, UNSAID))}" for each in fields)
            shown = f"({', '.join(parts)})"
        case _:
            shown = show(of)
    return shown if sizes.size is None else f"{shown} ~ {sizes.size:g}"


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
