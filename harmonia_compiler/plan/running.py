"""A plan that runs already: which of its replicas may stay as they are, and what another plan changes of it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Plan, Predicted, Replica
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.plan.problem import Problem


def staying(running: Plan, application: Application) -> tuple[Replica, ...]:
    """The replicas whose engines are still as they were; any other would have to be started anew."""
    return tuple(
        replica
        for replica in running.replicas
        if running.engines.get(replica.engine) == application.engines.get(replica.engine)
    )


def with_running(problem: Problem, replicas: Sequence[Replica]) -> Problem:
    """The problem with those replicas whose host and configuration it has."""
    hosts = {host.name: h for h, host in enumerate(problem.hosts)}
    options = {
        (need.engine, option.configuration): (e, c)
        for e, need in enumerate(problem.needs)
        for c, option in reversed(list(enumerate(need.options)))
    }
    found = Counter(
        (*options[replica.engine, replica.config], hosts[replica.host])
        for replica in replicas
        if replica.host in hosts and (replica.engine, replica.config) in options
    )
    return replace(problem, running=dict(sorted(found.items())))


@dataclass(frozen=True, slots=True)
class Change:
    """How many replicas of an engine a host has in one configuration, before and after.

    `stay` are those that need not be started: fewer than both where the engine's settings are others.
    """

    host: str
    engine: str
    config: str
    before: int
    after: int
    stay: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What becomes of a plan: its replicas, and what was and is expected of its pipelines, None where there is none.

    `loads_rps` are those that either plan is for, by pipeline. `sources` are the files that differ or are in one of the
    plans alone.
    """

    replicas: tuple[Change, ...]
    stay: int
    started: int
    stopped: int
    pipelines: tuple[tuple[str, Predicted | None, Predicted | None], ...]
    loads_rps: tuple[Mapping[str, float], Mapping[str, float]]
    sources: tuple[str, ...]


def changes(before: Plan, after: Plan) -> Changes:
    """What is to be done to get from one plan to another. `replicas` leaves out what stays as it is."""
    every = tuple(_replicas(before, after))
    stay = sum(one.stay for one in every)
    names = sorted(before.predicted.keys() | after.predicted.keys())
    sources = sorted(before.sources.keys() | after.sources.keys())
    return Changes(
        replicas=tuple(one for one in every if not one.before == one.after == one.stay),
        stay=stay,
        started=len(after.replicas) - stay,
        stopped=len(before.replicas) - stay,
        pipelines=tuple((name, before.predicted.get(name), after.predicted.get(name)) for name in names),
        loads_rps=(_loads_rps(before), _loads_rps(after)),
        sources=tuple(name for name in sources if before.sources.get(name) != after.sources.get(name)),
    )


def _loads_rps(plan: Plan) -> dict[str, float]:
    return {share.name: share.load_rps for share in plan.pipelines}


@dataclass(frozen=True, slots=True)
class Stale:
    """What a plan was made of and is no longer so: files that are others now, and hosts with replicas that are gone."""

    sources: tuple[str, ...]
    hosts: tuple[str, ...]


def stale(plan: Plan, sources: Mapping[str, str], inventory: Inventory) -> Stale:
    """What of a plan is stale by the digests of the sources that there are now. Files go by them, wherever they lie."""
    known, there = set(plan.sources.values()), {host.name for host in inventory.hosts}
    return Stale(
        tuple(name for name, digest in sources.items() if digest not in known),
        tuple(sorted({replica.host for replica in plan.replicas} - there)),
    )


def _replicas(before: Plan, after: Plan) -> Iterator[Change]:
    counts = [Counter((one.host, one.engine, one.config) for one in plan.replicas) for plan in (before, after)]
    by_name = sorted(counts[0] | counts[1], key=lambda at: (at[0], at[1], at[2].describe(), counts[0][at]))
    for host, engine, config in by_name:
        was, is_now = (of[host, engine, config] for of in counts)
        same = before.engines.get(engine) == after.engines.get(engine)
        yield Change(host, engine, config.describe(), was, is_now, min(was, is_now) if same else 0)
