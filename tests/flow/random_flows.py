"""Random small flows over the library, well typed by construction."""

from collections.abc import Callable

import msgspec
from hypothesis import strategies as st

from harmonia_compiler.contract.component import Engine, Port
from harmonia_compiler.contract.program import (
    Apply,
    Attempt,
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
    inputs,
    with_inputs,
)
from harmonia_compiler.contract.types import Bool, Field, Labels, ListOf, Number, Passage, Record, Text, Type, fits
from harmonia_compiler.flow.graph import Application, Body, Flow, Node
from harmonia_compiler.flow.text import show_operation
from tests.flow.library import COMPONENTS, fake_kind
from tests.policy.programs import COMPONENTS as BLOCK_COMPONENTS

_PAIR = Record((Field("draft", Text()), Field("found", ListOf(Passage()))))


@st.composite
def flows(draw: st.DrawFn, most: int = 14) -> Flow:
    """A flow of one text port with calls, branches and data; the answer is any of the last nodes."""
    nodes = [
        Node(Parameter("question"), Text()),
        Node(Constant("yes"), Text()),
        Node(Constant([]), ListOf(Passage())),
        Node(Constant(value=True), Bool()),
        Node(Call("grade", ("question", "passages"), (0, 2)), Labels(("yes", "no"))),
        Node(Compare("==", 4, 1), Bool()),
    ]

    shares: dict[str, float] = {}

    def one(wanted: Type) -> int:
        fitting = [at for at, node in enumerate(nodes) if fits(node.type, wanted)]
        # Values made last come first, so that what hypothesis tries first is deep rather than wide.
        return draw(st.sampled_from(fitting[::-1]))

    for _ in range(draw(st.integers(1, most))):
        operation, of = draw(st.sampled_from(_MAKERS))(draw, one, nodes)
        share = None
        if isinstance(operation, Select):
            # How often a condition holds is one number, wherever and in whatever words it is asked.
            text, is_negated = _condition(nodes, operation.condition)
            said = shares.setdefault(text, draw(st.sampled_from((0.0, 0.2, 0.5, 1.0))))
            share = 1.0 - said if is_negated else said
        nodes.append(Node(operation, of, share=share))
    result = draw(st.integers(max(6, len(nodes) - 3), len(nodes) - 1))
    return Flow("random", (Port("question", Text(), 40.0),), nodes[result].type, tuple(nodes), result, streams=True)


def _condition(nodes: list[Node], at: int) -> tuple[str, bool]:
    """A condition in one wording for all that are alike, and whether it is that wording's negation."""
    operation = nodes[at].operation
    if isinstance(operation, Not):
        text, is_negated = _condition(nodes, operation.operand)
        return text, not is_negated
    if isinstance(operation, Compare) and operation.operator == "!=":
        return _written(nodes, at).replace("!=", "==", 1), True
    return _written(nodes, at), False


def _written(nodes: list[Node], at: int) -> str:
    """An operation with all that it reads; a call is told from others like it only where they may not merge."""
    operation = nodes[at].operation
    if isinstance(operation, Compare):
        return f"{_written(nodes, operation.left)} {operation.operator} {_written(nodes, operation.right)}"
    read = ", ".join(_written(nodes, each) for each in inputs(operation))
    return f"{show_operation(with_inputs(operation, lambda _: 0))}({read})"


_One = Callable[[Type], int]
_Made = tuple[Operation, Type]


def _call(draw: st.DrawFn, one: _One, _nodes: list[Node]) -> _Made:
    names = ("search", "rerank", "grade", "sure", "rewrite", "imagine", "web", "count", "answer", "join")
    component = COMPONENTS[draw(st.sampled_from(names))]
    settings = {"top_k": draw(st.sampled_from((2, 3)))} if component.name == "search" and draw(st.booleans()) else {}
    given = tuple(one(port.type) for port in component.ports)
    return Call(component.name, tuple(port.name for port in component.ports), given, settings), component.result


def _select(draw: st.DrawFn, one: _One, nodes: list[Node]) -> _Made:
    choices: list[Type] = [Text(), ListOf(Passage()), Bool()]
    of = draw(st.sampled_from(choices))
    return Select(one(Bool()), one(of), one(of)), of


def _test(draw: st.DrawFn, one: _One, nodes: list[Node]) -> _Made:
    labels = [at for at, node in enumerate(nodes) if isinstance(node.type, Labels)]
    return Compare(draw(st.sampled_from(("==", "!="))), draw(st.sampled_from(labels)), 1), Bool()


def _count(_draw: st.DrawFn, one: _One, _nodes: list[Node]) -> _Made:
    return Apply("count", (one(ListOf(Passage())),)), Number()


def _order(draw: st.DrawFn, one: _One, nodes: list[Node]) -> _Made:
    if not any(isinstance(node.type, Number) for node in nodes):
        return _count(draw, one, nodes)
    return Compare(draw(st.sampled_from(("<", "<=", ">", ">="))), one(Number()), one(Number())), Bool()


def _not(_draw: st.DrawFn, one: _One, _nodes: list[Node]) -> _Made:
    return Not(one(Bool())), Bool()


def _concat(_draw: st.DrawFn, one: _One, _nodes: list[Node]) -> _Made:
    return Concat(one(ListOf(Passage())), one(ListOf(Passage()))), ListOf(Passage())


def _list(_draw: st.DrawFn, one: _One, _nodes: list[Node]) -> _Made:
    return MakeList((one(Text()), one(Text()))), ListOf(Text())


def _record(_draw: st.DrawFn, one: _One, _nodes: list[Node]) -> _Made:
    return MakeRecord(("draft", "found"), (one(Text()), one(ListOf(Passage())))), _PAIR


def _field(draw: st.DrawFn, one: _One, nodes: list[Node]) -> _Made:
    if not any(node.type == _PAIR for node in nodes):
        return _record(draw, one, nodes)
    return GetField(one(_PAIR), "draft"), Text()


_MAKERS = (_call, _call, _call, _select, _select, _test, _count, _order, _not, _concat, _list, _record, _field)


#: The kinds of the components that random programs with blocks call.
BLOCK_KINDS = {"python": fake_kind("python", batches=True)}


def with_blocks(program: Program) -> tuple[Flow, Application]:
    """A random program (`tests/policy/random_programs.py`) as a flow; all its nodes are of one type."""

    def nodes(operations: tuple[Operation, ...]) -> tuple[Node, ...]:
        return tuple(Node(written(operation), Text()) for operation in operations)

    def written(operation: Operation) -> Operation:
        # What a clock waits for is filled in when a flow is lowered.
        return msgspec.structs.replace(operation, awaits=()) if isinstance(operation, Attempt) else operation

    blocks = tuple(Body(nodes(block.operations), block.results) for block in program.blocks)
    flow = Flow(
        "p", (Port("question", Text()),), program.result_type, nodes(program.operations), program.result, blocks=blocks
    )
    return flow, Application({"python": Engine("python", "python", {})}, BLOCK_COMPONENTS, (flow,))
