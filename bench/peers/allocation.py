"""Where the engines of a measured system run: the devices of an inventory, and how many of them each engine is given.

Systems that plan nothing give a whole GPU to each replica of a model, and cores to the rest; where the whole pipeline
is one replica, its models share each GPU. How many GPUs of which type each model is on is a `Division`: dealt out
evenly, type by type in turn, so that no model has all the fast ones by accident, or searched for (`search.py`).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import cycle

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


@dataclass(frozen=True, slots=True)
class Division:
    """How the GPUs are given away: for each model so many of each type, by pairs, whole or a part of each.

    `batch` is how many calls a model's engine works on at once. A `part` below 1 is what each model has of every GPU
    that it is on, as its counts then say for several models.
    """

    counts: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    batch: int = MAX_NUM_SEQS
    parts: tuple[tuple[str, float], ...] = ()

    def of(self, model: str) -> dict[str, int]:
        """How many GPUs of each type a model is on."""
        return dict(dict(self.counts)[model])

    def total(self, model: str) -> int:
        """How many GPUs a model is on."""
        return sum(self.of(model).values())

    def describe(self) -> str:
        """In words: `large=3a100_sxm+2l40s small=1a100_sxm+2l40s batch=256`."""
        parts = dict(self.parts)
        words = (
            f"{name}={'+'.join(f'{count}{of}' for of, count in held if count)}"
            + (f"/{parts[name]:g}" if name in parts else "")
            for name, held in self.counts
        )
        return f"{' '.join(words)} batch={self.batch}"


def types(scenario: Scenario) -> dict[str, int]:
    """How many GPUs of each type the inventory has."""
    found: dict[str, int] = {}
    for gpu in gpus(scenario):
        found[gpu.type] = found.get(gpu.type, 0) + 1
    return found


def uniform(scenario: Scenario) -> Division:
    """As many GPUs for each model, and of each type as many as can be: the models take turns at them, type by type."""
    wanting = models(scenario)
    held: dict[str, dict[str, int]] = {name: {} for name in wanting}
    turns = cycle(wanting)
    for of, count in sorted(types(scenario).items()):
        for _ in range(count):
            name = next(turns)
            held[name][of] = held[name].get(of, 0) + 1
    return Division(tuple((name, tuple(sorted(held[name].items()))) for name in wanting))


def together(scenario: Scenario, parts: Mapping[str, float], some: Collection[str] | None = None) -> Division:
    """Every model on every GPU, or on every one of some types, with these parts of each."""
    whole = tuple(sorted((of, count) for of, count in types(scenario).items() if some is None or of in some))
    return Division(tuple((name, whole) for name in models(scenario)), parts=tuple(sorted(parts.items())))


def allocated(scenario: Scenario, division: Division) -> tuple[Replica, ...]:
    """The replicas of a division, and those of all other engines.

    Raises ValueError where there are too few GPUs of a type.
    """
    free: dict[str, list[Gpu]] = {}
    for gpu in gpus(scenario):
        free.setdefault(gpu.type, []).append(gpu)
    parts, made = dict(division.parts), list[Replica]()
    for name in models(scenario):
        for of, count in division.of(name).items():
            if count > len(free.get(of, [])):
                raise ValueError(f"{division.describe()} wants more GPUs than there are")
            taken = free[of][:count]
            if not parts:
                free[of] = free[of][count:]
            made += [on_gpu(name, gpu, division.batch, parts.get(name, 1.0)) for gpu in taken]
    return (*made, *on_cores(scenario))


def everywhere(scenario: Scenario, batch: int = MAX_NUM_SEQS) -> tuple[Replica, ...]:
    """Each model on every GPU, of which an autoscaler takes what it wants; the rest as in `allocated`."""
    each = (on_gpu(name, gpu, batch) for name in models(scenario) for gpu in gpus(scenario))
    return (*each, *on_cores(scenario))


def on_gpu(engine: str, gpu: Gpu, batch: int = MAX_NUM_SEQS, part: float = 1.0) -> Replica:
    """A model's replica on a GPU or on a part of one, as vLLM is started without other flags."""
    memory_gib = GPU_TYPES[gpu.type].memory_gib * part
    config = Configuration(CORES, MEMORY_GIB, gpu.type, part, memory_gib, 1, batch)
    return Replica(f"{engine}-gpu{gpu.number}", engine, gpu.host, (gpu.index,), CORES, MEMORY_GIB, config, ())


def counts_on_cores(scenario: Scenario) -> dict[str, int]:
    """How many replicas of all other engines there are: an encoder for each GPU, and one store."""
    return {name: 1 if _is_store(scenario, name) else len(gpus(scenario)) for name in others(scenario)}


def on_cores(scenario: Scenario) -> Iterator[Replica]:
    """The replicas of all other engines, a core each; the store has the cores that the plan gives it, at least one."""
    hosts: tuple[Host, ...] = scenario.inventory.hosts
    for name, count in counts_on_cores(scenario).items():
        planned = [one.cores for one in scenario.plan.replicas if one.engine == name]
        cores = max(CORES, *planned) if _is_store(scenario, name) else CORES
        for at in range(count):
            host = hosts[at % len(hosts)].name
            config = Configuration(cores, MEMORY_GIB)
            yield Replica(f"{name}-{at}", name, host, (), cores, MEMORY_GIB, config, ())


def _is_store(scenario: Scenario, engine: str) -> bool:
    return kinds()[scenario.plan.engines[engine].kind].transport == "milvus"
