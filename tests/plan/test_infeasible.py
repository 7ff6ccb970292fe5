"""What is said where no plan exists: the limit that fails, by how much, and what would satisfy it."""

import re
from dataclasses import replace
from math import ceil
from pathlib import Path

import pytest
from msgspec.structs import replace as changed

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.flow.passes.registry import optimise as rewritten
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.diagnose import diagnose
from harmonia_compiler.plan.infeasible import Infeasible, More
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, Promise
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.profiles import Shortfall
from tests.plan.problems import chain, machine, need, on_cores, on_gpu

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SEARCH = need("search", on_cores("search", 50.0), maximum=1)
WRITE = need("write", on_gpu("write", 100.0))


def problem(pipeline: Pipeline, *needs: Need, cores: int = 4, gpus: int = 2, aim: str = "throughput") -> Problem:
    return Problem(needs or (SEARCH, WRITE), (pipeline,), (machine("box", cores, gpus),), aim)  # type: ignore[arg-type]


def reason(of: Problem) -> Diagnostic:
    assert optimise(of) is None
    (found,) = diagnose(of).found
    return found


def test_an_engine_that_no_device_holds() -> None:
    """A model of 18 GiB on devices of 14.4."""
    large = Need("large", ("large",), (), shortfalls=(Shortfall("GiB of memory on each GPU", 18.2, 14.4),))
    found = reason(problem(chain("search", "large"), SEARCH, large))
    assert found.code == "E0720"
    assert found.message == (
        "`large` needs 18.2 GiB of memory on each GPU and a device or host of the inventory has 14.4 at most"
    )


def test_a_need_that_is_hardly_more_than_there_is() -> None:
    """To the nearest hundredth both would be 4.05."""
    large = Need("large", ("large",), (), shortfalls=(Shortfall("GiB of memory", 4.0542, 4.0538),))
    assert reason(problem(chain("large"), large)).message == (
        "`large` needs 4.06 GiB of memory and a device or host of the inventory has 4.05 at most"
    )


def test_a_device_that_the_inventory_lacks() -> None:
    found = reason(problem(chain("search", "large"), SEARCH, Need("large", ("large",), (), on="h100_sxm")))
    assert found.code == "E0721"
    assert found.message == "`large` must run on `h100_sxm`, and the inventory has a100_sxm"


def test_engines_that_do_not_fit_together() -> None:
    """Two tensor-parallel pairs and a single device need five of the two."""
    pairs = need("pairs", on_gpu("pairs", 100.0, gpus=2.0), minimum=2)
    found = reason(problem(chain("write", "pairs"), WRITE, pairs))
    assert found.code == "E0722"
    assert found.message == "the 3 replicas that are needed at least take 5 a100_sxm, and the inventory has 2"
    assert found.help.startswith("add 3 a100_sxm")


def test_an_engine_whose_needs_no_single_host_has() -> None:
    """One host has the cores and the other the memory, and nothing at all can be placed."""
    walk = on_cores("walk", 10.0, cores=4.0)
    walk = replace(walk, configuration=changed(walk.configuration, memory_gib=8.0))
    wide, tall = (changed(machine("wide", 8), memory_gib=2.0), machine("tall", 1))
    found = reason(Problem((need("walk", walk),), (chain("walk"),), (wide, tall)))
    assert found.code == "E0722"
    assert found.message.endswith("that is needed at least takes 8 GiB of memory on `wide`, and `wide` has 2")
    assert found.help.startswith("add 6 GiB of memory to `wide`")


def test_what_is_needed_is_what_replicas_take_and_what_is_added_suffices() -> None:
    """A GiB more is the least to add, and more than is needed."""
    walk = on_cores("walk", 10.0)
    walk = replace(walk, configuration=changed(walk.configuration, memory_gib=3.62))
    host = changed(machine("box", 8), memory_gib=7.2)
    found = reason(Problem((need("walk", walk, minimum=2),), (chain("walk"),), (host,)))
    assert found.message == (
        "the 2 replicas that are needed at least take 7.24 GiB of memory, and the inventory has 7.2"
    )
    assert found.help.startswith("add 1 GiB of memory, or")


