import pytest

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Attempt, Call, Program, ProgramParameter, RequestClass
from harmonia_compiler.contract.types import Number, Text
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.dead_code import without_unread
from harmonia_compiler.flow.text import show_flow
from tests.flow.library import application, read_flow

FLOW = """
    pipeline p(question: text, depth: number = 2) -> text
      slo p50 latency <= 500 ms
      slo p90 latency <= 2000 ms
      slo p99 latency <= 4000 ms
      slo p95 ttft <= 800 ms
      %0 = parameter question : text
      %1 = call web(query: %0) : [passage]
      %2 = call rewrite(question: %0) : text
      %3 = call recall(question: %2) : text
      return stream %3
    """


def test_a_program_holds_what_the_answer_reads_and_nothing_else() -> None:
    flow = read_flow(FLOW)
    program = lower(flow, application(flow))
    assert [type(operation).__name__ for operation in program.operations] == ["Parameter", "Call", "Call"]
    assert program.result == 2
    assert [*program.components] == ["recall", "rewrite"]
    assert program.streams


HANDED_ON = """
    pipeline p(question: text) -> text
      block 0(2 arguments)
        %0 = argument 0 : text
        %1 = argument 1 : text
        %2 = call sure(question: %0) : bool
        %3 = call recall(question: %1) : text
        %4 = select %2 then %3 else %0 ~ 0.5 : text
        results %2, %4
      block 1(1 argument)
        %0 = argument 0 : text
        %1 = call sure(question: %0) : bool
        %2 = call count(question: %0) : text
        %3 = select %1 then %2 else %0 ~ 0.5 : text
        results %3
      %0 = parameter question : text
      %1 = call rewrite(question: %0) : text
      %2 = call join(one: %0, other: %1) : text
      %3 = repeat block 0(%1; %0) up to 3 ~ 0.5 : bool
      %4 = output 0 of %3 : text
      %5 = call imagine(question: %0) : text
      %6 = after %2 give %5 : text
      %7 = attempt block 1(%4) else %6 : text
      return stream %7
    """


def test_calls_that_may_answer_are_marked_whatever_hands_their_value_on() -> None:
    flow = read_flow(HANDED_ON)
    program = lower(flow, application(flow))
    bodies = [*(block.operations for block in program.blocks), program.operations]
    marked = [
        [operation.component for operation in operations if isinstance(operation, Call) and operation.may_answer]
        for operations in bodies
    ]
    assert marked == [["recall"], ["count"], ["rewrite", "imagine"]]


def test_of_an_answer_that_is_a_record_its_first_text_is_marked() -> None:
    flow = read_flow("""
        pipeline p(question: text) -> (sure: bool, draft: text, other: text)
          %0 = parameter question : text
          %1 = call sure(question: %0) : bool
          %2 = call rewrite(question: %0) : text
          %3 = call recall(question: %0) : text
          %4 = record(sure: %1, draft: %2, other: %3) : (sure: bool, draft: text, other: text)
          return %4
        """)
    called = [each for each in lower(flow, application(flow)).operations if isinstance(each, Call)]
    assert [call.may_answer for call in called] == [False, True, False]


def test_a_call_for_all_items_of_a_list_is_marked_as_little_as_the_calls_for_each() -> None:
    one_by_one = read_flow("""
        pipeline p(question: text) -> [text]
          block 0(1 argument)
            %0 = argument 0 : text
            %1 = call rewrite(question: %0) : text
            results %1
          %0 = parameter question : text
          %1 = list(%0, %0) : [text]
          %2 = each block 0(%1) : [text]
          return %2
        """)
    at_once = read_flow("""
        pipeline p(question: text) -> [text]
          %0 = parameter question : text
          %1 = list(%0, %0) : [text]
          %2 = call rewrite(question: each %1) : [text]
          return %2
        """)
    for flow in (one_by_one, at_once):
        program = lower(flow, application(flow))
        bodies = [*(block.operations for block in program.blocks), program.operations]
        calls = [each for body in bodies for each in body if isinstance(each, Call)]
        assert [call.may_answer for call in calls] == [False]


def test_parameters_keep_their_defaults() -> None:
    flow = read_flow(FLOW)
    assert flow.ports[1] == Port("depth", Number(), default=2)
    assert lower(flow, application(flow)).parameters == (
        ProgramParameter("question", Text()),
        ProgramParameter("depth", Number(), 2),
    )


def test_the_promise_for_the_highest_quantile_is_the_deadline() -> None:
    flow = read_flow(FLOW)
    program = lower(flow, application(flow))
    assert program.deadline_ms == 4000.0


@pytest.mark.parametrize(("quantile", "deadline"), [("p50", None), ("p89", None), ("p90", 500.0), ("p99", 500.0)])
def test_a_median_s_promise_is_no_deadline(quantile: str, deadline: float | None) -> None:
    flow = read_flow(
        f"pipeline p(q: text) -> text\n  slo {quantile} latency <= 500 ms\n  %0 = parameter q : text\n  return %0"
    )
    assert lower(flow, application(flow)).deadline_ms == deadline


