"""How many replicas each engine is to have: more at once when they are needed, fewer one by one when they long are not.

Needed is what carries the calls that are forecast for when another replica would be ready, each replica as busy as the
plan has it. At most one engine's number changes in a window: the one that lacks most. Nothing is taken away while
others lack something, or sooner than `FEWER_AFTER_S` after it became too many, or that the bursts of the recent past
needed: these bring no replica, since one burst is none that comes again, but they keep what there is.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from harmonia_compiler.contract.readings import ReplicaRead
from harmonia_compiler.policy.control.division import pace
from harmonia_compiler.policy.control.planned import Planned, PlannedEngine
from harmonia_compiler.policy.control.state import Sizing, State
from harmonia_compiler.policy.control.window import Window

#: How long a replica is taken to need until it works, in seconds, where nobody saw one start; and for how long, at
#: least and at most, where somebody did.
COLD_S, LEAST_COLD_S, MOST_COLD_S = 30.0, 1.0, 900.0
#: Fewer replicas must have been enough for so long, and each further one that goes waits so long, in seconds.
FEWER_AFTER_S, EACH_AFTER_S = 300.0, 60.0
#: Fewer replicas are enough where they would be this busy at most, the planned utilisation being 1.
ROOMY = 0.8
#: Calls wait for so many times as long as they take, and the engine lacks a replica, whatever the figures say.
LONG_WAIT = 2.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an engine needs: the calls a second to be ready for, those that came, what it has, and what that carries.

    With bursts as lately it is `peak_rps` at times, for which no fewer than `held` are kept.
    """

    engine: str
    calls_rps: float
    came_rps: float
    count: int
    needed: int
    roomy: int
    carries_rps: float
    waits: bool
    peak_rps: float
    held: int


def cold_s(sizing: Sizing) -> float:
    """How long another replica of an engine takes until it works."""
    return COLD_S if sizing.cold_s is None else sizing.cold_s


def carried_rps(state: State, name: str, engine: PlannedEngine, count: int) -> float:
    """What the first so many replicas of an engine carry, each as fast as it turned out to be."""
    return sum(one.capacity_rps / pace(state, name, one.name) for one in engine.replicas[:count])


def enough(state: State, name: str, engine: PlannedEngine, calls_rps: float) -> int:
    """The least number of replicas that carries so many calls; one more than there may be where none does."""
    for count in range(engine.least, engine.most + 1):
        if carried_rps(state, name, engine, count) >= calls_rps:
            return count
    return engine.most + 1


def arrived(sizing: Sizing, name: str, replicas: tuple[ReplicaRead, ...], now: float) -> Sizing:
    """The sizing once it was seen which replicas take calls: a new one that does says how long it took.

    Until then it is as long as the slowest took to start of all that there were.
    """
    own = [one for one in replicas if one.engine == name]
    if not sizing.came and (started := [one.started_in_s for one in own if one.started_in_s is not None]):
        sizing = replace(sizing, cold_s=_bounded(max(sizing.cold_s or 0.0, *started)))
    if not sizing.waits or sizing.changed_s is None or sum(one.routed for one in own) < sizing.count:
        return sizing
    took = _bounded(now - sizing.changed_s)
    smooth = took if sizing.cold_s is None else (sizing.cold_s + took) / 2.0
    return replace(sizing, cold_s=smooth, waits=False, came=True)


def _bounded(seconds: float) -> float:
    return min(MOST_COLD_S, max(LEAST_COLD_S, seconds))


def wanted(
    planned: Planned,
    state: State,
    window: Window,
    calls_rps: Mapping[str, float],
    came_rps: Mapping[str, float],
    peak_rps: Mapping[str, float],
) -> Iterator[Wanted]:
    """What each engine needs to carry calls that come at these rates, and at those of `peak_rps` at times.

    In the window they `came` at those.
    """
    for name, engine in planned.engines.items():
        count = state.sizes[name].count
        coming, peak = calls_rps.get(name, 0.0), peak_rps.get(name, 0.0)
        waits = _waits(planned, window, name)
        needed = enough(state, name, engine, coming)
        yield Wanted(
            name,
            coming,
            came_rps.get(name, 0.0),
            count,
            max(needed, count + 1) if waits and not state.sizes[name].waits else needed,
            enough(state, name, engine, coming / ROOMY),
            carried_rps(state, name, engine, count),
            waits,
            peak,
            enough(state, name, engine, peak / ROOMY),
        )


def resized(
    planned: Planned, state: State, each: tuple[Wanted, ...], now: float
) -> tuple[dict[str, Sizing], Wanted | None]:
    """The numbers after this window, and the one engine whose number changes, if one does."""
    sizes = {one.engine: _roominess(state.sizes[one.engine], one, now) for one in each}
    lacking = [one for one in each if one.count < min(one.needed, planned.engines[one.engine].most)]
    if lacking:
        worst = max(
            lacking, key=lambda one: (min(one.needed, planned.engines[one.engine].most) / one.count, one.engine)
        )
        count = min(worst.needed, planned.engines[worst.engine].most)
        sizes[worst.engine] = replace(sizes[worst.engine], count=count, changed_s=now, waits=True, roomy_s=None)
        return sizes, worst
    for one in each:
        size, least = sizes[one.engine], planned.engines[one.engine].least
        if size.roomy_s is None or one.count <= max(least, one.held) or now - size.roomy_s < FEWER_AFTER_S:
            continue
        sizes[one.engine] = replace(
            size,
            count=one.count - 1,
            changed_s=now,
            waits=False,
            roomy_s=now - FEWER_AFTER_S + EACH_AFTER_S,
        )
        return sizes, one
    return sizes, None


def _roominess(sizing: Sizing, one: Wanted, now: float) -> Sizing:
    """Since when one replica fewer would have been enough all the time."""
    if one.waits or one.roomy >= sizing.count:
        return replace(sizing, roomy_s=None)
    return sizing if sizing.roomy_s is not None else replace(sizing, roomy_s=now)


def _waits(planned: Planned, window: Window, name: str) -> bool:
    """Whether calls waited for the engine's replicas for much longer than they then took, and some still do."""
    rows = [one for one in window.calls if planned.engine_of.get(one.pipeline, {}).get(one.component) == name]
    service_s, queue_s = sum(one.service_s for one in rows), sum(one.queue_s for one in rows)
    return bool(window.waiting.get(name, 0)) and math.isfinite(queue_s) and queue_s > LONG_WAIT * service_s > 0.0
