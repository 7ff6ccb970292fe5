"""How near the replicas of a plan came to what they carry, by what each of them did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.profile.queueing import HEADROOM
from harmonia_compiler.report.document import EngineUse


class Usage(msgspec.Struct, frozen=True):
    """What one replica did: how long it worked on anything, and how many calls it has ended, those of a list apart."""

    busy_ms: float
    calls: int


@dataclass(frozen=True, slots=True)
class Further:
    """Replicas of an engine beside the plan's, and for how long they took calls, all together."""

    engine: str
    replicas: tuple[str, ...]
    there_ms: float


def engine_uses(
    plan: Plan, done: Mapping[str, Usage], whole_ms: float, further: Sequence[Further] = ()
) -> tuple[EngineUse, ...]:
    """Of each engine in so much time, with the replicas beside the plan's for as long as they were there."""
    # A plan says what a replica carries when it is as busy as plans let it be.
    most_rps = {(use.engine, use.config): use.capacity_rps / HEADROOM for use in plan.profiles}
    beside = {one.engine: one for one in further}
    found = []
    for engine in sorted({replica.engine for replica in plan.replicas}):
        replicas = [replica for replica in plan.replicas if replica.engine == engine]
        each_rps = [most_rps.get((engine, replica.config.describe()), 0.0) for replica in replicas]
        there_ms, carried_rps = len(replicas) * whole_ms, sum(each_rps)
        names = [replica.id for replica in replicas]
        if whole_ms and (more := beside.get(engine)) is not None:
            # Each is like the last one.
            there_ms, carried_rps = there_ms + more.there_ms, carried_rps + each_rps[-1] * more.there_ms / whole_ms
            names += more.replicas
        worked = [done[name] for name in names if name in done]
        calls_rps = sum(one.calls for one in worked) * 1000.0 / whole_ms if whole_ms else 0.0
        found.append(
            EngineUse(
                engine,
                len(replicas),
                calls_rps=calls_rps,
                most_rps=carried_rps or None,
                utilisation=calls_rps / carried_rps if carried_rps else None,
                # What is worked on at either end of the time may count as a whole.
                working=min(1.0, sum(one.busy_ms for one in worked) / there_ms) if there_ms else 0.0,
            )
        )
    return tuple(found)
