"""The relaxation with replicas as fractions: a bound that holds, and what is decided by it."""

from dataclasses import replace

import pytest
from hypothesis import given

from harmonia_compiler.plan import in_use
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.pools import divide
from harmonia_compiler.plan.problem import Problem, Promise
from harmonia_compiler.plan.search import best
from harmonia_compiler.plan.solve import Outcome
from harmonia_compiler.plan.variables import Model
from tests.examples import examples
from tests.plan.problems import chain, exhaustive, machine, need, on_cores
from tests.plan.random_problems import problems

#: More cores make a call quicker, at fewer calls a core: half of the promise goes for cores.
QUICK, THRIFTY = on_cores("write", 50.0, cores=4.0), on_cores("write", 100.0)
WRITE = need("write", THRIFTY, QUICK)
HOSTS = tuple(machine(f"h{at}", 16) for at in range(4))


def promised(bound_ms: float) -> Problem:
    return Problem((WRITE,), (replace(chain("write"), promises=(Promise("latency", 0.5, bound_ms),)),), HOSTS)


def model_of(problem: Problem) -> Model:
    return build(problem, divide(problem), None)


def relaxed(model: Model) -> Outcome:
    assert model.rate is not None
    return model.program.solve({model.rate: 1.0}, maximise=True, whole=())


def test_a_promise_bounds_the_rate_of_fractions_too() -> None:
    """A replica may be in use to a hundredth there, but calls take the time of those replicas that carry them."""
    problem = promised(110.0)
    free = replace(problem, pipelines=(replace(problem.pipelines[0], promises=()),))
    found = optimise(problem)
    assert found is not None
    rates = []
    for one in (problem, free):
        model = model_of(one)
        rates.append(relaxed(model).objective * model.scale)
    assert found.rate <= rates[0] * (1 + 1e-5)
    assert rates[0] < 0.9 * rates[1]


@examples(60)
@given(problems())
def test_no_plan_is_better_than_that_bound(problem: Problem) -> None:
    model = model_of(replace(problem, aim="throughput"))
    if model.rate is None or not model.mean:
        return
    found = exhaustive(replace(problem, aim="throughput"))
    if found is not None:
        assert relaxed(model).found
        assert found[0] <= relaxed(model).bound * model.scale * (1 + 1e-5)


def test_what_is_decided_is_what_is_quick_enough() -> None:
    model = model_of(promised(110.0))
    assert model.rate is not None
    objective = {model.rate: 1.0}
    decided = in_use.decide(model, objective, relaxed(model), 0.01, maximise=True)
    assert decided is not None
    held = decided.held(model)
    assert any(held[column] == (1.0, 1.0) for column in model.chosen.values())
    whole = model.program.solve(objective, maximise=True)
    inside = model.program.solve(objective, maximise=True, within=held)
    assert inside.objective == pytest.approx(whole.objective, rel=0.02)


def test_a_later_search_goes_by_what_an_earlier_one_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = replace(promised(400.0), give_up=0.01)
    monkeypatch.setattr("harmonia_compiler.plan.search.LARGE", 0)
    earlier: list[in_use.Decided] = []
    for _ in range(3):
        model = model_of(problem)
        assert model.rate is not None
        assert best(model, {model.rate: 1.0}, maximise=True, gap=0.005, earlier=earlier).found
    assert len(earlier) == 1
