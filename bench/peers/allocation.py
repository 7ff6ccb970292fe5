"""Where the engines of a measured system run: the devices of an inventory, and how many of them each engine is given.

Systems that plan nothing give a whole GPU to each replica of a model, and cores to the rest. Which GPU each replica is
on is settled here, alike for all of them: the GPUs are dealt out type by type in turn, so that no engine has all the
fast ones by accident.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest

import msgspec

from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import Configuration, Replica
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.kinds.registry import kinds

#: vLLM's own default for how many sequences it works on at once.
MAX_NUM_SEQS = 256
#: Cores and memory of a replica that is no model, in GiB, and of the engine's process beside a GPU.
CORES, MEMORY_GIB = 1.0, 4.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: its host, its number there, and its number among all, which is what a cluster calls it."""

    host: str
    index: int
    number: int
    type: str


def gpus(scenario: Scenario) -> list[Gpu]:
    """All GPUs of the inventory, host by host."""
    found: list[Gpu] = []
    for host in scenario.inventory.hosts:
        types = [group.type for group in host.gpus for _ in range(group.count)]
        found += [Gpu(host.name, index, len(found) + index, of) for index, of in enumerate(types)]
    return found


def dealt(scenario: Scenario) -> list[Gpu]:
    """The same in the order in which they are given away: one of each type in turn."""
    by_type: dict[str, list[Gpu]] = {}
    for gpu in gpus(scenario):
        by_type.setdefault(gpu.type, []).append(gpu)
    return [gpu for row in zip_longest(*by_type.values()) for gpu in row if gpu is not None]


def apart(scenario: Scenario) -> Scenario:
    """The scenario with an engine of its own for each component that calls a model, named after the component.

    That is what one deployment per component comes to: two components on the same model share nothing.
    """
    plan, service = scenario.plan, scenario.service
    parted = {name: one for name, one in plan.components.items() if kinds()[one.kind].has_prompt}

    def own(components: Mapping[str, Component]) -> dict[str, Component]:
        return {
            name: msgspec.structs.replace(one, engine=name) if name in parted else one
            for name, one in components.items()
        }

    def engines(known: Mapping[str, Engine]) -> dict[str, Engine]:
        kept = {name: one for name, one in known.items() if not kinds()[one.kind].has_prompt}
        made = {name: msgspec.structs.replace(known[one.engine], id=name) for name, one in parted.items()}
        return kept | made

    return replace(
        scenario,
        plan=msgspec.structs.replace(plan, components=own(plan.components), engines=engines(plan.engines)),
        service=msgspec.structs.replace(
            service,
            engines=engines(service.engines),
            programs={
                name: msgspec.structs.replace(program, components=own(program.components))
                for name, program in service.programs.items()
            },
        ),
    )


def models(scenario: Scenario) -> list[str]:
    """The engines that want a GPU."""
    return sorted(name for name, engine in scenario.plan.engines.items() if kinds()[engine.kind].has_prompt)


def others(scenario: Scenario) -> list[str]:
    """The engines of ours that run on cores; somebody else's have no replicas."""
    own = {name for name, engine in scenario.plan.engines.items() if not kinds()[engine.kind].external}
    return sorted(own - {*models(scenario)})


def uniform(scenario: Scenario) -> dict[str, int]:
    """As many GPUs for each model, and a core for each GPU to the encoders; the store is one server."""
    wanting, whole = models(scenario), len(gpus(scenario))
    counts = {name: whole // len(wanting) + (at < whole % len(wanting)) for at, name in enumerate(wanting)}
    return counts | {name: 1 if _is_store(scenario, name) else whole for name in others(scenario)}


def allocated(scenario: Scenario, counts: Mapping[str, int]) -> tuple[Replica, ...]:
    """So many replicas of each engine; the models take turns at the GPUs, as long as each wants one more.

    Raises ValueError where there are too few GPUs.
    """
    left, free = {name: counts[name] for name in models(scenario)}, iter(dealt(scenario))
    made: list[Replica] = []
    while any(left.values()):
        for name in sorted(left, key=lambda name: -left[name]):
            if left[name]:
                gpu = next(free, None)
                if gpu is None:
                    raise ValueError(f"{counts} wants more GPUs than there are")
                made.append(on_gpu(name, gpu))
                left[name] -= 1
    return (*made, *on_cores(scenario, counts))


def everywhere(scenario: Scenario, counts: Mapping[str, int]) -> tuple[Replica, ...]:
    """Each model on every GPU, of which an autoscaler takes what it wants; the rest as in `allocated`."""
    each = (on_gpu(name, gpu) for name in models(scenario) for gpu in gpus(scenario))
    return (*each, *on_cores(scenario, counts))


def on_gpu(engine: str, gpu: Gpu) -> Replica:
    """A model's replica on a whole GPU, as vLLM is started without further flags."""
    memory_gib = GPU_TYPES[gpu.type].memory_gib
    config = Configuration(CORES, MEMORY_GIB, gpu.type, 1.0, memory_gib, 1, MAX_NUM_SEQS)
    return Replica(f"{engine}-gpu{gpu.number}", engine, gpu.host, (gpu.index,), CORES, MEMORY_GIB, config, ())


def on_cores(scenario: Scenario, counts: Mapping[str, int]) -> Iterator[Replica]:
    """The replicas of all other engines, a core each; the store has the cores that the plan gives it, at least one."""
    hosts: tuple[Host, ...] = scenario.inventory.hosts
    for name in others(scenario):
        planned = [one.cores for one in scenario.plan.replicas if one.engine == name]
        cores = max(CORES, *planned) if _is_store(scenario, name) else CORES
        for at in range(counts[name]):
            host = hosts[at % len(hosts)].name
            config = Configuration(cores, MEMORY_GIB)
            yield Replica(f"{name}-{at}", name, host, (), cores, MEMORY_GIB, config, ())


def _is_store(scenario: Scenario, engine: str) -> bool:
    return kinds()[scenario.plan.engines[engine].kind].transport == "milvus"
