"""Visits, counts and rounds of flows with loops, lists and fallbacks, against closed forms and against sampling."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import (
    Argument,
    Attempt,
    Call,
    Constant,
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
from harmonia_compiler.flow.demand import CallDemand, Demand, demand
from harmonia_compiler.flow.expand import FAILURE_SHARE, MOST_NODES, expand
from harmonia_compiler.flow.graph import Body, Flow, Node
from harmonia_compiler.kinds.kind import Extent
from tests.flow.library import KINDS, application, read_flow


def _demand(body: str) -> Demand:
    flow = read_flow(f"pipeline p(question: text ~ 40) -> text\n{body}")
    return demand(application(flow), flow, kinds=KINDS)


def _loop(limit: int, share: str) -> Demand:
    return _demand(f"""
        block 0(1 argument)
          %0 = argument 0 : text
          %1 = call rewrite(question: %0) : text
          %2 = call sure(question: %1) : bool
          results %2, %1
        %0 = parameter question : text
        %1 = repeat block 0(%0) up to {limit}{share} : bool
        %2 = output 0 of %1 : text
        return %2
        """)


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("last", [0.05, 0.4, 0.7, 1.0])
def test_rounds_are_those_of_the_closed_form(limit: int, last: float) -> None:
    def rounds(limit: int) -> float:
        return (1.0 - (1.0 - last) ** limit) / last

    # Nobody asks whether the last round that there can be is the last.
    expected = {"rewrite": rounds(limit), "sure": rounds(limit - 1)}
    assert _loop(limit, f" ~ {last}").visits == pytest.approx(
        {name: visits for name, visits in expected.items() if visits}, abs=1e-3
    )


def test_a_loop_of_which_nobody_said_when_it_ends_ends_as_often_as_not() -> None:
    assert _loop(3, "").visits["rewrite"] == pytest.approx(1.75)


def test_a_loop_without_a_test_runs_to_its_limit() -> None:
    found = _demand("""
        block 0(1 argument)
          %0 = argument 0 : text
          %1 = call rewrite(question: %0) : text
          %2 = constant false : bool
          results %2, %1
        %0 = parameter question : text
        %1 = repeat block 0(%0) up to 7 : bool
        %2 = output 0 of %1 : text
        return %2
        """)
    assert found.visits == {"rewrite": 7.0}
    assert [len(call.after) for call in found.calls] == [0, 1, 1, 1, 1, 1, 1]


def test_what_only_a_next_round_reads_is_computed_a_round_less() -> None:
    """The self-reflective loop: the last draft is not refined."""
    found = _demand("""
        block 0(2 arguments)
          %0 = argument 0 : text
          %1 = argument 1 : text
          %2 = call search(query: %0) : [passage]
          %3 = call answer(question: %1, passages: %2) : text
          %4 = call sure(question: %3) : bool
          %5 = call rewrite(question: %3) : text
          results %4, %5, %3
        %0 = parameter question : text
        %1 = repeat block 0(%0; %0) up to 3 ~ 0.7 : bool
        %2 = output 1 of %1 : text
        return %2
        """)
    rounds = 1.0 + 0.3 + 0.09
    expected = {"answer": rounds, "rewrite": rounds - 1.0, "search": rounds, "sure": 1.0 + 0.3}
    # In the third round nothing asks whether it is the last.
    assert found.visits == pytest.approx(expected)


def test_rounds_wait_for_the_test_of_the_round_before() -> None:
    found = _loop(2, " ~ 0.5")
    places = {call.position: number for number, call in enumerate(found.calls)}
    waits = [(call.component, [places[at] for at in call.after]) for call in found.calls]
    assert waits == [("rewrite", []), ("sure", [0]), ("rewrite", [1])]


def test_a_list_grows_from_round_to_round() -> None:
    found = _demand("""
        block 0(2 arguments)
          %0 = argument 0 : [passage]
          %1 = argument 1 : text
          %2 = call search(query: %1) : [passage]
          %3 = concat %0 + %2 : [passage]
          %4 = constant false : bool
          results %4, %3
        %0 = parameter question : text
        %1 = constant [] : []
        %2 = repeat block 0(%1; %0) up to 3 : bool
        %3 = output 0 of %2 : [passage]
        %4 = call answer(question: %0, passages: %3) : text
        return %4
        """)
    assert found.work["answer"].prompt_tokens == pytest.approx(40.0 + 3 * 8 * 100.0)


NESTED = """
    block 0(1 argument)
      %0 = argument 0 : text
      %1 = call rewrite(question: %0) : text
      %2 = call sure(question: %1) : bool
      results %2, %1
    block 1(1 argument)
      %0 = argument 0 : text
      %1 = repeat block 0(%0) up to {inner} ~ 0.5 : bool
      %2 = output 0 of %1 : text
      %3 = call sure(question: %2) : bool
      results %3, %2
    %0 = parameter question : text
    %1 = repeat block 1(%0) up to {outer} ~ 0.25 : bool
    %2 = output 0 of %1 : text
    return %2
    """


@pytest.mark.parametrize(("outer", "inner"), [(2, 3), (4, 4), (100, 100)])
def test_nested_loops_multiply(outer: int, inner: int) -> None:
    found = _demand(NESTED.format(outer=outer, inner=inner))
    expected = (1.0 - 0.75**outer) / 0.25 * (1.0 - 0.5**inner) / 0.5
    assert found.visits["rewrite"] == pytest.approx(expected, rel=1e-6)


def test_rounds_beyond_the_bound_are_left_together() -> None:
    flow = read_flow("pipeline p(question: text) -> text\n" + NESTED.format(outer=100, inner=100))
    small = expand(flow, most=40)
    assert len(small.flow.nodes) <= 40
    assert len(expand(flow).flow.nodes) <= MOST_NODES
    expected = (1.0 - 0.75**100) / 0.25 * (1.0 - 0.5**100) / 0.5
    found = [
        small.rounds[at]
        for at, node in enumerate(small.flow.nodes)
        if node.operation == Call("rewrite", ("question",), inputs(node.operation))
    ]
    assert sum(found) >= expected * 0.9


def test_calls_of_rounds_that_are_left_together_follow_each_other() -> None:
    whole = _loop(100, " ~ 0.02").calls
    rounds = [call for call in whole if call.rounds > 1.0]
    assert {call.component for call in rounds} <= {"rewrite", "sure"}
    assert all(call.count == 1.0 for call in whole)


def _each(items: int, inside: str) -> Demand:
    texts = "".join(f"%{at}, " for at in [0] * items).removesuffix(", ")
    return _demand(f"""
        block 0(2 arguments)
          %0 = argument 0 : text
          %1 = argument 1 : text
          {inside}
        %0 = parameter question : text
        %1 = list({texts}) : [text]
        %2 = call rewrite(question: %0) : text
        %3 = each block 0(%1; %2) : [text]
        return %3
        """)


def _calls(found: Demand, component: str) -> list[CallDemand]:
    return [call for call in found.calls if call.component == component]


def test_each_item_has_its_call_and_all_go_side_by_side() -> None:
    found = _each(5, "%2 = call recall(question: %0) : text\n results %2")
    assert found.visits == {"recall": 5.0}
    (call,) = _calls(found, "recall")
    assert (call.probability, call.count, call.rounds, call.after) == (1.0, 5.0, 1.0, ())
    assert found.extents[-1].items == 5.0


def test_what_is_outside_is_wanted_as_soon_as_one_item_wants_it() -> None:
    found = _each(
        5,
        """
        %2 = call sure(question: %0) : bool
        %3 = call join(one: %0, other: %1) : text
        %4 = select %2 then %3 else %0 ~ 0.3 : text
        results %4
        """,
    )
    assert found.visits == pytest.approx({"join": 1.5, "rewrite": 1.0 - 0.7**5, "sure": 5.0})
    assert dict(found.rarest)[_calls(found, "join")[0].position] == pytest.approx(1.0 - 0.7**5)


def test_what_all_items_want_together_is_wanted_for_certain() -> None:
    found = _each(
        2,
        """
        %2 = call sure(question: %0) : bool
        %3 = call join(one: %0, other: %1) : text
        %4 = call join(one: %1, other: %0) : text
        %5 = select %2 then %3 else %4 ~ 0.3 : text
        results %5
        """,
    )
    assert found.visits == pytest.approx({"join": 2.0, "rewrite": 1.0, "sure": 2.0})


def test_a_condition_from_outside_is_one_for_all_items() -> None:
    found = _demand("""
        block 0(3 arguments)
          %0 = argument 0 : text
          %1 = argument 1 : text
          %2 = argument 2 : bool
          %3 = call join(one: %0, other: %1) : text
          %4 = select %2 then %3 else %0 ~ 0.3 : text
          results %4
        %0 = parameter question : text
        %1 = list(%0, %0, %0, %0) : [text]
        %2 = call rewrite(question: %0) : text
        %3 = call sure(question: %0) : bool
        %4 = each block 0(%1; %2, %3) : [text]
        return %4
        """)
    assert found.visits == pytest.approx({"join": 1.2, "rewrite": 0.3, "sure": 1.0})


def test_each_inside_each_multiplies() -> None:
    found = _demand("""
        block 0(1 argument)
          %0 = argument 0 : text
          %1 = call recall(question: %0) : text
          results %1
        block 1(2 arguments)
          %0 = argument 0 : text
          %1 = argument 1 : [text]
          %2 = each block 0(%1) : [text]
          %3 = call rewrite(question: %0) : text
          %4 = apply flatten(%2) : [text]
          results %2
        %0 = parameter question : text
        %1 = list(%0, %0, %0) : [text]
        %2 = list(%0, %0) : [text]
        %3 = each block 1(%1; %2) : [[text]]
        %4 = apply flatten(%3) : [text]
        return %4
        """)
    assert found.visits == {"recall": 6.0}
    assert found.extents[-1].items == 6.0


def test_each_inside_a_loop_runs_in_every_round() -> None:
    found = _demand("""
        block 0(1 argument)
          %0 = argument 0 : text
          %1 = call recall(question: %0) : text
          results %1
        block 1(1 argument)
          %0 = argument 0 : [text]
          %1 = each block 0(%0) : [text]
          %2 = constant false : bool
          results %2, %1
        %0 = parameter question : text
        %1 = list(%0, %0, %0) : [text]
        %2 = repeat block 1(%1) up to 4 : bool
        %3 = output 0 of %2 : [text]
        return %3
        """)
    assert found.visits == {"recall": 12.0}
    assert [call.count for call in found.calls] == [3.0] * 4


def test_where_keeps_its_share_of_the_items() -> None:
    found = _demand("""
        block 0(2 arguments)
          %0 = argument 0 : passage
          %1 = argument 1 : text
          %2 = call sure(question: %1) : bool
          %3 = list(%0) : [passage]
          %4 = constant [] : []
          %5 = select %2 then %3 else %4 ~ 0.6 : [passage]
          results %5
        %0 = parameter question : text
        %1 = call search(query: %0) : [passage]
        %2 = each block 0(%1; %0) : [[passage]]
        %3 = apply flatten(%2) : [passage]
        %4 = call answer(question: %0, passages: %3) : text
        return %4
        """)
    kept = found.extents[-2]
    assert kept.tokens == pytest.approx(8 * 0.6 * 100.0)
    assert kept.items == pytest.approx(8 * 0.6)
    assert found.visits["sure"] == 8.0


def test_a_fallback_runs_where_an_attempt_is_assumed_to_fail() -> None:
    found = _demand("""
        block 0(1 argument)
          %0 = argument 0 : text
          %1 = call rewrite(question: %0) : text
          results %1
        %0 = parameter question : text
        %1 = call imagine(question: %0) : text
        %2 = attempt block 0(%0) within 800 ms else %1 : text
        return %2
        """)
    assert found.visits == pytest.approx({"rewrite": 1.0, "imagine": FAILURE_SHARE})
    (first, second) = found.calls
    assert (first.component, second.component, second.after) == ("rewrite", "imagine", (first.position,))


def test_an_attempt_without_a_fallback_is_its_block() -> None:
    found = _demand("""
        block 0(1 argument)
          %0 = argument 0 : text
          %1 = call rewrite(question: %0) : text
          results %1
        %0 = parameter question : text
        %1 = attempt block 0(%0) within 800 ms : text
        return %1
        """)
    assert found.visits == {"rewrite": 1.0}


def test_what_is_begun_early_is_sent_on_either_path_and_waits_for_no_test() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = call sure(question: %0) : bool
        %2 = call web(query: %0) : [passage]
        %3 = call answer(question: %0, passages: %2) : text
        %4 = select %1 then %3 else %0 early %2 ~ 0.4 : text
        return %4
        """)
    assert found.visits == {"answer": 0.4, "sure": 1.0, "web": 1.0}
    assert _calls(found, "web")[0].after == ()


