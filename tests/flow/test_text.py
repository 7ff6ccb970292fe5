from hypothesis import given

from harmonia_compiler.contract.component import Port, Sizes
from harmonia_compiler.contract.program import Call, Constant
from harmonia_compiler.contract.types import Field, ListOf, Record, Text
from harmonia_compiler.flow.graph import Flow, Node
from harmonia_compiler.flow.text import show_flow, show_operation
from tests.examples import examples
from tests.flow.library import read_flow
from tests.flow.random_flows import flows

EVERYTHING = """\
pipeline every(question: text ~ 40, history: [message] ~ 4, depth: number = 2) -> (answer: text, found: [passage])
  class interactive deadline 3000 ms weight 4
  class batch weight 1
  class from urgency
  slo p95 latency <= 4000 ms
  slo p99.9 ttft <= 800 ms
  load 20 rps peak 60 rps
  load interactive 16 rps peak 40 rps
  load batch 4 rps peak 20 rps
  block 0(2 arguments)
    %0 = argument 0 : text
    %1 = argument 1 : [passage]
    %2 = call answer(question: %0, passages: %1) : text
    results %2
  block 1(3 arguments)
    %0 = argument 0 : text
    %1 = argument 1 : [passage]
    %2 = argument 2 : bool
    %3 = call rewrite(question: %0) : text
    %4 = attempt block 0(%0, %1) within 800 ms else %3 awaits %0, %1 : text
    results %2, %4, %4
  block 2(1 argument)
    %0 = argument 0 : text
    %1 = call search(query: %0) : [passage]
    results %1
  block 3(1 argument)
    %0 = argument 0 : bool
    results %0
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
  %13 = repeat block 1(%0; %3, %6) up to 3 ~ 0.7 : bool
  %14 = output 1 of %13 : text
  %15 = each block 2(%10) : [[passage]]
  %16 = apply fuse(%15) {"top_k":6} : [passage]
  %17 = call embed(text: each %10) : [vector]
  %18 = call count(question: %0) after %14 : text
  %19 = after %18 give %14 : text
  %20 = select %6 then %19 else %18 early %19, %18 ~ 0.3 : text
  %21 = repeat block 3(; %6) up to 100 : bool
  return stream %12
"""


def test_every_operation_has_a_text() -> None:
    assert show_flow(read_flow(EVERYTHING)) == EVERYTHING


@given(flows())
@examples(100)
def test_the_text_says_everything(flow: Flow) -> None:
    assert read_flow(show_flow(flow)) == flow


def test_the_order_of_settings_does_not_show() -> None:
    one = Call("web", ("query",), (0,), {"b": 1, "a": 2})
    other = Call("web", ("query",), (0,), {"a": 2, "b": 1})
    assert show_operation(one) == show_operation(other) == 'call web(query: %0) {"a":2,"b":1}'


def test_sizes_are_shown_wherever_they_are_said() -> None:
    person = Record((Field("name", Text()), Field("rows", ListOf(ListOf(Text())))))
    inner = Sizes(item=Sizes(parts={"name": Sizes(5.0), "rows": Sizes(3.0, Sizes(2.0, Sizes(9.0)))}))
    ports = (
        Port("people", ListOf(person), 4.0, inner=inner),
        Port("notes", ListOf(Text()), item_size=7.0),
        Port("lists", ListOf(ListOf(Text()))),
    )
    flow = Flow("p", ports, Text(), (Node(Constant("a"), Text()),), 0)
    shown = "people: [(name: text ~ 5, rows: [[text ~ 9] ~ 2] ~ 3)] ~ 4, notes: [text ~ 7], lists: [[text]]"
    assert show_flow(flow).startswith(f"pipeline p({shown}) -> text\n")
