"""Random small flows over the library, well typed by construction."""

from collections.abc import Callable, Sequence
from random import Random

import msgspec
from hypothesis import strategies as st

from harmonia_compiler.contract.component import Engine, Insert, Port
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
from tests.flow.library import COMPONENTS, KINDS, fake_kind
from tests.policy.programs import COMPONENTS as COMPONENTS_OF_BLOCKS

_PAIR = Record((Field("draft", Text()), Field("found", ListOf(Passage()))))


@st.composite
def flows(draw: st.DrawFn, most: int = 14) -> Flow:
    """A flow of one text port with calls, branches and data; the answer is one of the last nodes."""
    # Hypothesis likes small choices, which give flows of few calls: it draws the size and a seed alone.
    return make_flow(Random(draw(st.integers(0, 2**32 - 1))), draw(st.integers(1, most)))


def make_flow(chance: Random, size: int) -> Flow:
    """A flow of about as many nodes as its size says, and a few to begin with."""
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
        """One of this type, more likely one of the last: so that what is made is read."""
        fitting = [at for at, node in enumerate(nodes) if fits(node.type, wanted)]
        return max(chance.choice(fitting), chance.choice(fitting))

    for _ in range(size):
        operation, of = chance.choice(_MAKERS)(chance, one, nodes)
        share = None
        if isinstance(operation, Select):
            # How often a condition holds is one number, wherever and in whatever words it is asked.
            text, is_negated = _condition(nodes, operation.condition)
            said = shares.setdefault(text, chance.choice((0.0, 0.2, 0.5, 1.0)))
            share = 1.0 - said if is_negated else said
        nodes.append(Node(operation, of, share=share))
    # Whatever answers is one of the last: the one that reads the most.
    result = max(range(max(6, len(nodes) - 3), len(nodes)), key=lambda at: len(_read(nodes, at)))
    of = nodes[result].type
    # Of a record the first text streams, which is no part that the reference knows the call of.
    streams = isinstance(of, Text)
    return Flow("random", (Port("question", Text(), 40.0),), of, tuple(nodes), result, streams=streams)


def _read(nodes: list[Node], at: int) -> set[int]:
    """All that a node reads, directly or not."""
    found: set[int] = set()
    pending = [at]
    while pending:
        for here in inputs(nodes[pending.pop()].operation):
            if here not in found:
                found.add(here)
                pending.append(here)
    return found


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


#: Those that are called by random flows; of the last ones, a prompt's paragraphs may be reordered.
_CALLED = (
    *("search", "rerank", "grade", "sure", "rewrite", "imagine", "web", "count", "answer", "join"),
    *("judge", "write", "reply"),
)


def _call(chance: Random, one: _One, _nodes: list[Node]) -> _Made:
    component = COMPONENTS[chance.choice(_CALLED)]
    settings = {"top_k": chance.choice((2, 3))} if component.name == "search" and chance.choice((True, False)) else {}
    given = tuple(one(port.type) for port in component.ports)
    return Call(component.name, tuple(port.name for port in component.ports), given, settings), component.result


def _select(chance: Random, one: _One, nodes: list[Node]) -> _Made:
    choices: list[Type] = [Text(), ListOf(Passage()), Bool()]
    of = chance.choice(choices)
    return Select(one(Bool()), one(of), one(of)), of


def _branch(chance: Random, one: _One, nodes: list[Node]) -> _Made:
    """As most branches are: a call says whether something is looked up and written about."""

    def add(name: str, *given: int) -> int:
        component = COMPONENTS[name]
        nodes.append(Node(Call(name, tuple(port.name for port in component.ports), given), component.result))
        return len(nodes) - 1

    asked = one(Text())
    test = add("judge", asked, one(ListOf(Passage()))) if chance.choice((True, False)) else add("sure", asked)
    found = add(chance.choice(("search", "web")), one(Text()))
    return Select(test, add(chance.choice(("write", "answer")), asked, found), one(Text())), Text()


def _test(chance: Random, one: _One, nodes: list[Node]) -> _Made:
    labels = [at for at, node in enumerate(nodes) if isinstance(node.type, Labels)]
    return Compare(chance.choice(("==", "!=")), chance.choice(labels), 1), Bool()


