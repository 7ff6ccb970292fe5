"""A flow as boxes and arrows, before any drawing language: what is shown and what is folded away.

A test (`grade == "no"`) is written into the branch that it decides; everything else has a box.
Arrows follow the values; a dashed one decides a branch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from harmonia_compiler.contract.program import (
    Call,
    Compare,
    Concat,
    Constant,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Parameter,
    Select,
    inputs,
)
from harmonia_compiler.flow.demand import Demand
from harmonia_compiler.flow.graph import EVEN, Application, Flow

Shape = Literal["input", "call", "branch", "data", "answer"]

#: The longest line of a box, in characters.
WIDTH = 60
#: How far a test is written out.
_DEPTH = 4


@dataclass(frozen=True, slots=True)
class Box:
    """One thing to draw; `lines` are the user's words as they are, escaped by nobody yet."""

    name: str
    shape: Shape
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrow:
    """From the box of a value to the box that reads it."""

    source: str
    target: str
    label: str = ""
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """One pipeline to draw."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def picture(flow: Flow, application: Application, demand: Demand, prefix: str = "") -> Picture:
    """What there is to draw; names of boxes begin with the prefix and are letters and digits."""
    folded = _folded(flow)
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    for position in (at for at, is_folded in enumerate(folded) if not is_folded):
        name = f"{prefix}n{position}"
        boxes.append(_box(name, position, flow, application, demand))
        arrows += _arrows(name, position, flow, folded, prefix)
    boxes.append(Box(f"{prefix}end_", "answer", ("answer, streamed" if flow.streams else "answer",)))
    arrows.append(Arrow(f"{prefix}n{flow.result}", f"{prefix}end_"))
    return Picture(f"pipeline {flow.name}", tuple(boxes), tuple(arrows))


def _folded(flow: Flow) -> list[bool]:
    """Which nodes are read by tests alone, and so are written where the test is."""
    read_by: list[list[int]] = [[] for _ in flow.nodes]
    for position, node in enumerate(flow.nodes):
        for at in inputs(node.operation):
            read_by[at].append(position)
    folded = [False] * len(flow.nodes)
    for position in range(len(flow.nodes) - 1, -1, -1):
        if _is_test(flow, position) and read_by[position] and position != flow.result:
            folded[position] = all(_tests(flow, position, reader, folded) for reader in read_by[position])
    return folded


def _is_test(flow: Flow, position: int) -> bool:
    """Whether a test could hold the node: `and` and `or` are selects one of whose arms is settled."""
    operation = flow.nodes[position].operation
    if isinstance(operation, Select):
        return _settled(flow, operation.then) is True or _settled(flow, operation.otherwise) is False
    return isinstance(operation, Compare | Not | Constant | GetField)


def _settled(flow: Flow, position: int) -> object:
    operation = flow.nodes[position].operation
    return operation.value if isinstance(operation, Constant) else None


def _tests(flow: Flow, position: int, reader: int, folded: Sequence[bool]) -> bool:
    operation = flow.nodes[reader].operation
    if isinstance(operation, Select) and not folded[reader]:
        return operation.condition == position and position not in {operation.then, operation.otherwise}
    return folded[reader]


def _box(name: str, position: int, flow: Flow, application: Application, demand: Demand) -> Box:
    match flow.nodes[position].operation:
        case Parameter(parameter):
            return Box(name, "input", (parameter,))
        case Call(called, _, _, settings):
            component = application.components[called]
            visits = f"×{demand.probabilities[position]:.3g} a request"
            given = (_short(_json(settings)),) if settings else ()
            return Box(name, "call", (called, f"{component.kind} · {component.engine}", *given, visits))
        case Select(condition, _, _):
            return Box(name, "branch", (_short(_test(flow, condition)),))
        case MakeRecord(names, _):
            return Box(name, "data", (_short(f"({', '.join(names)})"),))
        case MakeList():
            return Box(name, "data", ("list",))
        case Concat():
            return Box(name, "data", ("joined lists",))
        case _:
            return Box(name, "data", (_short(_test(flow, position)),))


def _arrows(name: str, position: int, flow: Flow, folded: Sequence[bool], prefix: str) -> list[Arrow]:
    node = flow.nodes[position]
    match node.operation:
        case Select(condition, then, otherwise):
            share = EVEN if node.share is None else node.share
            return [
                *(Arrow(f"{prefix}n{at}", name, decides=True) for at in _shown(flow, condition, folded)),
                Arrow(f"{prefix}n{then}", name, f"yes, {share * 100:.3g} %"),
                Arrow(f"{prefix}n{otherwise}", name, f"no, {(1.0 - share) * 100:.3g} %"),
            ]
        case Call(_, ports, positions) if len(ports) > 1:
            return [Arrow(f"{prefix}n{at}", name, port) for port, at in zip(ports, positions, strict=True)]
        case MakeRecord(names, positions):
            return [Arrow(f"{prefix}n{at}", name, part) for part, at in zip(names, positions, strict=True)]
        case operation:
            return [Arrow(f"{prefix}n{at}", name) for at in dict.fromkeys(inputs(operation))]


def _shown(flow: Flow, position: int, folded: Sequence[bool]) -> list[int]:
    """The boxes that a test looks at."""
    found: dict[int, None] = {}
    agenda = [position]
    while agenda:
        at = agenda.pop()
        if folded[at]:
            agenda += reversed(inputs(flow.nodes[at].operation))
        else:
            found[at] = None
    return [*found]


def _test(flow: Flow, position: int, depth: int = _DEPTH) -> str:
    if depth == 0:
        return "…"
    match flow.nodes[position].operation:
        case Parameter(name) | Call(name):
            return name
        case Constant(value):
            return _json(value)
        case Compare(operator, left, right):
            return f"{_test(flow, left, depth - 1)} {operator} {_test(flow, right, depth - 1)}"
        case Not(operand):
            return f"not {_test(flow, operand, depth - 1)}"
        case Select(condition, then, otherwise) if _settled(flow, otherwise) is False:
            return f"{_test(flow, condition, depth - 1)} and {_test(flow, then, depth - 1)}"
        case Select(condition, then, otherwise) if _settled(flow, then) is True:
            return f"{_test(flow, condition, depth - 1)} or {_test(flow, otherwise, depth - 1)}"
        case GetField(record, name):
            return f"{_test(flow, record, depth - 1)}.{name}"
        case _:
            return "…"


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
