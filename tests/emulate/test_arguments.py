"""What emulated requests bring: as much as their ports are declared with, which is what plans are made for."""

from pathlib import Path

import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.types import Value
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emulate.behaviour import extent_of
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.scenario import Coming, Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.kinds.extents import text_tokens
from harmonia_compiler.kinds.openai import show_value
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.workload.arrivals import constant, until
from harmonia_compiler.workload.request import Arrival
from tests.emulate.planned import planned_for

HEAD = 'component small = llm("meta-llama/Llama-3.2-3B-Instruct", max_model_len: 16384, max_tokens: 8)\n'

SOURCE = """
component answer(given: PORT, question: text) -> text ~ 4 tokens = small("{given} Question: {question}")
pipeline chat(given: PORTSIZE, question: text ~ 15 tokens) -> text {
    load 4 rps
    return stream answer(given, question)
}
"""

#: A conversation that is there in 6 of 10 requests, and what is brought beside it.
CONDENSED = """
component condense(history: [message], question: text) -> text ~ 6 tokens = small("{history} Rewrite {question}")
component answer(notes: [text], question: text) -> text ~ 4 tokens = small("{notes} Answer {question}")
pipeline chat(history: [message ~ 40 tokens] ~ 4, notes: [text ~ 50 tokens] ~ 6, question: text ~ 15 tokens) -> text {
    load 8 rps
    query = question
    if count(history) > 0 ~ 0.6 { query = condense(history, question) }
    return answer(notes, query)
}
"""
WINDOW = Window(500.0, 5000.0)


def of_port(folder: Path, port: str, size: str) -> Scenario:
    return planned_for(folder, HEAD + SOURCE.replace("PORTSIZE", size).replace("PORT", port))


def requests(planned: Scenario, number: int) -> list[Coming]:
    return [*planned.coming(Arrival(float(at)) for at in range(number))]


PORTS = [
    ("[text]", "[text ~ 200 tokens] ~ 40", 40, 8_000.0),
    ("[text]", "[text ~ 200 tokens] ~ 40 = []", 40, 8_000.0),
    ("[text]", "[text] ~ 3", 3, 180.0),
    ("[message]", "[message ~ 1000 tokens] = []", 4, 4_000.0),
    ("[(a: text)]", "[(a: text ~ 40 tokens)] = []", 4, 4 * (40.0 + 9 / 4)),
    ("[[text]]", '[[text ~ 5 tokens]] = [["one two"], ["three"]]', 4, 4 * 4 * 5.0),
    ("(a: (b: [text]))", '(a: (b: [text] ~ 8)) = (a: (b: ["one"]))', 1, 8 * (60.0 + 4 / 4) + 2 * 7 / 4),
    ("[message]", "[message ~ 40 tokens] ~ 12", 12, 480.0),
    ("[message]", "[message]", 4, 800.0),
    ("[passage]", "[passage ~ 100 tokens] ~ 20", 20, 2_000.0),
    ("[number]", "[number] ~ 500", 500, 2_000.0),
    ("[bool]", "[bool] ~ 500", 500, 1_000.0),
    ('["a" | "several"]', '["a" | "several"] ~ 100', 100, 275.0),
    ("[[number]]", "[[number]] ~ 10", 10, 160.0),
    ("number", "number", 1, 4.0),
    ("bool", "bool", 1, 2.0),
    # Of a record the names count, and the marks of JSON: `"n": 0.…, "b": true` and two braces.
    ("(n: number, b: bool)", "(n: number, b: bool)", 1, 6.0 + 2 * 7 / 4),
    ("(a: text, n: number)", "(a: text ~ 40 tokens, n: number)", 1, 44.0 + (9 + 7) / 4),
    ("[(a: text)]", "[(a: text ~ 40 tokens)] ~ 10", 10, 10 * (40.0 + 9 / 4)),
    ("(a: [text])", "(a: [text ~ 40 tokens] ~ 10)", 1, 10 * (40.0 + 4 / 4) + 7 / 4),
    ("[[text]]", "[[text ~ 5 tokens] ~ 12] ~ 3", 3, 180.0),
    ("text", "text ~ 700 tokens", 1, 700.0),
    ("text", 'text ~ 700 tokens = "none"', 1, 700.0),
]


