"""Works the figures of a plan out again from those of the profiles, for the verifier: rates, latencies, cost, profiles.

Nothing of what makes plans and predictions is called here. Where a figure is worked out in `plan/predict.py` from the
start of a pipeline, it is worked out here from its end.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

from harmonia_compiler.contract.plan import MOST, Plan
from harmonia_compiler.plan.predict import QUANTILE
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, worth
from harmonia_compiler.plan.promises import named
from harmonia_compiler.plan.queueing import INSTANT_MS, MOST_SPREAD
from harmonia_compiler.plan.reckoned import Replica, Replicas, reckoned, reckoned_mean
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM, LEVELS

#: Relative error that rounding figures to six digits may leave.
ROUNDING = 2e-5


#: Relative error of latencies that follows from rates that are rounded: the busier, the more times that of the rate.
ROUNDED_TIMES = 2e-4


def miscounted(plan: Plan, problem: Problem) -> Iterator[str]:
    """What is wrong with the figures of a plan whose replicas are sound, one sentence each."""
    yield from _mixtures(plan, problem)
    yield from _rates(plan, problem)
    yield from _latencies(plan, problem)
    yield from _costs(plan, problem)
    yield from _profiles(plan, problem)


def near(one: float, other: float, rounding: float = ROUNDING) -> bool:
    """Whether two figures are the same but for rounding."""
    return abs(one - other) <= rounding * max(1e-9, abs(one), abs(other))


def _options(plan: Plan, need: Need) -> list[Option]:
    """The figures of each replica of an engine."""
    offered = {option.configuration: option for option in reversed(need.options)}
    return [offered[replica.config] for replica in plan.replicas if replica.engine == need.engine]


def _arrivals(problem: Problem, need: Need) -> dict[str, float]:
    """Calls a second of each component at the declared loads."""
    return {
        component: sum(pipeline.load_rps * pipeline.visits.get(component, 0.0) for pipeline in problem.pipelines)
        for component in need.components
    }


def _full(plan: Plan, problem: Problem, need: Need) -> float:
    """Multiples of the loads at which the engine's replicas would never be idle."""
    return sum(_each(plan, problem, need))


def _each(plan: Plan, problem: Problem, need: Need) -> list[float]:
    """The same of each replica."""
    arrivals = _arrivals(problem, need)
    per_replica = []
    for option in _options(plan, need):
        seconds = sum(arrivals[name] * option.busy_ms[name] / 1000.0 for name in need.components)
        per_replica.append(1.0 / seconds if seconds > 0 else float("inf"))
    return per_replica


def _mean(problem: Problem, need: Need, figures: dict[str, float]) -> float:
    """The mean of a figure over an engine's calls; over its components where there are none."""
    arrivals = _arrivals(problem, need)
    total = sum(arrivals.values())
    if total <= 0:
        return sum(figures.values()) / len(figures)
    return sum(figures[name] * arrivals[name] / total for name in figures)


def _mixtures(plan: Plan, problem: Problem) -> Iterator[str]:
    for need in problem.needs:
        times = [
            _mean(problem, need, {name: option.latency_ms[name][0] for name in need.components})
            for option in _options(plan, need)
        ]
        if max(times) > min(times) * MOST_SPREAD * (1 + ROUNDING):
            yield f"a call of {need.engine} takes {min(times):g} ms on one replica and {max(times):g} on another"


def _rates(plan: Plan, problem: Problem) -> Iterator[str]:
    full = {need.engine: _full(plan, problem, need) for need in problem.needs}
    rates = {
        plan.predicted[pipeline.name].throughput_rps / pipeline.load_rps
        for pipeline in problem.pipelines
        if pipeline.load_rps > 0
    }
    rate = min(rates, default=1.0)
    if max(rates, default=1.0) > rate * (1 + 2 * ROUNDING):
        yield "the pipelines are predicted different multiples of their loads"
    if problem.aim == "cost" and rate < 1 - ROUNDING:
        yield f"the replicas carry {rate:.3f} times the declared loads"
    busy = {engine: rate / most for engine, most in full.items()}
    for engine, part in busy.items():
        if part > HEADROOM * (1 + ROUNDING):
            yield f"{engine} would be busy for {part:.6g} of the time"
    if set(plan.utilisation) != set(busy):
        yield "the utilisations are not those of the engines"
        return
    for engine, part in busy.items():
        if not near(plan.utilisation[engine], part):
            yield f"{engine} is busy for {part:.6g} of the time, not {plan.utilisation[engine]}"
    for pipeline in problem.pipelines:
        bottleneck = plan.predicted[pipeline.name].bottleneck
        if busy and not near(busy.get(bottleneck, -1.0), max(busy.values())):
            yield f"the bottleneck of {pipeline.name} is not {bottleneck!r}"


