import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Argument, Attempt, Call, Parameter, Program
from harmonia_compiler.contract.types import Text
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.draw import dot, mermaid
from harmonia_compiler.flow.graph import Application, Body, Flow, Node
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.picture import Arrow, Box, Opened, Picture, picture
from tests.examples import examples
from tests.flow.library import KINDS, application, read_flow
from tests.flow.random_flows import BLOCK_KINDS, flows, with_blocks
from tests.policy.random_programs import programs

CORRECTIVE = read_flow("""
    pipeline corrective(question: text ~ 40) -> text
      %0 = parameter question : text
      %1 = call search(query: %0) {"top_k":3} : [passage]
      %2 = call grade(question: %0, passages: %1) : "yes" | "no"
      %3 = constant "no" : text
      %4 = compare %2 == %3 : bool
      %5 = call rewrite(question: %0) : text
      %6 = call web(query: %5) : [passage]
      %7 = select %4 then %6 else %1 ~ 0.3 : [passage]
      %8 = call answer(question: %0, passages: %7) : text
      return stream %8
    """)

MERMAID = """\
flowchart TD
  subgraph s0["pipeline corrective"]
    n0(["question"])
    n1["embed<br/>encoder · encoder<br/>×1 a request"]
    n2["search<br/>store · store<br/>#123;#34;top_k#34;#58;3#125;<br/>×1 a request"]
    n3["grade<br/>model · model<br/>×1 a request"]
    n6["rewrite<br/>model · model<br/>×0.3 a request"]
    n7["web<br/>function · function<br/>×0.3 a request"]
    n8{"grade == #34;no#34;"}
    n9["answer<br/>model · model<br/>×1 a request"]
    end_(["answer, streamed"])
    n0 --> n1
    n1 --> n2
    n0 -->|"question"| n3
    n2 -->|"passages"| n3
    n0 --> n6
    n6 --> n7
    n3 -.-> n8
    n7 -->|"yes, 30 %"| n8
    n2 -->|"no, 70 %"| n8
    n0 -->|"question"| n9
    n8 -->|"passages"| n9
    n9 --> end_
  end
"""


REPEATED = read_flow("""
    pipeline chat(question: text ~ 40) -> text
      block 0(2 arguments)
        %0 = argument 0 : passage
        %1 = argument 1 : text
        %2 = call sure(question: %1) : bool
        %3 = list(%0) : [passage]
        %4 = constant [] : []
        %5 = select %2 then %3 else %4 ~ 0.6 : [passage]
        results %5
      block 1(1 argument)
        %0 = argument 0 : text
        %1 = call web(query: %0) : [passage]
        results %1
      block 2(2 arguments)
        %0 = argument 0 : text
        %1 = argument 1 : text
        %2 = constant [] : [passage]
        %3 = attempt block 1(%0) within 2000 ms else %2 : [passage]
        %4 = each block 0(%3; %1) : [[passage]]
        %5 = apply flatten(%4) : [passage]
        %6 = call answer(question: %1, passages: %5) : text
        %7 = call grade(question: %6, passages: %5) : "yes" | "no"
        %8 = constant "yes" : "yes"
        %9 = compare %7 == %8 : bool
        results %9, %6, %6
      %0 = parameter question : text
      %1 = repeat block 2(%0; %0) up to 3 ~ 0.7 : bool
      %2 = output 1 of %1 : text
      return stream %2
    """)

FRAMED = """\
flowchart TD
  subgraph s0["pipeline chat"]
    n0(["question"])
    subgraph b2["repeat up to 3, last round 70 %"]
      b2n0("as of the round before")
      b2n2("#91;#93;")
      b2n3{"failed or late?"}
      b2n5("flatten")
      b2n6["answer<br/>model · model<br/>×1.39 a request"]
      b2n7["grade<br/>model · model<br/>×1.3 a request"]
      b2until{"until grade == #34;yes#34;"}
      subgraph b1["try within 2 s, else"]
        b1n1["web<br/>function · function<br/>×1.39 a request"]
      end
      subgraph b0["each of ~3.96"]
        b0n0("item")
        b0n2["sure<br/>model · model<br/>×5.5 a request"]
        b0n3("list")
        b0n4("#91;#93;")
        b0n5{"sure"}
      end
    end
    end_(["answer, streamed"])
    n0 -->|"first round"| b2n0
    b2n6 -->|"next round"| b2n0
    b1n1 -->|"no"| b2n3
    b2n2 -->|"yes"| b2n3
    b0n5 --> b2n5
    n0 -->|"question"| b2n6
    b2n5 -->|"passages"| b2n6
    b2n6 -->|"question"| b2n7
    b2n5 -->|"passages"| b2n7
    b2n7 -.-> b2until
    b2n0 --> b1n1
    b2n3 --> b0n0
    n0 --> b0n2
    b0n0 --> b0n3
    b0n2 -.-> b0n5
    b0n3 -->|"yes, 60 %"| b0n5
    b0n4 -->|"no, 40 %"| b0n5
    b2n6 --> end_
  end
"""


