from collections import Counter
from fractions import Fraction

import networkx as nx
import pytest
from hypothesis import given

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Call, MakeList, Operation, Parameter
from harmonia_compiler.contract.types import Text
from harmonia_compiler.flow.calls import call_graph
from harmonia_compiler.flow.demand import Demand, demand
from harmonia_compiler.flow.graph import Flow, Node
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.kinds.kind import Extent
from tests.examples import examples
from tests.flow.library import KINDS, application, read_flow
from tests.flow.random_flows import flows


def _flow(body: str, ports: str = "question: text ~ 40") -> Flow:
    return read_flow(f"pipeline p({ports}) -> text\n{body}")


def _demand(body: str, ports: str = "question: text ~ 40") -> Demand:
    flow = _flow(body, ports)
    return demand(application(flow), flow, kinds=KINDS)


CORRECTIVE = """
    %0 = parameter question : text
    %1 = call search(query: %0) : [passage]
    %2 = call grade(question: %0, passages: %1) : "yes" | "no"
    %3 = constant "no" : text
    %4 = compare %2 == %3 : bool
    %5 = call rewrite(question: %0) : text
    %6 = call web(query: %5) : [passage]
    %7 = select %4 then %6 else %1 ~ 0.3 : [passage]
    %8 = call answer(question: %0, passages: %7) : text
    return stream %8
    """


def test_a_branch_divides_visits_by_its_share() -> None:
    found = _demand(CORRECTIVE)
    assert found.visits == {"answer": 1.0, "grade": 1.0, "rewrite": 0.3, "search": 1.0, "web": 0.3}
    assert found.exact


def test_visits_solve_the_linear_system_of_a_markov_flow() -> None:
    """v = (I - Mᵀ)⁻¹ s, with M[i][j] the expected calls of j that follow directly on one of i."""
    moves = {
        "search": {"grade": Fraction(1)},
        "grade": {"rewrite": Fraction(3, 10), "answer": Fraction(7, 10)},
        "rewrite": {"web": Fraction(1)},
        "web": {"answer": Fraction(1)},
        "answer": {},
    }
    solved = _visit_ratios(moves, {"search": Fraction(1)})
    assert _demand(CORRECTIVE).visits == pytest.approx({name: float(visits) for name, visits in solved.items()})


def _visit_ratios(moves: dict[str, dict[str, Fraction]], starts: dict[str, Fraction]) -> dict[str, Fraction]:
    """Gauss-Jordan elimination of (I - Mᵀ) v = s."""
    names = [*moves]
    rows = [
        [Fraction(int(row == column)) - moves[column].get(row, Fraction(0)) for column in names]
        + [starts.get(row, Fraction(0))]
        for row in names
    ]
    for at in range(len(names)):
        pivot = next(row for row in range(at, len(names)) if rows[row][at])
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = [value / rows[at][at] for value in rows[at]]
        for other in range(len(names)):
            if other != at:
                factor = rows[other][at]
                rows[other] = [value - factor * lead for value, lead in zip(rows[other], rows[at], strict=True)]
    return {name: rows[at][-1] for at, name in enumerate(names)}


def test_what_both_arms_read_is_demanded_for_certain() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = call sure(question: %0) : bool
        %2 = call rewrite(question: %0) : text
        %3 = call recall(question: %2) : text
        %4 = call imagine(question: %2) : text
        %5 = select %1 then %3 else %4 ~ 0.2 : text
        return %5
        """)
    assert found.visits == {"imagine": 0.8, "recall": 0.2, "rewrite": 1.0, "sure": 1.0}


def test_branches_over_one_condition_share_its_outcome() -> None:
    """Both the query and the prompt change in the same 30 % of requests, so that `web` is wanted in 30 %."""
    found = _demand("""
        %0 = parameter question : text
        %1 = call sure(question: %0) : bool
        %2 = not %1 : bool
        %3 = call rewrite(question: %0) : text
        %4 = select %1 then %3 else %0 ~ 0.3 : text
        %5 = call web(query: %3) : [passage]
        %6 = constant [] : []
        %7 = select %2 then %6 else %5 ~ 0.7 : [passage]
        %8 = call answer(question: %4, passages: %7) : text
        return %8
        """)
    assert (found.visits["rewrite"], found.visits["web"]) == pytest.approx((0.3, 0.3))


def test_early_returns_leave_what_is_left() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = call route(question: %0) : "none" | "one" | "many"
        %2 = constant "none" : text
        %3 = compare %1 == %2 : bool
        %4 = call recall(question: %0) : text
        %5 = constant "one" : text
        %6 = compare %1 == %5 : bool
        %7 = call search(query: %0) : [passage]
        %8 = call answer(question: %0, passages: %7) : text
        %9 = call imagine(question: %0) : text
        %10 = select %6 then %8 else %9 ~ 0.8 : text
        %11 = select %3 then %4 else %10 ~ 0.25 : text
        return stream %11
        """)
    assert found.visits == pytest.approx({"answer": 0.6, "imagine": 0.15, "recall": 0.25, "route": 1.0, "search": 0.6})


