"""The rows of the integer program about time: levels, the slowest choice in use, chains of calls, promises."""

from collections.abc import Iterator

import pulp
from pulp import LpAffineExpression, LpVariable, lpSum

from harmonia_compiler.plan.problem import Pipeline, Problem, Promise, Step
from harmonia_compiler.plan.queueing import is_counted, tail, waves
from harmonia_compiler.plan.variables import Model


def promised_components(problem: Problem) -> set[str]:
    """The components whose latency some promise depends on."""
    return {
        step.component
        for pipeline, promise in promises_of(problem)
        for step in pipeline.steps
        if is_counted(step, promise.quantile)
    }


def promises_of(problem: Problem) -> Iterator[tuple[Pipeline, Promise]]:
    """Each promise with its pipeline, in the order of both."""
    for pipeline in problem.pipelines:
        for promise in pipeline.promises:
            yield pipeline, promise


def choose(model: Model, timed: set[str]) -> None:
    """An engine runs at one level, and its components are as slow as the slowest choice in use."""
    for e, need in enumerate(model.problem.needs):
        components = [component for component in need.components if component in timed]
        if not components:
            continue
        for component in components:
            for at, count in enumerate(_counts(model.problem, component)):
                for metric in ("latency", "ttft"):
                    name = f"slow_{metric}_{component}_{at}"
                    model.slow[component, metric, count] = model.lp.add_variable(name, 0)
        levels = {
            level: model.lp.add_variable(f"level_{e}_{level}", 0, 1, pulp.LpInteger)
            for level in dict.fromkeys(choice.level for choice in model.choices[e])
        }
        model.lp.addConstraint(lpSum(levels.values()) == 1, f"level_{e}")
        for c, choice in enumerate(model.choices[e]):
            _choose(model, e, c, levels[choice.level], components)


def _choose(model: Model, e: int, c: int, level: LpVariable, components: list[str]) -> None:
    choice = model.choices[e][c]
    chosen = model.lp.add_variable(f"chosen_{e}_{c}", 0, 1, pulp.LpInteger)
    model.lp.addConstraint(chosen <= level, f"chosen_{e}_{c}")
    for (engine, at, h), variable in model.n.items():
        if (engine, at) == (e, c):
            model.lp.addConstraint(variable <= variable.upBound * chosen, f"choose_{e}_{c}_{h}")
    for component in components:
        for metric, times in (("latency", choice.option.latency_ms), ("ttft", choice.option.first_ms)):
            seconds = times[component][choice.level] / 1000.0
            for at, count in enumerate(_counts(model.problem, component)):
                slow = model.slow[component, metric, count]
                name = f"slow_{metric}_{c}_{component}_{at}"
                model.lp.addConstraint(slow >= seconds * waves(count, choice.option) * chosen, name)


def _counts(problem: Problem, component: str) -> list[float]:
    """How many calls of a component are sent at once, over all steps."""
    steps = (step for pipeline in problem.pipelines for step in pipeline.steps if step.component == component)
    return sorted({step.count for step in steps})


def time(model: Model, *, late: bool) -> None:
    """A step ends after all that it waits for; the last one, or the first piece, comes within what was promised.

    Lateness is in seconds and no factor: a promise of next to nothing, as a factor's coefficient, would be taken
    for none.
    """
    for at, (pipeline, promise) in enumerate(promises_of(model.problem)):
        ended = [model.lp.add_variable(f"time_{at}_{s}", 0) for s in range(len(pipeline.steps))]
        bound: LpVariable | LpAffineExpression | float = promise.bound_ms / 1000.0 / tail(promise.quantile)
        if late:
            model.late.append(model.lp.add_variable(f"late_{at}", 0))
            bound = bound + model.late[-1]
        to_first_piece = promise.metric == "ttft" and pipeline.streamed
        for s, step in enumerate(pipeline.steps):
            counts = is_counted(step, promise.quantile)
            for before in [ended[before] for before in step.after] or [0.0]:
                took = step.rounds * _took(model, step, "latency") if counts else 0.0
                model.lp.addConstraint(ended[s] >= before + took)
                if to_first_piece and s in pipeline.streamed and counts:
                    promised(model, before + _took(model, step, "ttft"), bound)
            if not to_first_piece:
                promised(model, ended[s], bound)


def _took(model: Model, step: Step, metric: str) -> LpVariable | float:
    key = step.component, metric, step.count
    return model.slow[key] if key in model.slow else model.problem.external_ms[step.component] / 1000.0


def promised(
    model: Model, ends: LpVariable | LpAffineExpression | float, bound: LpVariable | LpAffineExpression | float
) -> None:
    """What a promise is about ends within its bound, in seconds."""
    model.lp.addConstraint(lpSum([ends]) <= bound)