def test_without_a_promise_there_is_no_deadline() -> None:
    flow = read_flow("pipeline p(q: text) -> text\n  %0 = parameter q : text\n  return %0")
    assert lower(flow, application(flow)).deadline_ms is None


def test_classes_go_into_the_program() -> None:
    flow = read_flow("""
        pipeline p(q: text, urgency: "fast" | "slow") -> text
          class fast deadline 500 ms weight 4
          class slow weight 1
          class from urgency
          %0 = parameter q : text
          return %0
        """)
    program = lower(flow, application(flow))
    assert program.classes == (RequestClass("fast", 500.0, 4.0), RequestClass("slow"))
    assert program.class_parameter == "urgency"


def test_what_a_loop_no_longer_reads_goes_with_the_blocks_that_made_it() -> None:
    flow = read_flow("""
        pipeline p(question: text) -> text
          block 0(1 argument)
            %0 = argument 0 : text
            %1 = call rewrite(question: %0) : text
            results %1
          block 1(4 arguments)
            %0 = argument 0 : text
            %1 = argument 1 : text
            %2 = argument 2 : text
            %3 = argument 3 : text
            %4 = attempt block 0(%0) : text
            %5 = call join(one: %1, other: %3) : text
            %6 = call sure(question: %5) : bool
            results %6, %4, %5, %5, %4
          %0 = parameter question : text
          %1 = call imagine(question: %0) : text
          %2 = repeat block 1(%0, %0, %1; %0) up to 3 ~ 0.5 : bool
          %3 = output 2 of %2 : text
          return %3
        """)
    assert show_flow(without_unread(flow)) == (
        "pipeline p(question: text) -> text\n"
        "  block 0(2 arguments)\n"
        "    %0 = argument 0 : text\n"
        "    %1 = argument 1 : text\n"
        "    %2 = call join(one: %0, other: %1) : text\n"
        "    %3 = call sure(question: %2) : bool\n"
        "    results %3, %2, %2\n"
        "  %0 = parameter question : text\n"
        "  %1 = repeat block 0(%0; %0) up to 3 ~ 0.5 : bool\n"
        "  %2 = output 1 of %1 : text\n"
        "  return %2\n"
    )


def _lowered(text: str) -> Program:
    flow = read_flow(text)
    return lower(flow, application(flow))


def test_a_clock_waits_for_what_its_block_needs_on_every_path() -> None:
    program = _lowered("""
        pipeline p(question: text) -> text
          block 0(4 arguments)
            %0 = argument 0 : text
            %1 = argument 1 : text
            %2 = argument 2 : text
            %3 = argument 3 : text
            %4 = call sure(question: %2) : bool
            %5 = select %4 then %1 else %3 : text
            %6 = call join(one: %0, other: %5) : text
            results %6
          %0 = parameter question : text
          %1 = call rewrite(question: %0) : text
          %2 = call imagine(question: %0) : text
          %3 = attempt block 0(%0, %1, %2, %1) within 800 ms else %0 : text
          return %3
        """)
    attempt = program.operations[3]
    assert isinstance(attempt, Attempt)
    assert attempt.awaits == (0, 2)


def test_without_a_clock_nothing_is_awaited() -> None:
    program = _lowered("""
        pipeline p(question: text) -> text
          block 0(1 argument)
            %0 = argument 0 : text
            %1 = call rewrite(question: %0) : text
            results %1
          %0 = parameter question : text
          %1 = attempt block 0(%0) else %0 : text
          return %1
        """)
    assert program.operations[1] == Attempt(0, (0,), None, 0)


def test_rounds_after_the_first_and_items_that_need_not_be_there_are_not_awaited() -> None:
    """The loop's test needs its first argument in the first round; the last round's value its third one always."""
    program = _lowered("""
        pipeline p(question: text) -> [text]
          block 0(3 arguments)
            %0 = argument 0 : text
            %1 = argument 1 : text
            %2 = argument 2 : text
            %3 = call sure(question: %0) : bool
            %4 = call join(one: %1, other: %2) : text
            results %3, %0, %4, %4
          block 1(2 arguments)
            %0 = argument 0 : text
            %1 = argument 1 : text
            %2 = call join(one: %0, other: %1) : text
            results %2
          block 2(5 arguments)
            %0 = argument 0 : text
            %1 = argument 1 : text
            %2 = argument 2 : text
            %3 = argument 3 : text
            %4 = argument 4 : [text]
            %5 = repeat block 0(%0, %1; %2) up to 3 : bool
            %6 = output 2 of %5 : text
            %7 = list(%6) : [text]
            %8 = each block 1(%4; %3) : [text]
            %9 = concat %7 + %8 : [text]
            results %9
          %0 = parameter question : text
          %1 = call rewrite(question: %0) : text
          %2 = call imagine(question: %0) : text
          %3 = call recall(question: %0) : text
          %4 = call recall(question: %1) : text
          %5 = list(%0) : [text]
          %6 = attempt block 2(%1, %2, %3, %4, %5) within 10 ms else %5 : [text]
          return %6
        """)
    attempt = program.operations[6]
    assert isinstance(attempt, Attempt)
    assert attempt.awaits == (1, 3, 5)