def test_labels_of_one_value_exclude_each_other_across_statements() -> None:
    """One request is never routed to "none" and to "one": what needs both is never wanted."""
    found = _demand("""
        %0 = parameter question : text
        %1 = call route(question: %0) : "none" | "one" | "many"
        %2 = constant "none" : text
        %3 = compare %1 == %2 : bool
        %4 = constant "one" : text
        %5 = compare %4 == %1 : bool
        %6 = call rewrite(question: %0) : text
        %7 = select %3 then %6 else %0 ~ 0.25 : text
        %8 = select %5 then %7 else %0 ~ 0.5 : text
        %9 = constant "many" : text
        %10 = compare %1 != %9 : bool
        %11 = call recall(question: %8) : text
        %12 = call imagine(question: %8) : text
        %13 = select %10 then %11 else %12 ~ 0.6 : text
        return %13
        """)
    # "none" and "one" are said first, and leave 25 % for "many".
    assert found.visits == pytest.approx({"imagine": 0.25, "recall": 0.75, "route": 1.0})


def test_the_last_label_is_what_the_others_leave() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = constant [] : []
        %2 = call grade(question: %0, passages: %1) : "yes" | "no"
        %3 = constant "yes" : text
        %4 = compare %2 == %3 : bool
        %5 = call rewrite(question: %0) : text
        %6 = select %4 then %0 else %5 ~ 0.9 : text
        %7 = constant "no" : text
        %8 = compare %2 == %7 : bool
        %9 = call imagine(question: %6) : text
        %10 = select %8 then %9 else %6 ~ 0.5 : text
        return %10
        """)
    # What is said first holds.
    assert found.visits == pytest.approx({"grade": 1.0, "imagine": 0.1, "rewrite": 0.1})


def test_a_flag_set_in_a_branch_is_that_branch() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = call sure(question: %0) : bool
        %2 = constant false : bool
        %3 = constant true : bool
        %4 = select %1 then %2 else %3 ~ 0.9 : bool
        %5 = call rewrite(question: %0) : text
        %6 = select %4 then %5 else %0 ~ 0.1 : text
        %7 = call recall(question: %0) : text
        %8 = select %1 then %7 else %6 ~ 0.9 : text
        return %8
        """)
    assert found.visits == pytest.approx({"recall": 0.9, "rewrite": 0.1, "sure": 1.0})


def test_a_literal_condition_takes_its_arm() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = constant false : bool
        %2 = call rewrite(question: %0) : text
        %3 = call recall(question: %0) : text
        %4 = select %1 then %2 else %3 ~ 0.5 : text
        return %4
        """)
    assert found.visits == {"recall": 1.0}


@given(flows())
@examples(100)
def test_calls_are_ordered_and_visits_do_not_grow_by_passes(flow: Flow) -> None:
    before = demand(application(flow), flow, kinds=KINDS)
    after_passes = optimise(application(flow), kinds=KINDS)
    after = demand(after_passes, after_passes.flows[0], kinds=KINDS)
    for found in (before, after):
        seen: set[int] = set()
        for call in found.calls:
            assert set(call.after) <= seen
            seen.add(call.position)
        assert all(0.0 < call.probability <= 1.0 + 1e-9 for call in found.calls)
        counted = Counter(call.component for call in found.calls)
        assert all(visits <= counted[name] + 1e-9 for name, visits in found.visits.items())
    assert all(
        visits <= before.visits.get(name, 0.0) + 1e-9 for name, visits in after.visits.items() if name != "embed"
    )


def test_calls_wait_for_values_and_for_the_conditions_that_want_them() -> None:
    found = _demand(CORRECTIVE)
    after = {
        call.component: {found_at[at] for at in call.after} for found_at in [_names(found)] for call in found.calls
    }
    assert after == {
        "search": set(),
        "grade": {"search"},
        "rewrite": {"grade"},
        "web": {"rewrite"},
        "answer": {"web"},
    }


def _names(found: Demand) -> dict[int, str]:
    return {call.position: call.component for call in found.calls}


def test_a_call_that_is_wanted_anyway_does_not_wait_for_a_branch() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = call sure(question: %0) : bool
        %2 = call rewrite(question: %0) : text
        %3 = select %1 then %2 else %0 ~ 0.5 : text
        %4 = call join(one: %3, other: %2) : text
        return %4
        """)
    assert {call.component: call.after for call in found.calls}["rewrite"] == ()


