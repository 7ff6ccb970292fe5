"""What pipelines mean: their flows as text, and what those flows answer when they are executed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.program import Call
from harmonia_compiler.contract.types import Value
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.text import show_flow
from harmonia_compiler.policy.events import Answer, Fail, Finished, Send, Started
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance

COMPONENTS = """
component f(q: text) -> text = python("m:f")
component g(q: text) -> "a" | "b" | "c" = python("m:g")
component yes(q: text) -> bool = python("m:yes")
component many(q: text) -> [text] = python("m:many")
component step(q: text) -> (thought: text, done: bool) = python("m:step")
component small = llm("SmolLM2-135M-Instruct")
component say(q: text) -> text = small("{q}")
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def application(pipelines: str) -> Application:
    Path("a.rag").write_text(COMPONENTS + pipelines, encoding="utf-8")
    checked = check_files([Path("a.rag")])
    assert checked.application is not None, checked.found
    return checked.application


def flow(body: str, head: str = "q: text", result: str = "text") -> str:
    """The nodes of a pipeline with this body, one a line, without its header."""
    (found,) = application(f"pipeline p({head}) -> {result} {{\n{body}\n}}").flows
    return "\n".join(line.strip() for line in show_flow(found).split("\n")[1:-1])


def answer(body: str, replies: dict[str, Callable[[str], Value]], **arguments: Value) -> tuple[Value, list[str]]:
    """What a pipeline with this body answers, and the components that were called on the way, in order."""
    head = ", ".join(f"{name}: {'bool' if isinstance(value, bool) else 'text'}" for name, value in arguments.items())
    app = application(f"pipeline p({head}) -> text {{\n{body}\n}}")
    program = lower(app.flows[0], app)
    state = State()
    called: list[str] = []
    pending: list[Any] = [Started(arguments)]
    while pending:
        for command in advance(program, state, pending.pop(0)):
            match command:
                case Send(call, component, inputs):
                    called.append(component)
                    pending.append(Finished(call, replies[component](inputs["q"])))
                case Answer(value):
                    return value, called
                case Fail():
                    raise AssertionError(command)
    raise AssertionError("no answer")


def giving(value: Value) -> Callable[[str], Value]:
    return lambda _: value


def test_a_call_reads_its_arguments() -> None:
    assert flow("return f(q: f(q))") == (
        "%0 = parameter q : text\n%1 = call f(q: %0) : text\n%2 = call f(q: %1) : text\nreturn %2"
    )


def test_a_branch_is_a_select_that_carries_the_share() -> None:
    assert flow('x = q\nif g(q) == "a" ~ 0.3 { x = f(q) }\nreturn stream say(x)') == (
        "%0 = parameter q : text\n"
        '%1 = call g(q: %0) : "a" | "b" | "c"\n'
        '%2 = constant "a" : "a"\n'
        "%3 = compare %1 == %2 : bool\n"
        "%4 = call f(q: %0) : text\n"
        "%5 = select %3 then %4 else %0 ~ 0.3 : text\n"
        "%6 = call say(q: %5) : text\n"
        "return stream %6"
    )


def shares(body: str) -> list[float]:
    (found,) = application(f"pipeline p(q: text, k: bool) -> text {{\n{body}\nreturn f(q) }}").flows
    return [round(node.share, 6) for node in found.nodes if node.share is not None]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('if g(q) == "a" { return q }', [0.5]),
        ("if yes(q) ~ 0.2 { return q }", [0.2]),
        ("if yes(q) ~ 0.2 { return q } elif k ~ 0.4 { return f(q) } else { x = q }", [0.5, 0.2]),
        ("if yes(q) { return q } elif k { return f(q) }", [0.5, 0.333333]),
        ("if yes(q) ~ 0.4 { return q } elif k { return f(q) }", [0.5, 0.4]),
        ("if yes(q) ~ 1 { return q } elif k { return f(q) }", [0.0, 1.0]),
        ("if yes(q) and k ~ 0.25 { return q }", [0.5, 0.25]),
        ("if yes(q) or k ~ 0.75 { return q }", [0.5, 0.75]),
        ("if not (yes(q) or k) ~ 0.25 { return q }", [0.5, 0.25]),
    ],
)
def test_shares_are_of_those_that_reach_the_condition(body: str, expected: list[float]) -> None:
    assert shares(body) == expected


def test_a_chain_over_all_labels_needs_no_else() -> None:
    body = (
        'n = g(q)\nif n == "a" ~ 0.2 { return f(q) }\nelif n == "b" ~ 0.4 { return q }\nelif n == "c" { return say(q) }'
    )
    replies = {"f": lambda q: f"f({q})", "say": lambda q: f"say({q})"}
    for label, expected in (("a", "f(x)"), ("b", "x"), ("c", "say(x)")):
        value, called = answer(body, {**replies, "g": giving(label)}, q="x")
        assert value == expected
        assert set(called) <= {"g", "f", "say"}
        assert len(called) <= 2


def test_only_the_taken_path_runs() -> None:
    body = "if k { x = f(q) } else { x = say(q) }\nreturn x"
    replies = {"f": lambda q: f"f({q})", "say": lambda q: f"say({q})"}
    assert answer(body, replies, q="1", k=True) == ("f(1)", ["f"])
    assert answer(body, replies, q="1", k=False) == ("say(1)", ["say"])