def test_a_load_that_needs_more_devices() -> None:
    """A GPU carries 8 requests a second at 80 %, so that 20 need three of them and two carry 16."""
    found = reason(problem(chain("write", load_rps=20.0), WRITE, aim="cost"))
    assert found.code == "E0723"
    assert found.message == (
        "the load of 20 rps of `p` needs 3 a100_sxm, and the inventory has 2, which carries 16 rps"
    )
    assert found.help == "add 1 a100_sxm, or lower the load to 16 rps"


def test_a_load_that_a_single_server_cannot_carry() -> None:
    """One server of 50 ms a search carries 16 a second however many devices there are."""
    found = reason(problem(chain("search", load_rps=32.0), SEARCH, cores=64, aim="cost"))
    assert found.code == "E0723"
    assert found.message == (
        "the load of 32 rps of `p` is too much for `search`, which may have 1 replica and carries 16 rps at most "
        "on any hardware"
    )
    assert (
        found.help == "raise `max_replicas` of `search` to 2, or lower the load to 16 rps, which this inventory carries"
    )


def test_a_store_is_never_advised_to_be_copied() -> None:
    """Here the inventory carries less than the store does on any: a GPU writes 8 a second."""
    store = replace(SEARCH, stateful=True)
    found = reason(problem(chain("search", "write", load_rps=32.0), store, WRITE, gpus=1, aim="cost"))
    assert found.message == (
        "the load of 32 rps of `p` is too much for `search`, which is never copied and carries 16 rps at most "
        "on any hardware"
    )
    assert found.help == "lower the load to 8 rps, which this inventory carries"


def test_what_a_promise_leaves_of_a_single_server_is_what_it_carries() -> None:
    """At 40 % use a search takes 50 / 0.6 ms, 152 at the 95th percentile, and no more is promised than 155."""
    promised = replace(chain("search", load_rps=12.0), promises=(Promise("latency", 0.95, 155.0),))
    found = reason(problem(promised, SEARCH, cores=64, aim="cost"))
    assert found.message == (
        "the load of 12 rps of `p` is too much for `search`, which may have 1 replica and carries 8.16 rps at most "
        "on any hardware within its promises"
    )


def test_servers_that_only_together_are_too_slow_are_all_named() -> None:
    """Each at 80 % and the other nearly idle would do; both are at 80 %, and take 250 ms each."""
    rank = need("rank", on_cores("rank", 50.0), maximum=1)
    promised = replace(chain("search", "rank", load_rps=16.0), promises=(Promise("latency", 0.95, 600.0),))
    found = reason(problem(promised, SEARCH, rank, cores=64, aim="cost"))
    for name in ("search", "rank"):
        assert f"`{name}`, which may have 1 replica and carries 14.5 rps at most" in found.message


def test_a_load_beyond_all_counting_says_how_far_it_is() -> None:
    """A core carries 16 requests a second, and four of them 64."""
    found = reason(problem(chain("search", load_rps=1e9), need("search", on_cores("search", 50.0)), aim="cost"))
    assert found.message == "the load of 1000000000 rps of `p` is 15625000 times what the inventory carries, 64 rps"
    assert found.help == "lower the load to 64 rps"


def test_a_load_that_needs_thousands_of_replicas_says_how_many() -> None:
    found = reason(problem(chain("search", load_rps=160_000.0), need("search", on_cores("search", 50.0)), aim="cost"))
    assert found.help == "add 9996 cores, or lower the load to 64 rps"


def test_what_is_added_is_said_of_its_host() -> None:
    """Of two hosts that are alike the first is enlarged, and no more fits on the other than it has."""
    hosts = (machine("gpus", 1, 2), machine("one", 4), machine("two", 4))
    of = Problem((WRITE,), (chain("write", load_rps=100.0),), hosts, "cost")
    found = reason(of)
    assert found.message.startswith("the load of 100 rps of `p` needs 13 a100_sxm, and the inventory has 2")
    assert found.help.startswith("add 11 a100_sxm to `gpus`, or lower")


