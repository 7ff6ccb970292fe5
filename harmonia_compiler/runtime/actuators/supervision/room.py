"""Which replicas this machine has room for beside those of a plan, so that there may be more of them later.

One more is like the last one of its engine, on no GPU: those belong to the plan. What is stateful is one server, of
which there is never another.
"""

from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.bundle import ReplicaLaunch
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.detect import usable_cpus, usable_memory_gib
from harmonia_compiler.runtime.bundle import LocalBundle

#: Of one engine there are no more than so many beside those of the plan.
MOST_FURTHER = 8


def further(
    bundle: LocalBundle, by_name: Mapping[str, Kind], cores: float, memory_gib: float
) -> dict[str, tuple[ReplicaLaunch, ...]]:
    """Further replicas of each engine whose number may change; all of them together fit beside those of the plan."""
    memory = {one.id: one.memory_gib for one in bundle.plan.replicas}
    free_cores = cores - sum(one.cores for one in bundle.processes.replicas)
    free_gib = memory_gib - sum(memory.values())
    made = {name: by_name.get(engine.kind) for name, engine in bundle.plan.engines.items()}
    movable = {name for name, kind in made.items() if kind is not None and not kind.stateful}
    last = {one.engine: one for one in bundle.processes.replicas if one.engine in movable}
    found: dict[str, list[ReplicaLaunch]] = {name: [] for name in sorted(last)}
    growing = [name for name in found if not last[name].devices]
    while growing:
        for name in tuple(growing):
            like = last[name]
            free_cores -= like.cores
            free_gib -= memory[like.replica]
            if free_cores < 0.0 or free_gib < 0.0 or len(found[name]) == _most(bundle, name):
                free_cores += like.cores
                free_gib += memory[like.replica]
                growing.remove(name)
            else:
                found[name].append(msgspec.structs.replace(like, replica=_name(bundle, name, len(found[name]))))
    return {name: tuple(these) for name, these in found.items()}


def further_here(bundle: LocalBundle) -> dict[str, tuple[ReplicaLaunch, ...]]:
    """The same on this machine, of which a control group may leave us a part."""
    return further(bundle, kinds(), usable_cpus(), usable_memory_gib())


def _most(bundle: LocalBundle, engine: str) -> int:
    """How many further ones the engine's own settings allow."""
    most = bundle.plan.engines[engine].settings.get("max_replicas")
    planned = sum(one.engine == engine for one in bundle.plan.replicas)
    return MOST_FURTHER if most is None else max(0, min(MOST_FURTHER, int(most) - planned))


def _name(bundle: LocalBundle, engine: str, number: int) -> str:
    """A name that no replica of the plan has."""
    taken = {one.id for one in bundle.plan.replicas}
    names = (f"{engine[:40]}-more-{at}" for at in range(len(taken) + MOST_FURTHER))
    return [name for name in names if name not in taken][number]
