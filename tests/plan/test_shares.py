"""The relaxation by shares: a bound that holds and says more of promises, and what is decided by it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from harmonia_compiler.plan import shares
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.pools import divide
from harmonia_compiler.plan.problem import Problem, Promise
from harmonia_compiler.plan.search import best
from harmonia_compiler.plan.variables import Model
from tests.plan.problems import chain, exhaustive, machine, need, on_cores
from tests.plan.test_optimum import problems

#: More cores make a call quicker, at fewer calls a core: half of the promise goes for cores.
QUICK, THRIFTY = on_cores("write", 50.0, cores=4.0), on_cores("write", 100.0)
WRITE = need("write", THRIFTY, QUICK)
HOSTS = tuple(machine(f"h{at}", 16) for at in range(4))


def promised(bound_ms: float) -> Problem:
    return Problem((WRITE,), (replace(chain("write"), promises=(Promise("latency", 0.5, bound_ms),)),), HOSTS)


def model_of(problem: Problem) -> Model:
    return build(problem, divide(problem), None)


def bounds(model: Model) -> tuple[float, float]:
    """The highest rate by the model with fractions, and by shares."""
    assert model.rate is not None
    objective = {model.rate: 1.0}
    tighter, _ = shares.relaxed(model, objective)
    return model.program.solve(objective, maximise=True, whole=()).objective * model.scale, tighter.bound * model.scale


def test_a_promise_bounds_the_rate_by_shares_more_than_by_fractions() -> None:
    problem = promised(110.0)
    found = optimise(problem)
    assert found is not None
    weak, tight = bounds(model_of(problem))
    assert found.rate <= tight * (1 + 1e-9)
    assert tight < 0.9 * weak


@settings(max_examples=60, deadline=None)
@given(problems())
def test_no_plan_is_better_than_the_bound_by_shares(problem: Problem) -> None:
    model = model_of(replace(problem, aim="throughput"))
    if model.rate is None or not model.level:
        return
    tighter, _ = shares.relaxed(model, {model.rate: 1.0})
    found = exhaustive(replace(problem, aim="throughput"))
    if found is not None:
        assert tighter.found
        assert found[0] <= tighter.bound * model.scale * (1 + 1e-6)


def test_what_is_decided_is_one_level_and_what_is_quick_enough() -> None:
    model = model_of(promised(110.0))
    assert model.rate is not None
    objective = {model.rate: 1.0}
    _, near = shares.relaxed(model, objective)
    decided = shares.decide(model, objective, near, 0.01)
    assert decided is not None
    held = decided.held(model)
    assert sum(held[column] == (1.0, 1.0) for column in model.level.values()) == 1
    whole = model.program.solve(objective, maximise=True)
    inside = model.program.solve(objective, maximise=True, within=held)
    assert inside.objective == pytest.approx(whole.objective, rel=0.02)


def test_a_later_search_goes_by_what_an_earlier_one_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = replace(promised(400.0), give_up=0.01)
    monkeypatch.setattr("harmonia_compiler.plan.search.LARGE", 0)
    earlier: list[shares.Decided] = []
    for _ in range(3):
        model = model_of(problem)
        assert model.rate is not None
        assert best(model, {model.rate: 1.0}, maximise=True, gap=0.005, earlier=earlier).found
    assert len(earlier) == 1
