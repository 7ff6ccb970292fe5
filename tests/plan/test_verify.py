"""The verifier accepts what the planner makes and finds a fault in whatever was changed in it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from msgspec.structs import replace as changed

from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.contract.plan import MOST, Plan, Predicted, Replica
from harmonia_compiler.contract.types import Text
from harmonia_compiler.plan import predict
from harmonia_compiler.plan.build import Demanded
from harmonia_compiler.plan.optimise import Allocation, optimise
from harmonia_compiler.plan.planner import write_down
from harmonia_compiler.plan.problem import Problem, Promise, Step
from harmonia_compiler.plan.sharing import Sharing
from harmonia_compiler.plan.verify import faults
from tests.examples import examples
from tests.plan.problems import application, chain, machine, need, on_cores, on_gpu
from tests.plan.random_problems import problems

PIPELINE = replace(chain("search", "write", load_rps=10.0), promises=(Promise("latency", 0.95, 500.0),), streamed=(1,))
PROBLEM = Problem(
    (
        need("search", on_cores("search", 50.0), on_cores("search", 30.0, cores=2.0), maximum=4),
        need("write", on_gpu("write", 80.0), on_gpu("write", 200.0, gpus=0.5), minimum=2),
    ),
    (PIPELINE,),
    (machine("one", 4, 2, price=3.0), Host("two", 2, 64.0, (Gpu("l40s", 1), Gpu("a100_sxm", 1)), 1.0)),
)


def plan_of(problem: Problem) -> Plan:
    found = optimise(problem)
    assert found is not None
    return write_down(application(problem), Demanded(problem, ()), found)


@examples(50)
@given(problems())
def test_every_plan_is_accepted(problem: Problem) -> None:
    if optimise(problem) is not None:
        assert faults(plan_of(problem), problem) == []


def first(plan: Plan, of: str, **changes: object) -> Plan:
    """The plan with the first replica of an engine changed."""
    index = next(index for index, replica in enumerate(plan.replicas) if replica.engine == of)
    replicas = list(plan.replicas)
    replicas[index] = changed(replicas[index], **changes)
    return changed(plan, replicas=tuple(replicas))


def config(plan: Plan, engine: str, **changes: object) -> Plan:
    """The plan with the configuration of an engine's first replica changed."""
    replica = next(replica for replica in plan.replicas if replica.engine == engine)
    return first(plan, engine, config=changed(replica.config, **changes))


def predicted(plan: Plan, **changes: object) -> Plan:
    return changed(plan, predicted={"p": changed(plan.predicted["p"], **changes)})


def copy_of(plan: Plan, engine: str, **changes: object) -> Replica:
    return changed(next(replica for replica in plan.replicas if replica.engine == engine), **changes)


def component(plan: Plan, of: str, **changes: object) -> Plan:
    return changed(plan, components=plan.components | {of: changed(plan.components[of], **changes)})


def engine(plan: Plan, name: str, **changes: object) -> Plan:
    return changed(plan, engines=plan.engines | {name: changed(plan.engines[name], **changes)})


def both_kinds(plan: Plan, of: str, kind: str) -> Plan:
    """The plan with the kind of an engine and of the component of its name changed."""
    return component(engine(plan, of, kind=kind), of, kind=kind)


