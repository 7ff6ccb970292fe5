"""Visits of random flows with loops, lists and fallbacks inside each other, against sampling."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import (
    Argument,
    Attempt,
    Call,
    Each,
    MakeList,
    Operation,
    Output,
    Parameter,
    Repeat,
    Select,
    inputs,
)
from harmonia_compiler.contract.types import Bool, ListOf, Text
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.expand import FAILURE_SHARE
from harmonia_compiler.flow.graph import Body, Flow, Node
from tests.examples import examples
from tests.flow.library import KINDS, application


@dataclass
class _Building:
    """A body while hypothesis writes it: `texts` are the positions that hold texts."""

    nodes: list[Node] = field(default_factory=list)
    texts: list[int] = field(default_factory=list)

    def add(self, operation: Operation, of: object = None, share: float | None = None) -> int:
        self.nodes.append(Node(operation, of or Text(), share=share))  # type: ignore[arg-type]
        return len(self.nodes) - 1


@st.composite
def _structured(draw: st.DrawFn) -> Flow:
    """Branches, loops, lists and fallbacks inside each other; every condition is a call of its own."""
    blocks: list[Body] = []

    def text(of: _Building) -> int:
        return draw(st.sampled_from(of.texts[::-1]))

    def test(of: _Building) -> int:
        return of.add(Call("sure", ("question",), (text(of),)), Bool())

    def block(of: _Building, depth: int, given: int, *, tests: bool) -> tuple[int, tuple[int, ...]]:
        captured = tuple(text(of) for _ in range(draw(st.integers(1, 2))))
        inner = _Building()
        inner.texts = [inner.add(Argument(at)) for at in range(given + len(captured))]
        write(inner, depth - 1)
        first = (test(inner),) if tests else ()
        blocks.append(Body(tuple(inner.nodes), (*first, text(inner))))
        return len(blocks) - 1, captured

    def write(of: _Building, depth: int) -> None:
        kinds = ("call", "select", "repeat", "each", "attempt") if depth else ("call", "select")
        for _ in range(draw(st.integers(1, 3))):
            kind = draw(st.sampled_from(kinds))
            if kind == "call":
                name = draw(st.sampled_from(("rewrite", "recall", "imagine")))
                of.texts.append(of.add(Call(name, ("question",), (text(of),))))
            elif kind == "select":
                share = draw(st.sampled_from((0.2, 0.5, 0.9)))
                of.texts.append(of.add(Select(test(of), text(of), text(of)), share=share))
            elif kind == "repeat":
                start = text(of)
                index, captured = block(of, depth, 1, tests=True)
                loop = Repeat(index, (start, *captured), 1, draw(st.integers(1, 3)))
                at = of.add(loop, Bool(), draw(st.sampled_from((0.3, 0.6))))
                of.texts.append(of.add(Output(at, 0)))
            elif kind == "each":
                items = of.add(MakeList((text(of),) * draw(st.integers(1, 3))), ListOf(Text()))
                index, captured = block(of, depth, 1, tests=False)
                at = of.add(Each(index, (items,), captured), ListOf(Text()))
                of.texts.append(of.add(Call("rewrite", ("question",), (at,))))
            else:
                index, captured = block(of, depth, 0, tests=False)
                of.texts.append(of.add(Attempt(index, captured, otherwise=text(of))))

    main = _Building()
    main.texts = [main.add(Parameter("question"))]
    write(main, 2)
    return Flow("p", (Port("question", Text()),), Text(), tuple(main.nodes), main.texts[-1], blocks=tuple(blocks))


_Thunk = Callable[[], None]


class _Run:
    """One request whose tests come out by chance: counts the calls that it makes."""

    def __init__(self, flow: Flow, chance: random.Random) -> None:
        self.flow = flow
        self.chance = chance
        self.calls: Counter[str] = Counter()

    def frame(self, body: Body, arguments: list[_Thunk]) -> "_Frame":
        return _Frame(self, body, arguments)


class _Frame:
    def __init__(self, run: _Run, body: Body, arguments: list[_Thunk]) -> None:
        self.run = run
        self.body = body
        self.arguments = arguments
        self.done: set[int] = set()
        self.last: dict[int, _Frame] = {}

    def thunk(self, at: int) -> _Thunk:
        return lambda: self.need(at)

    def need(self, at: int) -> None:
        if at not in self.done:
            self.done.add(at)
            self._need(self.body.nodes[at])

    def _need(self, node: Node) -> None:
        run, operation = self.run, node.operation
        match operation:
            case Argument(index):
                self.arguments[index]()
            case Select(condition, then, otherwise):
                self.need(condition)
                assert node.share is not None
                self.need(then if run.chance.random() < node.share else otherwise)
            case Repeat():
                self.last[id(node)] = self._repeat(node, operation)
            case Output(repeat, index):
                self.need(repeat)
                last = self.last[id(self.body.nodes[repeat])]
                last.need(last.body.results[1 + index])
            case Each(block, (listed,), given):
                self.need(listed)
                made = self.body.nodes[listed].operation
                assert isinstance(made, MakeList)
                for item in made.inputs:
                    inner = run.frame(run.flow.blocks[block], [self.thunk(at) for at in (item, *given)])
                    inner.need(inner.body.results[0])
            case Attempt(block, given, _, otherwise):
                inner = run.frame(run.flow.blocks[block], [self.thunk(at) for at in given])
                inner.need(inner.body.results[0])
                assert otherwise is not None
                if run.chance.random() < FAILURE_SHARE:
                    self.need(otherwise)
            case _:
                for at in inputs(operation):
                    self.need(at)
                if isinstance(operation, Call):
                    run.calls[operation.component] += 1

    def _repeat(self, node: Node, loop: Repeat) -> "_Frame":
        assert node.share is not None
        given = [self.thunk(at) for at in loop.inputs]
        for number in range(1, loop.limit + 1):
            inner = self.run.frame(self.run.flow.blocks[loop.block], given)
            if number == loop.limit:
                return inner
            inner.need(inner.body.results[0])
            if self.run.chance.random() < node.share:
                return inner
            given = [inner.thunk(inner.body.results[1]), *given[1:]]
        raise AssertionError


@given(_structured())
@examples(60)
def test_visits_are_those_that_sampling_finds(flow: Flow) -> None:
    runs = 1_500
    chance = random.Random(7)
    total: Counter[str] = Counter()
    squares: Counter[str] = Counter()
    for _ in range(runs):
        run = _Run(flow, chance)
        main = run.frame(flow.main, [])
        main.need(flow.result)
        total.update(run.calls)
        squares.update({name: count * count for name, count in run.calls.items()})
    found = demand(application(flow), flow, kinds=KINDS).visits
    assert set(total) <= set(found)
    for name, visits in found.items():
        mean = total[name] / runs
        deviation = max(0.0, squares[name] / runs - mean * mean) ** 0.5
        rare = 4.0 * (visits / runs) ** 0.5
        assert abs(mean - visits) <= 5.0 * deviation / runs**0.5 + rare + 0.01, (name, mean, visits)
