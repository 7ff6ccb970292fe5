"""Branches of emulated requests, each sent through the gateway's stepper, are taken as often as the source says."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from math import sqrt
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harmonia_compiler.check.files import check_files
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.flow import demand as demands
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.guards import guards
from harmonia_compiler.policy.events import Answer, Finished, Send, Started, items_of
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance
from tests.emulate.planned import Asked, planned_for
from tests.emulate.random_branches import random_source
from tests.emulate.random_values import random_values
from tests.examples import examples

REQUESTS = 3_000
#: Of all figures that a test compares, one in some hundred thousand is so many standard errors off by chance.
ERRORS = 4.5
#: So many calls more or less than planned say nothing.
FEW = 3

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 1000)
component good(draft: text) -> bool = small("{draft} good?")
component bad(draft: text) -> bool = small("{draft} bad?")
component odd(draft: text) -> bool = small("{draft} odd?")
component judge(draft: text) -> "full" | "part" | "none" = small("{draft} supported?")
component again(draft: text) -> "full" | "part" | "none" = small("{draft} supported now?")
component score(draft: text) -> number = small("{draft}, from 0 to 1?")
component weight(draft: text) -> number = small("{draft}, how much of 1?")
component review(draft: text) -> (fine: bool, verdict: "full" | "none", text: text) = small("Review {draft}")
component redo(draft: text) -> text = small("Again: {draft}")
component answer(question: text) -> text = small("Answer: {question}")
component other(question: text) -> text = small("Say that you do not know: {question}")
"""

