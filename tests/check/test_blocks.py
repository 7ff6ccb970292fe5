"""What loops, lists, fallbacks and calls that are not pure mean: what they answer, and which calls that takes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.program import Call, Program
from harmonia_compiler.contract.types import Value
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.policy.events import Answer, Elapsed, Fail, Failed, Finished, Send, Started, StartTimer
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance

COMPONENTS = """
component f(q: text) -> text = python("m:f")
component g(q: text) -> text = python("m:g")
component ok(q: text) -> bool = python("m:ok")
component kind(q: text) -> "a" | "b" = python("m:kind")
component many(q: text) -> [text] = python("m:many")
component find(q: text) -> [passage] = python("m:find")
component note(q: text) -> text = python("m:note", pure: false)
component small = llm("SmolLM2-135M-Instruct")
component say(q: text) -> text ~ 20 tokens = small("{q}")
class interactive(deadline: 3 s, weight: 4)
class batch(deadline: 2 min)
"""

Replies = dict[str, Callable[[str], Value]]


class Broken(Exception):
    """What a component's reply raises where its call shall fail."""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def checked(text: str) -> tuple[Flow, Program]:
    Path("a.rag").write_text(COMPONENTS + text, encoding="utf-8")
    found = check_files([Path("a.rag")])
    assert found.application is not None, found.found
    flow = found.application.flows[-1]
    return flow, lower(flow, found.application)


def run(text: str, replies: Replies, *, late: bool = False, **arguments: Value) -> tuple[Value, list[str]]:
    """The answer of the last pipeline, or the failed component in braces, and each call as `component(input)`.

    Calls end in the order in which they are made; with `late`, every timer runs out before any call ends.
    """
    _, program = checked(text)
    state = State()
    called: list[str] = []
    pending: list[Any] = [Started(arguments)]
    while pending:
        for command in advance(program, state, pending.pop(0)):
            match command:
                case Send(call, component, inputs):
                    called.append(f"{component}({inputs['q']})")
                    try:
                        pending.append(Finished(call, replies[component](inputs["q"])))
                    except Broken:
                        pending.append(Failed(call, "it broke"))
                case StartTimer(timer) if late:
                    pending.insert(0, Elapsed(timer))
                case Answer(value):
                    return value, called
                case Fail(component):
                    return {component}, called
    raise AssertionError("no answer")


def pipeline(body: str, head: str = "q: text", result: str = "text") -> str:
    return f"pipeline p({head}) -> {result} {{\n{body}\n}}"


def marked(name: str) -> Callable[[str], str]:
    return lambda q: f"{name}({q})"


def broken(_: str) -> Value:
    raise Broken


F_AND_G: Replies = {"f": marked("f"), "g": marked("g")}


# --- loops ---------------------------------------------------------------------------------------------------------


def test_a_name_is_handed_from_round_to_round() -> None:
    body = "x = q\nrepeat up to 3 { x = f(x) }\nreturn x"
    assert run(pipeline(body), F_AND_G, q="1") == ("f(f(f(1)))", ["f(1)", "f(f(1))", "f(f(f(1)))"])


def test_the_test_ends_the_loop_and_is_not_asked_of_the_last_round() -> None:
    body = "x = q\nrepeat up to 3 { x = f(x) } until ok(x)\nreturn x"
    replies: Replies = {**F_AND_G, "ok": lambda q: q == "f(f(1))"}
    assert run(pipeline(body), replies, q="1") == ("f(f(1))", ["f(1)", "ok(f(1))", "f(f(1))", "ok(f(f(1)))"])
    never: Replies = {**F_AND_G, "ok": lambda _: False}
    assert run(pipeline(body), never, q="1")[1] == ["f(1)", "ok(f(1))", "f(f(1))", "ok(f(f(1)))", "f(f(f(1)))"]


def test_what_only_a_next_round_needs_is_not_computed_in_the_last() -> None:
    body = "x = q\nrepeat up to 3 {\n y = f(x)\n x = g(y)\n} until ok(y)\nreturn y"
    replies: Replies = {**F_AND_G, "ok": lambda q: q == "f(g(f(1)))"}
    value, called = run(pipeline(body), replies, q="1")
    assert value == "f(g(f(1)))"
    assert called.count("g(f(1))") == 1
    assert not any(call.startswith("g(f(g") for call in called)


