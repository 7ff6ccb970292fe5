import pytest

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import ProgramParameter
from harmonia_compiler.contract.types import Number, Text
from harmonia_compiler.flow.lower import lower
from tests.flow.library import application, read_flow

FLOW = """
    pipeline p(question: text, depth: number = 2) -> text
      slo p50 latency <= 500 ms
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