#: Bodies of a pipeline of a text `q`.
BODIES = {
    "a label that is found anew": """
    verdict = judge(q)
    if verdict == "none" ~ 0.3 { verdict = again(redo(q)) }
    if verdict == "none" ~ 0.1 { return other(q) }
    return answer(q)""",
    "two tests, of which the second one is known": """
    draft = q
    long = good(q)
    rude = bad(q)
    if long ~ 0.5 { draft = redo(q) }
    if rude and long ~ 0.1 { return other(draft) }
    return answer(draft)""",
    "an early return in a loop": """
    draft = q
    repeat up to 4 {
        draft = redo(draft)
        if bad(draft) ~ 0.1 { return other(q) }
    } until good(draft) ~ 0.4
    return answer(draft)""",
    "two early returns, each by a test of its own": """
    draft = q
    repeat up to 3 {
        draft = redo(draft)
        if bad(draft) ~ 0.1 { return other(q) }
        if not odd(draft) ~ 0.3 { return other(draft) }
    } until good(draft) ~ 0.4
    return answer(draft)""",
    "two early returns in a loop that call different components": """
    draft = q
    repeat up to 3 {
        draft = redo(draft)
        if bad(draft) ~ 0.1 { return other(draft) }
        if odd(draft) ~ 0.5 { return answer(draft) }
    }
    return draft""",
    "bounds of one number, one after the other": """
    s = score(q)
    if s >= 0.7 ~ 0.5 { return answer(q) }
    elif s >= 0.3 ~ 0.4 { return other(q) }
    return redo(q)""",
    "a number between two bounds": """
    s = score(q)
    if s > 0.3 and s < 0.7 ~ 0.2 { return other(q) }
    return answer(q)""",
    "one number, and what is below and above it": """
    s = score(q)
    if s == 0.5 ~ 0.2 { return other(q) }
    if s <= 0.5 ~ 0.5 { return redo(q) }
    return answer(q)""",
    "two numbers between two bounds": """
    s = score(q)
    draft = q
    if s < 3 ~ 0.3 { draft = redo(draft) }
    if s <= 3 ~ 0.4 { draft = redo(draft) }
    if s == 4 ~ 0.2 { draft = answer(draft) }
    if s == 3 or s == 4 { return other(draft) }
    if s > 4 ~ 0.1 { return draft }
    return other(q)""",
    "one number in rounds, and after them": """
    draft = q
    repeat up to 3 {
        draft = redo(draft)
        sure = score(draft)
    } until sure == 1 ~ 0.4
    if sure != 1 { return other(draft) }
    return answer(draft)""",
    "a test that is known to fail, and another one": """
    if good(q) ~ 0.2 { return answer(q) }
    if good(q) or bad(q) ~ 0.5 { return other(q) }
    return redo(q)""",
    "a label, or another one and a truth": """
    v = judge(q)
    if v == "full" or (v == "part" and good(q)) ~ 0.5 { return other(q) }
    return answer(q)""",
    "a label and a truth together": """
    if bad(q) and judge(q) == "none" ~ 0.05 { return other(q) }
    return answer(q)""",
    "either of two labels": """
    if judge(q) == "none" or judge(q) == "part" ~ 0.3 { return other(q) }
    return answer(q)""",
    "neither of two labels": """
    if judge(q) != "none" and judge(q) != "part" ~ 0.7 { return answer(q) }
    return other(q)""",
    "one label in a loop, and another one after it": """
    draft = q
    repeat up to 3 {
        draft = redo(draft)
        verdict = judge(draft)
        if verdict == "none" ~ 0.1 { return other(q) }
    } until verdict == "full" ~ 0.6
    return answer(draft)""",
    "three tests of which all must hold": """
    if good(q) and not bad(q) and score(q) > 0.7 ~ 0.2 { return answer(q) }
    return other(q)""",
    "one test that is known and one that is not": """
    text = q
    if bad(q) ~ 0.5 { text = redo(q) }
    if bad(q) or odd(q) ~ 0.6 { return other(text) }
    return answer(text)""",
    "the same component at two places": """
    if good(q) ~ 0.5 { return answer(q) }
    if good(redo(q)) ~ 0.5 { return answer(redo(q)) }
    return other(q)""",
    "a truth that is compared with its opposite": """
    if good(q) == false ~ 0.3 { return other(q) }
    return answer(q)""",
    "a label that is bound on two paths": """
    verdict = judge(q)
    if bad(q) ~ 0.3 { verdict = again(redo(q)) }
    if verdict == "full" ~ 0.6 { return answer(q) }
    return other(q)""",
    "a truth and a number that are bound on two paths": """
    fine = good(q)
    sure = score(q)
    if bad(q) ~ 0.3 {
        fine = odd(redo(q))
        sure = weight(q)
    }
    if fine ~ 0.6 { return answer(q) }
    if sure > 0.7 ~ 0.2 { return other(q) }
    return redo(q)""",
    "a label that is bound on two paths, of which one is known": """
    verdict = judge(q)
    if verdict == "none" ~ 0.4 { verdict = again(redo(q)) }
    if verdict == "full" ~ 0.6 { return answer(q) }
    if verdict == "part" ~ 0.5 { return redo(q) }
    return other(q)""",
    "a field of a record, after the loop in which it was bound": """
    draft = q
    repeat up to 3 {
        draft = redo(draft)
        seen = review(draft)
    } until seen.fine ~ 0.4
    if seen.verdict == "none" ~ 0.2 { return other(q) }
    return answer(seen.text)""",
    "a label is neither of two, and then one": """
    verdict = judge(q)
    if verdict != "none" and verdict != "part" ~ 0.3 { return answer(q) }
    if verdict == "none" ~ 0.5 { return other(q) }
    return redo(q)""",
    "the test of a loop again after it": """
    draft = q
    repeat up to 2 {
        draft = redo(draft)
        verdict = judge(draft)
    } until verdict == "full" ~ 0.7
    if verdict != "full" { return other(q) }
    return answer(draft)""",
    "another label than that of a loop after it": """
    draft = q
    repeat up to 3 {
        draft = redo(draft)
        verdict = judge(draft)
    } until verdict == "full" ~ 0.4
    if verdict == "none" ~ 0.1 { return other(q) }
    return answer(draft)""",
    "a bound in a loop, after one of which nobody says anything": """
    draft = q
    repeat up to 3 {
        draft = redo(draft)
        sure = score(draft)
        if sure < 0.2 ~ 0.1 { return other(q) }
    } until sure > 0.7
    if sure > 0.7 { return answer(draft) }
    if sure < 0.4 { return other(draft) }
    return answer(q)""",
    "the same component in a loop and in one around it": """
    draft = q
    repeat up to 3 {
        inner = draft
        repeat up to 3 { inner = redo(inner) } until good(inner) ~ 0.5
        draft = inner
    } until good(draft) ~ 0.5
    return answer(draft)""",
}

#: Bodies of which those that are left ask much the same, and that take long.
SELDOM = {
    "two early returns in a loop that call different components",
    "one label in a loop, and another one after it",
    "one number in rounds, and after them",
}
EVERY = [pytest.param(body, id=name, marks=[pytest.mark.slow] * (name in SELDOM)) for name, body in BODIES.items()]


