"""Small planning problems whose every figure is stated, and the exhaustive search they are compared with."""

from collections.abc import Iterator
from itertools import product

from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import Text
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.plan.model import Key
from harmonia_compiler.plan.place import place
from harmonia_compiler.plan.predict import quantile_ms, used_options
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, Step, fits, room, take, worth
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM, LEVELS


def on_cores(component: str, busy_ms: float, cores: float = 1.0, latency_ms: float | None = None) -> Option:
    """A configuration on cores alone."""
    latency = _latency(component, busy_ms if latency_ms is None else latency_ms)
    return Option(Configuration(cores=cores, memory_gib=0.0), {component: busy_ms}, latency, latency, "stated")


def on_gpu(
    component: str, busy_ms: float, gpus: float = 1.0, latency_ms: float | None = None, gpu: str = "a100_sxm"
) -> Option:
    """A configuration on GPUs alone."""
    latency = _latency(component, busy_ms if latency_ms is None else latency_ms)
    memory = 40.0 * min(gpus, 1.0)
    configuration = Configuration(0.0, 0.0, gpu, gpus, memory, tensor_parallel=max(1, round(gpus)))
    return Option(configuration, {component: busy_ms}, latency, latency, "stated")


def _latency(component: str, alone_ms: float) -> dict[str, tuple[float, ...]]:
    """As of a call that waits longer the busier the replica is; nearly alone at the lowest level."""
    return {component: tuple(alone_ms / (1 - level) for level in LEVELS)}


def need(component: str, *options: Option, minimum: int = 1, maximum: int | None = None) -> Need:
    """An engine with one component, both of one name."""
    return Need(component, (component,), options, minimum, maximum)


def chain(*components: str, load_rps: float = 1.0, visits: dict[str, float] | None = None) -> Pipeline:
    """A pipeline that calls one component after the other."""
    steps = tuple(Step(name, (at - 1,) if at else ()) for at, name in enumerate(components))
    return Pipeline("p", load_rps, dict.fromkeys(components, 1.0) | (visits or {}), steps)


def machine(name: str, cpus: int, gpus: int = 0, price: float = 0.0, gpu: str = "a100_sxm") -> Host:
    """A host with one type of GPU."""
    return Host(name, cpus, 64.0, (Gpu(gpu, gpus),) if gpus else (), price)


def application(problem: Problem) -> Application:
    """An application whose components and engines are those of a problem."""
    components = {
        name: Component(name, "python", each.engine, (), Text()) for each in problem.needs for name in each.components
    }
    engines = {each.engine: Engine(each.engine, "python", {}) for each in problem.needs}
    return Application(engines, components, ())


def replicas_of(problem: Problem, counts: dict[Key, int]) -> dict[str, int]:
    """How many replicas each engine has."""
    found: dict[str, int] = {}
    for (e, _, _), count in counts.items():
        found[problem.needs[e].engine] = found.get(problem.needs[e].engine, 0) + count
    return found


def _with_promises(problem: Problem, counts: dict[Key, int], rate: float) -> float:
    """The highest of many rates up to this one at which every promise holds; 0 where none does."""
    used = used_options(problem, place(problem, counts))

    def holds(at_rate: float) -> bool:
        return all(
            quantile_ms(problem, used, pipeline, promise.metric, promise.quantile, at_rate) <= promise.bound_ms
            for pipeline in problem.pipelines
            for promise in pipeline.promises
        )

    if holds(rate):
        return rate
    low, high = 0.0, rate
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low if low > rate * 1e-9 else 0.0


Score = tuple[float, ...]


def exhaustive(problem: Problem) -> Score | None:
    """The best score over every allocation, by trying them all; None where none is allowed."""
    return max((score for counts in _allocations(problem) if (score := score_of(problem, counts))), default=None)


def _allocations(problem: Problem) -> Iterator[dict[Key, int]]:
    keys = [
        (e, c, h)
        for e, each in enumerate(problem.needs)
        for c in range(len(each.options))
        for h in range(len(problem.hosts))
    ]
    ranges = [range(1 + fits(problem.needs[e].options[c].configuration, problem.hosts[h])) for e, c, h in keys]
    for chosen in product(*ranges):
        yield {key: count for key, count in zip(keys, chosen, strict=True) if count}


def score_of(problem: Problem, counts: dict[Key, int]) -> Score | None:
    """Rate (for the aim `throughput`), then less cost, hardware and replicas; None where a limit is broken."""
    for h, host in enumerate(problem.hosts):
        used: dict[str, float] = {}
        for (e, c, at), count in counts.items():
            if at == h:
                for resource, amount in take(problem.needs[e].options[c].configuration).items():
                    used[resource] = used.get(resource, 0.0) + amount * count
        if any(amount > room(host).get(resource, 0.0) + 1e-9 for resource, amount in used.items()):
            return None
    rate = float("inf")
    for e, each in enumerate(problem.needs):
        own = {key: count for key, count in counts.items() if key[0] == e}
        if not each.minimum <= sum(own.values()) <= (each.maximum or 10**6):
            return None
        per_request = sum(pipeline.load_rps * pipeline.visits[each.engine] for pipeline in problem.pipelines)
        capacity = sum(count * 1000.0 / each.options[c].busy_ms[each.engine] for (_, c, _), count in own.items())
        rate = min(rate, HEADROOM * capacity / per_request)
    rate = _with_promises(problem, counts, rate)
    if rate <= 0 or (problem.aim == "cost" and rate < 1 - 1e-9):
        return None
    price = sum(problem.hosts[h].price_per_hour for h in {h for _, _, h in counts})
    hardware = sum(worth(problem.needs[e].options[c].configuration) * count for (e, c, _), count in counts.items())
    score = (-round(price, 6), -round(hardware, 6), -float(sum(counts.values())))
    return (round(rate, 6), *score) if problem.aim == "throughput" else score
