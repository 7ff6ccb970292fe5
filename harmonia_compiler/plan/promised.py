"""The times that latency promises depend on, and what each may be at most if all the others are at their least."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harmonia_compiler.plan.problem import Pipeline, Problem, Promise, Step
from harmonia_compiler.plan.queueing import together_ms
from harmonia_compiler.plan.weights import Weights, weights
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import LEVELS

#: Relative and absolute, in seconds: what a promise is kept to within (`predict.keeps`).
_NEAR, _INSTANT = 1e-8, 1e-7


class Figure(NamedTuple):
    """So many calls of a component that are sent at once: until all are answered, or begin to be (`ttft`)."""

    component: str
    metric: str
    calls: float


def seconds(figure: Figure, option: Option) -> tuple[float, ...]:
    """A figure where the component's engine runs in one option, for each of the levels of utilisation."""
    first = figure.metric != "latency"
    return tuple(
        together_ms(figure.calls, option, figure.component, level, first=first) / 1000.0 for level in range(len(LEVELS))
    )


def promises_of(problem: Problem) -> Iterator[tuple[Pipeline, Promise]]:
    """Each promise with its pipeline, in the order of both."""
    for pipeline in problem.pipelines:
        for promise in pipeline.promises:
            yield pipeline, promise


def bound_s(promise: Promise) -> float:
    """What the promised quantile is at most."""
    return promise.bound_ms / 1000.0


def limits(problem: Problem) -> dict[Figure, float]:
    """The figures that some promise depends on, each with how slow, in seconds, an idle replica may be at most.

    With all else at its least: a slower one alone, were calls ever so few there, makes more of them late than may be.
    """
    found: dict[Figure, float] = {}
    least: dict[Figure, float] = {}
    for pipeline, promise in promises_of(problem):
        for path in weights(pipeline, promise.metric, promise.quantile):
            for figure, limit in _limits(problem, pipeline.steps, path, bound_s(promise), least):
                found[figure] = min(found.get(figure, float("inf")), limit)
    return found


def _limits(
    problem: Problem, steps: Sequence[Step], path: Weights, bound: float, least: dict[Figure, float]
) -> Iterator[tuple[Figure, float]]:
    """Each figure of a path with what a bound leaves of it, by the longest chain of calls through it."""

    def took(s: int, metric: str) -> float:
        fixed = problem.fixed_ms(steps[s], path.given_up.get(s))
        if fixed is not None:
            return fixed / 1000.0
        return _least(problem, Figure(steps[s].component, metric, steps[s].count), least)

    takes = [path.whole[s] * step.rounds * took(s, "latency") for s, step in enumerate(steps)]
    pieces = {s: weight * took(s, "ttft") for s, weight in path.first.items()}
    begins: list[float] = []
    for step in steps:
        begins.append(max((begins[before] + takes[before] for before in step.after), default=0.0))
    # From the end of a step to what is promised; nothing is where no chain leads there.
    left = [-float("inf") if pieces else 0.0 for _ in steps]
    for s in reversed(range(len(steps))):
        for before in steps[s].after:
            left[before] = max(left[before], left[s] + takes[s], pieces.get(s, -float("inf")))
    bound = bound * (1 + _NEAR) + _INSTANT
    for s, step in enumerate(steps):
        if problem.fixed_ms(step, path.given_up.get(s)) is not None:
            continue
        if path.whole[s] > 0.0 and left[s] > -float("inf"):
            limit = _slowest((bound - begins[s] - left[s]) / step.rounds, path.whole[s], took(s, "latency"))
            yield Figure(step.component, "latency", step.count), limit
        if path.first.get(s, 0.0) > 0.0:
            limit = _slowest(bound - begins[s], path.first[s], took(s, "ttft"))
            yield Figure(step.component, "ttft", step.count), limit


def _slowest(most: float, weight: float, least: float) -> float:
    """How slow a replica may be for a step to count no more than this, if in the mean it takes its least."""
    if most < weight * least:
        return 0.0
    return (most - least) / (weight - 1.0) if weight > 1.0 else float("inf")


def _least(problem: Problem, figure: Figure, known: dict[Figure, float]) -> float:
    if figure not in known:
        options = next(need.options for need in problem.needs if figure.component in need.components)
        known[figure] = min((min(seconds(figure, option)) for option in options), default=0.0)
    return known[figure]


def without_limits(figures: Mapping[Figure, float]) -> dict[Figure, float]:
    """The same figures, each of which may be anything."""
    return dict.fromkeys(figures, float("inf"))