def test_calls_that_no_request_sends_are_left_out_and_others_close_up() -> None:
    found = _demand(CORRECTIVE.replace("0.3", "0"))
    assert [call.component for call in found.calls] == ["search", "grade", "answer"]
    assert found.calls[-1].after == (found.calls[1].position,)


def test_paths_are_the_calls_that_requests_send_together() -> None:
    found = _demand(CORRECTIVE)
    names = _names(found)
    usual = ["answer", "grade", "search"]
    assert [sorted(names[at] for at in sent) for _, sent, _ in found.paths] == [
        usual,
        sorted([*usual, "rewrite", "web"]),
    ]
    assert [likely for likely, _, _ in found.paths] == pytest.approx([0.7, 0.3])


def test_the_calls_that_may_answer_are_marked() -> None:
    assert {call.component for call in _demand(CORRECTIVE).calls if call.streams} == {"answer"}


@given(flows())
@examples(100)
def test_what_waits_for_what_has_no_cycle(flow: Flow) -> None:
    assert nx.is_directed_acyclic_graph(call_graph(flow))


def test_extents_follow_values_through_the_flow() -> None:
    found = _demand(
        """
        %0 = parameter question : text
        %1 = call search(query: %0) {"top_k":3} : [passage]
        %2 = call web(query: %0) : [passage]
        %3 = concat %1 + %2 : [passage]
        %4 = call sure(question: %0) : bool
        %5 = select %4 then %1 else %3 ~ 0.5 : [passage]
        %6 = constant "four tokens here" : text
        %7 = record(draft: %6, found: %5) : (draft: text, found: [passage])
        %8 = field %7.found : [passage]
        %9 = call answer(question: %6, passages: %8) : text
        return %9
        """
    )
    # Chunks of 100 tokens from the search, of 150 from the web.
    assert found.extents[1] == Extent(300.0, 3.0)
    assert found.extents[3] == Extent(900.0, 7.0)
    assert found.extents[5] == Extent(600.0, 5.0)
    # In JSON each of five passages has a source, a score and three names, and each part of the record a name.
    assert found.extents[7].tokens == pytest.approx(604.0 + 5 * (21.25 + 0.5) + (11 + 11 + 2) / 4)
    assert found.extents[7].parts == {"draft": Extent(4.0), "found": found.extents[5]}
    assert found.extents[8] == Extent(600.0, 5.0)
    assert (found.work["answer"].prompt_tokens, found.work["answer"].output_tokens) == (604.0, 180.0)


def test_parts_and_items_of_items_are_known_where_branches_and_lists_meet() -> None:
    found = _demand(
        """
        %0 = parameter question : text
        %1 = call sure(question: %0) : bool
        %2 = constant "four tokens here" : text
        %3 = record(a: %2, b: %0) : (a: text, b: text)
        %4 = record(a: %0, b: %2) : (a: text, b: text)
        %5 = select %1 then %3 else %4 ~ 0.25 : (a: text, b: text)
        %6 = field %5.a : text
        %7 = list(%3) : [(a: text, b: text)]
        %8 = list(%4, %4, %4) : [(a: text, b: text)]
        %9 = concat %7 + %8 : [(a: text, b: text)]
        %10 = constant [["four tokens here"], ["four tokens here", "four tokens here", "four tokens here"]] : [[text]]
        %11 = apply flatten(%10) : [text]
        %12 = call answer(question: %6, passages: %9) : text
        return %12
        """
    )
    question = found.extents[0].tokens
    assert found.extents[6].tokens == pytest.approx(0.25 * 4.0 + 0.75 * question)
    item = found.extents[9].item
    assert item is not None
    assert item.parts is not None
    assert item.parts["a"].tokens == pytest.approx(0.25 * 4.0 + 0.75 * question)
    assert 4 * item.tokens == pytest.approx(found.extents[9].tokens)
    assert found.extents[11] == Extent(16.0, 4.0)


