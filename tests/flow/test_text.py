from hypothesis import given, settings

from harmonia_compiler.contract.program import Call
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.text import show_flow, show_operation
from tests.flow.library import read_flow
from tests.flow.random_flows import flows

EVERYTHING = """\
pipeline every(question: text ~ 40, history: [message] ~ 4, depth: number = 2) -> (answer: text, found: [passage])
  slo p95 latency <= 4000 ms
  slo p99.9 ttft <= 800 ms
  load 20 rps peak 60 rps
  %0 = parameter question : text
  %1 = parameter depth : number
  %2 = constant {"a":[1,2.5,true],"b":"line\\n: \\"quoted\\" ~ 0.5"} : (a: [number], b: text)
  %3 = call search(query: %0) {"top_k":3} : [passage]
  %4 = call grade(question: %0, passages: %3) : "yes" | "no"
  %5 = compare %1 >= %1 : bool
  %6 = not %5 : bool
  %7 = field %2.b : text
  %8 = concat %3 + %3 : [passage]
  %9 = select %6 then %3 else %8 ~ 0.3 : [passage]
  %10 = list(%0, %7) : [text]
  %11 = list() : []
  %12 = record(answer: %7, found: %9) : (answer: text, found: [passage])
  return stream %12
"""


def test_every_operation_has_a_text() -> None:
    assert show_flow(read_flow(EVERYTHING)) == EVERYTHING


@given(flows())
@settings(max_examples=100, deadline=None)
def test_the_text_says_everything(flow: Flow) -> None:
    assert read_flow(show_flow(flow)) == flow


def test_the_order_of_settings_does_not_show() -> None:
    one = Call("web", ("query",), (0,), {"b": 1, "a": 2})
    other = Call("web", ("query",), (0,), {"a": 2, "b": 1})
    assert show_operation(one) == show_operation(other) == 'call web(query: %0) {"a":2,"b":1}'
