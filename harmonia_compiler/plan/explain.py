"""Why a plan is as it is: what limits the rate, and what would come of another device for an engine.

What a limit is worth is how much higher the rate is with one more, with replicas as fractions: the dual price of a
row, but for a whole unit, and without the ties that duals have where two limits bind at once. What another
device would bring is no such estimate: the problem is planned again with that device alone for the engine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.plan.diagnose import diagnose
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.pools import divide
from harmonia_compiler.plan.problem import Need, Problem
from harmonia_compiler.plan.variables import Model

#: A part of the rate, or of what there is of something, that is too little to speak of.
NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Limit:
    """What the rate is limited by, and the part of the rate that one more would bring.

    `what` is a resource of some `hosts` (a GPU type, `cores`, or `memory_gib`), or else the engine that is to have no
    more replicas; an engine that is `never_copied` cannot have them.
    """

    what: str
    hosts: tuple[str, ...]
    brings: float
    never_copied: bool = False


@dataclass(frozen=True, slots=True)
class Alternative:
    """What comes of a problem where an engine runs on one device alone: a GPU type, or `cpu`.

    `replicas` stand on it in the plan that is explained. `rate` is in multiples of the declared loads, and
    `cost_per_hour` of the hosts in use; without a plan both are None, and `why` says what fails.
    """

    device: str
    replicas: int
    rate: float | None
    cost_per_hour: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of an engine: the devices that it could run on; and what limits the rate of the whole plan."""

    engine: str
    alternatives: tuple[Alternative, ...]
    limits: tuple[Limit, ...]


def explain(problem: Problem, need: Need, replicas: Sequence[Replica]) -> Explanation:
    """Why the replicas of a plan are as they are, for one engine."""
    return Explanation(need.engine, tuple(alternatives(problem, need, replicas)), tuple(limiting(problem)))


def limiting(problem: Problem) -> list[Limit]:
    """What bounds the rate, the most worth first; nothing where nothing is called."""
    model, values, rate = relaxed(problem)
    if rate <= 0.0:
        return []
    limits = []
    for limit, larger in (*_resources(problem, model, values), *_maxima(problem, model, values)):
        _, _, more = relaxed(larger)
        limits.append(replace(limit, brings=more / rate - 1.0))
    return sorted((one for one in limits if one.brings > NOTHING), key=lambda one: (-one.brings, one.what, one.hosts))


def relaxed(problem: Problem) -> tuple[Model, Sequence[float], float]:
    """The model, and the highest rate with all as fractions, in multiples of the loads: 0 for none."""
    model = build(problem, divide(problem), None)
    if model.rate is None or not problem.needs:
        return model, (), 0.0
    found = model.program.solve({model.rate: 1.0}, maximise=True, whole=())
    return model, found.values, found.objective * model.scale if found.found else 0.0


def _resources(problem: Problem, model: Model, values: Sequence[float]) -> Iterator[tuple[Limit, Problem]]:
    """The resources that are used up, and for each the problem in which its first host has one more."""
    taken: dict[tuple[int, str], float] = {}
    for (e, c, g), column in model.n.items():
        for resource, amount in model.choices[e][c].takes.items():
            taken[g, resource] = taken.get((g, resource), 0.0) + amount * values[column]
    for (g, resource), amount in taken.items():
        pool = model.division.pools[g]
        if amount >= pool.has(resource) * (1.0 - NOTHING):
            names = tuple(problem.hosts[h].name for h in pool.hosts)
            larger = [_with_one_more(host, resource) if host.name == names[0] else host for host in problem.hosts]
            yield Limit(resource, names, 0.0), replace(problem, hosts=tuple(larger))


def _with_one_more(host: Host, resource: str) -> Host:
    if resource == "cores":
        return msgspec.structs.replace(host, cpus=host.cpus + 1)
    if resource == "memory_gib":
        return msgspec.structs.replace(host, memory_gib=host.memory_gib + 1.0)
    return msgspec.structs.replace(host, gpus=(*host.gpus, Gpu(resource)))


def _maxima(problem: Problem, model: Model, values: Sequence[float]) -> Iterator[tuple[Limit, Problem]]:
    """The engines that have as many replicas as they may, and for each the problem in which it may have one more."""
    for e, need in enumerate(problem.needs):
        count = sum(values[column] for column in model.replicas(e))
        if need.maximum is not None and count >= need.maximum - NOTHING:
            needs = tuple(replace(one, maximum=need.maximum + 1) if one is need else one for one in problem.needs)
            yield Limit(need.engine, (), 0.0, need.stateful), replace(problem, needs=needs)


def alternatives(problem: Problem, need: Need, replicas: Sequence[Replica]) -> list[Alternative]:
    """The devices that an engine could run on, in the order of their names, with what comes of each alone."""
    devices = sorted({_device(option.configuration.gpu) for option in need.options})
    standing = [_device(one.config.gpu) for one in replicas if one.engine == need.engine]
    return [_alone(problem, need, device, standing.count(device)) for device in devices]


def _device(gpu: str) -> str:
    return gpu or "cpu"


def _alone(problem: Problem, need: Need, device: str, replicas: int) -> Alternative:
    options = tuple(option for option in need.options if _device(option.configuration.gpu) == device)
    needs = tuple(replace(need, options=options) if one is need else one for one in problem.needs)
    # Options have other positions now, and what runs would be taken for something else.
    changed = replace(problem, needs=needs, running={})
    try:
        found = optimise(changed)
        if found is None:
            raise diagnose(changed)
    except Rejected as rejected:
        return Alternative(device, replicas, None, None, rejected.found[0].message)
    prices = [problem.hosts[h].price_per_hour for h in {h for _, _, h in found.counts}]
    return Alternative(device, replicas, found.rate, sum(prices))
