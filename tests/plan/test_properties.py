"""What must hold between plans: shuffled input, other units of money, tighter limits, more hardware."""

from dataclasses import replace
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import encode_plan
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise as rewritten
from harmonia_compiler.plan.build import GIVE_UP
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.problem import Aim, Problem
from tests.examples import examples
from tests.plan.problems import machine
from tests.plan.random_problems import problems

SAMPLES = Path(__file__).resolve().parents[2] / "samples"

HOSTS = (
    Host("gpu2", 16, 128.0, (Gpu("l40s", 2),), 3.0),
    Host("gpu10", 16, 128.0, (Gpu("l40s", 2),), 3.0),
    Host("cpu1", 32, 64.0, (), 1.0, labels={"zone": "a"}),
    Host("cpu2", 32, 64.0, (), 1.0),
    Host("large", 64, 512.0, (Gpu("a100_sxm", 4),), 12.0),
)


def sample() -> Application:
    checked = check_files([SAMPLES / "shared.rag"])
    assert checked.application is not None, checked.found
    return rewritten(checked.application)


@pytest.mark.parametrize("objective", [pytest.param("throughput", marks=pytest.mark.slow), "cost"])
def test_shuffled_input_gives_the_same_plan(objective: Aim) -> None:
    application = sample()
    plans = set()
    for seed in range(3):
        hosts, flows = list(HOSTS), list(application.flows)
        Random(seed).shuffle(hosts)
        Random(seed).shuffle(flows)
        shuffled = msgspec.structs.replace(application, flows=tuple(flows))
        plans.add(encode_plan(make_plan(shuffled, Inventory(tuple(hosts)), objective=objective)))
    assert len(plans) == 1


@examples(40)
@given(problems(), st.sampled_from([0.001, 0.7, 3.0, 1e6]), st.sampled_from([0.0, GIVE_UP]))
def test_the_unit_of_money_is_no_matter(problem: Problem, times: float, give_up: float) -> None:
    dearer = tuple(msgspec.structs.replace(one, price_per_hour=one.price_per_hour * times) for one in problem.hosts)
    one = optimise(replace(problem, give_up=give_up))
    other = optimise(replace(problem, give_up=give_up, hosts=dearer))
    assert (one and one.counts) == (other and other.counts)


@examples(40)
@given(problems(), st.sampled_from([0.5, 0.9]), st.booleans())
def test_a_tighter_limit_never_raises_the_rate(problem: Problem, times: float, copies: bool) -> None:  # noqa: FBT001
    """Of promises, or of the copies that engines may have."""
    problem = replace(problem, aim="throughput")
    pipelines = tuple(
        replace(one, promises=tuple(replace(kept, bound_ms=kept.bound_ms * times) for kept in one.promises))
        for one in problem.pipelines
    )
    needs = tuple(replace(one, maximum=max(one.minimum, (one.maximum or 3) - 1)) for one in problem.needs)
    tight = replace(problem, needs=needs) if copies else replace(problem, pipelines=pipelines)
    loose, found = optimise(problem), optimise(tight)
    if found is not None:
        assert loose is not None
        assert found.rate <= loose.rate * (1 + 1e-6)


@examples(200)
@given(problems(), st.sampled_from([3.6e7, 1e12, 1e17]))
def test_however_loose_a_promise_is_it_is_kept_by_the_same_plan(problem: Problem, loose_s: float) -> None:
    """As a coefficient, a bound of many hours would drown all that calls take."""
    one, other = (
        replace(
            problem,
            pipelines=tuple(
                replace(each, promises=tuple(replace(kept, bound_ms=bound_s * 1e3) for kept in each.promises))
                for each in problem.pipelines
            ),
        )
        for bound_s in (1e4, loose_s)
    )
    loose, looser = optimise(one), optimise(other)
    assert (loose and (loose.counts, loose.rate)) == (looser and (looser.counts, looser.rate))


@examples(30)
@given(problems())
def test_a_host_more_never_raises_the_price(problem: Problem) -> None:
    carried = tuple(replace(one, load_rps=0.1 * one.load_rps) for one in problem.pipelines)
    problem = replace(problem, pipelines=carried, aim="cost")
    before, hosts = optimise(problem), (*problem.hosts, machine("extra", 2, 1, price=2.0))
    after = optimise(replace(problem, hosts=hosts))
    if before is not None:
        assert after is not None
        assert price(hosts, after.counts) <= price(hosts, before.counts) + 1e-6


def price(hosts: tuple[Host, ...], counts: dict[tuple[int, int, int], int]) -> float:
    return sum(hosts[h].price_per_hour for h in {h for _, _, h in counts})
