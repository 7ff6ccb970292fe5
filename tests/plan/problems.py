"""Small planning problems whose every figure is stated, and the exhaustive search they are compared with.

The search shares no function with the planner that says how fast an allocation is.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise, product
from statistics import NormalDist

import msgspec

from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import Text
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.plan.problem import Need, Path, Pipeline, Problem, Promise, Step, fits, room, take, worth
from harmonia_compiler.plan.queueing import GIVEN_UP_SPREAD, LATENCY_CV, LEAST_PART, mixes
from harmonia_compiler.plan.variables import Key
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


def also(option: Option, component: str, busy_ms: float, latency_ms: float) -> Option:
    """The same with one component more."""
    latency = _latency(component, latency_ms)
    return replace(
        option,
        busy_ms={**option.busy_ms, component: busy_ms},
        latency_ms={**option.latency_ms, **latency},
        first_ms={**option.first_ms, **latency},
    )


def streaming(option: Option, first: float) -> Option:
    """The same with a first piece after a part of the latency."""
    pieces = {name: tuple(first * time for time in times) for name, times in option.latency_ms.items()}
    return replace(option, first_ms=pieces)


def batching(option: Option, batch: int) -> Option:
    """The same, taking so many calls at once."""
    return replace(option, configuration=msgspec.structs.replace(option.configuration, batch=batch))


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
    """An application whose components, engines and pipelines are those of a problem; the last call nothing."""
    components = {
        name: Component(name, "python", each.engine, (), Text()) for each in problem.needs for name in each.components
    }
    engines = {each.engine: Engine(each.engine, "python", {}) for each in problem.needs}
    flows = tuple(Flow(each.name, (), Text(), (), 0) for each in problem.pipelines)
    return Application(engines, components, flows)


def replicas_of(problem: Problem, counts: dict[Key, int]) -> dict[str, int]:
    """How many replicas each engine has."""
    found: dict[str, int] = {}
    for (e, _, _), count in counts.items():
        found[problem.needs[e].engine] = found.get(problem.needs[e].engine, 0) + count
    return found


def _chains(pipeline: Pipeline, to: int) -> Iterator[tuple[int, ...]]:
    """Every chain of steps that wait for each other, from one that waits for none, and ends with this one."""
    if not pipeline.steps[to].after:
        yield (to,)
    for before in pipeline.steps[to].after:
        for chain_ in _chains(pipeline, before):
            yield (*chain_, to)


#: A step, whether it is until its first piece, and what it takes, times what it counts.
_Link = tuple[int, bool]


def _ways(pipeline: Pipeline, *, first: bool) -> list[tuple[Path, list[tuple[_Link, ...]]]]:
    """The paths of a pipeline, each with all of its chains."""
    found = []
    for path in pipeline.paths or (Path(1.0, frozenset(range(len(pipeline.steps)))),):
        pieces = [s for s in pipeline.streamed if s in path.steps] if first else []
        chains = [
            (*((s, False) for s in each[:-1] if s in path.steps), *([(end, bool(pieces))] if end in path.steps else []))
            for end in pieces or range(len(pipeline.steps))
            for each in _chains(pipeline, end)
        ]
        found.append((path, chains))
    return found


#: What a step takes in the mean, and what it deviates from that by a part of.
_Took = tuple[float, float]


def quantile_of(pipeline: Pipeline, quantile: float, took: Callable[[int, bool], _Took], *, first: bool) -> float:
    """A quantile of how long a pipeline lasts whose steps take so long, over all chains of all paths one by one."""

    def lasts(given_up: dict[int, float], link: _Link) -> _Took:
        if (ms := given_up.get(link[0])) is None:
            return took(*link)
        rounds = 1.0 if link[1] else pipeline.steps[link[0]].rounds
        return rounds * ms, rounds * ms

    return max(
        (
            sum(_counted(lasts(given_up, link), weight) for link, weight in chain_)
            for given_up, chain_ in _weighed(pipeline.steps, pipeline.paths, pipeline.streamed, quantile, first)
        ),
        default=0.0,
    )


@lru_cache
def _weighed(
    steps: tuple[Step, ...],
    paths: tuple[Path, ...],
    streamed: tuple[int, ...],
    quantile: float,
    first: bool,  # noqa: FBT001
) -> list[tuple[dict[int, float], list[tuple[_Link, float]]]]:
    """All chains of all paths with what is given up there, each link with what it counts."""
    pipeline = Pipeline("", 1.0, {}, steps, streamed, (), paths)

    def usual(path: Path, link: _Link) -> float:
        step = steps[link[0]]
        given_up = dict(path.given_up).get(link[0])
        if link[1]:
            return step.usual_first_ms if given_up is None else given_up
        return (part(path, link) * step.usual_ms if given_up is None else given_up) * step.rounds

    def part(path: Path, link: _Link) -> float:
        return next((part for s, part, _ in path.kept if s == link[0] and not link[1]), 1.0)

    def deviates(path: Path, link: _Link) -> float:
        if link[0] in dict(path.given_up):
            return GIVEN_UP_SPREAD * usual(path, link)
        spread = next((spread for s, _, spread in path.kept if s == link[0]), 1.0)
        return (1.0 if link[1] else spread) * usual(path, link)

    def sums(path: Path, links: tuple[_Link, ...]) -> tuple[float, float]:
        return sum(usual(path, link) for link in links), math.hypot(*(deviates(path, link) for link in links))

    ways = [
        (path, chains, max((sums(path, links) for links in chains), default=(0.0, 0.0)))
        for path, chains in _ways(pipeline, first=first)
    ]
    late = 1 - quantile
    least = late * LEAST_PART

    def exceeding(at: float) -> float:
        return sum(
            path.likely * max(least, NormalDist(mean, LATENCY_CV * root).cdf(2 * mean - at))
            for path, _, (mean, root) in ways
            if mean
        )

    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if exceeding(middle) > late else (low, middle)
    found: list[tuple[dict[int, float], list[tuple[_Link, float]]]] = []
    for path, chains, (mean, root) in ways:
        if not mean:
            continue
        z = min((high - mean) / (LATENCY_CV * root), NormalDist().inv_cdf(1 - least))
        through = {
            link: max(sums(path, other) for other in chains if link in other)[1] for links in chains for link in links
        }
        found += [
            (
                dict(path.given_up),
                [
                    (
                        link,
                        part(path, link)
                        * max(0.0, 1 + z * LATENCY_CV * deviates(path, link) ** 2 / usual(path, link) / through[link]),
                    )
                    for link in links
                ],
            )
            for links in chains
        ]
    return found


def _counted(took: _Took, weight: float) -> float:
    """The mean once, and what it deviates by as often as the weight is more; or less of the mean."""
    return took[0] + (weight - 1) * took[1] if weight > 1 else max(0.0, weight) * took[0]


#: What a replica carries if never idle, and its times at LEVELS.
_Replica = tuple[float, tuple[float, ...]]


def spread(replicas: tuple[_Replica, ...], rate: float) -> _Took:
    """The least time of a call in the mean over replicas at a rate, and what it is on the slowest idle one if more."""
    stretches, slowest = _stretches(replicas)
    left, in_progress = rate, 0.0
    for adds, width in stretches:
        if left <= width or rate <= 0:
            mean = (in_progress + left * adds) / rate if rate > 0 else adds
            return mean, max(mean, slowest)
        left, in_progress = left - width, in_progress + width * adds
    mean = (in_progress + left * stretches[-1][0]) / rate
    return mean, max(mean, slowest)


@lru_cache(100_000)
def _stretches(replicas: tuple[_Replica, ...]) -> tuple[list[tuple[float, float]], float]:
    """Where calls go, one stretch after the other, and the slowest idle replica.

    What a replica has in progress bends upward in all of these problems, so that calls go where one more adds least.
    """
    stretches = []
    for full, times in replicas:
        points = [(0.0, 0.0), *((level * full, level * full * time) for level, time in zip(LEVELS, times, strict=True))]
        for (less, before), (more, then) in pairwise(points):
            stretches.append(((then - before) / (more - less), more - less))
    return sorted(stretches), max(times[0] for _, times in replicas)


def _time_ms(
    problem: Problem, pipeline: Pipeline, promise: Promise, full: list[list[tuple[int, float]]], rate: float
) -> float:
    """What is promised, at a rate, over all chains of calls one by one."""

    def step_ms(s: int, first: bool) -> _Took:  # noqa: FBT001
        step = pipeline.steps[s]
        rounds = 1.0 if first else step.rounds
        if step.component in problem.external_ms:
            return rounds * problem.external_ms[step.component], rounds * problem.external_ms[step.component]
        e = next(e for e, each in enumerate(problem.needs) if step.component in each.components)
        replicas = []
        for c, alone in full[e]:
            one = problem.needs[e].options[c]
            batch = one.configuration.batch
            turns = math.ceil(step.count / batch)
            times = (one.first_ms if first else one.latency_ms)[step.component]
            # A full batch lasts so much longer than a call alone.
            longer = max(0.0, batch * one.busy_ms[step.component] - one.latency_ms[step.component][0])
            besides = max(0.0, step.count - turns) * longer / max(1, batch - 1)
            # What comes at once waits for others that came so: exponential calls, in lists that vary by half.
            work = step.count * one.busy_ms[step.component] * (1.0 + 0.25 + 0.75 / max(1.0, step.count)) / 2.0
            lists = [work * (1.0 / (1.0 - level) - 1.0 / (1.0 - LEVELS[0])) for level in LEVELS]
            waits = [
                max(time - times[0], of_lists if step.count > 1.0 else 0.0)
                for time, of_lists in zip(times, lists, strict=True)
            ]
            replicas.append((alone, tuple(turns * times[0] + besides + wait for wait in waits)))
        mean, deviating = spread(tuple(replicas), rate)
        return rounds * mean, rounds * deviating

    return quantile_of(pipeline, promise.quantile, step_ms, first=promise.metric == "ttft")


def _with_promises(problem: Problem, full: list[list[tuple[int, float]]], rate: float) -> float:
    """The highest of many rates up to this one at which every promise holds; 0 where none does."""

    def holds(at_rate: float) -> bool:
        return all(
            _time_ms(problem, pipeline, promise, full, at_rate) <= promise.bound_ms * (1 + 1e-9)
            for pipeline in problem.pipelines
            for promise in pipeline.promises
        )

    if holds(rate):
        return rate
    low, high = 0.0, rate
    # To a part of 2e-10.
    for _ in range(32):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low if low > rate * 1e-9 else 0.0


Score = tuple[float, ...]


def exhaustive(problem: Problem) -> Score | None:
    """The best score over every allocation, by trying them all; None where none is allowed."""
    return max(scores(problem), default=None)


def scores(problem: Problem) -> Iterator[Score]:
    """The scores of all allocations that are allowed."""
    yield from (score for counts in _allocations(problem) if (score := score_of(problem, counts)))


def _allocations(problem: Problem) -> Iterator[dict[Key, int]]:
    """Every allocation that no host is too small for: whatever fits on one, with whatever fits on the others."""
    for chosen in product(*(_on_host(problem, h) for h in range(len(problem.hosts)))):
        yield {key: count for counts in chosen for key, count in counts.items()}


def _on_host(problem: Problem, h: int) -> list[dict[Key, int]]:
    keys = [(e, c, h) for e, each in enumerate(problem.needs) for c in range(len(each.options))]
    ranges = [range(1 + fits(problem.needs[e].options[c].configuration, problem.hosts[h])) for e, c, _ in keys]
    every = ({key: count for key, count in zip(keys, chosen, strict=True) if count} for chosen in product(*ranges))
    return [counts for counts in every if _has_room(problem, h, counts)]


def _has_room(problem: Problem, h: int, counts: dict[Key, int]) -> bool:
    used: dict[str, float] = {}
    for (e, c, at), count in counts.items():
        if at == h:
            for resource, amount in take(problem.needs[e].options[c].configuration).items():
                used[resource] = used.get(resource, 0.0) + amount * count
    return all(amount <= room(problem.hosts[h]).get(resource, 0.0) + 1e-9 for resource, amount in used.items())


def _stand_where_they_may(problem: Problem, counts: dict[Key, int]) -> bool:
    """Whether every host carries the label that is asked for, and every engine stands on as many as it asks for."""
    for e, each in enumerate(problem.needs):
        hosts = {h for engine, _, h in counts if engine == e}
        labels = [{f"{name}={value}" for name, value in problem.hosts[h].labels.items()} for h in hosts]
        if len(hosts) < each.min_hosts or any(each.hosts not in (None, *one) for one in labels):
            return False
    return True


def score_of(problem: Problem, counts: dict[Key, int]) -> Score | None:
    """Rate (for the aim `throughput`), then less cost, hardware and replicas; None where a limit is broken."""
    if not _stand_where_they_may(problem, counts):
        return None
    if not all(_has_room(problem, h, counts) for h in range(len(problem.hosts))):
        return None
    full: list[list[tuple[int, float]]] = []
    for e, each in enumerate(problem.needs):
        own = {key: count for key, count in counts.items() if key[0] == e}
        if not each.minimum <= sum(own.values()) <= (each.maximum or 10**6):
            return None
        calls = {
            name: sum(pipeline.load_rps * pipeline.visits[name] for pipeline in problem.pipelines)
            for name in each.components
        }
        options = {c: each.options[c] for _, c, _ in own}
        alone = [sum(calls[name] * one.latency_ms[name][0] for name in calls) for one in options.values()]
        if not mixes(min(alone), max(alone)):
            return None
        busy = {c: sum(calls[name] * one.busy_ms[name] / 1000.0 for name in calls) for c, one in options.items()}
        full.append([(c, count / busy[c]) for (_, c, _), count in own.items()])
    rate = _with_promises(problem, full, HEADROOM * min(sum(each for _, each in own) for own in full))
    if rate <= 0 or (problem.aim == "cost" and rate < 1 - 1e-9):
        return None
    price = sum(problem.hosts[h].price_per_hour for h in {h for _, _, h in counts})
    hardware = sum(worth(problem.needs[e].options[c].configuration) * count for (e, c, _), count in counts.items())
    score = (-round(price, 6), -round(hardware, 6), -float(sum(counts.values())))
    return (round(rate, 6), *score) if problem.aim == "throughput" else score
