"""What a set of replicas should achieve: rates, latencies, cost and how busy each engine is."""

from collections.abc import Mapping, Sequence

from harmonia_compiler.contract.plan import Predicted, ProfileUse, Replica
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, Promise, Step, worth
from harmonia_compiler.plan.queueing import INSTANT_MS, capacity, level_at, waves
from harmonia_compiler.plan.weights import Weights, weights
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM, LEVELS

#: The quantile that predicted latencies are for.
QUANTILE = 0.95

Used = Mapping[str, Sequence[Option]]


def used_options(problem: Problem, replicas: Sequence[Replica]) -> dict[str, list[Option]]:
    """The option of each replica, by engine. Raises KeyError for a configuration that no profile offered."""
    offered = {(need.engine, option.configuration): option for need in problem.needs for option in need.options}
    found: dict[str, list[Option]] = {need.engine: [] for need in problem.needs}
    for replica in replicas:
        found[replica.engine].append(offered[replica.engine, replica.config])
    return found


def capacities(problem: Problem, used: Used) -> dict[str, float]:
    """Multiples of the declared loads at which the replicas of each engine would never be idle."""
    return {need.engine: sum(capacity(problem, need, one) for one in used[need.engine]) for need in problem.needs}


def rate(problem: Problem, used: Used) -> float:
    """The most multiples of the declared loads that the replicas carry while every promise is kept.

    No engine is busier than HEADROOM. Latencies change where an engine passes one of LEVELS, so
    that only those rates need to be looked at. Infinite where nothing is called, 0 where no rate will do.
    """
    full = capacities(problem, used)
    top = min(full.values(), default=float("inf")) * HEADROOM
    rates = {top} | {level * each for each in full.values() for level in LEVELS if level * each < top}
    return next((one for one in sorted(rates, reverse=True) if keeps_promises(problem, used, one)), 0.0)


def keeps_promises(problem: Problem, used: Used, at_rate: float) -> bool:
    """Whether every latency promise holds at a rate."""
    return all(
        keeps(promise, quantile_ms(problem, used, pipeline, promise.metric, promise.quantile, at_rate))
        for pipeline in problem.pipelines
        for promise in pipeline.promises
    )


def keeps(promise: Promise, ms: float) -> bool:
    """Whether what takes so long keeps a promise, to within what the model's rows tell apart."""
    return ms <= promise.bound_ms * (1 + 1e-8) + INSTANT_MS


def utilisations(problem: Problem, used: Used, at_rate: float) -> dict[str, float]:
    """How busy the replicas of each engine are at a rate; equally, since they share calls by capacity."""
    return {
        engine: at_rate / full if full < float("inf") else 0.0 for engine, full in capacities(problem, used).items()
    }


def quantile_ms(
    problem: Problem, used: Used, pipeline: Pipeline, metric: str, quantile: float, at_rate: float
) -> float:
    """A quantile of a pipeline's latency, or of the time to its first piece, at a rate.

    Of all paths the longest chain of calls that wait for each other, each on the slowest option in use at the
    level of utilisation that the rate brings and counted by its weight. Rounds that are not told apart follow each
    other, and so do the batches of calls that are sent at once.
    """
    busy = utilisations(problem, used, at_rate)
    engines = {component: need.engine for need in problem.needs for component in need.components}

    def slowest(step: Step, of: str) -> float:
        component = step.component
        if component not in engines:
            return problem.external_ms[component]
        engine = engines[component]
        level = level_at(busy[engine])
        return max(
            (one.latency_ms if of == "latency" else one.first_ms)[component][level] * waves(step.count, one)
            for one in used[engine]
        )

    took = [step.rounds * slowest(step, "latency") for step in pipeline.steps]
    first = {s: slowest(pipeline.steps[s], "ttft") for s in pipeline.streamed}
    paths = weights(pipeline, metric, quantile)
    return max((_lasts(pipeline.steps, path, took, first) for path in paths), default=0.0)