def calls_of(planned: Scenario, request: int) -> Counter[str]:
    """How often one request calls each component."""
    program, state = planned.service.programs["ask"], State()
    made = Counter[str]()
    pending = advance(program, state, Started({"q": "why?"}))
    while pending:
        match pending.pop(0):
            case Send() as send:
                made[send.component] += 1
                component, where = program.components[send.component], (request, send.path, send.site)
                asked = Asked(component, send.settings, items_of(send), bool(send.over), *where)
                value, _ = planned.behaviour.answer(asked)
                pending += advance(program, state, Finished(send.call, value))
            case command:
                assert isinstance(command, Answer), command
    assert state.ended
    return made


def test_what_is_planned_for_two_early_returns_in_a_loop(tmp_path: Path) -> None:
    body = BODIES["two early returns in a loop that call different components"]
    planned = planned_for(tmp_path, f"{HEAD}pipeline ask(q: text ~ 10 tokens) -> text {{{body}\n}}\n")
    visits = demand(planned.application, planned.application.flows[0]).visits
    rounds = 1.0 + 0.45 + 0.45**2
    assert visits["other"] == pytest.approx(0.1 * rounds)
    assert visits["answer"] == pytest.approx(0.9 * 0.5 * rounds)
    assert visits["redo"] == pytest.approx(rounds)


def off(folder: Path, source: str, requests: int) -> list[tuple[str, float, float]]:
    """The components that requests call more or less often than planned: what came, and what was planned."""
    planned = planned_for(folder, source)
    (flow,) = planned.application.flows
    expected = demand(planned.application, flow).visits
    found = [calls_of(planned, request) for request in range(requests)]
    wrong = []
    for component in {*expected}.union(*found):
        visits, counts = expected.get(component, 0.0), [each[component] for each in found]
        mean = sum(counts) / requests
        spread = sum((count - mean) ** 2 for count in counts) / requests
        # What is rare may not have come at all, and then does not spread; or a few times too often.
        spread = max(spread, visits * (1.0 - visits))
        if abs(mean - visits) > ERRORS * sqrt(spread / requests) + FEW / requests:
            wrong.append((component, mean, visits))
    return wrong


@pytest.mark.parametrize("body", EVERY)
def test_as_often_as_the_source_says(tmp_path: Path, body: str) -> None:
    assert off(tmp_path, f"{HEAD}pipeline ask(q: text ~ 10 tokens) -> text {{{body}\n}}\n", REQUESTS) == []


@pytest.mark.slow
@pytest.mark.parametrize("written", [random_source, random_values])
@examples(90)
@given(seed=st.integers(0, 2**32 - 1))
def test_as_often_as_is_planned_whatever_is_asked(
    written: Callable[[int], str], tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    source = written(seed)
    folder = tmp_path_factory.mktemp("branches")
    (path := folder / "random.rag").write_text(source)
    # A test for a label that those before have taken is refused.
    assume(check_files([path], {}).application is not None)
    assert off(folder, source, 600) == [], source


@pytest.mark.parametrize("seed", [3, 4, 8, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (12, 47970))])
def test_values_that_are_asked_about_again_and_again(tmp_path: Path, seed: int) -> None:
    """Some that a guess once held of in the place of what is said: in rounds of loops, in lists made of lists."""
    assert off(tmp_path, random_values(seed), 600) == []


def test_where_a_plan_is_an_estimate_its_shares_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
    verdict = judge(q)
    if verdict == "full" ~ 0.7 { return answer(q) }
    if score(q) > 0.5 ~ 0.1 { return other(q) }
    if verdict == "none" ~ 0.9 { return answer(redo(q)) }
    fine = good(q)
    if bad(q) and fine ~ 0.1 { return other(redo(q)) }
    if odd(q) ~ 0.2 { return redo(q) }
    if fine { return other(answer(q)) }
    return q"""
    monkeypatch.setattr(demands, "guards", partial(guards, limit=12))
    source = f"{HEAD}pipeline ask(q: text ~ 10 tokens) -> text {{{body}\n}}\n"
    planned = planned_for(tmp_path, source)
    assert not demand(planned.application, planned.application.flows[0]).exact
    assert off(tmp_path, source, REQUESTS) == []


def test_what_no_request_should_reach_can_be_answered(tmp_path: Path) -> None:
    body = "if good(q) ~ 0 { return other(q) }\n    return answer(q)"
    planned = planned_for(tmp_path, f"{HEAD}pipeline ask(q: text ~ 10 tokens) -> text {{\n    {body}\n}}\n")
    assert "other" not in demand(planned.application, planned.application.flows[0]).visits
    other = planned.service.programs["ask"].components["other"]
    answered, _ = planned.behaviour.answer(Asked(other, {}, [{"question": "why?"}], many=False, request=1))
    assert answered
