"""Which replicas a simulated service has room for beside those of its plan, as the real one has on its machines.

One more is like the last one of its engine, on no GPU, and on a host that the plan uses anyway: others would have to be
rented. What is stateful is one server, of which there is never another.
"""

from collections.abc import Iterator

import msgspec

from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.actuators.supervision.room import MOST_FURTHER


def further(scenario: Scenario) -> dict[str, tuple[Replica, ...]]:
    """Further replicas of each engine whose number may change; all of them together fit beside those of the plan."""
    plan = scenario.plan
    used = {replica.host for replica in plan.replicas}
    free = {host.name: (float(host.cpus), host.memory_gib) for host in scenario.inventory.hosts if host.name in used}
    for replica in plan.replicas:
        cores, memory_gib = free[replica.host]
        free[replica.host] = cores - replica.cores, memory_gib - replica.memory_gib
    last = {one.engine: one for one in plan.replicas if not kinds()[plan.engines[one.engine].kind].stateful}
    found: dict[str, list[Replica]] = {name: [] for name in sorted(last)}
    growing = [name for name in found if not last[name].devices]
    names = {name: _names(scenario, name) for name in growing}
    while growing:
        for name in tuple(growing):
            like = last[name]
            host = max(free, key=lambda one: min(free[one][0] - like.cores, free[one][1] - like.memory_gib))
            cores, memory_gib = free[host][0] - like.cores, free[host][1] - like.memory_gib
            if cores < 0.0 or memory_gib < 0.0 or len(found[name]) == _most(scenario, name):
                growing.remove(name)
            else:
                free[host] = cores, memory_gib
                found[name].append(msgspec.structs.replace(like, id=next(names[name]), host=host))
    return {name: tuple(these) for name, these in found.items()}


def _most(scenario: Scenario, engine: str) -> int:
    """How many further ones the engine's own settings allow."""
    most = scenario.plan.engines[engine].settings.get("max_replicas")
    planned = sum(one.engine == engine for one in scenario.plan.replicas)
    return MOST_FURTHER if most is None else max(0, min(MOST_FURTHER, int(most) - planned))


def _names(scenario: Scenario, engine: str) -> Iterator[str]:
    """Names that no replica of the plan has."""
    taken = {one.id for one in scenario.plan.replicas}
    names = (f"{engine[:40]}-more-{at}" for at in range(len(taken) + MOST_FURTHER))
    return (name for name in names if name not in taken)