def test_a_call_for_many_items_is_one_that_asks_for_all_of_them() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = list(%0, %0, %0) : [text]
        %2 = call embed(text: each %1) : [vector]
        return %2
        """)
    assert found.visits == {"embed": 1.0}
    assert found.work["embed"].prompt_tokens == 120.0


def test_the_order_of_calls_that_are_not_pure_counts_as_waiting() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = call count(question: %0) : text
        %2 = call count(question: %0) after %1 : text
        %3 = call recall(question: %0) : text
        %4 = after %2 give %3 : text
        return %4
        """)
    first, second, third = found.calls
    assert (first.after, second.after, third.after) == ((), (first.position,), ())
    assert [call.answers for call in found.calls] == [False, False, True]
    assert found.extents[-1] == Extent(60.0, guessed=True)


def test_deep_nesting_needs_no_recursion() -> None:
    inner = Body((Node(Argument(0), Text()), Node(Call("rewrite", ("question",), (0,)), Text())), (1,))
    blocks = [inner]
    blocks += [Body((Node(Argument(0), Text()), Node(Attempt(at, (0,)), Text())), (1,)) for at in range(3_000)]
    nodes = (Node(Parameter("question"), Text()), Node(Attempt(3_000, (0,)), Text()))
    flow = Flow("p", (Port("question", Text()),), Text(), nodes, 1, blocks=tuple(blocks))
    assert demand(application(flow), flow, kinds=KINDS).visits == {"rewrite": 1.0}


# --- against sampling ---


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
@settings(max_examples=60, deadline=None)
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


def test_a_constant_list_says_how_many_items_there_are() -> None:
    nodes = (
        Node(Constant(["a", "b"]), ListOf(Text())),
        Node(Each(0, (0,), ()), ListOf(Text())),
    )
    block = Body((Node(Argument(0), Text()), Node(Call("rewrite", ("question",), (0,)), Text())), (1,))
    flow = Flow("p", (), ListOf(Text()), nodes, 1, blocks=(block,))
    assert demand(application(flow), flow, kinds=KINDS).visits == {"rewrite": 2.0}
