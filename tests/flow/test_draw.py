import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.draw import dot, mermaid
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.picture import Arrow, Box, Picture, picture
from tests.flow.library import KINDS, application, read_flow
from tests.flow.random_flows import flows

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


def _picture(flow: Flow, optimised: bool = True) -> Picture:  # noqa: FBT001, FBT002
    drawn: Application = optimise(application(flow), kinds=KINDS) if optimised else application(flow)
    return picture(drawn.flows[0], drawn, demand(drawn, drawn.flows[0], kinds=KINDS))


def test_a_flow_in_mermaid() -> None:
    assert mermaid([_picture(CORRECTIVE)]) == MERMAID


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
    r'|  subgraph \w+\["[^"<>`\[\]{}|]*"\]'
    r"|  end"
    rf"|    \w+(?:\(\[{_TEXT}\]\)|\[{_TEXT}\]|\{{{_TEXT}\}}|\({_TEXT}\))"
    r'|    \w+ (?:-->|-\.->)(?:\|"[^"<>`|]*"\|)? \w+'
)

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
@settings(max_examples=200, deadline=None)
def test_no_text_leaves_its_label(text: str) -> None:
    drawn = Picture(text, (Box("a", "call", (text, text)), Box("b", "branch", (text,))), (Arrow("a", "b", text),))
    for line in mermaid([drawn]).splitlines():
        assert _MERMAID_LINE.fullmatch(line), line
    statements = _parse_dot(dot([drawn]))
    assert [statement[0] for statement in statements] == ["node", "subgraph", "label", "a", "b", "a"]


@given(flows())
@settings(max_examples=60, deadline=None)
def test_every_flow_can_be_drawn_and_every_arrow_has_its_boxes(flow: Flow) -> None:
    for optimised in (True, False):
        drawn = _picture(flow, optimised)
        names = {box.name for box in drawn.boxes}
        assert all(arrow.source in names and arrow.target in names for arrow in drawn.arrows)
        assert all(_MERMAID_LINE.fullmatch(line) for line in mermaid([drawn]).splitlines())
        assert _parse_dot(dot([drawn]))


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
    assert sum(arrow.decides for arrow in drawn.arrows) == 2
