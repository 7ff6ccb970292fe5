"""The times that latency promises depend on, and what each may be at most if all the others are at their least."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from harmonia_compiler.plan.problem import Pipeline, Problem, Promise, Step
from harmonia_compiler.plan.queueing import is_counted, tail, waves
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import LEVELS


class Figure(NamedTuple):
    """So many calls of a component that are sent at once: until all are answered, or begin to be (`ttft`)."""

    component: str
    metric: str
    calls: float


def seconds(figure: Figure, option: Option, level: int) -> float:
    """A figure where the component's engine runs in one option."""
    times = option.latency_ms if figure.metric == "latency" else option.first_ms
    return times[figure.component][level] / 1000.0 * waves(figure.calls, option)


def promises_of(problem: Problem) -> Iterator[tuple[Pipeline, Promise]]:
    """Each promise with its pipeline, in the order of both."""
    for pipeline in problem.pipelines:
        for promise in pipeline.promises:
            yield pipeline, promise


def to_first_piece(pipeline: Pipeline, promise: Promise) -> bool:
    """Whether a promise is about the first piece of an answer, and not about its end."""
    return promise.metric == "ttft" and bool(pipeline.streamed)


def bound_s(promise: Promise) -> float:
    """What the mean must not exceed for a quantile to keep its promise."""
    return promise.bound_ms / 1000.0 / tail(promise.quantile)


def limits(problem: Problem) -> dict[Figure, float]:
    """The figures that some promise depends on, in seconds at most: each where every other is at its least."""
    found: dict[Figure, float] = {}
    least: dict[Figure, float] = {}
    for pipeline, promise in promises_of(problem):
        for figure, limit in _limits(problem, pipeline, promise, least):
            found[figure] = min(found.get(figure, float("inf")), limit)
    return found


def _limits(
    problem: Problem, pipeline: Pipeline, promise: Promise, least: dict[Figure, float]
) -> Iterator[tuple[Figure, float]]:
    """Each figure of a pipeline with what one promise leaves of it, by the longest chain of calls through it."""
    steps = pipeline.steps
    counted = [is_counted(step, promise.quantile) for step in steps]
    pieces = set(pipeline.streamed) if to_first_piece(pipeline, promise) else set()

    def took(step: Step, metric: str) -> float:
        return _least(problem, Figure(step.component, metric, step.count), least)

    takes = [step.rounds * took(step, "latency") if counted[s] else 0.0 for s, step in enumerate(steps)]
    begins: list[float] = []
    for step in steps:
        begins.append(max((begins[before] + takes[before] for before in step.after), default=0.0))
    # From the end of a step to what is promised; nothing is where no chain leads there.
    left = [-float("inf") if pieces else 0.0 for _ in steps]
    for s in reversed(range(len(steps))):
        for before in steps[s].after:
            left[before] = max(left[before], left[s] + takes[s])
            if s in pieces and counted[s]:
                left[before] = max(left[before], took(steps[s], "ttft"))
    for s, step in enumerate(steps):
        if not counted[s] or step.component in problem.external_ms:
            continue
        if left[s] > -float("inf"):
            limit = (bound_s(promise) - begins[s] - left[s]) / step.rounds
            yield Figure(step.component, "latency", step.count), limit
        if s in pieces:
            yield Figure(step.component, "ttft", step.count), bound_s(promise) - begins[s]


def _least(problem: Problem, figure: Figure, known: dict[Figure, float]) -> float:
    if figure.component in problem.external_ms:
        return problem.external_ms[figure.component] / 1000.0
    if figure not in known:
        options = next(need.options for need in problem.needs if figure.component in need.components)
        times = [seconds(figure, option, level) for option in options for level in range(len(LEVELS))]
        known[figure] = min(times, default=0.0)
    return known[figure]


def without_limits(figures: Mapping[Figure, float]) -> dict[Figure, float]:
    """The same figures, each of which may be anything."""
    return dict.fromkeys(figures, float("inf"))