@pytest.mark.parametrize(("port", "size", "items", "tokens"), PORTS, ids=[size for _, size, *_ in PORTS])
def test_a_port_is_brought_as_large_as_it_is_declared_and_planned(
    tmp_path: Path, port: str, size: str, items: int, tokens: float
) -> None:
    planned = of_port(tmp_path, port, size)
    (coming,) = requests(planned, 1)
    extent = extent_of(coming.arguments["given"], planned.application.flows[0].ports[0].type)
    assert extent.items == items
    assert extent.tokens == pytest.approx(tokens)
    seen = simulate(planned, [Arrival(0.0)], Window(0.0, 1.0), load_cards(), {}).observed
    (call,) = demand(planned.application, planned.application.flows[0]).calls
    assert [one.tokens_in for one in seen] == [pytest.approx(call.work.prompt_tokens, abs=2.0)]


@pytest.mark.parametrize(
    ("port", "default", "brought"),
    [
        ("[text]", "[]", []),
        ("[(a: text, n: number)]", "[]", []),
        ("[[text]]", '[["one two"]]', [["one two"]]),
        ("(a: text, n: number)", '(a: "x", n: 3)', {"a": "x", "n": 3}),
    ],
)
def test_where_no_size_is_said_a_default_is_what_is_brought(
    tmp_path: Path, port: str, default: str, brought: Value
) -> None:
    (coming,) = requests(of_port(tmp_path, port, f"{port} = {default}"), 1)
    assert coming.arguments["given"] == brought


def test_a_fraction_of_an_item_comes_as_often(tmp_path: Path) -> None:
    came = [len(one.arguments["given"]) for one in requests(of_port(tmp_path, "[text]", "[text] ~ 2.5"), 400)]
    assert {*came} == {2, 3}
    assert came.count(3) == pytest.approx(200, abs=45)


def test_the_turns_before_a_question_end_with_an_answer(tmp_path: Path) -> None:
    planned = of_port(tmp_path, "[message]", "[message ~ 40 tokens] ~ 3")
    turns: Value = requests(planned, 1)[0].arguments["given"]
    assert [turn["role"] for turn in turns] == ["assistant", "user", "assistant"]
    assert len({turn["text"] for turn in turns}) == 3


def test_a_list_that_is_asked_whether_it_is_empty_is_so_often_and_else_as_long_as_declared(tmp_path: Path) -> None:
    lengths = [len(one.arguments["history"]) for one in requests(planned_for(tmp_path, HEAD + CONDENSED), 1000)]
    assert {*lengths} == {0, 4}
    # Four and a half standard deviations of 1,000 draws.
    assert lengths.count(4) == pytest.approx(600, abs=70)


def test_a_list_that_is_asked_for_several_numbers_is_as_near_to_its_length_as_may_be(tmp_path: Path) -> None:
    planned = planned_for(
        tmp_path,
        HEAD
        + """
component answer(notes: [text], question: text) -> text ~ 4 tokens = small("{notes} Answer {question}")
pipeline chat(notes: [text ~ 50 tokens] ~ 6, question: text ~ 15 tokens) -> text {
    if count(notes) > 20 ~ 0.2 { return answer(notes, "many") }
    if count(notes) < 3 ~ 0.5 { return answer(notes, "few") }
    if count(notes) == 3 ~ 0.25 { return answer(notes, "three") }
    return answer(notes, question)
}
""",
    )
    lengths = [len(one.arguments["notes"]) for one in requests(planned, 1000)]
    shares = {21: 200, 2: 400, 3: 100, 6: 300}
    assert {*lengths} == {*shares}
    assert {length: lengths.count(length) for length in shares} == pytest.approx(shares, abs=70)