def _count(_chance: Random, one: _One, _nodes: list[Node]) -> _Made:
    return Apply("count", (one(ListOf(Passage())),)), Number()


def _order(chance: Random, one: _One, nodes: list[Node]) -> _Made:
    if not any(isinstance(node.type, Number) for node in nodes):
        return _count(chance, one, nodes)
    return Compare(chance.choice(("<", "<=", ">", ">=")), one(Number()), one(Number())), Bool()


def _not(_chance: Random, one: _One, _nodes: list[Node]) -> _Made:
    return Not(one(Bool())), Bool()


def _concat(_chance: Random, one: _One, _nodes: list[Node]) -> _Made:
    return Concat(one(ListOf(Passage())), one(ListOf(Passage()))), ListOf(Passage())


def _list(_chance: Random, one: _One, _nodes: list[Node]) -> _Made:
    return MakeList((one(Text()), one(Text()))), ListOf(Text())


def _record(_chance: Random, one: _One, _nodes: list[Node]) -> _Made:
    return MakeRecord(("draft", "found"), (one(Text()), one(ListOf(Passage())))), _PAIR


def _field(chance: Random, one: _One, nodes: list[Node]) -> _Made:
    if not any(node.type == _PAIR for node in nodes):
        return _record(chance, one, nodes)
    return GetField(one(_PAIR), "draft"), Text()


_MAKERS = (_call, _call, _call, _select, _branch, _branch, _test, _count, _order, _not, _concat, _list, _record, _field)


#: The kinds of the components that random programs with blocks call.
BLOCK_KINDS = {"python": fake_kind("python", batches=True), "model": KINDS["model"]}
_MODEL = msgspec.structs.replace(
    COMPONENTS_OF_BLOCKS["join"],
    kind="model",
    engine="model",
    prompt=("Join ", Insert("one"), "\n\nand ", Insert("other"), "\n\nin one sentence."),
    settings={"reorder": True},
)


#: The same model where it may answer otherwise each time that it is asked.
_SAMPLED = msgspec.structs.replace(_MODEL, name="draw", settings={**_MODEL.settings, "temperature": 0.7})

#: Of the components of random programs with blocks, those whose equal calls are each made.
EACH_MADE = ("note", "draw")


def with_blocks(program: Program) -> tuple[Flow, Application]:
    """A random program (`tests/policy/random_programs.py`) as a flow; all its nodes are of one type.

    Of its components `join` is a model, whose prompt may be reordered; every second one samples (`draw`). Where it can,
    the answer reads a call twice, as a call and an equal one.
    """

    def nodes(operations: tuple[Operation, ...]) -> tuple[Node, ...]:
        return tuple(Node(written(at, operation), Text()) for at, operation in enumerate(operations))

    def written(at: int, operation: Operation) -> Operation:
        if isinstance(operation, Call) and operation.component == "join" and at % 2:
            return msgspec.structs.replace(operation, component="draw")
        # What a clock waits for is filled in when a flow is lowered.
        return msgspec.structs.replace(operation, awaits=()) if isinstance(operation, Attempt) else operation

    blocks = tuple(Body(nodes(block.operations), block.results) for block in program.blocks)
    main = nodes(program.operations)
    again = _read_again(main)
    if again is not None and program.result_type == Text():
        size = len(main)
        both = Call("join", ("one", "other"), (again, size))
        whole = Call("join", ("one", "other"), (size + 1, program.result))
        main += tuple(Node(each, Text()) for each in (main[again].operation, both, whole))
    result = program.result if len(main) == len(program.operations) else len(main) - 1
    flow = Flow("p", (Port("question", Text()),), program.result_type, main, result, blocks=blocks)
    engines = {name: Engine(name, name, {}) for name in BLOCK_KINDS}
    return flow, Application(engines, {**COMPONENTS_OF_BLOCKS, "join": _MODEL, "draw": _SAMPLED}, (flow,))


def _read_again(nodes: Sequence[Node]) -> int | None:
    """The last call that gives a text, of those whose equals are each made if there are any."""
    texts = {
        at: node.operation.component
        for at, node in enumerate(nodes)
        if isinstance(node.operation, Call) and node.operation.component in ("say", "join", *EACH_MADE)
    }
    return max(texts, key=lambda at: (texts[at] in EACH_MADE, at), default=None)