def test_a_name_that_is_new_in_a_loop_lives_on_and_what_does_not_change_is_read_from_outside() -> None:
    body = "x = q\nrepeat up to 2 {\n y = f(fixed)\n x = g(x)\n} until ok(x)\nreturn y"
    replies: Replies = {**F_AND_G, "ok": lambda _: True}
    assert run(pipeline("fixed = g(q)\n" + body), replies, q="1")[0] == "f(g(1))"


def test_lists_grow_from_an_empty_one_and_label_types_by_their_union() -> None:
    flow, _ = checked(
        pipeline(
            'all = []\nlast = "start"\nrepeat up to 2 {\n was = last\n last = kind(q)\n all = all + [q, was]\n}\n'
            'if was == "start" { return [] }\nreturn all',
            result="[text]",
        )
    )
    assert len(flow.blocks) == 1
    replies: Replies = {"kind": lambda _: "b"}
    body = "all = []\nrepeat up to 2 { all = all + [q, kind(q)] }\nreturn all"
    assert run(pipeline(body, result="[text]"), replies, q="1")[0] == ["1", "b", "1", "b"]


def test_a_return_inside_of_a_loop_ends_it() -> None:
    body = 'x = q\nrepeat up to 5 {\n x = f(x)\n if kind(x) == "b" { return g(x) }\n}\nreturn "none"'
    replies: Replies = {**F_AND_G, "kind": lambda q: "b" if q == "f(f(1))" else "a"}
    value, called = run(pipeline(body), replies, q="1")
    assert value == "g(f(f(1)))"
    assert "f(f(f(1)))" not in called
    assert run(pipeline(body), {**F_AND_G, "kind": lambda _: "a"}, q="1")[0] == "none"


def test_what_only_a_next_round_reads_is_used_wherever_it_is_bound() -> None:
    body = "x = q\nrepeat up to 3 {\n y = f(x)\n if ok(y) { x = g(y) }\n}\nreturn y"
    Path("a.rag").write_text(COMPONENTS + pipeline(body), encoding="utf-8")
    assert check_files([Path("a.rag")]).found == []
    body = "now = q\nrepeat up to 3 {\n before = now\n now = f(q)\n}\nreturn before"
    Path("a.rag").write_text(COMPONENTS + pipeline(body), encoding="utf-8")
    assert check_files([Path("a.rag")]).found == []


def test_loops_deep_inside_each_other_are_read_in_bounded_time() -> None:
    depth = 40
    opened = "".join(f"x{at} = []\nrepeat up to 2 {{\n" for at in range(depth))
    closed = "".join(f"x{at} = x{at} + [note(q)]\n}}\n" for at in reversed(range(depth)))
    flow, _ = checked(pipeline(f"{opened}{closed}return q"))
    assert len(flow.blocks) == depth


def test_loops_in_loops_and_in_branches() -> None:
    body = """
        x = q
        if ok(q) {
            repeat up to 2 {
                repeat up to 2 { x = f(x) }
                x = g(x)
            }
        }
        return x
    """
    assert run(pipeline(body), {**F_AND_G, "ok": lambda _: True}, q="1")[0] == "g(f(f(g(f(f(1))))))"
    assert run(pipeline(body), {**F_AND_G, "ok": lambda _: False}, q="1") == ("1", ["ok(1)"])


def test_a_loop_in_a_called_pipeline() -> None:
    text = """
        pipeline twice(q: text) -> text {
            x = q
            repeat up to 2 { x = f(x) }
            return x
        }
        pipeline outer(q: text) -> text { return twice(twice(g(q))) }
    """
    assert run(text, F_AND_G, q="1")[0] == "f(f(f(f(g(1)))))"


def test_the_shares_of_a_loop_and_of_its_early_answer() -> None:
    flow, _ = checked(pipeline("x = q\nrepeat up to 3 { x = f(x) } until ok(x) ~ 0.7\nreturn x"))
    assert [node.share for node in flow.nodes if node.share is not None] == [pytest.approx(0.7)]
    flow, _ = checked(
        pipeline(
            "x = q\nrepeat up to 2 {\n x = f(x)\n if ok(x) ~ 0.5 { return x }\n} until ok(g(x)) ~ 0.2\nreturn g(x)"
        )
    )
    shares = [node.share for node in flow.nodes if node.share is not None]
    assert shares == [pytest.approx(1 - 0.5 * 0.8), pytest.approx(0.5 + 0.4 * 0.5)]


# --- lists ---------------------------------------------------------------------------------------------------------


