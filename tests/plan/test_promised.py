"""Deadlines of request classes are planned as promises, and the price goes by what pipelines usually ask for."""

import pytest
from msgspec.structs import replace

from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.contract.program import RequestClass
from harmonia_compiler.flow.graph import Application, Load
from harmonia_compiler.plan.build import GIVE_UP, build_problem
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.problem import Promise
from harmonia_compiler.plan.promises import promises
from harmonia_compiler.profile.best import BestProfiles
from tests.plan.applications import quickstart

LAPTOP = Inventory((Host("laptop", 2, 24.0),))
SERVER = Inventory((Host("server", 16, 128.0, (), 4.0),))


def classed(*classes: RequestClass) -> Application:
    """The quickstart without promises of its own, for some classes."""
    application = quickstart()
    (flow,) = application.flows
    return replace(application, flows=(replace(flow, objectives=(), classes=classes),))


def test_a_deadline_is_a_promise_to_its_class() -> None:
    application = classed(RequestClass("urgent", 9_000.0), RequestClass("nightly"))
    (pipeline,) = build_problem(application, SERVER, "throughput", BestProfiles()).problem.pipelines
    assert pipeline.promises == (Promise("latency", 0.95, 9_000.0, "urgent"),)
    (flow,) = application.flows
    assert [(one.bound_ms, of_class) for one, of_class in promises(flow)] == [(9_000.0, "urgent")]


def test_it_is_held_as_tightly_as_a_margin_says() -> None:
    problem = build_problem(classed(RequestClass("urgent", 9_000.0)), SERVER, "throughput", BestProfiles(), 1.5).problem
    assert problem.pipelines[0].promises[0].bound_ms == pytest.approx(6_000.0)


def test_a_plan_keeps_it() -> None:
    free = make_plan(classed(), SERVER).predicted["quickstart"]
    bound = free.latency_ms * 0.7
    kept = make_plan(classed(RequestClass("urgent", bound)), SERVER).predicted["quickstart"]
    assert kept.latency_ms <= bound * (1 + 1e-4)
    assert kept.throughput_rps < free.throughput_rps


@pytest.mark.parametrize("hours", [1e4, 1e6, 1e11, 1e13])
def test_one_that_anything_keeps_bounds_nothing(hours: float) -> None:
    """Of a class, of a pipeline, of first pieces: HiGHS takes no bounds of so many seconds beside what calls take."""
    bound_ms = hours * 3.6e6
    application = classed(RequestClass("nightly", bound_ms))
    (flow,) = application.flows
    slo = (Objective("latency", 0.95, bound_ms), Objective("ttft", 0.95, bound_ms))
    for objectives in ((), slo[:1], slo):
        promising = replace(application, flows=(replace(flow, objectives=objectives),))
        for objective in ("throughput", "cost"):
            carries = make_plan(promising, LAPTOP, objective=objective).predicted["quickstart"].throughput_rps
            free = make_plan(classed(), LAPTOP, objective=objective).predicted["quickstart"].throughput_rps
            assert carries == pytest.approx(free, rel=GIVE_UP) if objective == "throughput" else carries >= 0.02


def test_one_that_nothing_keeps_is_named_with_its_class() -> None:
    with pytest.raises(Infeasible) as infeasible:
        make_plan(classed(RequestClass("urgent", 1.0)), SERVER)
    (found,) = infeasible.value.found
    assert found.code == "E0724"
    assert found.message.startswith("`quickstart/urgent` promises a p95 latency of 1 ms")


def test_replicas_are_for_the_peak_and_the_price_is_shared_by_the_average() -> None:
    """Two pipelines with the same peak, of which one has it all day and the other a third of it in the mean."""
    application = quickstart()
    (flow,) = application.flows
    flows = (
        replace(flow, name="steady", objectives=(), load=Load(0.03, 0.03)),
        replace(flow, name="varying", objectives=(), load=Load(0.01, 0.03)),
    )
    plan = make_plan(replace(application, flows=flows), SERVER, objective="cost")
    steady, varying = plan.predicted["steady"], plan.predicted["varying"]
    assert steady.throughput_rps == varying.throughput_rps >= 0.03
    assert steady.cost_per_hour == pytest.approx(3.0)
    assert varying.cost_per_hour == pytest.approx(1.0)
    assert steady.cost_per_thousand == pytest.approx(3.0 / (0.03 * 3.6), rel=1e-5)
    assert varying.cost_per_thousand == pytest.approx(1.0 / (0.01 * 3.6), rel=1e-5)
