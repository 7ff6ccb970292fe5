"""Rounds that are left together: as many of each call as there are, and what comes of the last of them.

A loop of n rounds that each end it in a share of the requests is summed up round by round here.
"""

from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow import expand
from harmonia_compiler.flow.demand import Demand, demand
from harmonia_compiler.flow.passes.registry import optimise

HEAD = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component sorry(q: text) -> text = small("sorry {q}")
component done(q: text) -> text = small("done {q}")
component late(q: text) -> text = small("late {q}")
"""


class Loop(NamedTuple):
    """Inside of the one before: its limit, how often a round returns, how often others end it, and its call."""

    limit: int
    returns: float
    ends: float
    call: int


def loops(seed: int) -> list[Loop]:
    random = Random(seed)
    return [
        Loop(random.randint(3, 12), random.choice([0.0, 0.02, 0.1]), random.choice([0.05, 0.2, 0.5]), depth)
        for depth in range(random.randint(1, 3))
    ]


def text(nested: list[Loop]) -> str:
    lines = [HEAD]
    for *_, call in nested:
        lines += [
            f'component w{call}(q: text) -> text = small("{{q}} {call}")',
            f'component b{call}(q: text) -> bool = small("{{q}} b{call}")',
            f'component c{call}(q: text) -> bool = small("{{q}} c{call}")',
        ]
    lines += ["pipeline p(q: text ~ 9 tokens) -> text {", "    y = q"]
    for limit, returns, _, call in nested:
        lines += [f"    repeat up to {limit} {{", f"    y = w{call}(y)"]
        if returns:
            lines.append(f"    if b{call}(y) ~ {returns} {{ return sorry(q) }}")
    for _, _, ends, call in reversed(nested):
        lines += [f"    ok{call} = c{call}(y)", f"    }} until ok{call} ~ {ends}"]
    return "\n".join((*lines, "    if ok0 { return done(y) }", "    return late(y)", "}"))


def came(nested: list[Loop]) -> tuple[dict[str, float], float, float]:
    """How often each call of a loop is made, how often it returns, and how often its last round is one that ends it."""
    limit, returns, ends, call = nested[0]
    inner, inside = (came(nested[1:])[:2]) if nested[1:] else (dict[str, float](), 0.0)
    found, reached, returned, ended = dict[str, float](), 1.0, 0.0, 0.0
    for _ in range(limit):
        goes_on = reached * (1.0 - returns)
        found[f"w{call}"] = found.get(f"w{call}", 0.0) + reached
        for name, often in inner.items():
            found[name] = found.get(name, 0.0) + goes_on * often
        returned += reached * returns + goes_on * inside
        reached = goes_on * (1.0 - inside)
        ended += reached * ends
        reached *= 1.0 - ends
    return found, returned, ended


def planned(source: str, folder: Path) -> Demand:
    path = folder / "p.rag"
    path.write_text(source)
    application = check_files([path]).application
    assert application is not None
    application = optimise(application)
    return demand(application, application.flows[0])


def agrees(seed: int, folder: Path) -> None:
    nested = loops(seed)
    found = planned(text(nested), folder)
    visits, returned, ended = came(nested)
    visits |= {"sorry": returned, "done": ended, "late": 1.0 - returned - ended}
    made = {name: found.visits.get(name, 0.0) for name in visits}
    assert made == pytest.approx(visits, abs=1e-6), f"seed {seed}\n{text(nested)}"
    assert found.exact, f"seed {seed}\n{text(nested)}"


@pytest.mark.parametrize("seed", range(20))
def test_what_comes_of_rounds_is_as_if_each_was_told_apart(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expand, "NEGLIGIBLE", 1e-12)
    monkeypatch.setattr(expand, "_ROUNDS", (1 + seed % 2,))
    agrees(seed, tmp_path)


def test_what_a_round_asks_of_the_one_before_makes_figures_estimates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expand, "_ROUNDS", (1,))
    source = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component grade(q: text) -> bool = small("{q}")
component mend(q: text) -> text = small("mend {q}")
pipeline p(q: text ~ 9 tokens) -> text {
    y = q
    good = grade(y)
    repeat up to 5 {
        if good ~ 0.4 { return y }
        y = mend(y)
        good = grade(y)
    }
    return y
}
"""
    assert not planned(source, tmp_path).exact
    monkeypatch.setattr(expand, "_ROUNDS", (5,))
    assert planned(source, tmp_path).exact


OUTSIDE = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component grade(q: text) -> bool = small("{q}")
component mend(q: text) -> text = small("mend {q}")
pipeline p(q: text ~ 9 tokens) -> text {
    y = q
    good = grade(q)
    repeat up to 5 {
        y = mend(y)
        fine = grade(y)
    } until good or fine ~ 0.5
    if good ~ 0.4 { return mend(y) }
    return y
}
"""


def test_what_ends_rounds_and_is_of_none_of_them_makes_figures_estimates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expand, "_ROUNDS", (1,))
    assert not planned(OUTSIDE, tmp_path).exact
    monkeypatch.setattr(expand, "_ROUNDS", (5,))
    assert planned(OUTSIDE, tmp_path).exact


PARTS = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component state(q: text) -> "done" | "more" | "stuck" = small("{q}")
component mend(q: text) -> text = small("mend {q}")
pipeline p(q: text ~ 9 tokens) -> text {
    y = q
    repeat up to 40 {
        y = mend(y)
        found = state(y)
        if found == "stuck" ~ 0.8 { y = mend(y) }
    } until found == "done"
    return y
}
"""


def test_rounds_are_as_many_as_what_ends_them_says_wherever_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = planned(PARTS, tmp_path).visits
    monkeypatch.setattr(expand, "_ROUNDS", (1,))
    assert planned(PARTS, tmp_path).visits == pytest.approx(apart, rel=0.01)


@pytest.mark.slow
def test_of_many_more_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expand, "NEGLIGIBLE", 1e-12)
    for seed in range(1_000, 1_300):
        monkeypatch.setattr(expand, "_ROUNDS", (1 + seed % 2,))
        agrees(seed, tmp_path)


AGENT = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: 64)
component step(q: text) -> "search" | "think" | "ask" | "done" = small("step {q}")
component give_up(q: text) -> bool = small("give {q}")
component think(q: text) -> text ~ 20 tokens = small("think {q}")
component ask(q: text) -> text ~ 20 tokens = small("ask {q}")
component look(q: text) -> text ~ 20 tokens = small("look {q}")
component answer(q: text) -> text ~ 20 tokens = small("answer {q}")
component enough(q: text) -> bool = small("enough {q}")
pipeline p(q: text ~ 9 tokens) -> text {
    y = q
    repeat up to 30 {
        if give_up(y) ~ 0.02 { return answer(y) }
        next = step(y)
        if next == "think" { y = think(y) }
        elif next == "ask" ~ 0.2 { y = ask(y) }
        elif next == "search" ~ 0.4 { y = look(y) }
    } until enough(y) ~ 0.14
    return answer(y)
}
"""


def test_what_is_said_of_labels_holds_behind_one_that_is_silent(tmp_path: Path) -> None:
    visits = planned(AGENT, tmp_path).visits
    assert visits["step"] > 6.0
    assert [visits[name] / visits["step"] for name in ("think", "ask", "look")] == pytest.approx([0.2, 0.2, 0.4])
