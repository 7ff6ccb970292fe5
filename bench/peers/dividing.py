"""The search for the best division of GPUs that a peer could be given: by simulation, over all of them.

A peer sends each call at once to the replica with the fewest, and its engines queue. That is what the simulator does
with all parts of our scheduling off, over the peer's replicas. So each way to divide the GPUs among the models is
simulated at one rate, and whose requests are answered in time most often is the peer's best. What a peer then
does with it is measured, and not simulated.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from bench.peers.allocation import allocated, gpus, models, uniform
from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.policy.parts import NONE
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until

#: For how long each division is simulated, in seconds, and the part that is warm-up.
SECONDS, WARMUP, SEED = 60.0, 0.2, 1


def divisions(scenario: Scenario) -> Iterator[dict[str, int]]:
    """Every way to divide all GPUs among the models, each of which gets one at least; the rest as evenly as ever."""
    rest = uniform(scenario)
    for parts in _parts(len(gpus(scenario)), len(models(scenario))):
        yield {**rest, **dict(zip(models(scenario), parts, strict=True))}


def _parts(whole: int, count: int) -> Iterator[tuple[int, ...]]:
    if count == 1:
        yield (whole,)
        return
    for first in range(1, whole - count + 2):
        for others in _parts(whole - first, count - 1):
            yield (first, *others)


def over(scenario: Scenario, replicas: tuple[Replica, ...]) -> Scenario:
    """The scenario with other replicas, each of which takes as many calls as its engine works on at once."""
    shares = {one.id: ReplicaShare(one.config.batch) for one in replicas}
    plan = msgspec.structs.replace(scenario.plan, replicas=replicas)
    return replace(scenario, plan=plan, service=msgspec.structs.replace(scenario.service, shares=shares))


def best(scenario: Scenario, rate_rps: float, kept: Path) -> dict[str, int]:
    """The best division at a rate. What was found with each is read from a file, where it is there, or kept in it."""
    by_words = {written(scenario, counts): counts for counts in divisions(scenario)}
    if kept.is_file():
        shares = msgspec.json.decode(kept.read_bytes(), type=dict[str, float])
    else:
        shares = {
            words: _in_time(over(scenario, allocated(scenario, counts)), rate_rps) for words, counts in by_words.items()
        }
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(msgspec.json.format(msgspec.json.encode(shares), indent=1) + b"\n")
    return by_words[max(shares, key=lambda words: shares[words])]


def written(scenario: Scenario, counts: Mapping[str, int]) -> str:
    """The GPUs of each model, in a word."""
    return " ".join(f"{name}={counts[name]}" for name in models(scenario))


def _in_time(scenario: Scenario, rate_rps: float) -> float:
    window = Window(WARMUP * SECONDS * 1000.0, SECONDS * 1000.0)
    arrivals = until(poisson(rate_rps, SEED), SECONDS * 1000.0)
    figures = simulate(scenario, arrivals, window, load_cards(), {}, parts=NONE).report.groups[0].figures
    assert figures.attainment is not None
    return figures.attainment
