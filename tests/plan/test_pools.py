"""Hosts that are planned together: what stands on them is what would be planned host by host."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.plan import search
from harmonia_compiler.plan.build import GIVE_UP
from harmonia_compiler.plan.optimise import Allocation, optimise
from harmonia_compiler.plan.pools import MOST_POOLS, divide
from harmonia_compiler.plan.problem import Aim, Problem
from harmonia_compiler.plan.unpack import pack
from harmonia_compiler.profile.queueing import HEADROOM
from tests.examples import examples
from tests.plan.problems import Score, chain, exhaustive, machine, need, on_cores, on_gpu, score_of
from tests.plan.random_problems import problems


def twins(problem: Problem) -> Problem:
    """The same engines on two hosts that are alike, and small enough for an exhaustive search."""
    first = problem.hosts[0]
    gpus = tuple(changed(one, count=1) for one in first.gpus)
    small = changed(first, cpus=min(first.cpus, 2), gpus=gpus)
    return replace(problem, hosts=(small, changed(small, name="twin")))


@examples(40)
@given(problems())
def test_twins_are_planned_as_well_as_two_hosts(problem: Problem) -> None:
    problem = twins(problem)
    best, found = exhaustive(problem), optimise(problem)
    assert (best is None) == (found is None)
    if best is not None and found is not None:
        assert score_of(problem, found.counts) == pytest.approx(best, rel=1e-5)


@examples(60)
@given(problems(), st.booleans())
def test_a_large_problem_has_a_plan_that_holds_and_says_how_good_it_is(problem: Problem, alike: bool) -> None:  # noqa: FBT001
    """The way in which large problems are planned, on small ones."""
    problem = twins(problem) if alike else problem
    problem = replace(problem, give_up=GIVE_UP)
    best = exhaustive(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "LARGE", 0)
        found = searched(problem)
    # Nobody claims that there is a plan, or none, where the way of large problems finds neither.
    if found != "ended":
        check(problem, best, found)


def searched(problem: Problem) -> Allocation | Literal["ended"] | None:
    """What is found; the only failure is that the search ended."""
    try:
        return optimise(problem)
    except Rejected as rejected:
        if [one.code for one in rejected.found] != ["E0727"]:
            raise
        return "ended"


@pytest.mark.parametrize("aim", ["throughput", "cost"])
def test_the_way_of_large_problems_finds_the_best_where_nothing_is_in_the_way(
    monkeypatch: pytest.MonkeyPatch, aim: Aim
) -> None:
    """Ten replicas carry the load on five hosts of two cores; a sixth costs more than it brings."""
    monkeypatch.setattr(search, "LARGE", 0)
    load = chain("write", load_rps=10 * HEADROOM * 9.95)
    hosts = tuple(machine(f"h{at}", 2, price=1.0) for at in range(6 if aim == "cost" else 5))
    problem = Problem((need("write", on_cores("write", 100.0)),), (load,), hosts, aim, give_up=GIVE_UP)
    found = optimise(problem)
    assert found is not None
    assert found.proven
    assert sum(found.counts.values()) == 10
    assert len({h for _, _, h in found.counts}) == 5


def check(problem: Problem, best: Score | None, found: Allocation | None) -> None:
    """A plan is found where there is one; it keeps every limit and is as good as it says."""
    if found is None or best is None:
        assert found is None
        assert best is None
        return
    score = score_of(problem, found.counts)
    assert score is not None
    assert score[0] >= best[0] - abs(score[0]) * found.gap - 1e-5


@pytest.mark.parametrize("hosts", [2, 5, 40])
def test_what_only_the_sum_has_room_for_is_not_planned(hosts: int) -> None:
    """Two replicas of 12 cores stand on 32, and 8 cores of each host are of no use."""
    write = need("write", on_cores("write", 100.0, cores=12.0))
    problem = Problem((write,), (chain("write"),), tuple(machine(f"h{at}", 32) for at in range(hosts)))
    found = optimise(problem)
    assert found is not None
    assert found.proven
    assert found.counts == {(0, 0, h): 2 for h in range(hosts)}


def test_groups_of_gpus_are_never_divided() -> None:
    """Six GPUs hold one group of four, and three hosts with six hold three, not four."""
    write = need("write", on_gpu("write", 100.0, gpus=4.0))
    problem = Problem((write,), (chain("write"),), tuple(machine(f"h{at}", 1, 6) for at in range(3)))
    found = optimise(problem)
    assert found is not None
    assert sum(found.counts.values()) == 3


def test_hosts_that_all_differ_share_pools() -> None:
    hosts = tuple(machine(f"h{at:03}", 8 + at, at % 3, price=1.0 + at) for at in range(200))
    problem = Problem((need("write", on_cores("write", 100.0)),), (chain("write"),), hosts)
    division = divide(problem)
    assert len(division.pools) <= MOST_POOLS
    assert sorted(h for pool in division.pools for h in pool.hosts) == list(range(200))
    for pool in division.pools:
        assert len({frozenset(kind.room) for kind in pool.kinds}) == 1


@examples(60)
@given(st.data())
def test_packing_never_gives_more_than_there_is(data: st.DataObject) -> None:
    amounts = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])
    room = np.array(data.draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=5)), float)
    use = np.array(data.draw(st.lists(st.tuples(amounts, amounts), min_size=1, max_size=4)))
    wanted = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(use), max_size=len(use))))
    found = pack(room, use, wanted)
    assert (found >= 0).all()
    assert (found.sum(axis=1) <= wanted).all()
    assert (np.einsum("ib,ir->br", found, use) <= room + 1e-6).all()


@examples(60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 4), st.integers(1, 40))
def test_packing_one_kind_of_items_gives_all_that_there_is_room_for(bins: list[int], size: int, wanted: int) -> None:
    found = pack(np.array([[one] for one in bins], float), np.array([[float(size)]]), np.array([wanted]))
    assert found.sum() == min(wanted, sum(one // size for one in bins))


def test_packing_balances_what_is_scarce() -> None:
    """First fit by size fills a bin with what takes only one of two things: each bin has to take one of both."""
    room, use = np.full((3, 2), 4.0), np.array([[3.0, 1.0], [1.0, 3.0]])
    assert pack(room, use, np.array([3, 3])).tolist() == [[1, 1, 1], [1, 1, 1]]
