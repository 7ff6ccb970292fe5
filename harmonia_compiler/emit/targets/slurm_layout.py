"""From a plan to a heterogeneous job: which hosts make a component, and what each replica's step takes. Pure."""

import math
from collections.abc import Mapping, Sequence

from harmonia_compiler.contract.further import further_names
from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.contract.plan import Plan, Replica
from harmonia_compiler.contract.slurm import SlurmComponent, SlurmFurther, SlurmSite, SlurmStep
from harmonia_compiler.emit.targets.hosts import by_host, has_whole_cores, mebibytes
from harmonia_compiler.kinds.registry import kinds

#: What the gateway and the controller take on the first host, beside its replicas.
FRONT_MIB = 1536


def layout(
    replicas: Sequence[Replica], hosts: Sequence[Host], site: SlurmSite
) -> tuple[tuple[SlurmComponent, ...], tuple[SlurmStep, ...]]:
    """The components, of which the first holds the gateway's host, and a step for each replica in their order.

    Hosts of which equally much is taken are one component: they differ in nothing that Slurm is asked for. Where one of
    a component's nodes fails, the others go on: so the gateway's host is not set apart by what the gateway takes.
    """
    types = {host.name: [gpu.type for gpu in host.gpus for _ in range(gpu.count)] for host in hosts}
    ranks = {one.id: _ranks(one, types.get(one.host, ())) for one in replicas}
    gpus: dict[str, dict[str, int]] = {}
    alike: dict[tuple[int, int, str], list[str]] = {}
    for name, there in by_host(replicas).items():
        gpus[name] = _gpus(there, ranks)
        alike.setdefault(_taken(there, gpus[name], site), []).append(name)
    components = tuple(
        SlurmComponent(tuple(names), cpus, memory + (0 if at else FRONT_MIB), gres)
        for at, ((cpus, memory, gres), names) in enumerate(alike.items())
    )
    places = {name: at for at, component in enumerate(components) for name in component.hosts}
    steps = []
    for one in replicas:
        gres = _gres({one.config.gpu: gpus[one.host][one.config.gpu]}, site) if one.devices else ""
        devices = one.devices if site.has_planned_gpus else ranks[one.id]
        steps.append(_step(one, places[one.host], gres, devices))
    return components, tuple(steps)


def beside(like: Replica, site: SlurmSite) -> SlurmComponent:
    """What a job takes that is one more replica, wherever Slurm finds room for it: no GPU that it does not use."""
    return SlurmComponent((like.host,), *_taken([like], {like.config.gpu: len(like.devices)}, site))


def further(plan: Plan, site: SlurmSite) -> tuple[SlurmFurther, ...]:
    """The replicas that may come on top; of what keeps state there is never another."""
    last = {replica.engine: replica.id for replica in plan.replicas}
    return tuple(
        SlurmFurther(engine, names, f"slurm/more-{like}.sbatch", like)
        for engine, like in sorted(last.items())
        if not kinds()[plan.engines[engine].kind].stateful and (names := further_names(plan, engine, site.scale_out))
    )


def _taken(there: Sequence[Replica], gpus: Mapping[str, int], site: SlurmSite) -> tuple[int, int, str]:
    """CPUs, memory and GPUs that the job takes of a host."""
    cpus = max(1, math.ceil(sum(one.cores for one in there)))
    memory = sum(_memory_mib(one) for one in there)
    return cpus, memory, _gres(gpus, site)


def _memory_mib(one: Replica) -> int:
    """The memory of a replica; to Slurm none would be all that a node has."""
    return max(1, mebibytes(one))


def _ranks(one: Replica, types: Sequence[str]) -> tuple[int, ...]:
    """How many GPUs of its type its host has before each of its own; `types` are those of the host's by their numbers.

    Of a host that the inventory lacks, all are taken to be of that type.
    """
    return tuple(device - sum(other != one.config.gpu for other in types[:device]) for device in one.devices)


def _gpus(there: Sequence[Replica], ranks: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """By type the GPUs up to the last that the plan names on a host, so that they have the numbers that it gives them.

    Slurm gives GPUs by their types wherever it knows those, and of a number alone it takes one type's.
    """
    found: dict[str, int] = {}
    for one in there:
        for rank in ranks[one.id]:
            found[one.config.gpu] = max(found.get(one.config.gpu, 0), rank + 1)
    return dict(sorted(found.items()))


def _gres(gpus: Mapping[str, int], site: SlurmSite) -> str:
    """How so many GPUs of each type are asked for."""
    if site.gres == "none":
        return ""
    asked = ((asked_type(gpu, site), count) for gpu, count in gpus.items() if count)
    return ",".join(f"gpu:{name}:{count}" if name else f"gpu:{count}" for name, count in asked)


def asked_type(gpu: str, site: SlurmSite) -> str:
    """By what name a type of GPUs is asked for; empty where Slurm is told a number alone."""
    return "" if site.gres == "untyped" else site.gpu_types.get(gpu, gpu)


def _step(one: Replica, at: int, gres: str, devices: tuple[int, ...]) -> SlurmStep:
    return SlurmStep(
        one.id,
        at,
        one.host,
        max(1, math.floor(one.cores)),
        _memory_mib(one),
        devices,
        gres,
        overlap=bool(one.devices) or not has_whole_cores(one),
    )
