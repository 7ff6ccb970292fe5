"""What being faster costs: the plans that are looked at, and how they are shown."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from harmonia_compiler.cli.exits import FINE, INFEASIBLE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.plan import FORMAT_VERSION, Plan, Predicted, Solver
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.plan.frontier import frontier

SOURCE = """
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm)
component small = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(question: text, passages: [passage]) -> text ~ 60 tokens = small("{passages} {question}")
pipeline ask(question: text ~ 15 tokens) -> text {
    load 2 rps
    slo p95 latency <= 30 s
    return stream answer(question, search(question))
}
"""
HOSTS = """
[[hosts]]
name = "l4-[1-2]"
cpus = 16
memory_gib = 64
gpus = [{ type = "l4" }]
price_per_hour = 1.0

[[hosts]]
name = "h100"
cpus = 16
memory_gib = 128
gpus = [{ type = "h100_sxm" }]
price_per_hour = 4.0
"""


def plan(latency_ms: float, cost: float) -> Plan:
    """Of two pipelines: the second is fast, and has a quarter of the price of one host."""
    predicted = {"p": Predicted(1.0, latency_ms, 1.0, cost - 0.25, "e"), "q": Predicted(1.0, 1.0, 1.0, 0.25, "e")}
    return Plan(FORMAT_VERSION, "cost", (), {}, {}, (), predicted, (), Solver("optimal", 0.0), {})


def made(plans: list[Plan], asked: list[float | None], within_ms: float | None) -> Plan:
    """The cheapest of some plans that is fast enough."""
    asked.append(within_ms)
    fits = [one for one in plans if within_ms is None or one.predicted["p"].latency_ms <= within_ms]
    if not fits:
        raise Rejected([Diagnostic("E0724", "too slow")])
    return min(fits, key=lambda one: one.predicted["p"].cost_per_hour)


def test_each_plan_is_faster_and_dearer_than_the_one_before() -> None:
    plans = [plan(1000.0, 1.0), plan(700.0, 2.0), plan(690.0, 2.5), plan(660.0, 3.0), plan(600.0, 9.0)]
    asked: list[float | None] = []
    found = frontier(lambda within_ms: made(plans, asked, within_ms))
    assert [(one.latency_ms, one.cost_per_hour) for one in found] == [(1000.0, 1.0), (700.0, 2.0), (600.0, 9.0)]
    assert asked[:3] == [None, 900.0, 630.0]


def test_a_step_that_is_too_large_is_made_smaller() -> None:
    plans = [plan(1000.0, 1.0), plan(960.0, 2.0)]
    found = frontier(lambda within_ms: made(plans, [], within_ms))
    assert [one.latency_ms for one in found] == [1000.0, 960.0]


def test_what_is_slower_and_costs_no_less_is_left_out() -> None:
    """Prices are found to within a gap, so that a faster plan may turn out to be cheaper."""
    plans = iter([plan(1000.0, 1.0), plan(800.0, 2.01), plan(700.0, 2.0)])

    def make(_: float | None) -> Plan:
        found = next(plans, None)
        if found is None:
            raise Rejected([Diagnostic("E0727", "ended")])
        return found

    assert [one.latency_ms for one in frontier(make)] == [1000.0, 700.0]


def test_prices_that_differ_by_rounding_are_equal() -> None:
    plans = [plan(1000.0, 6.0), plan(800.0, 6.00001), plan(600.0, 14.0)]
    assert [one.latency_ms for one in frontier(lambda within_ms: made(plans, [], within_ms))] == [800.0, 600.0]


def command(folder: Path, *more: str, source: str = SOURCE) -> list[str]:
    (folder / "app.rag").write_text(source)
    (folder / "site.toml").write_text(HOSTS)
    return ["plan", str(folder / "app.rag"), "--inventory", str(folder / "site.toml"), *more]


@pytest.mark.slow
def test_the_command_shows_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg = tmp_path / "frontier.svg"
    assert run(command(tmp_path, "--frontier", "--svg", str(svg))) == FINE
    out = capsys.readouterr().out
    assert "The price of being faster" in out
    assert run(command(tmp_path, "--frontier", "--format", "json")) == FINE
    points = json.loads(capsys.readouterr().out)["frontier"]
    assert [one["cost_per_hour"] for one in points] == sorted({one["cost_per_hour"] for one in points})
    assert [one["latency_ms"] for one in points] == sorted({one["latency_ms"] for one in points}, reverse=True)
    assert points[0]["cost_per_hour"] == 1.0
    assert points[-1]["cost_per_hour"] >= 4.0
    assert "1 l4" in out
    assert "1 h100_sxm" in out
    drawn = ET.fromstring(svg.read_text())
    assert len(drawn.findall(".//{http://www.w3.org/2000/svg}circle")) == len(points)


def test_no_plan_is_said_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command(tmp_path, "--frontier", source=SOURCE.replace("30 s", "1 ms"))) == INFEASIBLE
    assert "E0724" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--svg", "x.svg"],
        ["--frontier", "--simulate"],
        *(["--frontier", option, "x"] for option in ("--out", "--from", "--diff", "--readings", "--html", "--explain")),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: list[str]) -> None:
    assert run(command(tmp_path, *options)) == USAGE
