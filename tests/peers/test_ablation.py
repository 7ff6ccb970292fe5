"""Harmonia with one thing taken away: each can be planned, and serves the same requests on the same hardware."""

from collections.abc import Callable
from functools import partial

import pytest

from bench.peers.ablation import ABLATIONS, Given, batched, divided
from bench.peers.allocation import gpus, uniform
from bench.pipelines import planned
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until


@pytest.mark.slow
@pytest.mark.parametrize("what", ABLATIONS)
def test_each_serves_the_same_requests_on_the_same_hosts(what: str, plans: Callable[[str], Scenario]) -> None:
    given = plans("self_rag")
    tried = ABLATIONS[what](Given(given, lambda: uniform(given), partial(planned, "self_rag", "eight", passes=False)))
    there = {(gpu.host, gpu.index) for gpu in gpus(given)}
    assert {(one.host, at) for one in tried.scenario.plan.replicas for at in one.devices} <= there
    window = Window(0.0, 5000.0)
    arrivals = until(poisson(2.0, 1), window.to_ms)
    done = simulate(tried.scenario, arrivals, window, load_cards(), {}, parts=tried.parts, resizes=False)
    assert done.report.groups[0].figures.attainment == 1.0


def test_an_even_division_has_calls_by_what_its_gpus_carry(crag: Scenario) -> None:
    made = divided(crag, uniform(crag))
    by_type = {
        one.config.gpu: made.service.shares[one.id].weight for one in made.plan.replicas if one.engine == "large"
    }
    assert by_type["a100_sxm"] > 1.2 * by_type["l40s"]


def test_fewer_calls_at_once_leave_placement_and_weights(crag: Scenario) -> None:
    made = batched(crag, 1)
    for before, after in zip(crag.plan.replicas, made.plan.replicas, strict=True):
        assert (before.id, before.devices) == (after.id, after.devices)
        assert crag.service.shares[before.id].weight == made.service.shares[after.id].weight
        assert made.service.shares[after.id].batch == after.config.batch
        assert after.config.batch == (1 if before.config.gpu else before.config.batch)


@pytest.mark.slow
def test_without_passes_a_service_can_be_made(plans: Callable[[str], Scenario]) -> None:
    given, plain = plans("adaptive"), planned("adaptive", "eight", passes=False)
    assert given.service.programs != plain.service.programs
    assert {one.name for one in given.plan.pipelines} == {one.name for one in plain.plan.pipelines}
    # The gateway asks a store by vectors alone.
    assert given.service.engines.keys() == plain.service.engines.keys()
    assert given.service.programs["adaptive"].components.keys() == plain.service.programs["adaptive"].components.keys()
