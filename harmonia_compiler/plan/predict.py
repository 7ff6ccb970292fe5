"""What a set of replicas should achieve: rates, latencies, cost and how busy each engine is."""

from collections.abc import Mapping, Sequence

from harmonia_compiler.contract.plan import Predicted, ProfileUse, Replica
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, worth
from harmonia_compiler.plan.queueing import is_counted, multiple, tail
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM

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


def rate(problem: Problem, used: Used) -> float:
    """Multiples of the declared loads that the replicas carry at the planned utilisation."""
    carries = [sum(multiple(problem, need, option) for option in used[need.engine]) for need in problem.needs]
    return min(carries, default=float("inf"))


def utilisations(problem: Problem, used: Used, at_rate: float) -> dict[str, float]:
    """How busy the replicas of each engine are at a rate; equally, since they share calls by capacity."""
    return {
        need.engine: at_rate * HEADROOM / sum(multiple(problem, need, option) for option in used[need.engine])
        for need in problem.needs
    }


def quantile_ms(problem: Problem, used: Used, pipeline: Pipeline, metric: str, quantile: float) -> float:
    """A latency quantile, or that of the time to the first piece, of a pipeline at the planned utilisation.

    The longest chain of calls that wait for each other, each on the slowest option in use, without
    the steps that are too rare to matter.
    """
    needs = {component: need for need in problem.needs for component in need.components}

    def slowest(component: str, metric: str) -> float:
        if component not in needs:
            return problem.external_ms[component]
        options = used[needs[component].engine]
        return max((one.latency_ms if metric == "latency" else one.first_ms)[component] for one in options)

    ended: list[float] = []
    first = 0.0
    for s, step in enumerate(pipeline.steps):
        start = max((ended[before] for before in step.after), default=0.0)
        counts = is_counted(step, quantile)
        ended.append(start + (slowest(step.component, "latency") if counts else 0.0))
        if s in pipeline.streamed and counts:
            first = max(first, start + slowest(step.component, "ttft"))
    return tail(quantile) * (first if metric == "ttft" and pipeline.streamed else max(ended, default=0.0))


def predict(problem: Problem, replicas: Sequence[Replica]) -> dict[str, Predicted]:
    """What each pipeline should achieve; the cost is shared out by the hardware that its calls keep busy."""
    used = used_options(problem, replicas)
    carried = rate(problem, used)
    busy = utilisations(problem, used, carried) if carried < float("inf") else {}
    bottleneck = max(busy, key=lambda engine: (round(busy[engine], 9), engine), default="")
    hosts = {replica.host for replica in replicas}
    price = sum(host.price_per_hour for host in problem.hosts if host.name in hosts)
    parts = _parts(problem, used)
    return {
        pipeline.name: Predicted(
            throughput_rps=rounded(pipeline.load_rps * (carried if carried < float("inf") else 1.0)),
            latency_ms=rounded(quantile_ms(problem, used, pipeline, "latency", QUANTILE)),
            ttft_ms=rounded(quantile_ms(problem, used, pipeline, "ttft", QUANTILE)),
            cost_per_hour=rounded(price * parts[pipeline.name]),
            bottleneck=bottleneck,
        )
        for pipeline in sorted(problem.pipelines, key=lambda pipeline: pipeline.name)
    }


def profile_uses(problem: Problem, replicas: Sequence[Replica]) -> tuple[ProfileUse, ...]:
    """The figures behind a plan: one entry for each configuration in use.

    Capacity is calls per second of one replica at the planned utilisation, over the engine's mix;
    latency is that of a call of the mix, the wait included.
    """
    used = used_options(problem, replicas)
    found = []
    for need in problem.needs:
        for option in need.options:
            if option in used[need.engine]:
                busy = _over_mix(problem, need, option.busy_ms)
                found.append(
                    ProfileUse(
                        engine=need.engine,
                        config=option.configuration.describe(),
                        provenance=option.provenance,
                        capacity_rps=rounded(HEADROOM / busy * 1000.0) if busy > 0 else 0.0,
                        latency_ms=rounded(_over_mix(problem, need, option.latency_ms)),
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
        tied = sum(worth(option.configuration) for option in used[need.engine])
        calls = problem.calls_rps(need)
        option = used[need.engine][0]
        time = {name: rps * option.busy_ms[name] for name, rps in calls.items()}
        total = sum(time.values())
        for pipeline in problem.pipelines:
            for name in need.components:
                if total > 0:
                    part = pipeline.load_rps * pipeline.visits.get(name, 0.0) * option.busy_ms[name] / total
                    busy[pipeline.name] += tied * part
    total = sum(busy.values())
    return {name: part / total if total > 0 else 1.0 / len(busy) for name, part in busy.items()}


def rounded(figure: float) -> float:
    """Six significant digits: as much as the figures bear, and the same on every machine."""
    return float(f"{figure:.6g}")
