"""The integer program against an exhaustive search on random tiny problems, and what must hold of every plan."""

from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.plan.build import GIVE_UP
from harmonia_compiler.plan.optimise import CARRIED, optimise
from harmonia_compiler.plan.problem import Aim, Pipeline, Problem, Promise, Step
from harmonia_compiler.plan.queueing import mixtures
from harmonia_compiler.plan.solve import Outcome, Program, Terms
from tests.examples import examples
from tests.plan.problems import (
    also,
    chain,
    exhaustive,
    machine,
    need,
    on_cores,
    on_gpu,
    score_of,
    scores,
    streaming,
)
from tests.plan.random_problems import make_problem, problems


def test_most_random_problems_say_something() -> None:
    """Properties hold of whatever cannot be planned; of those that can many promise something, and cost matters too."""
    planned = [problem for seed in range(60) if optimise(problem := make_problem(Random(seed))) is not None]
    assert len(planned) >= 24
    assert sum(any(one.promises for one in each.pipelines) for each in planned) >= 18
    assert sum(each.aim == "cost" for each in planned) >= 6


@examples(200)
@given(problems())
def test_the_optimum_is_that_of_an_exhaustive_search(problem: Problem) -> None:
    best = exhaustive(problem)
    found = optimise(problem)
    if best is None:
        assert found is None
    else:
        assert found is not None
        assert score_of(problem, found.counts) == pytest.approx(best, rel=1e-5)


@examples(40)
@given(problems())
def test_a_simpler_plan_gives_up_no_more_than_it_may(problem: Problem) -> None:
    """Each objective is within its part of the best that plans with all of the objectives before it reach."""
    found = optimise(replace(problem, give_up=GIVE_UP))
    allowed = list(scores(problem))
    if not allowed:
        assert found is None
        return
    assert found is not None
    score = score_of(problem, found.counts)
    assert score is not None
    if problem.aim == "throughput":
        best = max(one[0] for one in allowed)
        assert score[0] >= best * (1 - GIVE_UP) - 2e-6
        allowed = [one[1:] for one in allowed if one[0] >= best]
        score = score[1:]
    least_price = min(-price for price, _, _ in allowed)
    assert -score[0] <= least_price / (1 - GIVE_UP / 2) + 2e-6
    of_price = [-hardware for price, hardware, _ in allowed if price >= score[0]]
    assert -score[1] <= min(of_price, default=float("inf")) / (1 - GIVE_UP / 2) + 2e-6


def test_nothing_is_given_up_of_a_load_that_can_be_carried() -> None:
    """Two cores carry 8 a second and one 7.976, by 0.3 % less: enough where 4 are asked for, and not for 8."""
    write = need("write", on_cores("write", 100.0, cores=2.0), on_cores("write", 100.3, cores=1.0), maximum=1)
    problem = Problem((write,), (chain("write", load_rps=4.0),), (machine("box", 2),), give_up=GIVE_UP)
    simple = optimise(problem)
    assert simple is not None
    assert simple.counts == {(0, 1, 0): 1}
    assert simple.gap == pytest.approx(1 - 100.0 / 100.3, rel=1e-6)
    whole = optimise(replace(problem, pipelines=(chain("write", load_rps=8.0),)))
    assert whole is not None
    assert whole.counts == {(0, 0, 0): 1}
    assert whole.rate == pytest.approx(1.0)


@pytest.mark.parametrize(("load_rps", "rate"), [(16.0, 1.0), (15.9, 16 / 15.9), (16.1, 16 / 16.1)])
def test_a_search_that_ends_just_below_the_load_goes_on(
    monkeypatch: pytest.MonkeyPatch, load_rps: float, rate: float
) -> None:
    """A search may end before the highest rate, 0.8 % below it here, with the load between the two."""

    def early(program: Program, objective: Terms, *, maximise: bool = False, **limits: Any) -> Outcome:
        best = solve(program, objective, maximise=maximise, **limits)
        if not maximise:
            return best
        program.row(objective, high=best.objective * 0.992)
        found = solve(program, objective, maximise=True)
        return replace(found, gap=1 / 0.992 - 1, bound=best.objective)

    solve = Program.solve
    monkeypatch.setattr(Program, "solve", early)
    one, more = on_cores("write", 100.0), on_cores("write", 101.0, cores=0.9)
    problem = Problem((need("write", one, more),), (chain("write", load_rps=load_rps),), (machine("box", 2),))
    found = optimise(replace(problem, give_up=0.02))
    assert found is not None
    assert found.rate >= (1 - 1e-6 if rate >= 1 else rate * 0.98)
    assert found.rate >= rate * (1 - found.gap) - 1e-6


def test_a_load_that_is_carried_to_within_what_rows_hold_to_is_carried() -> None:
    """The rows about time say of this one that it falls short by 2e-7; then two replicas of `b` would be enough."""
    first, second = on_gpu("a", 25.0, latency_ms=25.0), on_cores("b", 10.0, latency_ms=10.0)
    needs = (need("a", streaming(first, 0.2)), need("b", streaming(second, 0.2)))
    pipeline = Pipeline(
        "p",
        102.98686923987287,
        {"a": 0.3, "b": 0.3},
        (Step("a", ()), Step("b", (0,))),
        (),
        (Promise("ttft", 0.95, 200.0),),
    )
    found = optimise(Problem(needs, (pipeline,), (machine("one", 3, 1),), give_up=GIVE_UP))
    assert found is not None
    assert found.rate >= 1 - CARRIED