CORRUPTIONS: dict[str, Callable[[Plan], Plan]] = {
    "format": lambda plan: changed(plan, format_version=plan.format_version + 1),
    "objective": lambda plan: changed(plan, objective="cost"),
    "pipeline missing": lambda plan: changed(plan, pipelines=()),
    "pipeline twice": lambda plan: changed(plan, pipelines=plan.pipelines * 2),
    "load": lambda plan: changed(plan, pipelines=(changed(plan.pipelines[0], load_rps=11.0),)),
    "visits": lambda plan: changed(plan, pipelines=(changed(plan.pipelines[0], visits={"search": 1.0, "write": 0.5}),)),
    "visits missing": lambda plan: changed(plan, pipelines=(changed(plan.pipelines[0], visits={}),)),
    "component missing": lambda plan: changed(plan, components={}),
    "component elsewhere": lambda plan: changed(
        plan, components=plan.components | {"write": changed(plan.components["write"], engine="search")}
    ),
    "engine missing": lambda plan: changed(plan, engines={"write": plan.engines["write"]}),
    "component's name": lambda plan: component(plan, "write", name="other"),
    "component's kind": lambda plan: component(plan, "write", kind="llm"),
    "component's kind that is not": lambda plan: component(plan, "write", kind="nothing"),
    "component more": lambda plan: changed(
        plan, components=plan.components | {"more": changed(plan.components["write"], name="more")}
    ),
    "engine's id": lambda plan: engine(plan, "write", id="other"),
    "engine's kind": lambda plan: engine(plan, "write", kind="llm"),
    "engine's kind that is not": lambda plan: engine(plan, "write", kind="nothing"),
    "engine more": lambda plan: changed(
        plan, engines=plan.engines | {"more": changed(plan.engines["write"], id="more")}
    ),
    "a kind that is not": lambda plan: both_kinds(plan, "write", "nothing"),
    "no replica": lambda plan: changed(plan, replicas=()),
    "replica missing": lambda plan: changed(plan, replicas=plan.replicas[1:]),
    "replica twice": lambda plan: changed(plan, replicas=(*plan.replicas, plan.replicas[0])),
    "replica more": lambda plan: changed(plan, replicas=(*plan.replicas, copy_of(plan, "write", id="write-9"))),
    "unknown engine": lambda plan: first(plan, "search", engine="other"),
    "other engine": lambda plan: first(plan, "search", engine="write"),
    "missing host": lambda plan: first(plan, "search", host="three"),
    "other host": lambda plan: first(plan, "write", host="two"),
    "no device": lambda plan: first(plan, "write", devices=()),
    "device of another": lambda plan: first(plan, "write", devices=(1,)),
    "device that is not there": lambda plan: first(plan, "write", devices=(7,)),
    "device twice": lambda plan: first(plan, "write", devices=(0, 0)),
    "device for cores": lambda plan: first(plan, "search", devices=(0,)),
    "cores": lambda plan: first(plan, "search", cores=0.5),
    "memory": lambda plan: first(plan, "search", memory_gib=100.0),
    "serves": lambda plan: first(plan, "search", serves=("search", "write")),
    "configured cores": lambda plan: config(plan, "search", cores=0.5),
    "configured memory": lambda plan: config(plan, "search", memory_gib=1.0),
    "configured gpu": lambda plan: config(plan, "write", gpu="h100_sxm"),
    "configured gpus": lambda plan: config(plan, "write", gpus=0.25),
    "configured gpu memory": lambda plan: config(plan, "write", gpu_memory_gib=1.0),
    "tensor parallel": lambda plan: config(plan, "write", tensor_parallel=2),
    "batch": lambda plan: config(plan, "write", batch=64),
    "rate too high": lambda plan: predicted(plan, throughput_rps=plan.predicted["p"].throughput_rps * 1.001),
    "latency": lambda plan: predicted(plan, latency_ms=1.0),
    "first piece": lambda plan: predicted(plan, ttft_ms=1.0),
    "cost": lambda plan: predicted(plan, cost_per_hour=0.0),
    "cost of a thousand": lambda plan: predicted(plan, cost_per_thousand=9.0),
    "cost of a thousand beyond all": lambda plan: predicted(plan, cost_per_thousand=MOST),
    "cost of a thousand, nothing": lambda plan: predicted(plan, cost_per_thousand=0.0),
    "bottleneck": lambda plan: predicted(plan, bottleneck="nothing"),
    "prediction missing": lambda plan: changed(plan, predicted={}),
    "prediction more": lambda plan: changed(plan, predicted=plan.predicted | {"q": Predicted(0, 0, 0, 0, "")}),
    "profile": lambda plan: changed(plan, profiles=plan.profiles[1:]),
    "solver": lambda plan: changed(plan, solver=changed(plan.solver, status="infeasible")),
    "gap": lambda plan: changed(plan, solver=changed(plan.solver, gap=float("nan"))),
    "utilisation": lambda plan: changed(plan, utilisation=plan.utilisation | {"write": 0.1}),
    "utilisation missing": lambda plan: changed(plan, utilisation={}),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_plan_is_rejected(name: str) -> None:
    plan = plan_of(PROBLEM)
    assert faults(plan, PROBLEM) == []
    corrupted = CORRUPTIONS[name](plan)
    assert corrupted != plan
    assert faults(corrupted, PROBLEM)


def test_what_takes_no_hardware_is_verified_too() -> None:
    called = replace(PIPELINE, steps=(*PIPELINE.steps, Step("page", (1,))), visits={**PIPELINE.visits, "page": 1.0})
    problem = replace(PROBLEM, pipelines=(replace(called, promises=()),), external_ms={"page": 20.0})
    app = application(problem)
    app = changed(
        app,
        engines=app.engines | {"page": Engine("page", "http", {})},
        components=app.components | {"page": Component("page", "http", "page", (), Text())},
    )
    found = optimise(problem)
    assert found is not None
    plan = write_down(app, Demanded(problem, ()), found)
    assert faults(plan, problem) == []
    for wrong, said in (
        (changed(plan, components={name: one for name, one in plan.components.items() if name != "page"}), "page"),
        (changed(plan, engines={name: one for name, one in plan.engines.items() if name != "page"}), "page"),
        (engine(plan, "page", kind="nothing"), "'nothing', which there is not"),
        (both_kinds(plan, "page", "python"), "which takes some hardware"),
        (both_kinds(plan, "write", "http"), "which takes no hardware"),
        (component(plan, "page", engine="write", kind="python"), "takes no hardware, and stands on write"),
    ):
        assert any(said in fault for fault in faults(wrong, problem))


WRONG: dict[str, Callable[..., object]] = {
    "quantile_ms": lambda *_: 1.0,
    "shared": lambda _: Sharing(((1.0, 1.0),), 1.0),
    "at": lambda *_: 1.0,
    "weights": lambda *_: (),
    "_over_mix": lambda *_: 1.0,
    "capacity": lambda *_: 1.0,
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_in_the_predictions_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What predicts is not what verifies."""
    found = optimise(PROBLEM)
    assert found is not None
    monkeypatch.setattr(predict, name, WRONG[name])
    plan = write_down(application(PROBLEM), Demanded(PROBLEM, ()), found)
    monkeypatch.undo()
    assert faults(plan, PROBLEM)


def test_calls_that_come_together_and_rounds_in_a_row_are_verified_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five calls of which a replica answers one at a time, and that twice in a row, take ten times as long."""
    steps = (PIPELINE.steps[0], replace(PIPELINE.steps[1], count=5.0, rounds=2.0))
    problem = replace(PROBLEM, pipelines=(replace(PIPELINE, steps=steps, promises=()),))
    plan = plan_of(problem)
    assert faults(plan, problem) == []
    once = replace(PROBLEM, pipelines=(replace(PIPELINE, promises=()),))
    assert any("is predicted a latency" in fault for fault in faults(plan, once))
    monkeypatch.setattr(
        predict,
        "together_ms",
        lambda _, one, component, at, *, first: (one.first_ms if first else one.latency_ms)[component][at],
    )
    assert any("is predicted a latency" in fault for fault in faults(plan_of(problem), problem))


def test_replicas_that_are_too_unlike_are_found() -> None:
    slow = need("write", on_gpu("write", 80.0), on_cores("write", 8000.0))
    problem = Problem((slow,), (chain("write"),), (machine("one", 4, 2),))
    mixed = Allocation({(0, 0, 0): 1, (0, 1, 0): 1}, 1.0, proven=True, gap=0.0)
    (fault,) = faults(write_down(application(problem), Demanded(problem, ()), mixed), problem)
    assert fault.startswith("a call of write takes")


def test_too_little_memory_cores_and_devices_are_found_on_the_host() -> None:
    plan = plan_of(PROBLEM)
    small = (Host("one", 1, 64.0, (Gpu("a100_sxm", 2),), 3.0), PROBLEM.hosts[1])
    assert any("cores" in fault for fault in faults(plan, replace(PROBLEM, hosts=small)))


def test_a_promise_that_the_replicas_break_is_found() -> None:
    plan = plan_of(PROBLEM)
    strict = replace(PIPELINE, promises=(Promise("latency", 0.95, 100.0),))
    assert any("promises" in fault for fault in faults(plan, replace(PROBLEM, pipelines=(strict,))))


def test_the_cheapest_plan_must_carry_the_load() -> None:
    plan = changed(plan_of(PROBLEM), objective="cost")
    busy = replace(PROBLEM, aim="cost", pipelines=(replace(PIPELINE, load_rps=1000.0),))
    share = (changed(plan.pipelines[0], load_rps=1000.0),)
    assert any("times the declared loads" in fault for fault in faults(changed(plan, pipelines=share), busy))


# --- each rule alone: nothing else is wrong with these plans, so that no other rule can find them ----------------


def test_fewer_replicas_than_must_be() -> None:
    plan = plan_of(PROBLEM)
    count = sum(replica.engine == "write" for replica in plan.replicas)
    needs = (PROBLEM.needs[0], replace(PROBLEM.needs[1], minimum=count + 1))
    (fault,) = faults(plan, replace(PROBLEM, needs=needs))
    assert fault == f"write has {count} of at least {count + 1} replicas"


def test_more_replicas_than_may_be() -> None:
    plan = plan_of(PROBLEM)
    count = sum(replica.engine == "write" for replica in plan.replicas)
    needs = (PROBLEM.needs[0], replace(PROBLEM.needs[1], minimum=1, maximum=count - 1))
    (fault,) = faults(plan, replace(PROBLEM, needs=needs))
    assert fault == f"write has {count} of at most {count - 1} replicas"


def test_a_replica_on_hardware_that_the_user_ruled_out() -> None:
    plan = plan_of(PROBLEM)
    needs = (PROBLEM.needs[0], replace(PROBLEM.needs[1], on="l40s"))
    found = faults(plan, replace(PROBLEM, needs=needs))
    assert found == [
        f"{replica.id} must run on l40s, not on a100_sxm" for replica in plan.replicas if replica.engine == "write"
    ]


def _on_half_devices(memory_gib: float, gpus: float = 0.5) -> tuple[Plan, Problem]:
    """Two replicas that each take a part of a device, on a host with two."""
    option = on_gpu("write", 80.0, gpus=gpus)
    option = replace(option, configuration=changed(option.configuration, gpu_memory_gib=memory_gib))
    problem = Problem((need("write", option),), (chain("write"),), (machine("one", 1, 2),))
    allocation = Allocation({(0, 0, 0): 2}, 1.0, proven=True, gap=0.0)
    plan = write_down(application(problem), Demanded(problem, ()), allocation)
    return changed(plan, replicas=tuple(changed(replica, devices=(0,)) for replica in plan.replicas)), problem


def test_replicas_that_share_a_device() -> None:
    assert not any("device" in fault for fault in faults(*_on_half_devices(37.0)))


def test_a_device_whose_memory_is_too_small_for_all_on_it() -> None:
    (fault,) = faults(*_on_half_devices(38.0))
    assert fault == "device 0 of one has less than the 76.0 GiB that is asked of it"


def test_a_device_that_is_given_out_more_than_once() -> None:
    (fault,) = faults(*_on_half_devices(20.0, gpus=0.75))
    assert fault == "device 0 of one is given out 1.5 times"


def test_a_host_whose_memory_is_too_small() -> None:
    option = on_cores("search", 50.0)
    option = replace(option, configuration=changed(option.configuration, memory_gib=6.0))
    problem = Problem((need("search", option),), (chain("search"),), (machine("one", 1),))
    plan = plan_of(problem)
    assert faults(plan, problem) == []
    small = changed(machine("one", 1), memory_gib=5.0)
    (fault,) = faults(plan, replace(problem, hosts=(small,)))
    assert fault.startswith("one has ")
    assert fault.endswith(" GiB of memory and is asked for 6")


def _busier(plan: Plan, factor: float) -> Plan:
    """The plan at a higher rate, with utilisations to match."""
    busy = {engine: part * factor for engine, part in plan.utilisation.items()}
    return predicted(changed(plan, utilisation=busy), throughput_rps=plan.predicted["p"].throughput_rps * factor)


def test_an_engine_that_would_be_busier_than_queues_bear() -> None:
    plan = plan_of(replace(PROBLEM, pipelines=(replace(PIPELINE, promises=()),)))
    found = faults(_busier(plan, 1.05), replace(PROBLEM, pipelines=(replace(PIPELINE, promises=()),)))
    assert any("would be busy for" in fault for fault in found)


def test_a_bottleneck_that_is_less_busy_than_another_engine() -> None:
    plan = plan_of(PROBLEM)
    (other,) = {"search", "write"} - {plan.predicted["p"].bottleneck}
    assert plan.utilisation[other] < plan.utilisation[plan.predicted["p"].bottleneck] * 0.99
    (fault,) = faults(predicted(plan, bottleneck=other), PROBLEM)
    assert fault == f"the bottleneck of p is not {other!r}"


TWO = replace(PROBLEM, pipelines=(PIPELINE, replace(PIPELINE, name="q", load_rps=5.0)))


def _both(plan: Plan, **changes: tuple[float, float]) -> Plan:
    """The plan with figures that are predicted of both pipelines changed."""
    said = {
        name: changed(plan.predicted[name], **{figure: both[at] for figure, both in changes.items()})
        for at, name in enumerate(("p", "q"))
    }
    return changed(plan, predicted=said)


def test_pipelines_that_grow_by_different_factors() -> None:
    plan = plan_of(TWO)
    assert faults(plan, TWO) == []
    rates = plan.predicted["p"].throughput_rps, plan.predicted["q"].throughput_rps
    found = faults(_both(plan, throughput_rps=(rates[0], rates[1] * 1.001)), TWO)
    assert "the pipelines are predicted different multiples of their loads" in found


def test_pipelines_that_bear_each_other_s_part_of_the_price() -> None:
    plan = plan_of(TWO)
    of_q, of_p = (plan.predicted[name].cost_per_hour for name in ("q", "p"))
    p, q = TWO.pipelines
    thousand = of_q / 3.6 / p.usual_rps, of_p / 3.6 / q.usual_rps
    found = faults(_both(plan, cost_per_hour=(of_q, of_p), cost_per_thousand=thousand), TWO)
    assert [fault.partition(" costs ")[0] for fault in found] == ["p", "q"]


def test_a_pipeline_that_costs_less_than_nothing() -> None:
    plan = plan_of(TWO)
    whole = sum(said.cost_per_hour for said in plan.predicted.values())
    found = faults(_both(plan, cost_per_hour=(whole + 1.0, -1.0)), TWO)
    assert found[0].startswith("the pipelines cost ")


@pytest.mark.parametrize(("average_rps", "costs"), [(0.0, 0.0), (1e-310, MOST)], ids=["never", "hardly ever"])
def test_what_a_thousand_requests_cost_that_hardly_ever_come(average_rps: float, costs: float) -> None:
    """No more than a plan may say, nothing where none come; and no other figure passes for that."""
    problem = replace(PROBLEM, pipelines=(replace(PIPELINE, average_rps=average_rps),))
    plan = plan_of(problem)
    assert plan.predicted["p"].cost_per_thousand == costs
    assert faults(plan, problem) == []
    for other in {0.0, 9.0, MOST} - {costs}:
        (fault,) = faults(predicted(plan, cost_per_thousand=other), problem)
        assert fault == f"1000 requests of p cost {costs:g}, not {other:g}"
