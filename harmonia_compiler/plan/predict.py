"""What a set of replicas should achieve: rates, latencies, cost and how busy each engine is."""

from collections import Counter
from collections.abc import Mapping, Sequence

from harmonia_compiler.contract.plan import MOST, Predicted, ProfileUse, Replica
from harmonia_compiler.plan.problem import Need, Path, Pipeline, Problem, Promise, Step, worth
from harmonia_compiler.plan.queueing import INSTANT_MS, capacity, together_ms
from harmonia_compiler.plan.sharing import Sharing, at, shared
from harmonia_compiler.plan.weights import Weights, weights
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM, LEVELS

#: The quantile that predicted latencies are for.
QUANTILE = 0.95

#: To what part of itself a rate is found.
EXACT = 1e-13

Used = Mapping[str, Sequence[Option]]

#: What a call takes in the mean, and what it deviates from that by a part of (`plan/queueing.py`).
_Took = tuple[float, float]


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

    No engine is busier than HEADROOM. The higher the rate, the longer calls take, so that it is found by bisection.
    Infinite where nothing is called, 0 where no rate will do.
    """
    times = Times(problem, used)

    def holds(at_rate: float) -> bool:
        return all(
            keeps(promise, times.quantile_ms(pipeline, promise.metric, promise.quantile, at_rate))
            for pipeline in problem.pipelines
            for promise in pipeline.promises
        )

    top = min(capacities(problem, used).values(), default=float("inf")) * HEADROOM
    if holds(top):
        return top
    low, high = 0.0, top
    if not holds(low):
        return 0.0
    while high - low > EXACT * high:
        middle = low + (high - low) / 2.0
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


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
    """How busy the replicas of each engine are at a rate, in the mean over what they carry."""
    return {
        engine: at_rate / full if full < float("inf") else 0.0 for engine, full in capacities(problem, used).items()
    }


def quantile_ms(
    problem: Problem, used: Used, pipeline: Pipeline, metric: str, quantile: float, at_rate: float
) -> float:
    """A quantile of a pipeline's latency, or of the time to its first piece, at a rate."""
    return Times(problem, used).quantile_ms(pipeline, metric, quantile, at_rate)


class Times:
    """How long the calls of a problem take on some replicas, at one rate or another."""

    def __init__(self, problem: Problem, used: Used) -> None:
        self._problem = problem
        counts = {engine: Counter(map(id, options)) for engine, options in used.items()}
        self._counted = {
            engine: [(one, counts[engine][id(one)]) for one in {id(one): one for one in options}.values()]
            for engine, options in used.items()
        }
        self._needs = {component: need for need in problem.needs for component in need.components}
        self._sharing: dict[tuple[str, str, float], Sharing] = {}

    def quantile_ms(self, pipeline: Pipeline, metric: str, quantile: float, at_rate: float) -> float:
        """A quantile of a pipeline's latency, or of the time to its first piece, at a rate.

        Of all paths the longest chain of calls that wait for each other, each counted by its weight. Rounds that are
        not told apart follow each other, and so do the batches of calls that are sent at once.
        """
        steps = pipeline.steps
        took = [_times(self._call(step, "latency", at_rate), step.rounds) for step in steps]
        first = {s: self._call(steps[s], "ttft", at_rate) for s in pipeline.streamed}
        longest = 0.0
        for path in weights(pipeline, metric, quantile):
            given_up = {s: (ms, ms) for s, ms in path.given_up.items()}
            own = [_times(given_up[s], step.rounds) if s in given_up else took[s] for s, step in enumerate(steps)]
            longest = max(longest, _lasts(steps, path, own, first | given_up))
        return longest

    def mean_ms(self, pipeline: Pipeline, at_rate: float) -> float:
        """How long a request of a pipeline takes at a rate, in the mean over the paths that requests take."""
        took = [_times(self._call(step, "latency", at_rate), step.rounds) for step in pipeline.steps]
        every = frozenset(range(len(took)))
        lasts = 0.0
        for path in pipeline.paths or (Path(1.0, every),):
            part = {s: part for s, part, _ in path.kept}
            whole = Weights(tuple(part.get(s, 1.0) if s in path.steps else 0.0 for s in every), {}, {})
            rounds = {s: (ms, ms) for s, ms in path.given_up}
            own = [_times(rounds[s], step.rounds) if s in rounds else took[s] for s, step in enumerate(pipeline.steps)]
            lasts += path.likely * _lasts(pipeline.steps, whole, own, {})
        return lasts

    def _call(self, step: Step, of: str, at_rate: float) -> _Took:
        """What a call takes in the mean, and what it deviates from that by a part of."""
        component, fixed = step.component, self._problem.fixed_ms(step)
        if fixed is not None:
            return fixed, fixed
        known = (component, of, step.count)
        if known not in self._sharing:
            need = self._needs[component]
            replicas = []
            for one, count in self._counted[need.engine]:
                first = of != "latency"
                together = [together_ms(step.count, one, component, at, first=first) for at in range(len(LEVELS))]
                replicas.append((count * capacity(self._problem, need, one), together))
            self._sharing[known] = shared(replicas)
        sharing = self._sharing[known]
        mean = sharing.mean(at_rate)
        return mean, max(mean, sharing.slowest)