@examples(60)
@given(problems(), st.sampled_from([GIVE_UP, 0.6]))
def test_a_load_at_the_very_limit_is_carried(problem: Problem, give_up: float) -> None:
    """However much a simpler plan may cost, and although searches end before they have proven everything."""
    problem = replace(problem, aim="throughput")
    best = optimise(problem)
    if best is None:
        return
    pipelines = tuple(replace(one, load_rps=one.load_rps * best.rate) for one in problem.pipelines)
    found = optimise(replace(problem, pipelines=pipelines, give_up=give_up))
    assert found is not None
    assert found.rate >= 1 - CARRIED


@examples(40)
@given(problems(), st.sampled_from([GIVE_UP, 0.6]))
def test_the_gap_says_how_far_the_rate_is_from_the_best(problem: Problem, give_up: float) -> None:
    problem = replace(problem, aim="throughput")
    best, found = optimise(problem), optimise(replace(problem, give_up=give_up))
    assert (best is None) == (found is None)
    if best is not None and found is not None:
        assert found.rate >= best.rate * (1 - found.gap) * (1 - CARRIED)


@pytest.mark.parametrize(("cores", "bound_ms"), [(2, 300.0), (2, 400.0), (3, 450.0), (6, 500.0), (6, 800.0)])
def test_what_a_slow_replica_does_to_a_promise_is_counted_in_the_search(cores: int, bound_ms: float) -> None:
    """The mean over a quick GPU and slow cores would keep the promise; the calls that the cores take may not."""
    write = need("write", on_gpu("write", 50.0), on_cores("write", 300.0))
    pipeline = replace(chain("write"), promises=(Promise("latency", 0.95, bound_ms),))
    problem = Problem((write,), (pipeline,), (machine("box", cores, 1),))
    found = optimise(problem)
    assert found is not None
    assert score_of(problem, found.counts) == pytest.approx(exhaustive(problem), rel=1e-5)
    assert found.proven


@pytest.mark.parametrize("aim", ["throughput", "cost"])
def test_the_lower_price_goes_before_less_hardware(aim: Aim) -> None:
    """A GPU of the cheaper host does what a core of the dearer one does as fast."""
    write = need("write", on_cores("write", 10.0), on_gpu("write", 10.0), maximum=1)
    hosts = (machine("cores", 4, 0, price=2.0), machine("gpus", 0, 1, price=1.0))
    found = optimise(Problem((write,), (chain("write"),), hosts, aim))
    assert found is not None
    assert found.counts == {(0, 1, 1): 1}


def test_a_slow_replica_is_not_put_beside_a_fast_one() -> None:
    """Sixty-four cores would raise the rate of one GPU by 13 %, and the latency by a factor of 500."""
    problem = Problem(
        (need("write", on_gpu("write", 10.0), on_cores("write", 5000.0)),), (chain("write"),), (machine("box", 64, 1),)
    )
    found = optimise(problem)
    assert found is not None
    assert found.counts == {(0, 0, 0): 1}


def test_replicas_of_like_speed_share_their_calls() -> None:
    """One takes eight times as long as the other: near enough."""
    write = need("write", on_gpu("write", 10.0), on_cores("write", 80.0))
    found = optimise(Problem((write,), (chain("write"),), (machine("box", 2, 1),)))
    assert found is not None
    assert found.counts == {(0, 0, 0): 1, (0, 1, 0): 2}


@pytest.mark.parametrize("parts", [(0.1, 0.2), (0.3, 0.7), (1 / 3, 1 / 7), (2.3, 0.9), (0.06, 1.1)])
def test_replicas_of_which_one_takes_just_ten_times_as_long_share_their_calls(parts: tuple[float, float]) -> None:
    """Of two components' calls in any proportion: means are rounded otherwise on either."""
    fast = also(on_gpu("write", 10.0), "ask", 10.0, 10.0)
    slow = also(on_cores("write", 100.0), "ask", 100.0, 100.0)
    write = replace(need("write", fast, slow), components=("write", "ask"))
    pipeline = chain("write", "ask", visits=dict(zip(("write", "ask"), parts, strict=True)))
    problem = Problem((write,), (pipeline,), (machine("box", 2, 1),))
    assert mixtures(problem, write) == [{0, 1}]
    found = optimise(problem)
    assert found is not None
    assert found.counts == {(0, 0, 0): 1, (0, 1, 0): 2}


@examples(30)
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
        larger = machine(host.name, host.cpus + (what == "core"), gpus, host.price_per_hour)
        hosts[at % len(hosts)] = msgspec.structs.replace(larger, labels=host.labels)
    after = optimise(replace(problem, hosts=tuple(hosts)))
    if before is not None:
        assert after is not None
        assert after.rate >= before.rate * (1 - 1e-6)
