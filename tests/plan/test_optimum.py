"""The integer program against an exhaustive search on random tiny problems, and what must hold of every plan."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.problem import Pipeline, Problem, Promise, Step
from tests.plan.problems import exhaustive, machine, need, on_cores, on_gpu, score_of

BUSY = st.sampled_from([10.0, 25.0, 40.0, 100.0, 333.0])


@st.composite
def pipelines(draw: st.DrawFn, names: tuple[str, ...], name: str) -> Pipeline:
    """Calls of some components in a random order of waiting, with a random promise."""
    visits = {each: draw(st.sampled_from([0.3, 1.0, 2.0])) for each in names}
    steps = tuple(
        Step(each, tuple(one for one in range(at) if draw(st.booleans())), draw(st.sampled_from([0.03, 0.5, 1.0])))
        for at, each in enumerate(names)
    )
    bound = draw(st.sampled_from([None, 60.0, 200.0, 900.0]))
    promises = () if bound is None else (Promise("latency", 0.95, bound),)
    return Pipeline(name, draw(st.sampled_from([0.5, 2.0, 7.0])), visits, steps, promises=promises)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Two or three engines with one or two options each, on one or two hosts with at most three cores and GPUs."""
    names = ("a", "b", "c")[: draw(st.integers(2, 3))]
    needs = []
    for at, name in enumerate(names):
        make = on_cores if draw(st.booleans()) else on_gpu
        options = [make(name, draw(BUSY), latency_ms=draw(BUSY))]
        if at < 2 and draw(st.booleans()):
            options.append(on_gpu(name, draw(BUSY), gpus=draw(st.sampled_from([0.5, 2.0])), latency_ms=draw(BUSY)))
        maximum = draw(st.sampled_from([None, None, 1, 2]))
        needs.append(need(name, *options, minimum=draw(st.integers(1, maximum or 2)), maximum=maximum))
    prices = st.sampled_from([0.0, 1.0, 2.5])
    hosts = [machine(f"h{at}", draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(prices)) for at in range(2)]
    hosts = hosts[: draw(st.integers(1, 2))]
    served = tuple(draw(pipelines(names, name)) for name in ("p", "q")[: draw(st.integers(1, 2))])
    return Problem(tuple(needs), served, tuple(hosts), draw(st.sampled_from(["throughput", "cost"])))


@settings(max_examples=80, deadline=None)
@given(problems())
def test_the_optimum_is_that_of_an_exhaustive_search(problem: Problem) -> None:
    best = exhaustive(problem)
    found = optimise(problem)
    if best is None:
        assert found is None
    else:
        assert found is not None
        assert score_of(problem, found.counts) == pytest.approx(best, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(problems(), st.integers(0, 1), st.sampled_from(["core", "gpu", "host"]))
def test_adding_a_device_never_worsens_a_plan(problem: Problem, at: int, what: str) -> None:
    problem = replace(problem, aim="throughput")
    before = optimise(problem)
    hosts: list[Host] = list(problem.hosts)
    host = hosts[at % len(hosts)]
    if what == "host":
        hosts.append(machine("extra", 1, 1))
    else:
        gpus = sum(gpu.count for gpu in host.gpus) + (what == "gpu")
        hosts[at % len(hosts)] = machine(host.name, host.cpus + (what == "core"), gpus, host.price_per_hour)
    after = optimise(replace(problem, hosts=tuple(hosts)))
    if before is not None:
        assert after is not None
        assert after.rate >= before.rate * (1 - 1e-6)