def _times(took: _Took, times: float) -> _Took:
    return took[0] * times, took[1] * times


def _counted(took: _Took, weight: float) -> float:
    """What a step counts by its weight: once in the mean, and for the rest by what it deviates by."""
    mean, deviating = took
    return weight * mean if weight <= 1.0 else mean + (weight - 1.0) * deviating


def _lasts(steps: Sequence[Step], path: Weights, took: Sequence[_Took], first: Mapping[int, _Took]) -> float:
    """How long a path lasts whose steps take so long."""
    begun: list[float] = []
    ended: list[float] = []
    for s, step in enumerate(steps):
        begun.append(max((ended[before] for before in step.after), default=0.0))
        ended.append(begun[s] + _counted(took[s], path.whole[s]))
    if path.first:
        return max(begun[s] + _counted(first[s], weight) for s, weight in path.first.items())
    return max(ended, default=0.0)


def predict(problem: Problem, replicas: Sequence[Replica]) -> dict[str, Predicted]:
    """What each pipeline should achieve; the cost is shared out by the hardware that its calls usually keep busy."""
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
            cost_per_thousand=_per_thousand(price * parts[pipeline.name], pipeline.usual_rps),
            bottleneck=bottleneck,
            mean_ms=rounded(Times(problem, used).mean_ms(pipeline, min(finite, 1.0))),
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
        for option in need.options:
            if option in used[need.engine]:
                takes = _over_mix(problem, need, option.busy_ms)
                latency = {name: at(option.latency_ms[name], busy[need.engine]) for name in need.components}
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
    """The part of the busy hardware that works for each pipeline in the mean hour."""
    busy = {pipeline.name: 0.0 for pipeline in problem.pipelines}
    for need in problem.needs:
        calls = {
            name: sum(one.usual_rps * one.visits.get(name, 0.0) for one in problem.pipelines)
            for name in need.components
        }
        for option in used[need.engine]:
            takes = sum(rps * option.busy_ms[name] for name, rps in calls.items())
            for pipeline in problem.pipelines if takes > 0 else ():
                own = sum(pipeline.visits.get(name, 0.0) * option.busy_ms[name] for name in need.components)
                busy[pipeline.name] += worth(option.configuration) * pipeline.usual_rps * own / takes
    total = sum(busy.values())
    return {name: part / total if total > 0 else 1.0 / len(busy) for name, part in busy.items()}


def _per_thousand(price_per_hour: float, rps: float) -> float:
    """What a thousand requests cost that come at a rate: no more than a plan may say, however seldom that is."""
    return rounded(min(MOST, price_per_hour / 3.6 / rps)) if rps > 0.0 else 0.0


def rounded(figure: float) -> float:
    """Six significant digits: as much as the figures bear, and the same on every machine."""
    return float(f"{figure:.6g}")
