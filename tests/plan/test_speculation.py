"""Branches begin early where the promised latency asks for it, and nowhere else."""

from pathlib import Path

import pytest

from harmonia_compiler.cli.exits import FINE, INFEASIBLE
from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.plan import read_plan

LAPTOP = str(Path(__file__).resolve().parents[2] / "samples" / "inventories" / "laptop.toml")

#: The mean is 2 + 1.5 + 1 s one after the other, and 2 + 1 s where the search begins with the test.
PROGRAM = """
component small = llm("SmolLM2-135M-Instruct")
component polish(text: text) -> text ~ 20 tokens = small("Polish: {text}", max_tokens: 32)
component sure(question: text) -> bool = http("https://a.example/sure", takes: 2 s)
component web(question: text) -> [passage] ~ 4 = http("https://a.example/web", takes: 1500 ms)
component write(question: text, passages: [passage]) -> text ~ 20 tokens = http(
    "https://a.example/write", takes: 1 s, pure: false
)

pipeline ask(question: text ~ 20 tokens) -> text {
    slo p95 latency <= BOUND
    load 0.01 rps
    if not sure(question) ~ 0.2 { return write(question, []) }
    return ANSWER
}
"""

ELSEWHERE = "write(question, web(question))"
ON_OURS = "polish(write(question, web(question)))"


def planned(folder: Path, bound: str, answer: str) -> int:
    source = folder / "ask.rag"
    source.write_text(PROGRAM.replace("BOUND", bound).replace("ANSWER", answer))
    return run(["plan", str(source), "--inventory", LAPTOP, "--out", str(folder / "plan.json")])


@pytest.mark.parametrize(("answer", "bound"), [(ELSEWHERE, "6700 ms"), (ON_OURS, "30 s")])
def test_nothing_begins_early_while_there_is_a_plan_without_it(
    answer: str, bound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(tmp_path, bound, answer) == FINE
    assert "begins early" not in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "bound"), [(ELSEWHERE, "6500 ms"), (ON_OURS, "6700 ms")])
def test_a_search_begins_early_where_the_promise_cannot_be_kept_otherwise(
    answer: str, bound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even without what our own model takes, the calls one after the other take 6.58 s at the promised quantile."""
    assert planned(tmp_path, bound, answer) == FINE
    assert "`ask` begins early, to keep its latency: web\n" in capsys.readouterr().err
    assert read_plan(tmp_path / "plan.json").pipelines[0].early == ("web",)


def test_a_promise_that_cannot_be_kept_either_way_says_how_near_one_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned(tmp_path, "4500 ms", ELSEWHERE) == INFEASIBLE
    assert "reaches 4.84 s" in capsys.readouterr().err


def test_without_a_promise_nothing_asks_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "ask.rag"
    source.write_text(PROGRAM.replace("slo p95 latency <= BOUND", "").replace("ANSWER", ELSEWHERE))
    assert run(["plan", str(source), "--inventory", LAPTOP]) == FINE
    assert "begins early" not in capsys.readouterr().err


#: The share of `none` is said once, and what it leaves is what the search is worth beginning for.
SAID_ELSEWHERE = """
component small = llm("SmolLM2-135M-Instruct")
component polish(text: text) -> text ~ 20 tokens = small("Polish: {text}", max_tokens: 32)
component need(question: text) -> "none" | "one" = http("https://a.example/need", takes: 2 s)
component web(question: text) -> [passage] ~ 4 = http("https://a.example/web", takes: 1500 ms)
component write(question: text, passages: [passage]) -> text ~ 20 tokens = http(
    "https://a.example/write", takes: 1 s, pure: false
)

pipeline ask(question: text ~ 20 tokens) -> text {
    slo p95 latency <= 6500 ms
    load 0.01 rps
    needed = need(question)
    style = question
    if needed == "none" ~ SHARE { style = "Be brief." }
    if needed == "none" { return write(style, []) }
    return write(style, web(question))
}
"""


@pytest.mark.parametrize(("share", "searches"), [("0.1", 1), ("0.9", 0)])
def test_a_share_that_is_said_of_another_branch_counts(
    share: str, searches: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The search is rarely needed where nine in ten need none, and its time counts for few then."""
    source = tmp_path / "ask.rag"
    source.write_text(SAID_ELSEWHERE.replace("SHARE", share))
    assert run(["graph", str(source), "--inventory", LAPTOP]) == FINE
    assert capsys.readouterr().out.count("begun early") == searches


def test_pipelines_that_promise_nothing_or_keep_their_promise_begin_nothing_early(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = PROGRAM[PROGRAM.index("pipeline") :].replace("ANSWER", ELSEWHERE)
    promise = "slo p95 latency <= BOUND"
    source = tmp_path / "ask.rag"
    source.write_text(
        PROGRAM.replace("BOUND", "6500 ms").replace("ANSWER", ELSEWHERE)
        + pipeline.replace("ask", "lax").replace(promise, "")
        + pipeline.replace("ask", "slow").replace("BOUND", "20 s")
    )
    saved = tmp_path / "plan.json"
    assert run(["plan", str(source), "--inventory", LAPTOP, "--out", str(saved)]) == FINE
    assert "`ask` begins early, to keep its latency: web\n" in capsys.readouterr().err
    assert {one.name: one.early for one in read_plan(saved).pipelines} == {"ask": ("web",), "lax": (), "slow": ()}
    assert run(["simulate", str(source), "--inventory", LAPTOP, "--plan", str(saved), "--for", "60s"]) == FINE
