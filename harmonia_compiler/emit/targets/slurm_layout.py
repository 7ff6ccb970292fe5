"""From a plan to a heterogeneous job: which hosts make a component, and what each replica's step takes. Pure."""

import math
from collections.abc import Mapping, Sequence

import msgspec

from harmonia_compiler.contract.further import further_names
from harmonia_compiler.contract.plan import Plan, Replica
from harmonia_compiler.contract.slurm import SlurmComponent, SlurmFurther, SlurmSite, SlurmStep
from harmonia_compiler.emit.targets.hosts import by_host, has_whole_cores, mebibytes
from harmonia_compiler.kinds.registry import kinds

#: What the gateway and the controller take on the first host, beside its replicas.
FRONT_MIB = 1536


def layout(replicas: Sequence[Replica], site: SlurmSite) -> tuple[tuple[SlurmComponent, ...], tuple[SlurmStep, ...]]:
    """The components, of which the first holds the gateway's host, and a step for each replica in their order.

    Hosts of which equally much is taken are one component: they differ in nothing that Slurm is asked for. Where one of
    a component's nodes fails, the others go on: so the gateway's host is not set apart by what the gateway takes.
    """
    alike: dict[tuple[int, int, str], list[str]] = {}
    for name, there in by_host(replicas).items():
        alike.setdefault(_taken(there, site), []).append(name)
    components = tuple(
        SlurmComponent(tuple(names), cpus, memory + (0 if at else FRONT_MIB), gres)
        for at, ((cpus, memory, gres), names) in enumerate(alike.items())
    )
    places = {name: at for at, component in enumerate(components) for name in component.hosts}
    return components, tuple(_step(one, places[one.host], components[places[one.host]]) for one in replicas)


def beside(like: Replica, site: SlurmSite) -> SlurmComponent:
    """What a job takes that is one more replica, wherever Slurm finds room for it: no GPU that it does not use."""
    devices = tuple(range(len(like.devices)))
    return SlurmComponent((like.host,), *_taken([msgspec.structs.replace(like, devices=devices)], site))


def further(plan: Plan, site: SlurmSite) -> tuple[SlurmFurther, ...]:
    """The replicas that may come on top; of what keeps state there is never another."""
    last = {replica.engine: replica.id for replica in plan.replicas}
    return tuple(
        SlurmFurther(engine, names, f"slurm/more-{like}.sbatch", like)
        for engine, like in sorted(last.items())
        if not kinds()[plan.engines[engine].kind].stateful and (names := further_names(plan, engine, site.scale_out))
    )


def _taken(there: Sequence[Replica], site: SlurmSite) -> tuple[int, int, str]:
    """CPUs, memory and GPUs that the job takes of a host."""
    cpus = max(1, math.ceil(sum(one.cores for one in there)))
    memory = sum(_memory_mib(one) for one in there)
    return cpus, memory, _gres(there, site)


def _memory_mib(one: Replica) -> int:
    """The memory of a replica; to Slurm none would be all that a node has."""
    return max(1, mebibytes(one))


def _gres(there: Sequence[Replica], site: SlurmSite) -> str:
    """GPUs up to the last one that the plan names on a host, so that they have the numbers that it gives them.

    They are asked for without their type where the plan uses GPUs of two types: which are whose, their numbers say.
    """
    devices = [device for one in there for device in one.devices]
    if not devices or site.gres == "none":
        return ""
    types = sorted({one.config.gpu for one in there if one.devices})
    kind = f":{site_type(types[0], site.gpu_types)}" if site.gres == "typed" and len(types) == 1 else ""
    return f"gpu{kind}:{max(devices) + 1}"


def site_type(ours: str, names: Mapping[str, str]) -> str:
    """What the site calls a GPU type."""
    return names.get(ours, ours)


def _step(one: Replica, at: int, component: SlurmComponent) -> SlurmStep:
    return SlurmStep(
        one.id,
        at,
        one.host,
        max(1, math.floor(one.cores)),
        _memory_mib(one),
        one.devices,
        component.gres if one.devices else "",
        overlap=bool(one.devices) or not has_whole_cores(one),
    )
