"""Visits, counts and rounds of flows with loops, lists and fallbacks, against closed forms."""

import pytest

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import (
    Argument,
    Attempt,
    Call,
    Constant,
    Each,
    Parameter,
    inputs,
)
from harmonia_compiler.contract.types import ListOf, Text
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
    joined = _calls(found, "join")[0].position
    assert sum(likely for likely, sent, _ in found.paths if joined in sent) == pytest.approx(1.0 - 0.7**5)


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
        return stream %4
        """)
    first, second, third = found.calls
    assert (first.after, second.after, third.after) == ((), (first.position,), ())
    assert [call.streams for call in found.calls] == [False, False, True]
    assert found.extents[-1] == Extent(60.0, guessed=True)


def test_deep_nesting_needs_no_recursion() -> None:
    inner = Body((Node(Argument(0), Text()), Node(Call("rewrite", ("question",), (0,)), Text())), (1,))
    blocks = [inner]
    blocks += [Body((Node(Argument(0), Text()), Node(Attempt(at, (0,)), Text())), (1,)) for at in range(3_000)]
    nodes = (Node(Parameter("question"), Text()), Node(Attempt(3_000, (0,)), Text()))
    flow = Flow("p", (Port("question", Text()),), Text(), nodes, 1, blocks=tuple(blocks))
    assert demand(application(flow), flow, kinds=KINDS).visits == {"rewrite": 1.0}


def test_a_constant_list_says_how_many_items_there_are() -> None:
    nodes = (
        Node(Constant(["a", "b"]), ListOf(Text())),
        Node(Each(0, (0,), ()), ListOf(Text())),
    )
    block = Body((Node(Argument(0), Text()), Node(Call("rewrite", ("question",), (0,)), Text())), (1,))
    flow = Flow("p", (), ListOf(Text()), nodes, 1, blocks=(block,))
    assert demand(application(flow), flow, kinds=KINDS).visits == {"rewrite": 2.0}