@pytest.mark.slow
def test_a_rehearsal_is_brought_what_a_simulation_is(tmp_path: Path) -> None:
    planned = planned_for(tmp_path, HEAD + CONDENSED)
    arrivals = [*until(constant(8.0), WINDOW.to_ms)]
    rehearsed = rehearse(planned, arrivals, WINDOW, {}, Wishes(factor=2.0), lambda _: None).report
    simulated = simulate(planned, arrivals, WINDOW, load_cards(), {}).report
    figures, others = (report.groups[0].figures for report in (rehearsed, simulated))
    assert figures.outcomes[Outcome.OK] == figures.requests == others.requests > 0
    calls = {stage.component: stage.calls_per_request for stage in rehearsed.stages}
    assert calls == {stage.component: stage.calls_per_request for stage in simulated.stages}
    assert 0.0 < calls["condense"] < 1.0
    works = {call.component: call.work for call in demand(planned.application, planned.application.flows[0]).calls}
    planned_for_each = sum(works[name].prompt_tokens * often for name, often in calls.items())
    for each in (figures, others):
        assert each.tokens_in_per_s is not None
        # Who ends within the window is not just who arrives in it.
        assert each.tokens_in_per_s / each.throughput_rps == pytest.approx(planned_for_each, rel=0.1)


def of_rows(folder: Path, port: str, test: str) -> Scenario:
    """Nothing that is brought stands in a prompt, which would have to fit a model's context."""
    source = f"""
component rows({port.partition(" ~")[0]}) -> text ~ 4 tokens = python("rows:rows")
component say(question: text) -> text ~ 4 tokens = small("{{question}}")
pipeline chat({port}, question: text ~ 15 tokens) -> text {{
    {test}
    return say(rows(given))
}}
"""
    return planned_for(folder, HEAD + source)


@pytest.mark.parametrize(
    ("port", "test"),
    [
        ("given: [number] ~ 100000000", ""),
        ("given: text ~ 100000000 tokens", ""),
        ("given: [text] ~ 3", "if count(given) > 100000000 ~ 0.3 { return say(question) }"),
    ],
)
def test_what_is_larger_than_can_be_drawn_is_refused(tmp_path: Path, port: str, test: str) -> None:
    with pytest.raises(Rejected) as rejected:
        of_rows(tmp_path, port, test)
    (found,) = rejected.value.found
    assert found.code == "E1343"
    assert "`given` of `chat` has up to" in found.message


def test_a_number_of_items_that_never_comes_is_asked_for_all_the_same(tmp_path: Path) -> None:
    test = "if count(given) > 100000000 ~ 0.0 { return say(question) }"
    (coming,) = requests(of_rows(tmp_path, "given: [text] ~ 3", test), 1)
    assert len(coming.arguments["given"]) == 3


def test_numbers_that_nothing_asks_about_are_others_in_each_request_and_the_same_in_its_repetition(
    tmp_path: Path,
) -> None:
    planned = of_port(tmp_path, "[number]", "[number] ~ 500")
    first, again = ([one.arguments["given"] for one in requests(planned, 3)] for _ in range(2))
    assert first == again
    assert len({number for numbers in first for number in numbers}) == 1_500
    assert all(0.0 <= number < 1.0 for numbers in first for number in numbers)


def test_a_prompt_of_numbers_is_as_long_in_a_rehearsal_as_in_a_plan(tmp_path: Path) -> None:
    planned = of_port(tmp_path, "[number]", "[number] ~ 500")
    (coming,) = requests(planned, 1)
    shown = show_value(coming.arguments["given"], planned.application.flows[0].ports[0].type)
    # Between five hundred numbers of four tokens lines end.
    assert text_tokens(shown) == pytest.approx(2_000 + 499 / 4, rel=0.02)
