"""Shares of the cost, by the hardware that calls keep busy, and how long requests take in the mean."""

from dataclasses import replace

import pytest

from harmonia_compiler.contract.plan import Configuration, Predicted
from harmonia_compiler.plan.place import place
from harmonia_compiler.plan.predict import predict
from harmonia_compiler.plan.problem import Need, Path, Pipeline, Problem, Step
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import LEVELS
from tests.plan.problems import chain, machine


def shared(cores: float, light_ms: float, heavy_ms: float) -> Option:
    """A configuration on cores of an engine with two components."""
    busy = {"light": light_ms, "heavy": heavy_ms}
    latency = {name: (ms,) * len(LEVELS) for name, ms in busy.items()}
    return Option(Configuration(cores, 0.0), busy, latency, latency, "stated")


def planned_on_both(pipelines: tuple[Pipeline, Pipeline]) -> dict[str, Predicted]:
    """What is predicted of pipelines that share two replicas, of one core and of three, at a price of 4 an hour."""
    both = Need("both", ("light", "heavy"), (shared(1.0, 10.0, 10.0), shared(3.0, 10.0, 30.0)))
    problem = Problem((both,), pipelines, (machine("box", 4, price=4.0),))
    return predict(problem, place(problem, {(0, 0, 0): 1, (0, 1, 0): 1}))


def test_the_cost_is_shared_out_by_every_option_in_use() -> None:
    """On one core the calls of both pipelines take as long; on three, those of `q` take three times as long.

    So of the four cores, a half of one and three quarters of three work for `q`: 2.75 of 4.
    """
    predicted = planned_on_both((replace(chain("light")), replace(chain("heavy"), name="q")))
    assert predicted["q"].cost_per_hour == pytest.approx(2.75)
    assert predicted["p"].cost_per_hour == pytest.approx(1.25)


def test_the_cost_is_shared_out_by_loads_and_a_thousand_requests_cost_by_how_often_they_come() -> None:
    """With `q` three times as often, each core works for it three quarters of the time, and each of the three, 0.9.

    So 0.75 + 2.7 of the four cores, at a price of 1 each; an hour has 3,600 requests of `p` and 10,800 of `q`.
    """
    pipelines = (chain("light"), replace(chain("heavy", load_rps=3.0), name="q"))
    predicted = planned_on_both(pipelines)
    assert predicted["q"].cost_per_hour == pytest.approx(3.45)
    assert predicted["p"].cost_per_hour == pytest.approx(0.55)
    assert predicted["q"].cost_per_thousand == pytest.approx(3.45 / 10.8, rel=1e-5)
    assert predicted["p"].cost_per_thousand == pytest.approx(0.55 / 3.6, rel=1e-5)


def test_the_cost_goes_by_the_mean_hour_and_not_by_the_peak() -> None:
    """At peaks `q` comes three times as often; in the mean hour both come 1,800 times, and the halves are as above."""
    pipelines = (
        replace(chain("light"), average_rps=0.5),
        replace(chain("heavy", load_rps=3.0), name="q", average_rps=0.5),
    )
    predicted = planned_on_both(pipelines)
    assert predicted["q"].cost_per_hour == pytest.approx(2.75)
    assert predicted["q"].cost_per_thousand == pytest.approx(2.75 / 1.8, rel=1e-5)
    assert predicted["p"].cost_per_thousand == pytest.approx(1.25 / 1.8, rel=1e-5)


def lasting(component: str, ms: float) -> Option:
    """A configuration on a core, on which a call takes as long however busy it is."""
    latency = {component: (ms,) * len(LEVELS)}
    return Option(Configuration(1.0, 0.0), {component: ms}, latency, latency, "stated")


def mean_of(*paths: Path) -> float:
    """Of requests that find, then look twice and read beside that, and say what both gave."""
    took = {"find": 10.0, "look": 50.0, "read": 60.0, "say": 200.0}
    needs = tuple(Need(name, (name,), (lasting(name, ms),)) for name, ms in took.items())
    steps = (Step("find", ()), Step("look", (0,), rounds=2.0), Step("read", (0,)), Step("say", (1, 2)))
    pipeline = Pipeline("p", 1.0, dict.fromkeys(took, 1.0), steps, paths=paths)
    problem = Problem(needs, (pipeline,), (machine("box", 4),))
    return predict(problem, place(problem, {(at, 0, 0): 1 for at in range(4)}))["p"].mean_ms


def test_requests_take_as_long_in_the_mean_as_the_calls_that_wait_for_each_other() -> None:
    everything = frozenset(range(4))
    assert mean_of() == pytest.approx(10.0 + 2 * 50.0 + 200.0)
    # One in four takes nothing but the reading and the saying.
    assert mean_of(Path(0.75, everything), Path(0.25, frozenset({0, 2, 3}))) == pytest.approx(
        0.75 * 310.0 + 0.25 * 270.0
    )
    # One in two gives up looking after 30 ms a round; of the others those are left that look for 40.
    given_up, kept = Path(0.5, everything, ((1, 30.0),)), Path(0.5, everything, (), ((1, 0.8, 0.5),))
    assert mean_of(given_up, kept) == pytest.approx(0.5 * 270.0 + 0.5 * 290.0)
