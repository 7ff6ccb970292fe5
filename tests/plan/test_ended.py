"""What is planned and said where a search ends at its limit."""

from dataclasses import replace
from typing import Any

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.plan.diagnose import diagnose
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.plan.solve import Outcome, Program, Terms
from tests.plan.problems import chain, machine, need, on_cores

WRITE = need("write", on_cores("write", 100.0))
CHEAP, DEAR = machine("cheap", 4, price=1.0), machine("dear", 4, price=3.0)
PROBLEM = Problem((WRITE,), (chain("write", load_rps=10.0),), (CHEAP, DEAR), "cost")


def end_early(monkeypatch: pytest.MonkeyPatch, *, at_rates: bool) -> None:
    """Searches for the least of something find nothing, and those for the highest rate neither, `at_rates`."""

    def early(program: Program, objective: Terms, *, maximise: bool = False, **limits: Any) -> Outcome:
        if maximise and not at_rates:
            return solve(program, objective, maximise=maximise, **limits)
        return Outcome("unknown", float("inf"), bound=0.5)

    solve = Program.solve
    monkeypatch.setattr(Program, "solve", early)


def test_a_plan_that_carries_the_load_stands_in_with_its_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheap host would do, at a third of the dear one's price; no search has found that out, but for its bound."""
    end_early(monkeypatch, at_rates=False)
    found = optimise(PROBLEM)
    assert found is not None
    assert found.rate >= 1.0
    assert not found.proven
    prices = sum(PROBLEM.hosts[h].price_per_hour for h in {h for _, _, h in found.counts}) / DEAR.price_per_hour
    assert found.gap == pytest.approx((prices - 0.5) / prices)


def test_a_load_that_is_too_much_is_known_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    end_early(monkeypatch, at_rates=False)
    assert optimise(replace(PROBLEM, pipelines=(chain("write", load_rps=100.0),))) is None


@pytest.mark.parametrize("aim", ["throughput", "cost"])
def test_a_search_that_finds_nothing_is_a_finding(monkeypatch: pytest.MonkeyPatch, aim: str) -> None:
    end_early(monkeypatch, at_rates=True)
    with pytest.raises(Rejected) as caught:
        optimise(replace(PROBLEM, aim=aim))  # type: ignore[arg-type]
    assert [one.code for one in caught.value.found] == ["E0727"]
    with pytest.raises(Rejected) as caught:
        diagnose(replace(PROBLEM, pipelines=(chain("write", load_rps=100.0),)))
    assert [one.code for one in caught.value.found] == ["E0727"]


def test_a_search_that_ends_later_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """The price is found, and the least hardware at that price is not."""
    searches = []

    def early(program: Program, objective: Terms, **limits: Any) -> Outcome:
        searches.append(objective)
        return solve(program, objective, **limits) if len(searches) == 1 else Outcome("unknown", float("inf"))

    solve = Program.solve
    monkeypatch.setattr(Program, "solve", early)
    found = optimise(PROBLEM)
    assert found is not None
    assert not found.proven
    assert {PROBLEM.hosts[h].name for _, _, h in found.counts} == {"cheap"}