@pytest.mark.parametrize(
    ("a", "b", "expected"), [(True, True, "1"), (True, False, "2"), (False, True, "3"), (False, False, "4")]
)
def test_early_returns_at_any_depth(*, a: bool, b: bool, expected: str) -> None:
    body = """
        if a {
            if b { return "1" }
            x = "2"
        } else {
            if b { return "3" } else { x = "4" }
        }
        return x
    """
    assert answer(body, {}, a=a, b=b) == (expected, [])


@pytest.mark.parametrize(("a", "b"), [(True, True), (True, False), (False, True), (False, False)])
def test_and_or_and_not(*, a: bool, b: bool) -> None:
    tests = {
        "a and b": a and b,
        "a or b": a or b,
        "not a and not b": not a and not b,
        "not (a or b) or a": not (a or b) or a,
    }
    for test, holds in tests.items():
        assert answer(f'if {test} {{ return "yes" }}\nreturn "no"', {}, a=a, b=b)[0] == ("yes" if holds else "no")


def test_and_asks_the_second_only_where_the_first_holds() -> None:
    body = 'if k and yes(q) { return "both" }\nreturn "no"'
    assert answer(body, {"yes": lambda _: True}, q="x", k=False) == ("no", [])
    assert answer(body, {"yes": lambda _: True}, q="x", k=True) == ("both", ["yes"])


def test_a_name_that_every_path_binds_lives_on() -> None:
    body = 'if a { if b { x = "1" } else { x = "2" } } else { x = "3" }\nreturn f(x)'
    for a, b, expected in ((True, True, "1"), (True, False, "2"), (False, True, "3")):
        assert answer(body, {"f": lambda q: q}, a=a, b=b)[0] == expected


def test_label_types_meet_in_their_union_and_narrow_in_arms() -> None:
    text = """
        component only(n: "b" | "c") -> text = python("m:only")
        pipeline p(q: text, k: bool) -> text {
            n = g(q)
            if n == "a" { return q }
            if k { m = "a" } else { m = "x" }
            if m == "a" { return f(m) }
            return only(n)
        }
    """
    (found,) = application(text).flows
    assert "select %" in show_flow(found)
    assert '"a" | "x"' in show_flow(found)


@pytest.mark.parametrize(
    "narrowed",
    [
        'if n != "a" and n != "b" { return only(n) }',
        'if not (n == "a" or n == "b") { return only(n) }',
        'if n == "a" or n == "b" { return q }\nreturn only(n)',
        'if n != "a" and k and n != "b" { return only(n) }',
        'if k and n != "a" and (k or n != "c") and n != "b" { return only(n) }',
    ],
)
def test_what_the_tests_before_have_left_is_left_of_a_label_together(narrowed: str) -> None:
    application(
        f"""
        component only(n: "c") -> text = python("m:only")
        pipeline p(q: text, k: bool) -> text {{
            n = g(q)
            {narrowed}
            return q
        }}
        """.replace("return only(n)\n            return q", "return only(n)")
    )


def test_lists_records_and_fields() -> None:
    assert flow(
        's = step(q)\nreturn (all: many(q) + [s.thought, "x"] + [], done: s.done)', result="(all: [text], done: bool)"
    ) == (
        "%0 = parameter q : text\n"
        "%1 = call step(q: %0) : (thought: text, done: bool)\n"
        "%2 = call many(q: %0) : [text]\n"
        "%3 = field %1.thought : text\n"
        '%4 = constant "x" : "x"\n'
        "%5 = list(%3, %4) : [text]\n"
        "%6 = list() : []\n"
        "%7 = concat %2 + %5 : [text]\n"
        "%8 = concat %7 + %6 : [text]\n"
        "%9 = field %1.done : bool\n"
        "%10 = record(all: %8, done: %9) : (all: [text], done: bool)\n"
        "return %10"
    )


def test_a_called_pipeline_stands_at_the_place_of_the_call() -> None:
    app = application(
        """
        pipeline inner(q: text, again: bool = true) -> text {
            if again ~ 0.1 { return f(q) }
            return q
        }
        pipeline outer(q: text) -> text { return f(inner(q)) }
        """
    )
    assert [found.name for found in app.flows] == ["inner", "outer"]
    assert show_flow(app.flows[1]).split("\n")[1:-1] == [
        "  %0 = parameter q : text",
        "  %1 = constant true : bool",
        "  %2 = call f(q: %0) : text",
        "  %3 = select %1 then %2 else %0 ~ 0.1 : text",
        "  %4 = call f(q: %3) : text",
        "  return %4",
    ]


def test_clauses() -> None:
    (found,) = application(
        "pipeline p(q: text ~ 40 tokens) -> text {\n"
        "slo p95 latency <= 4 s, p999 ttft <= 800 ms\nload 20 rps peak 60 rps\nreturn stream say(q) }"
    ).flows
    assert [(goal.metric, goal.quantile, goal.bound_ms) for goal in found.objectives] == [
        ("latency", 0.95, 4000.0),
        ("ttft", 0.999, 800.0),
    ]
    assert found.load is not None
    assert (found.load.rps, found.load.peak_rps) == (20, 60)
    assert found.ports[0].size == 40
    assert found.streams


def test_settings_of_a_call_go_with_it() -> None:
    (found,) = application("pipeline p(q: text) -> text { return say(q, max_tokens: 8, timeout: 2 s) }").flows
    (call,) = [node.operation for node in found.nodes if isinstance(node.operation, Call)]
    assert call.settings == {"max_tokens": 8, "timeout": 2000}
