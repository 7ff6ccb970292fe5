"""Divides each engine's calls among its replicas, so that the busiest is as little busy as can be.

By how much is for a linear program to say, which is handed in. A replica that takes several times as long as the
fastest of its engine gets fewer calls at once as well: each call that waits inside it waits for the slow one alone, and
one in the queue can still go elsewhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.policy.control.planned import Planned, PlannedEngine
from harmonia_compiler.policy.control.ratio import PLANNED, Ratio
from harmonia_compiler.policy.control.state import State

#: So many times as slow as the fastest of its engine, and a replica gets fewer calls at once.
SLOW = 2.0
#: By such a part of itself a share must change for a change to be worth it.
WORTH = 0.2
#: So long a division is held, in seconds. One that is changed soon after that is held for twice as long, up to a bound.
HOLD_S, MOST_HOLD_S, SOON = 10.0, 160.0, 2.0
#: So many calls of a replica tell how fast it is; before that it counts as its engine does. Two are enough though they
#: come in two windows, of which the older counts half: a slow replica is given one at a time, by whoever routes calls.
ENOUGH = 1.5


@dataclass(frozen=True, slots=True)
class Load:
    """Calls a second of an engine, and how long a call keeps each of its replicas busy, in seconds."""

    calls_rps: float
    busy_s: Sequence[float]


def held_s(state: State, now: float) -> float:
    """For how long a division is held that is made now."""
    if state.shares_s is None or now - state.shares_s > SOON * state.hold_s:
        return HOLD_S
    return min(MOST_HOLD_S, 2.0 * state.hold_s)


class NoDivision(Exception):
    """The linear program found no shares."""


#: Gives each replica of each engine its part of the engine's calls; may raise `NoDivision`.
Divide = Callable[[Mapping[str, Load]], Mapping[str, Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Division:
    """Shares by replica, and what of them is new in words; no words where the change is not worth it."""

    shares: dict[str, ReplicaShare]
    words: tuple[str, ...] = ()


def pace(state: State, engine: str, replica: str) -> float:
    """How many times as long as planned a replica takes, as far as that is known."""
    own = state.replicas.get(replica, PLANNED)
    of_engine: Ratio = state.engines.get(engine, PLANNED)
    return own.value if own.evidence >= ENOUGH else of_engine.value


def divided(planned: Planned, state: State, calls_rps: Mapping[str, float], divide: Divide) -> Division:
    """The shares for calls that come at these rates, by engine. Raises NoDivision."""
    several = {name: engine for name, engine in planned.engines.items() if len(engine.replicas) > 1}
    called = {name: engine for name, engine in several.items() if calls_rps.get(name, 0.0) > 0.0}
    old = {
        one.name: state.shares.get(one.name, one.share)
        for engine in planned.engines.values()
        for one in engine.replicas
    }
    if not called:
        return Division(old)
    paces = {name: [pace(state, name, one.name) for one in engine.replicas] for name, engine in several.items()}
    loads = {
        name: Load(
            calls_rps.get(name, 0.0),
            [times / one.capacity_rps for times, one in zip(paces[name], engine.replicas, strict=True)],
        )
        for name, engine in several.items()
    }
    parts = divide(loads)
    new, words = dict(old), list[tuple[float, str]]()
    for name, engine in called.items():
        for at, share in enumerate(_shares(engine, parts[name], paces[name])):
            replica = engine.replicas[at]
            new[replica.name] = share
            moved = _moved(old[replica.name], share)
            if moved >= WORTH:
                part, was = (
                    parts[name][at],
                    old[replica.name].weight / sum(old[one.name].weight for one in engine.replicas),
                )
                words.append((moved, _said(replica.name, was, part, share.batch, replica.share.batch, paces[name][at])))
    return Division(new, tuple(said for _, said in sorted(words, reverse=True))) if words else Division(old)


def _shares(engine: PlannedEngine, parts: Sequence[float], paces: Sequence[float]) -> list[ReplicaShare]:
    """What each replica gets. Weights add up to what those of the plan do."""
    whole = sum(one.share.weight for one in engine.replicas)
    fastest = min(paces)
    return [
        ReplicaShare(
            one.share.batch if times <= SLOW * fastest else max(1, math.ceil(one.share.batch * fastest / times)),
            max(part, 1e-6) * whole,
        )
        for one, part, times in zip(engine.replicas, parts, paces, strict=True)
    ]


def _moved(old: ReplicaShare, new: ReplicaShare) -> float:
    """The larger one of the parts by which weight and batch change; a batch of few moves in whole calls."""
    weight = max(old.weight, new.weight) / min(old.weight, new.weight) - 1.0
    batch = max(old.batch, new.batch) / min(old.batch, new.batch) - 1.0
    return max(weight, batch)


def _said(name: str, was: float, part: float, batch: int, planned_batch: int, times: float) -> str:
    at_once = "" if batch == planned_batch else f", {batch} at once and not {planned_batch}"
    why = (
        f"its calls take {times:.2g} times what the plan says"
        if abs(times - 1.0) >= 0.05
        else "it is as fast as planned"
    )
    return f"`{name}` {was:.0%} → {part:.0%} of its engine's calls{at_once}: {why}"
