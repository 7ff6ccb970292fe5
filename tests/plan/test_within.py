"""Calls that have a time (`within`): how often they fall back, how long they last, and what that has to carry."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.lateness import Takes
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan

HEAD = """
component slow(q: text) -> text ~ 9 tokens = python("tools:slow", takes: 400 ms, cores: 0.25, memory: 0.2 GiB)
component slower(q: text) -> text ~ 9 tokens = python("tools:slower", takes: 600 ms, cores: 0.25, memory: 0.2 GiB)
component other(q: text) -> text ~ 9 tokens = python("tools:other", takes: 300 ms, cores: 0.25, memory: 0.2 GiB)
component quick(q: text) -> text ~ 9 tokens = python("tools:quick", takes: 5 ms, cores: 0.25, memory: 0.2 GiB)
"""
INVENTORY = Inventory((Host("one", 6, 24.0),))
#: What calls take, in ms, and vary by half of it.
TAKES = Takes({"slow": 400.0, "slower": 600.0, "other": 300.0, "quick": 5.0}, 0.5)


def planned(folder: Path, body: str) -> Plan:
    (folder / "p.rag").write_text(f"{HEAD}pipeline p(q: text ~ 9 tokens) -> text {{\n{body}\n}}\n")
    checked = check_files([folder / "p.rag"], {})
    assert checked.application is not None, checked.found
    return make_plan(optimise(checked.application), INVENTORY, objective="throughput")


def visits(folder: Path, value: str, takes: Takes | None = TAKES) -> dict[str, float]:
    (folder / "p.rag").write_text(f"{HEAD}pipeline p(q: text ~ 9 tokens) -> text {{ return {value} }}\n")
    application = check_files([folder / "p.rag"], {}).application
    assert application is not None
    return demand(application, application.flows[0], takes=takes).visits


@pytest.mark.parametrize(
    ("value", "late"),
    [
        ("slow(q) within 400 ms else other(q)", 0.5),
        ("slow(q) within 600 ms else other(q)", 0.158655),
        ("slow(q) within 60 s else other(q)", 0.0),
        ("slow(q) within 1 ms else other(q)", 0.977),
        ("slow(slower(q)) within 1 s else other(q)", 0.5),
        ("(slow(q) within 1 ms else quick(q)) within 60 s else other(q)", 0.0),
        ("slow(q) else other(q)", 0.0),
    ],
)
def test_what_takes_longer_than_it_may_falls_back(tmp_path: Path, value: str, late: float) -> None:
    assert visits(tmp_path, value)["other"] == pytest.approx(0.01 + 0.99 * late, abs=1e-3)
    assert visits(tmp_path, value, takes=None)["other"] == pytest.approx(0.01)


def test_a_fallback_for_what_is_always_late_is_given_what_it_needs(tmp_path: Path) -> None:
    plan = planned(tmp_path, "slo p95 latency <= 6 s\nload 3 rps\nreturn slow(q) within 50 ms else other(q)")
    count = [replica.engine for replica in plan.replicas].count("other")
    # Each takes 0.3 core seconds, on a quarter of a core.
    assert count >= 3 * 0.3 / 0.25
    # On a quarter of a core a call takes 1.6 s and more.
    assert plan.late == {"slow": pytest.approx(0.974, abs=0.001)}


def test_what_is_given_up_lasts_no_longer_than_it_may(tmp_path: Path) -> None:
    plan = planned(tmp_path, "slo p95 latency <= 200 ms\nload 1 rps\nreturn slow(q) within 50 ms else quick(q)")
    assert 50 <= plan.predicted["p"].latency_ms <= 200
    with pytest.raises(Rejected, match="E0724"):
        planned(tmp_path, "slo p95 latency <= 200 ms\nload 1 rps\nreturn slow(q)")


def test_a_chain_that_is_given_up_lasts_as_long_as_it_may_altogether(tmp_path: Path) -> None:
    one = planned(tmp_path, "load 1 rps\nreturn slow(slower(slow(q))) within 100 ms else quick(q)")
    alone = planned(tmp_path, "load 1 rps\nreturn quick(q)")
    assert one.predicted["p"].latency_ms == pytest.approx(100 + alone.predicted["p"].latency_ms, rel=0.5)


def test_without_a_fallback_what_is_late_ends_the_request(tmp_path: Path) -> None:
    plan = planned(tmp_path, "slo p95 latency <= 100 ms\nload 1 rps\nreturn slow(q) within 50 ms")
    assert 50 <= plan.predicted["p"].latency_ms <= 100


def test_what_keeps_its_time_takes_what_it_takes(tmp_path: Path) -> None:
    bounded = planned(tmp_path, "load 1 rps\nreturn slow(q) within 60 s")
    free = planned(tmp_path, "load 1 rps\nreturn slow(q)")
    assert bounded.predicted == free.predicted
    assert bounded.late == {}