def test_work_is_the_mean_over_a_component_s_calls() -> None:
    found = _demand("""
        %0 = parameter question : text
        %1 = call sure(question: %0) : bool
        %2 = call rewrite(question: %0) : text
        %3 = call rewrite(question: %2) : text
        %4 = select %1 then %3 else %2 ~ 0.5 : text
        return %4
        """)
    assert found.visits["rewrite"] == 1.5
    assert found.work["rewrite"].prompt_tokens == pytest.approx((40.0 + 0.5 * 12.0) / 1.5)


def test_whoever_says_no_size_on_which_work_rests_is_named_and_not_who_is_given_it() -> None:
    body = """
        %0 = parameter question : text
        %1 = call rewrite(question: %0) : text
        %2 = call recall(question: %1) : text
        return %2
        """
    assert _demand(body).guessed == {"recall"}
    assert _demand(body, "question: text").guessed == {"recall", "p.question"}


def test_a_wide_flow_puts_its_calls_side_by_side() -> None:
    calls: list[Operation] = [Call("rewrite", ("question",), (0,)) for _ in range(200)]
    nodes = [Node(Parameter("question"), Text()), *(Node(call, Text()) for call in calls)]
    nodes.append(Node(MakeList(tuple(range(1, 201))), Text()))
    flow = Flow("p", (Port("question", Text()),), Text(), tuple(nodes), 201)
    found = demand(application(flow), flow, kinds=KINDS)
    assert all(call.after == () for call in found.calls)


def _streaming(body: str) -> set[str]:
    return {call.component for call in _demand(body).calls if call.streams}


def test_a_call_whose_answer_is_whole_does_not_stream() -> None:
    body = """
        %0 = parameter question : text
        %1 = call search(query: %0) : [passage]
        %2 = call sure(question: %0) : bool
        %3 = call rewrite(question: %0) : text
        %4 = whole %3 : text
        %5 = call answer(question: %0, passages: %1) : text
        %6 = select %2 then %4 else %5 ~ 0.3 : text
        return stream %6
        """
    assert _streaming(body) == {"answer"}
    assert _streaming(body.replace("then %4", "then %3")) == {"answer", "rewrite"}
    assert _streaming(body.replace("return stream", "return")) == set()


def test_a_call_that_is_returned_both_ways_is_taken_not_to_stream() -> None:
    body = """
        %0 = parameter question : text
        %1 = call recall(question: %0) : text
        %2 = call sure(question: %0) : bool
        %3 = whole %1 : text
        %4 = select %2 then %3 else %1 ~ 0.3 : text
        return stream %4
        """
    assert _streaming(body) == set()


def test_a_call_that_a_test_has_read_before_it_is_the_answer_does_not_stream() -> None:
    """All of it is there then; whether an attempt has failed is no such test."""
    drafted = """
        %0 = parameter question : text
        %1 = call recall(question: %0) : text
        %2 = call sure(question: %1) : bool
        %3 = call rewrite(question: %1) : text
        %4 = select %2 then %1 else %3 ~ 0.6 : text
        return stream %4
        """
    assert _streaming(drafted) == {"rewrite"}
    tried = """
        block 0(1 argument)
          %0 = argument 0 : text
          %1 = call recall(question: %0) : text
          results %1
        %0 = parameter question : text
        %1 = call rewrite(question: %0) : text
        %2 = attempt block 0(%0) else %1 : text
        return stream %2
        """
    assert _streaming(tried) == {"recall", "rewrite"}


def test_what_a_round_tests_before_it_is_the_last_one_does_not_stream() -> None:
    body = """
        block 0(1 argument)
          %0 = argument 0 : text
          %1 = call recall(question: %0) : text
          %2 = call sure(question: %1) : bool
          results %2, %1
        %0 = parameter question : text
        %1 = repeat block 0(%0) up to 2 ~ 0.5 : bool
        %2 = output 0 of %1 : text
        return stream %2
        """
    found = _demand(body)
    # The last round's test is asked of nobody.
    assert [call.streams for call in found.calls if call.component == "recall"] == [False, True]


def test_what_is_said_of_a_passage_or_a_message_is_said_of_its_text() -> None:
    found = _demand(
        """
        %0 = parameter said : message
        %1 = parameter found : passage
        %2 = field %0.text : text
        %3 = field %0.role : text
        %4 = field %1.text : text
        %5 = field %1.source : text
        return %2
        """,
        ports="said: message ~ 90, found: passage ~ 300",
    )
    assert (found.extents[2], found.extents[4]) == (Extent(90.0), Extent(300.0))
    assert max(found.extents[3].tokens, found.extents[5].tokens) < 10.0