def _latencies(plan: Plan, problem: Problem) -> Iterator[str]:
    replicas = _calls(plan, problem)
    for pipeline in problem.pipelines:
        said = plan.predicted[pipeline.name]
        rate = said.throughput_rps / pipeline.load_rps if pipeline.load_rps > 0 else 1.0
        for metric, figure in (("latency", said.latency_ms), ("ttft", said.ttft_ms)):
            found = reckoned(problem, pipeline, replicas, min(rate, 1.0), metric, QUANTILE)
            if not near(figure, found, ROUNDED_TIMES):
                yield f"{pipeline.name} is predicted a {metric} of {figure} ms, the replicas give {found:.6g}"
        mean = reckoned_mean(problem, pipeline, replicas, min(rate, 1.0))
        if not near(said.mean_ms, mean, ROUNDED_TIMES):
            yield f"{pipeline.name} is predicted to take {said.mean_ms} ms in the mean, the replicas give {mean:.6g}"
        for promise in pipeline.promises:
            found = reckoned(problem, pipeline, replicas, rate, promise.metric, promise.quantile)
            if found > promise.bound_ms * (1 + ROUNDED_TIMES) + INSTANT_MS:
                promised = f"promises a {promise.metric} of {promise.bound_ms:g} ms"
                yield f"{named(pipeline.name, promise.request_class)} {promised} and would take {found:.6g}"


def _calls(plan: Plan, problem: Problem) -> Replicas:
    """What the replicas take for the calls of each component."""
    return {
        name: [
            Replica(
                one.configuration.batch,
                full,
                one.latency_ms[name],
                one.first_ms[name],
                one.busy_ms[name],
                one.adds_ms.get(name),
            )
            for one, full in zip(_options(plan, need), _each(plan, problem, need), strict=True)
        ]
        for need in problem.needs
        for name in need.components
    }


def _between(times: Sequence[float], utilisation: float) -> float:
    """A latency between two levels: what is in progress goes in a straight line, unless it would bend downward."""
    points = [(0.0, 0.0), *((level, level * ms) for level, ms in zip(LEVELS, times, strict=True))]
    if utilisation <= 0.0:
        return min(times)
    across = [
        below + (above - below) * (utilisation - less) / (more - less)
        for (less, below), (more, above) in combinations(points, 2)
        if less <= utilisation <= more
    ]
    return min(across) / utilisation


def _costs(plan: Plan, problem: Problem) -> Iterator[str]:
    used = {replica.host for replica in plan.replicas}
    price = sum(host.price_per_hour for host in problem.hosts if host.name in used)
    said = [predicted.cost_per_hour for predicted in plan.predicted.values()]
    if not near(sum(said), price) or min(said, default=0.0) < 0:
        yield f"the pipelines cost {sum(said):.6g} an hour together, their hosts {price:.6g}"
    works = {pipeline.name: _works(plan, problem, pipeline) for pipeline in problem.pipelines}
    for pipeline in problem.pipelines:
        predicted = plan.predicted[pipeline.name]
        part = works[pipeline.name] / sum(works.values()) if any(works.values()) else 1.0 / len(works)
        own = part * price
        if not near(predicted.cost_per_hour, own):
            yield f"{pipeline.name} costs {predicted.cost_per_hour:.6g} an hour, its part of the hardware {own:.6g}"
        requests = pipeline.usual_rps * 3600.0
        costs = min(MOST, 1000.0 * predicted.cost_per_hour / requests) if requests else 0.0
        if not near(predicted.cost_per_thousand, costs):
            yield f"1000 requests of {pipeline.name} cost {costs:.6g}, not {predicted.cost_per_thousand:.6g}"


def _works(plan: Plan, problem: Problem, pipeline: Pipeline) -> float:
    """How much of the hardware works for a pipeline in the mean hour, of what works at all."""
    found = 0.0
    for need in problem.needs:
        for option in _options(plan, need):
            kept_ms = dict.fromkeys((one.name for one in problem.pipelines), 0.0)
            for one in problem.pipelines:
                for name in need.components:
                    kept_ms[one.name] += one.usual_rps * one.visits.get(name, 0.0) * option.busy_ms[name]
            if any(kept_ms.values()):
                found += worth(option.configuration) * kept_ms[pipeline.name] / sum(kept_ms.values())
    return found


def _profiles(plan: Plan, problem: Problem) -> Iterator[str]:
    wrong = "the profiles are not those of the configurations in use"
    expected = [
        (need, option)
        for need in problem.needs
        for option in need.options
        if any(one.engine == need.engine and one.config == option.configuration for one in plan.replicas)
    ]
    if len(expected) != len(plan.profiles):
        yield wrong
        return
    carried = [plan.predicted[one.name].throughput_rps / one.load_rps for one in problem.pipelines if one.load_rps > 0]
    rate = min([1.0, *carried])
    for (need, option), said in zip(expected, plan.profiles, strict=True):
        part = min(rate / _full(plan, problem, need), HEADROOM)
        busy = _mean(problem, need, {name: option.busy_ms[name] for name in need.components})
        latency = _mean(problem, need, {name: _between(option.latency_ms[name], part) for name in need.components})
        named = (said.engine, said.config, said.provenance)
        if (
            named != (need.engine, option.configuration.describe(), option.provenance)
            or not near(said.capacity_rps, HEADROOM * 1000.0 / busy if busy > 0 else 0.0)
            or not near(said.latency_ms, latency, ROUNDED_TIMES)
            or not near(said.corrected, option.corrected)
        ):
            yield wrong
