"""The canonical text of a flow: one node a line, equal for equal flows. Goldens and bug reports use it."""

import msgspec

from harmonia_compiler.contract.component import Port
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
    Select,
)
from harmonia_compiler.contract.types import show
from harmonia_compiler.flow.graph import Flow, Node


def show_flow(flow: Flow) -> str:
    """The flow from its name to its result, each line ended by a newline.

    Durations are in ms and loads in requests per second; a size is the expected tokens or items.
    """
    ports = ", ".join(_show_port(port) for port in flow.ports)
    lines = [f"pipeline {flow.name}({ports}) -> {show(flow.result_type)}"]
    lines += [f"  slo p{goal.quantile * 100:g} {goal.metric} <= {goal.bound_ms:g} ms" for goal in flow.objectives]
    if flow.load is not None:
        lines.append(f"  load {flow.load.rps:g} rps peak {flow.load.peak_rps:g} rps")
    lines += [f"  %{position} = {show_node(node)}" for position, node in enumerate(flow.nodes)]
    lines.append(f"  return {'stream ' if flow.streams else ''}%{flow.result}")
    return "\n".join(lines) + "\n"


def show_node(node: Node) -> str:
    """One node without its position: operation, expected share of a branch, type."""
    share = "" if node.share is None else f" ~ {node.share:g}"
    return f"{show_operation(node.operation)}{share} : {show(node.type)}"


def show_operation(operation: Operation) -> str:
    """An operation with the positions that it reads; values and settings are JSON."""
    match operation:
        case Parameter(name):
            return f"parameter {name}"
        case Constant(value):
            return f"constant {_json(value)}"
        case Call(component, ports, positions, settings):
            given = ", ".join(f"{port}: %{at}" for port, at in zip(ports, positions, strict=True))
            return f"call {component}({given})" + (f" {_json(settings)}" if settings else "")
        case Select(condition, then, otherwise):
            return f"select %{condition} then %{then} else %{otherwise}"
        case Compare(operator, left, right):
            return f"compare %{left} {operator} %{right}"
        case Not(operand):
            return f"not %{operand}"
        case GetField(record, name):
            return f"field %{record}.{name}"
        case MakeList(items):
            return "list(" + ", ".join(f"%{at}" for at in items) + ")"
        case MakeRecord(names, parts):
            return "record(" + ", ".join(f"{name}: %{at}" for name, at in zip(names, parts, strict=True)) + ")"
        case Concat(left, right):
            return f"concat %{left} + %{right}"
        case _:
            raise TypeError(f"no text for a {type(operation).__name__}")


def _show_port(port: Port) -> str:
    size = "" if port.size is None else f" ~ {port.size:g}"
    default = "" if port.default is msgspec.UNSET else f" = {_json(port.default)}"
    return f"{port.name}: {show(port.type)}{size}{default}"


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
