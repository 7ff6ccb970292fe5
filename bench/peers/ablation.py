"""Harmonia with one thing taken away, on the same hardware and for the same requests: what each of them is worth.

Parts of the scheduling are turned off by the gateway's own switches (`policy/parts.py`). What the plan decides is
decided otherwise instead: GPUs are dealt out evenly, or as the best search for the others deals them; engines work on
one call at a time, or on as many as vLLM does by default; the flow is served as it is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from bench.peers.allocation import MAX_NUM_SEQS, Division, allocated, uniform
from bench.peers.judging import OURS
from bench.peers.search import figures, over
from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.policy.parts import ALL, PARTS, Parts

#: How a system of ours with something taken away begins.
WITHOUT = f"{OURS}-without-"
EVEN, THEIRS = "GPUs dealt out evenly", "GPUs as the best search deals them to pools"


@dataclass(frozen=True, slots=True)
class Tried:
    """What is served in place of our plan, its set-up in words, and with which parts of the scheduling."""

    scenario: Scenario
    setup: str
    parts: Parts = ALL


@dataclass(frozen=True, slots=True)
class Given:
    """What is taken away from: our plan's scenario, the best division of a pool per model, and a plan without passes.

    The latter two take their time, and are made where they are asked for.
    """

    scenario: Scenario
    pooled: Callable[[], Division]
    unpassed: Callable[[], Scenario]


def divided(given: Scenario, division: Division) -> Scenario:
    """The scenario over a division of the GPUs, with calls in proportion to what each carries by its profile."""
    replicas = allocated(given, division)
    made, known, parts = over(given, replicas), figures(given), dict(division.parts)
    shares = dict(made.service.shares)
    for one in replicas:
        if one.config.gpu:
            key = (one.config.gpu, parts.get(one.engine, 1.0))
            busy_ms = sum(known.busy_ms[name, *key] * known.visits[name] for name in known.serves[one.engine])
            shares[one.id] = ReplicaShare(one.config.batch, 1000.0 / busy_ms)
    return replace(made, service=msgspec.structs.replace(made.service, shares=shares))


def batched(given: Scenario, batch: int) -> Scenario:
    """The scenario whose language models work on so many calls at once, with all else as planned."""
    at_once = {one.id: batch if one.config.gpu else one.config.batch for one in given.plan.replicas}
    replicas = tuple(
        msgspec.structs.replace(one, config=msgspec.structs.replace(one.config, batch=at_once[one.id]))
        for one in given.plan.replicas
    )
    shares = {
        name: msgspec.structs.replace(one, batch=at_once.get(name, one.batch))
        for name, one in given.service.shares.items()
    }
    plan = msgspec.structs.replace(given.plan, replicas=replicas)
    return replace(given, plan=plan, service=msgspec.structs.replace(given.service, shares=shares))


def _scheduled(*parts: str) -> Callable[[Given], Tried]:
    return lambda given: Tried(given.scenario, f"its plan, without {', '.join(parts)}", ALL.without(parts))


def _theirs(given: Given) -> Tried:
    division = given.pooled()
    return Tried(divided(given.scenario, division), f"{THEIRS}: {division.describe()}")


def _even(given: Given) -> Tried:
    division = uniform(given.scenario)
    return Tried(divided(given.scenario, division), f"{EVEN}: {division.describe()}")


#: What is taken away, by the end of the system's name.
ABLATIONS: Mapping[str, Callable[[Given], Tried]] = {
    "allocation": _even,
    "own-allocation": _theirs,
    "batching": lambda given: Tried(batched(given.scenario, 1), "its plan, one call at a time"),
    "planned-batches": lambda given: Tried(
        batched(given.scenario, MAX_NUM_SEQS), f"its plan, {MAX_NUM_SEQS} calls at a time"
    ),
    "passes": lambda given: Tried(given.unpassed(), "a plan of the flow as it is written"),
    **{part: _scheduled(part) for part in PARTS},
    "all-scheduling": _scheduled(*PARTS),
}