def test_each_keeps_the_order_and_runs_side_by_side() -> None:
    value, called = run(
        pipeline("return each x in many(q): f(x)", result="[text]"), {**F_AND_G, "many": lambda _: ["1", "2"]}, q=""
    )
    assert value == ["f(1)", "f(2)"]
    assert called == ["many()", "f(1)", "f(2)"]


def test_where_keeps_items_and_asks_for_no_value_of_the_others() -> None:
    replies: Replies = {**F_AND_G, "many": lambda _: ["1", "2", "3"], "ok": lambda q: q != "2"}
    value, called = run(pipeline("return each x in many(q) where ok(x) ~ 0.6: f(x)", result="[text]"), replies, q="")
    assert value == ["f(1)", "f(3)"]
    assert "f(2)" not in called


def test_where_narrows_labels() -> None:
    text = """
        component only(q: "b") -> text = python("m:only")
        pipeline p(ks: ["a" | "b"]) -> [text] { return each k in ks where k == "b": only(k) }
    """
    assert run(text, {"only": marked("only")}, ks=["a", "b"])[0] == ["only(b)"]


def test_each_in_each_reads_from_everywhere_outside() -> None:
    body = "return flatten(each x in many(q): each y in many(x): f(y))"
    replies: Replies = {**F_AND_G, "many": lambda q: [q + "a", q + "b"]}
    assert run(pipeline(body, result="[text]"), replies, q="")[0] == ["f(aa)", "f(ab)", "f(ba)", "f(bb)"]


def test_functions_work_on_lists() -> None:
    passages = [{"text": "t", "source": "s", "score": 1.0}]
    body = (
        "found = [find(q), find(q)]\nif count(take(flatten(found), 1)) == 1 { return fuse(found, top_k: 3) }\nreturn []"
    )
    value, _ = run(pipeline(body, result="[passage]"), {"find": lambda _: passages}, q="1")
    assert [(each["text"], each["score"]) for each in value] == [("t", pytest.approx(2 / 61))]


def test_a_component_goes_before_a_function_of_its_name() -> None:
    text = 'component count(q: text) -> text = python("m:count")\npipeline p(q: text) -> text { return count(q) }'
    assert run(text, {"count": marked("mine")}, q="1")[0] == "mine(1)"


# --- fallbacks -----------------------------------------------------------------------------------------------------


def test_else_stands_in_for_what_fails() -> None:
    assert run(pipeline("return f(g(q)) else q"), {**F_AND_G, "g": broken}, q="1") == ("1", ["g(1)"])
    assert run(pipeline("return f(q) else g(q) else q"), {"f": broken, "g": broken}, q="1") == ("1", ["f(1)", "g(1)"])
    assert run(pipeline("return f(q) else g(q)"), F_AND_G, q="1") == ("f(1)", ["f(1)"])


def test_else_catches_nothing_that_is_bound_elsewhere() -> None:
    assert run(pipeline("x = g(q)\nreturn f(x) else q"), {**F_AND_G, "g": broken}, q="1")[0] == {"g"}


def test_else_of_an_item_and_of_the_whole() -> None:
    replies: Replies = {"many": lambda _: ["1", "2"], "f": lambda q: broken(q) if q == "2" else q, "g": marked("g")}
    assert run(pipeline("return each x in many(q): f(x) else g(x)", result="[text]"), replies, q="")[0] == ["1", "g(2)"]
    assert run(pipeline("return (each x in many(q): f(x)) else []", result="[text]"), replies, q="")[0] == []


def test_within_gives_way_when_its_time_has_passed() -> None:
    assert run(pipeline("return f(q) within 2 s else g(q)"), F_AND_G, late=True, q="1")[0] == "g(1)"
    assert run(pipeline("return f(q) within 2 s"), F_AND_G, late=True, q="1")[0] == {"f"}
    assert run(pipeline("return f(q) within 2 s else g(q)"), F_AND_G, q="1")[0] == "f(1)"


def test_the_time_is_that_of_the_amount() -> None:
    flow, _ = checked(pipeline("return f(q) within 2 min else q"))
    assert [getattr(node.operation, "within_ms", None) for node in flow.nodes][-1] == 120_000


# --- calls that are not pure ---------------------------------------------------------------------------------------


NOTES: Replies = {**F_AND_G, "note": marked("note"), "ok": lambda q: q == "yes"}


