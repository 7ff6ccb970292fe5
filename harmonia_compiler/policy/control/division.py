"""Divides each engine's calls among its replicas that run, so that the busiest is as little busy as can be.

By how much is for a linear program to say, which is handed in. A replica that takes several times as long as the
fastest of its engine gets fewer calls at once as well: each call that waits inside it waits for the slow one alone, and
one in the queue can still go elsewhere. A replica that does not run yet has the share with which it would be as busy.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.policy.control.planned import Planned, PlannedEngine, PlannedReplica
from harmonia_compiler.policy.control.ratio import PLANNED, Ratio
from harmonia_compiler.policy.control.state import State

#: So many times as slow as the fastest of its engine, and a replica gets fewer calls at once.
SLOW = 2.0
#: No share is less than such a part of its engine's calls.
LEAST_PART = 1e-6
#: By such a part of itself a share must change for a change to be worth it.
WORTH = 0.2
#: So long a division is held, in seconds. One that is changed soon after that is held for twice as long, up to a bound.
HOLD_S, MOST_HOLD_S, SOON = 10.0, 160.0, 2.0
#: So many calls of a replica tell how fast it is; before that it counts as its engine does. Two are enough though they
#: come in two windows, of which the older counts half: a slow replica is given one at a time, by whoever routes calls.
ENOUGH = 1.5


@dataclass(frozen=True, slots=True)
class Load:
    """Calls a second of an engine, and how long a call keeps each replica that runs busy, in seconds."""

    calls_rps: float
    busy_s: Sequence[float]


def held_s(state: State, now: float) -> float:
    """For how long a division is held that is made now."""
    if state.shares_s is None or now - state.shares_s > SOON * state.hold_s:
        return HOLD_S
    return min(MOST_HOLD_S, 2.0 * state.hold_s)


class NoDivision(Exception):
    """The linear program found no shares."""


#: Gives each replica of each load its part of the engine's calls; may raise `NoDivision`.
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


def running(state: State, name: str, engine: PlannedEngine) -> tuple[PlannedReplica, ...]:
    """The replicas of an engine that take calls: of those that it is to have, the ones that the gateway knows.

    Where it knows none of them, or nothing was read yet, they are those that the engine is to have.
    """
    wanted = engine.replicas[: state.sizes[name].count]
    read = () if state.readings is None else state.readings.replicas
    known = {one.replica for one in read if one.engine == name}
    return tuple(one for one in wanted if one.name in known) or wanted


def divided(planned: Planned, state: State, calls_rps: Mapping[str, float], divide: Divide) -> Division:
    """The shares for calls that come at these rates, by engine. Raises NoDivision."""
    run = {name: running(state, name, engine) for name, engine in planned.engines.items()}
    several = {name: these for name, these in run.items() if len(these) > 1}
    called = {name: these for name, these in several.items() if calls_rps.get(name, 0.0) > 0.0}
    old = {
        one.name: state.shares.get(one.name, one.share)
        for engine in planned.engines.values()
        for one in engine.replicas
    }
    if not called:
        return Division(old)
    paces = {name: [pace(state, name, one.name) for one in these] for name, these in several.items()}
    loads = {
        name: Load(
            calls_rps.get(name, 0.0),
            [times / one.capacity_rps for times, one in zip(paces[name], these, strict=True)],
        )
        for name, these in several.items()
    }
    parts = divide(loads)
    new, words = dict(old), list[tuple[float, str]]()
    for name, these in called.items():
        shares = _shares(these, parts[name], paces[name])
        new |= _fitted(state, name, planned.engines[name], shares)
        whole = sum(old[one.name].weight for one in these)
        for replica, part, times in zip(these, parts[name], paces[name], strict=True):
            was, batch = old[replica.name].weight / whole, new[replica.name].batch
            moved = max(_moved(was, max(part, LEAST_PART)), _moved(old[replica.name].batch, batch))
            if moved >= WORTH:
                words.append((moved, _said(replica.name, was, part, batch, replica.share.batch, times)))
    return Division(new, tuple(said for _, said in sorted(words, reverse=True))) if words else Division(old)


def _shares(these: Sequence[PlannedReplica], parts: Sequence[float], paces: Sequence[float]) -> dict[str, ReplicaShare]:
    """What each replica that runs gets, by name; its weight is its part."""
    fastest = min(paces)
    return {
        one.name: ReplicaShare(
            one.share.batch if times <= SLOW * fastest else max(1, math.ceil(one.share.batch * fastest / times)),
            max(part, LEAST_PART),
        )
        for one, part, times in zip(these, parts, paces, strict=True)
    }


def _fitted(
    state: State, name: str, engine: PlannedEngine, shares: Mapping[str, ReplicaShare]
) -> dict[str, ReplicaShare]:
    """The shares of all replicas of an engine: of those that do not run, by how fast they would be beside the others.

    Weights add up to what those of the plan do, so that none changes because another replica joins or goes.
    """
    speeds = {one.name: one.capacity_rps / pace(state, name, one.name) for one in engine.replicas}
    of_running = sum(speeds[replica] for replica in shares)
    found = {
        one.name: shares.get(one.name) or ReplicaShare(one.share.batch, speeds[one.name] / of_running)
        for one in engine.replicas
    }
    scale = sum(one.share.weight for one in engine.replicas) / sum(share.weight for share in found.values())
    return {replica: ReplicaShare(share.batch, share.weight * scale) for replica, share in found.items()}


def _moved(old: float, new: float) -> float:
    """By which part of the smaller one two figures above 0 differ; a batch of few moves in whole calls."""
    return max(old, new) / min(old, new) - 1.0


def _said(name: str, was: float, part: float, batch: int, planned_batch: int, times: float) -> str:
    at_once = "" if batch == planned_batch else f", {batch} at once and not {planned_batch}"
    why = (
        f"its calls take {times:.2g} times what the plan says"
        if abs(times - 1.0) >= 0.05
        else "it is as fast as planned"
    )
    return f"`{name}` {was:.0%} → {part:.0%} of its engine's calls{at_once}: {why}"