def test_where_no_replica_fits_into_what_is_there_the_host_is_named() -> None:
    """Three replicas of 4 cores take 12, and hosts of 5 hold one each: to the 10 there are 3 must be added, not 2."""
    hosts = (machine("one", 5), machine("two", 5))
    of = Problem((need("work", on_cores("work", 50.0, cores=4.0)),), (chain("work", load_rps=40.0),), hosts, "cost")
    found = reason(of)
    assert found.message.startswith("the load of 40 rps of `p` needs 8 cores on `one`, and `one` has 5, which carries")
    assert found.help.startswith("add 3 cores to `one`, or lower")


def inventory_of(cpus: int, memory_gib: float) -> Inventory:
    return Inventory((Host("box", cpus, memory_gib),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cpus", "memory_gib", "said"),
    [
        (4, 16.0, "needs 43 cores and 20.72 GiB of memory within its promises, and the inventory has 4 and 16"),
        (43, 16.0, "needs 20.72 GiB of memory within its promises, and the inventory has 16"),
        (4, 64.0, "needs 41.75 cores within its promises, and the inventory has 4"),
    ],
)
def test_larger_replicas_that_larger_hosts_hold_are_counted_on(
    tmp_path: Path, cpus: int, memory_gib: float, said: str
) -> None:
    """On 43 cores a replica has 16 of them, and needs the memory of four with 4 cores each only once."""
    text = (SAMPLES / "quickstart.rag").read_text(encoding="utf-8").replace("load 0.02 rps", "load 5 rps")
    (tmp_path / "quickstart.rag").write_text(text, encoding="utf-8")
    checked = check_files([tmp_path / "quickstart.rag"])
    assert checked.application is not None
    application = rewritten(checked.application)
    with pytest.raises(Infeasible) as refused:
        make_plan(application, inventory_of(cpus, memory_gib), objective="cost")
    (limit,) = refused.value.limits
    assert said in limit.finding.message
    (more,) = (remedy.hardware["box"] for remedy in limit.remedies if isinstance(remedy, More))
    cpus, memory_gib = cpus + more.get("cores", 0), memory_gib + more.get("memory_gib", 0)
    assert make_plan(application, inventory_of(cpus, memory_gib), objective="cost").replicas
    for one in more:
        less = inventory_of(cpus - (one == "cores"), memory_gib - (one == "memory_gib"))
        assert optimise(build_problem(application, less, "cost", BestProfiles()).problem) is None


@pytest.mark.slow
def test_what_is_added_is_what_is_taken_beyond_what_there_is_even_where_the_search_ends_early(tmp_path: Path) -> None:
    text = (SAMPLES / "quickstart.rag").read_text(encoding="utf-8").replace("load 0.02 rps", "load 10 rps")
    (tmp_path / "quickstart.rag").write_text(text, encoding="utf-8")
    checked = check_files([tmp_path / "quickstart.rag"])
    assert checked.application is not None
    with pytest.raises(Infeasible) as refused:
        make_plan(
            rewritten(checked.application), Inventory((Host("h0", 8, 8.0), Host("h1", 2, 16.0))), objective="cost"
        )
    (limit,) = refused.value.limits
    needed = re.search(r"needs .* and ([\d.]+) GiB of memory on `h1` .* and `h1` has 2 and 16,", limit.finding.message)
    assert needed is not None, limit.finding.message
    (more,) = (remedy.hardware["h1"] for remedy in limit.remedies if isinstance(remedy, More))
    assert more["memory_gib"] == ceil(float(needed[1]) - 16.0)


def test_several_loads_are_told_apart() -> None:
    both = (chain("write", load_rps=20.0), replace(chain("write", load_rps=10.0), name="q"))
    found = reason(Problem((WRITE,), both, (machine("box", 4, 2),), "cost"))
    assert found.message.startswith("the load of 20 rps of `p` and 10 rps of `q` needs 4 a100_sxm")
    assert found.help.endswith("lower the load to 10.6 rps of `p` and 5.33 rps of `q`")


@pytest.mark.parametrize("bound_ms", [1e-200, 1e-6, 1e-3])
def test_a_promise_of_next_to_nothing_is_missed_as_any_other(bound_ms: float) -> None:
    promised = replace(chain("search", "write"), promises=(Promise("latency", 0.95, bound_ms),))
    assert reason(problem(promised)).help.startswith("promise 250 ms or more")


@pytest.mark.parametrize("aim", ["throughput", "cost"])
def test_a_promise_about_what_somebody_else_runs(aim: str) -> None:
    """Nothing is placed, and 200 ms are 364.5 at the 95th percentile."""
    promised = replace(chain("web"), promises=(Promise("latency", 0.95, 300.0),))
    of = Problem((), (promised,), (machine("box", 1),), aim, {"web": 200.0})  # type: ignore[arg-type]
    assert reason(of).help.startswith("promise 365 ms or more")
    kept = replace(promised, promises=(Promise("latency", 0.95, 365.0),))
    assert optimise(replace(of, pipelines=(kept,))) is not None


@pytest.mark.parametrize("aim", ["throughput", "cost"])
def test_a_promise_that_no_configuration_keeps(aim: str) -> None:
    """50 and 100 ms in a row, at the lowest level 5 % longer, and 1.58 times that at the 95th percentile."""
    promised = replace(chain("search", "write"), promises=(Promise("latency", 0.95, 200.0),))
    found = reason(problem(promised, aim=aim))
    assert found.code == "E0724"
    assert found.message == (
        "`p` promises a p95 latency of 200 ms, and the fastest plan on this inventory reaches 250 ms"
    )
    assert found.help.startswith("promise 250 ms or more")


def test_a_promise_limits_the_rate_and_is_named_with_the_load() -> None:
    """At 40 % use a call takes 100 / 0.6 ms, 304 at the 95th percentile, and no more is promised than 310."""
    promised = replace(chain("write", load_rps=10.0), promises=(Promise("latency", 0.95, 310.0),))
    found = reason(problem(promised, WRITE, aim="cost"))
    assert found.message == (
        "the load of 10 rps of `p` needs 3 a100_sxm within its promises, and the inventory has 2, "
        "which carries 8.16 rps"
    )


def test_hosts_to_add_are_the_cheapest_and_said_with_their_price() -> None:
    """A GPU carries 8 rps, so that 40 need five of them; there are three, and a host with one costs 1 an hour."""
    hosts = (machine("two", 8, 2, price=3.0), machine("one", 4, 1, price=1.0))
    asked = Problem((WRITE,), (chain("write", load_rps=40.0),), hosts, "cost")
    found = reason(asked)
    assert found.help == (
        "add 2 a100_sxm to `two`, or add 2 hosts like `one` for 2 an hour, or lower the load to 24 rps"
    )
    for count in (1, 2):
        more = tuple(machine(f"one {at}", 4, 1, price=1.0) for at in range(count))
        assert (optimise(replace(asked, hosts=(*hosts, *more))) is not None) == (count == 2)


def test_hosts_without_a_price_are_not_said_to_be_added() -> None:
    assert "like" not in reason(problem(chain("search", "write", load_rps=30.0), aim="cost")).help


def test_a_load_within_a_promise_is_also_carried_with_a_looser_one() -> None:
    """At 80 % use a call takes 100 / 0.2 ms, and 912 at the 95th percentile."""
    promised = replace(chain("write", load_rps=16.0), promises=(Promise("latency", 0.95, 310.0),))
    asked = problem(promised, WRITE, aim="cost")
    assert ", or promise 912 ms or more, or lower the load to 8.16 rps" in reason(asked).help
    for bound_ms, is_kept in ((911.0, False), (912.0, True)):
        looser = replace(promised, promises=(Promise("latency", 0.95, bound_ms),))
        assert (optimise(replace(asked, pipelines=(looser,))) is not None) == is_kept