def test_they_run_in_the_order_of_the_text_whether_or_not_their_value_is_used() -> None:
    body = 'a = note("1")\nb = f(q)\nc = note("2")\nreturn b'
    value, called = run(pipeline(body), NOTES, q="x")
    assert value == "f(x)"
    assert [call for call in called if call.startswith("note")] == ["note(1)", "note(2)"]


@pytest.mark.parametrize(("q", "notes"), [("yes", ["note(then)", "note(end)"]), ("no", ["note(else)", "note(end)"])])
def test_they_run_on_the_taken_path_alone(q: str, notes: list[str]) -> None:
    body = 'if ok(q) { a = note("then") } else { b = note("else") }\nc = note("end")\nreturn q'
    assert [call for call in run(pipeline(body), NOTES, q=q)[1] if call.startswith("note")] == notes


def test_they_run_once_in_every_round_and_for_every_item() -> None:
    body = "x = q\nrepeat up to 3 {\n x = f(x)\n a = note(x)\n}\nreturn q"
    assert [call for call in run(pipeline(body), NOTES, q="1")[1] if call.startswith("note")] == [
        "note(f(1))",
        "note(f(f(1)))",
        "note(f(f(f(1))))",
    ]
    replies: Replies = {**NOTES, "many": lambda _: ["1", "2"]}
    body = "a = each x in many(q): note(x)\nreturn q"
    assert [call for call in run(pipeline(body), replies, q="")[1] if call.startswith("note")] == ["note(1)", "note(2)"]


def test_an_early_return_keeps_the_rest_from_running() -> None:
    body = 'a = note("1")\nif ok(q) { return q }\nb = note("2")\nreturn f(q)'
    assert [call for call in run(pipeline(body), NOTES, q="yes")[1] if call.startswith("note")] == ["note(1)"]
    assert [call for call in run(pipeline(body), NOTES, q="no")[1] if call.startswith("note")] == ["note(1)", "note(2)"]


def test_they_run_where_a_called_pipeline_is_reached() -> None:
    text = """
        pipeline inner(q: text) -> text {
            a = note("in")
            return f(q)
        }
        pipeline outer(q: text) -> text {
            a = note("before")
            b = inner(q)
            c = note("after")
            return q
        }
    """
    notes = [call for call in run(text, NOTES, q="x")[1] if call.startswith("note")]
    assert notes == ["note(before)", "note(in)", "note(after)"]
    _, program = checked(text)
    before, inside, after = (each for each in program.operations if isinstance(each, Call) and each.component == "note")
    assert inside.after == program.operations.index(before)
    assert after.after is not None


def test_those_before_are_made_whatever_becomes_of_what_stands_between() -> None:
    first = 'a = note("1")\n'
    replies: Replies = {**NOTES, "many": lambda _: [], "ok": lambda _: False}
    for between in ("b = each x in many(q): note(x)", "b = ok(q) and ok(note(q))", 'b = f(q) else note("2")'):
        assert "note(1)" in run(pipeline(f"{first}{between}\nreturn q"), replies, q="x")[1]


# --- classes, and streaming ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["class", "urgent"])
def test_classes_their_loads_and_the_shares_that_follow(of: str) -> None:
    body = 'load interactive 16 rps peak 40 rps, batch 4 rps\nif urgency == "batch" { return f(q) }\nreturn q'
    flow, program = checked("type urgent = class\n" + pipeline(body, head=f"q: text, urgency: {of}"))
    assert [(each.name, each.deadline_ms, each.weight) for each in program.classes] == [
        ("interactive", 3000.0, 4.0),
        ("batch", 120_000.0, 1.0),
    ]
    assert program.class_parameter == flow.class_port == "urgency"
    assert flow.load is not None
    assert (flow.load.rps, flow.load.peak_rps) == (20, 44)
    assert [node.share for node in flow.nodes if node.share is not None] == [pytest.approx(0.2)]


@pytest.mark.parametrize(
    "body",
    [
        "x = q\nrepeat up to 2 { x = say(x) }\nreturn stream x",
        'return stream say(q) within 2 s else "later"',
        "return stream say(q) else say(f(q))",
        "repeat up to 2 {\n if ok(q) { return stream say(q) }\n q2 = f(q)\n} until ok(q2)\nreturn stream say(q)",
    ],
)
def test_text_streams_from_loops_and_fallbacks(body: str) -> None:
    _, program = checked(pipeline(body))
    assert program.streams
