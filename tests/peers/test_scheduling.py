"""What the scheduling must not cost: below what a plan carries, and past it where requests differ much."""

from statistics import fmean

import pytest

from bench.peers.search import in_time
from bench.pipelines import NAMES, planned
from harmonia_compiler.policy.parts import ALL, PLAIN

#: The part of the requests that may be late or refused for the sake of the scheduling, by chance as well.
COSTS = 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_below_its_capacity_a_pipeline_loses_nothing_by_being_scheduled(name: str) -> None:
    """At what the plan says, and a little beyond, where limits begin to be learned and few have to wait."""
    made = planned(name, "eight")
    carried_rps = made.plan.predicted[name].throughput_rps
    for part in (0.9, 1.04):
        plain = in_time(made, part * carried_rps, PLAIN)
        assert in_time(made, part * carried_rps, ALL) >= plain - COSTS


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bimodal", "toolish"])
def test_past_its_capacity_a_pipeline_of_short_and_long_requests_answers_as_many_in_time(name: str) -> None:
    """Engines of few places, which short requests need, stand beside one that learns how many it can take."""
    made = planned(name, "eight")
    rate_rps = 1.5 * made.plan.predicted[name].throughput_rps
    found, plain = (fmean(in_time(made, rate_rps, parts, seed) for seed in (1, 2)) for parts in (ALL, PLAIN))
    assert found >= plain - COSTS