def _lasts(steps: Sequence[Step], path: Weights, took: Sequence[float], first: Mapping[int, float]) -> float:
    """How long a path lasts whose steps take so long."""
    begun: list[float] = []
    ended: list[float] = []
    for s, step in enumerate(steps):
        begun.append(max((ended[before] for before in step.after), default=0.0))
        ended.append(begun[s] + path.whole[s] * took[s])
    if path.first:
        return max(begun[s] + weight * first[s] for s, weight in path.first.items())
    return max(ended, default=0.0)


def predict(problem: Problem, replicas: Sequence[Replica]) -> dict[str, Predicted]:
    """What each pipeline should achieve; the cost is shared out by the hardware that its calls keep busy."""
    used = used_options(problem, replicas)
    carried = rate(problem, used)
    finite = carried if carried < float("inf") else 1.0
    busy = utilisations(problem, used, finite)
    bottleneck = max(busy, key=lambda engine: (round(busy[engine], 9), engine), default="")
    hosts = {replica.host for replica in replicas}
    price = sum(host.price_per_hour for host in problem.hosts if host.name in hosts)
    parts = _parts(problem, used)
    return {
        pipeline.name: Predicted(
            throughput_rps=rounded(pipeline.load_rps * finite),
            latency_ms=rounded(quantile_ms(problem, used, pipeline, "latency", QUANTILE, min(finite, 1.0))),
            ttft_ms=rounded(quantile_ms(problem, used, pipeline, "ttft", QUANTILE, min(finite, 1.0))),
            cost_per_hour=rounded(price * parts[pipeline.name]),
            bottleneck=bottleneck,
        )
        for pipeline in sorted(problem.pipelines, key=lambda pipeline: pipeline.name)
    }


def profile_uses(problem: Problem, replicas: Sequence[Replica]) -> tuple[ProfileUse, ...]:
    """The figures behind a plan: one entry for each configuration in use.

    Capacity is calls per second of one replica at HEADROOM, over the engine's mix; latency is the mean
    of a call of the mix at the declared loads, or at what is carried of them.
    """
    used = used_options(problem, replicas)
    busy = utilisations(problem, used, min(rate(problem, used), 1.0))
    found = []
    for need in problem.needs:
        level = level_at(busy[need.engine])
        for option in need.options:
            if option in used[need.engine]:
                takes = _over_mix(problem, need, option.busy_ms)
                latency = {name: option.latency_ms[name][level] for name in need.components}
                found.append(
                    ProfileUse(
                        engine=need.engine,
                        config=option.configuration.describe(),
                        provenance=option.provenance,
                        capacity_rps=rounded(HEADROOM / takes * 1000.0) if takes > 0 else 0.0,
                        latency_ms=rounded(_over_mix(problem, need, latency)),
                        corrected=rounded(option.corrected),
                    )
                )
    return tuple(found)


def _over_mix(problem: Problem, need: Need, figures: Mapping[str, float]) -> float:
    """The mean of a figure over the calls that an engine gets."""
    calls = problem.calls_rps(need)
    weights = calls if sum(calls.values()) > 0 else dict.fromkeys(calls, 1.0)
    return sum(weights[name] * figures[name] for name in need.components) / sum(weights.values())


def _parts(problem: Problem, used: Used) -> dict[str, float]:
    """The part of the busy hardware that works for each pipeline."""
    busy = {pipeline.name: 0.0 for pipeline in problem.pipelines}
    for need in problem.needs:
        calls = problem.calls_rps(need)
        for option in used[need.engine]:
            takes = sum(rps * option.busy_ms[name] for name, rps in calls.items())
            for pipeline in problem.pipelines if takes > 0 else ():
                own = sum(pipeline.visits.get(name, 0.0) * option.busy_ms[name] for name in need.components)
                busy[pipeline.name] += worth(option.configuration) * pipeline.load_rps * own / takes
    total = sum(busy.values())
    return {name: part / total if total > 0 else 1.0 / len(busy) for name, part in busy.items()}


def rounded(figure: float) -> float:
    """Six significant digits: as much as the figures bear, and the same on every machine."""
    return float(f"{figure:.6g}")
