"""What is said where no plan exists: the limit that fails, by how much, and what would satisfy it."""

from dataclasses import replace

import pytest

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.plan.diagnose import diagnose
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, Promise
from harmonia_compiler.profile.profiles import Shortfall
from tests.plan.problems import chain, machine, need, on_cores, on_gpu

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
        "the load of 32 rps of `p` is too much for `search`, which may have 1 replica and so carries 50% of it"
    )


@pytest.mark.parametrize("aim", ["throughput", "cost"])
def test_a_promise_that_no_configuration_keeps(aim: str) -> None:
    """50 and 100 ms in a row, at the lowest level 5 % longer, and 1.82 times that at the 95th percentile."""
    promised = replace(chain("search", "write"), promises=(Promise("latency", 0.95, 200.0),))
    found = reason(problem(promised, aim=aim))
    assert found.code == "E0724"
    assert found.message == (
        "`p` promises a p95 latency of 200 ms, and the fastest plan on this inventory reaches 288 ms"
    )
    assert found.help.startswith("promise 302 ms or more")


def test_the_promise_that_was_asked_for_can_be_kept() -> None:
    promised = replace(chain("search", "write"), promises=(Promise("latency", 0.95, 302.0),))
    assert optimise(problem(promised)) is not None


def test_a_promise_limits_the_rate_and_is_named_with_the_load() -> None:
    """At 40 % use a call takes 100 / 0.6 ms, 304 at the 95th percentile; at 60 % too long: 4 rps of a GPU."""
    promised = replace(chain("write", load_rps=10.0), promises=(Promise("latency", 0.95, 310.0),))
    found = reason(problem(promised, WRITE, aim="cost"))
    assert found.message == (
        "the load of 10 rps of `p` needs 3 a100_sxm within its promises, and the inventory has 2, which carries 8 rps"
    )
