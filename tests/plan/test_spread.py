"""Components that ask for several hosts, so that the loss of one leaves a replica."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.flow.passes.registry import optimise as rewritten
from harmonia_compiler.plan import search
from harmonia_compiler.plan.build import GIVE_UP, build_problem
from harmonia_compiler.plan.diagnose import diagnose
from harmonia_compiler.plan.mend import mend, trim
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.objectives import fewest
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.pools import divide
from harmonia_compiler.plan.problem import Aim, Need, Problem
from harmonia_compiler.plan.unpack import _seeds
from harmonia_compiler.plan.verify import faults
from harmonia_compiler.profile.best import BestProfiles
from tests.plan.problems import chain, machine, need, on_cores, on_gpu, replicas_of

WRITE = need("write", on_cores("write", 100.0))
SOURCE = """
component work = python("work:work", cores: 1, min_hosts: 2)
component one(q: text) -> text = work()
pipeline p(q: text ~ 20 tokens) -> text { return one(q) }
"""


def on_hosts(of: Need, count: int) -> Need:
    return replace(of, min_hosts=count, minimum=max(of.minimum, count))


def hosts_of(problem: Problem, engine: str) -> set[str]:
    found = optimise(problem)
    assert found is not None
    return {problem.hosts[h].name for e, _, h in found.counts if problem.needs[e].engine == engine}


@pytest.mark.parametrize("alike", [True, False])
def test_a_second_host_is_used_where_one_would_do(alike: bool) -> None:  # noqa: FBT001
    hosts = (machine("one", 8, price=1.0), machine("two", 8, price=1.0 if alike else 3.0))
    problem = Problem((WRITE,), (chain("write"),), hosts, "cost")
    assert len(hosts_of(problem, "write")) == 1
    assert hosts_of(replace(problem, needs=(on_hosts(WRITE, 2),)), "write") == {"one", "two"}


def test_only_who_asks_is_spread() -> None:
    read = need("read", on_cores("read", 100.0))
    hosts = tuple(machine(f"h{at}", 8, price=1.0) for at in range(3))
    problem = Problem((on_hosts(WRITE, 2), read), (chain("write", "read"),), hosts, "cost")
    assert len(hosts_of(problem, "write")) == 2
    assert len(hosts_of(problem, "read")) == 1


def test_engines_that_ask_for_hosts_share_them() -> None:
    """Each of three hosts has room for two replicas, and each of three engines asks for two hosts."""
    needs = tuple(on_hosts(need(name, on_cores(name, 10.0, cores=2.0)), 2) for name in ("a", "b", "c"))
    hosts = tuple(machine(f"h{at}", 4) for at in range(3))
    problem = Problem(needs, (chain("a", "b", "c"),), hosts)
    found = optimise(problem)
    assert found is not None
    for e in range(3):
        assert len({h for engine, _, h in found.counts if engine == e}) == 2


@pytest.mark.parametrize("aim", ["throughput", "cost"])
def test_large_problems_are_spread_too(monkeypatch: pytest.MonkeyPatch, aim: Aim) -> None:
    monkeypatch.setattr(search, "LARGE", 0)
    write, read = on_hosts(need("write", on_gpu("write", 100.0)), 3), need("read", on_cores("read", 100.0))
    hosts = tuple(machine(f"h{at}", 4, 2, price=1.0) for at in range(6))
    problem = Problem((write, read), (chain("write", "read"),), hosts, aim, give_up=GIVE_UP)
    found = optimise(problem)
    assert found is not None
    assert replicas_of(problem, found.counts)["write"] >= 3
    assert len({h for e, _, h in found.counts if e == 0}) >= 3


def test_what_is_made_up_for_and_taken_away_leaves_it_on_its_hosts() -> None:
    problem = Problem((on_hosts(WRITE, 2),), (chain("write"),), (machine("one", 4), machine("two", 4)), give_up=GIVE_UP)
    model = build(problem, divide(problem), 1.0)
    values = model.program.solve(fewest(model)).values
    assert trim(model, values, {(0, 0, 0): 3, (0, 0, 1): 1}) == {(0, 0, 0): 1, (0, 0, 1): 1}
    assert mend(model, values, {(0, 0, 0): 2}) == {(0, 0, 0): 2, (0, 0, 1): 1}


def test_seeds_stand_apart_and_where_there_is_room() -> None:
    """An engine in two options asks for three bins, of which the second has no room for either."""
    room, use = np.array([[2.0], [0.5], [2.0], [2.0]]), np.array([[2.0], [1.0]])
    seeds = _seeds(room, use, np.array([1, 4]), [(0, 3), (0, 3)], np.zeros((2, 4), int))
    assert seeds.tolist() == [[1, 0, 0, 0], [0, 0, 1, 1]]


@pytest.mark.parametrize(("hosts", "can"), [(2, "only 2 hosts"), (1, "only 1 host"), (0, "no host")])
def test_too_few_hosts_for_one_that_asks(hosts: int, can: str) -> None:
    write = on_hosts(need("write", on_gpu("write", 10.0)), 3)
    gpus = tuple(machine(f"h{at}", 4, 1) for at in range(hosts))
    problem = Problem((write,), (chain("write"),), (*gpus, machine("none", 64)))
    assert optimise(problem) is None
    (found,) = diagnose(problem).found
    assert found.code == "E0728"
    assert found.message == f"`write` must stand on 3 hosts, and {can} of the inventory can hold a replica"
    assert found.help == "add hosts that can, or lower `min_hosts`"


def test_hosts_that_are_full_are_told_what_to_add() -> None:
    """Each engine could stand on both hosts, and a host has room for one of them."""
    needs = tuple(on_hosts(need(name, on_cores(name, 10.0, cores=3.0)), 2) for name in ("a", "b"))
    problem = Problem(needs, (chain("a", "b"),), (machine("h0", 4), machine("h1", 4)))
    assert optimise(problem) is None
    (found,) = diagnose(problem).found
    assert found.code == "E0722"
    assert found.help is not None
    assert found.help.startswith("add 2 cores to `h0`, and 2 cores to `h1`")


def test_a_file_asks_and_the_plan_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "app.rag"
    path.write_text(SOURCE)
    checked = check_files([path])
    assert checked.application is not None, checked.found
    application = rewritten(checked.application)
    inventory = Inventory((Host("a", 8, 32.0), Host("b", 8, 32.0)))
    plan = make_plan(application, inventory)
    assert {one.host for one in plan.replicas} == {"a", "b"}
    problem = build_problem(application, inventory, "throughput", BestProfiles()).problem
    assert faults(plan, problem) == []
    together = tuple(msgspec.structs.replace(one, host="a") for one in plan.replicas)
    assert "work stands on 1 of at least 2 hosts" in faults(msgspec.structs.replace(plan, replicas=together), problem)
    with pytest.raises(Rejected) as caught:
        make_plan(application, Inventory((Host("a", 8, 32.0),)))
    assert [one.code for one in caught.value.found] == ["E0728"]


def test_more_hosts_than_replicas_contradict_each_other(tmp_path: Path) -> None:
    path = tmp_path / "app.rag"
    path.write_text(SOURCE.replace("min_hosts: 2", "min_hosts: 2, max_replicas: 1"))
    (found,) = check_files([path]).found
    assert (found.code, found.message) == ("E0616", "`max_replicas` is 1, but `min_hosts` is 2")