def _picture(flow: Flow, optimised: bool = True) -> Picture:  # noqa: FBT001, FBT002
    drawn: Application = optimise(application(flow), kinds=KINDS) if optimised else application(flow)
    return picture(drawn.flows[0], drawn, demand(drawn, drawn.flows[0], kinds=KINDS))


def test_a_flow_in_mermaid() -> None:
    assert mermaid([_picture(CORRECTIVE)]) == MERMAID


def test_loops_lists_and_fallbacks_are_framed() -> None:
    drawn = _picture(REPEATED, optimised=False)
    assert mermaid([drawn]) == FRAMED
    written = dot([drawn])
    assert _parse_dot(written)
    assert '      subgraph cluster_b1 {\n        label="try within 2 s, else";\n' in written


def test_a_loop_that_nothing_ends_says_how_often_it_runs_and_shows_no_test() -> None:
    flow = read_flow("""
        pipeline p(question: text) -> text
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
    drawn = _picture(flow)
    assert [part.title for part in drawn.parts if isinstance(part, Opened)] == ["repeat 7 times"]
    assert [box.lines[0] for box in drawn.boxes] == ["question", "as of the round before", "rewrite", "answer"]


def test_calls_say_what_of_them_is_at_once_begun_early_and_in_order() -> None:
    flow = read_flow("""
        pipeline p(question: text) -> text
          %0 = parameter question : text
          %1 = list(%0, %0) : [text]
          %2 = call embed(text: each %1) : [vector]
          %3 = call sure(question: %0) : bool
          %4 = call count(question: %0) : text
          %5 = call count(question: %0) after %4 : text
          %6 = select %3 then %5 else %0 early %4 ~ 0.5 : text
          %7 = after %2 give %6 : text
          return %7
        """)
    drawn = _picture(flow, optimised=False)
    lines = [line for box in drawn.boxes for line in box.lines]
    assert "each text, at once" in lines
    assert lines.count("begun early") == 1
    assert [(arrow.source, arrow.target) for arrow in drawn.arrows if arrow.label == "first"] == [
        ("n4", "n5"),
        ("n2", "n7"),
    ]


@pytest.mark.slow
def test_frames_in_frames_need_no_recursion() -> None:
    inner = Body((Node(Argument(0), Text()), Node(Call("rewrite", ("question",), (0,)), Text())), (1,))
    blocks = [inner]
    blocks += [Body((Node(Argument(0), Text()), Node(Attempt(at, (0,)), Text())), (1,)) for at in range(1_200)]
    nodes = (Node(Parameter("question"), Text()), Node(Attempt(1_200, (0,)), Text()))
    flow = Flow("p", (Port("question", Text()),), Text(), nodes, 1, blocks=tuple(blocks))
    drawn = _picture(flow, optimised=False)
    assert [(arrow.source, arrow.target) for arrow in drawn.arrows] == [("n0", "b0n1"), ("b0n1", "end_")]
    assert mermaid([drawn]).count("subgraph") == mermaid([drawn]).count("end\n") == 1_202


def test_a_flow_in_dot() -> None:
    drawn = dot([_picture(CORRECTIVE)])
    assert '    n3 [label="grade\\nmodel · model\\n×1 a request", shape=box];\n' in drawn
    assert '    n8 [label="grade == \\"no\\"", shape=diamond];\n' in drawn
    assert '    n3 -> n8 [label="", style=dashed];\n' in drawn
    assert '    n7 -> n8 [label="yes, 30 %"];\n' in drawn
    assert _parse_dot(drawn)


#: What DOT is made of: quoted texts with escapes, names, numbers and signs.
_DOT_TOKEN = re.compile(r'\s+|"(?:[^"\\\n]|\\.)*"|->|[A-Za-z_][A-Za-z_0-9]*|[0-9]+|[{}\[\];,=]')


def _parse_dot(text: str) -> list[tuple[str, ...]]:
    """The statements of a digraph as their tokens; fails where it is none."""
    tokens: list[str] = []
    at = 0
    while at < len(text):
        matched = _DOT_TOKEN.match(text, at)
        assert matched, text[at : at + 40]
        tokens += [matched[0]] if matched[0].strip() else []
        at = matched.end()
    assert tokens[0] == "digraph"
    depth = 0
    statement: list[str] = []
    statements: list[tuple[str, ...]] = []
    for token in tokens[2:]:
        depth += (token == "{") - (token == "}")
        if token in "{};":
            statements.append(tuple(statement))
            statement = []
        else:
            statement.append(token)
    assert depth == 0
    assert statement == []
    return [found for found in statements if found]


_TEXT = r'"(?:[^"<>`]|<br/>)*"'
_MERMAID_LINE = re.compile(
    r"flowchart TD"
    r'| +subgraph \w+\["[^"<>`\[\]{}|]*"\]'
    r"| +end"
    rf"| +\w+(?:\(\[{_TEXT}\]\)|\[{_TEXT}\]|\{{{_TEXT}\}}|\({_TEXT}\))"
    r'|    \w+ (?:-->|-\.->)(?:\|"[^"<>`|]*"\|)? \w+'
)


def _check_drawn(drawn: Picture) -> None:
    """Every arrow has its boxes, every frame ends, and both languages can read it."""
    names = [box.name for box in drawn.boxes]
    names += [part.name for part in drawn.parts if isinstance(part, Opened)]
    assert len({*names}) == len(names)
    assert all(arrow.source in names and arrow.target in names for arrow in drawn.arrows)
    depth = 0
    for line in mermaid([drawn]).splitlines():
        assert _MERMAID_LINE.fullmatch(line), line
        depth += line.lstrip().startswith("subgraph ") - (line.strip() == "end")
        assert depth >= 0
    assert depth == 0
    assert _parse_dot(dot([drawn]))


NASTY = [
    'say "no"]; evil [shape=box',
    "<script>alert(1)</script>",
    "a\nend\nsubgraph x",
    "back\\slash\\",
    '\\"',
    "`code` #quot; &quot; %%{init: {}}%%",
    "|pipe| --> [x] {y} (z)",
    "\x1b[31m\u202e",
]


@given(st.sampled_from(NASTY) | st.text(max_size=30))
@examples(200)
def test_no_text_leaves_its_label(text: str) -> None:
    drawn = Picture(text, (Box("a", "call", (text, text)), Box("b", "branch", (text,))), (Arrow("a", "b", text),))
    for line in mermaid([drawn]).splitlines():
        assert _MERMAID_LINE.fullmatch(line), line
    statements = _parse_dot(dot([drawn]))
    assert [statement[0] for statement in statements] == ["node", "subgraph", "label", "a", "b", "a"]


@given(flows())
@examples(60)
def test_every_flow_can_be_drawn(flow: Flow) -> None:
    for optimised in (True, False):
        _check_drawn(_picture(flow, optimised))


@given(programs())
@examples(150)
def test_every_flow_with_blocks_can_be_drawn(program: Program) -> None:
    flow, made = with_blocks(program)
    _check_drawn(picture(flow, made, demand(made, flow, kinds=BLOCK_KINDS)))


def test_a_long_literal_is_cut() -> None:
    body = msgspec.json.encode("x" * 500).decode()
    flow = read_flow(f"pipeline p(q: text) -> text\n %0 = constant {body} : text\n return %0")
    assert max(len(line) for box in _picture(flow).boxes for line in box.lines) == 60


@pytest.mark.parametrize(
    ("share", "labels"), [("0.125", ["yes, 12.5 %", "no, 87.5 %"]), ("1", ["yes, 100 %", "no, 0 %"])]
)
def test_shares_stand_on_the_arms(share: str, labels: list[str]) -> None:
    flow = read_flow(f"""
        pipeline p(q: text) -> text
          %0 = parameter q : text
          %1 = call sure(question: %0) : bool
          %2 = call rewrite(question: %0) : text
          %3 = select %1 then %2 else %0 ~ {share} : text
          return %3
        """)
    assert [arrow.label for arrow in _picture(flow).arrows if arrow.label] == labels


def test_and_and_or_are_written_into_the_branch() -> None:
    flow = read_flow("""
        pipeline p(q: text) -> text
          %0 = parameter q : text
          %1 = call sure(question: %0) : bool
          %2 = call rewrite(question: %0) : text
          %3 = call sure(question: %2) : bool
          %4 = not %3 : bool
          %5 = constant false : bool
          %6 = select %1 then %4 else %5 ~ 0.5 : bool
          %7 = select %6 then %2 else %0 ~ 0.2 : text
          return %7
        """)
    drawn = _picture(flow)
    assert [box.lines for box in drawn.boxes if box.shape == "branch"] == [("sure and not sure",)]
    assert sum(arrow.is_dashed for arrow in drawn.arrows) == 2


def test_what_leaves_as_a_whole_beside_what_streams_says_so() -> None:
    flow = read_flow("""
        pipeline p(q: text) -> text
          %0 = parameter q : text
          %1 = call sure(question: %0) : bool
          %2 = call rewrite(question: %0) : text
          %3 = whole %2 : text
          %4 = call imagine(question: %0) : text
          %5 = select %1 then %3 else %4 ~ 0.2 : text
          return stream %5
        """)
    drawn = _picture(flow)
    (whole,) = (box for box in drawn.boxes if box.lines == ("in one piece",))
    assert (whole.shape, drawn.boxes[-1].lines) == ("data", ("answer, streamed",))
    assert [arrow.label for arrow in drawn.arrows if arrow.source == whole.name] == ["yes, 20 %"]
