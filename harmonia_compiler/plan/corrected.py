"""A problem by what a running service measured: how long calls really take there, and how often requests make them.

What was measured is a factor on what the service's plan expected, in one configuration of each engine. It is taken to
hold in every other: what makes calls longer than a profile says is most often their work, of which sizes were guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.plan.problem import Need, Pipeline, Problem
from harmonia_compiler.profile.profiles import Option


@dataclass(frozen=True, slots=True)
class Measured:
    """How many times as long as profiles say calls of an engine take, and how often a request calls a component.

    Both say nothing of what was not measured; visits are by pipeline and component.
    """

    times: Mapping[str, float]
    visits: Mapping[str, Mapping[str, float]]


def measured_by(plan: Plan, times: Mapping[str, float], visits: Mapping[str, Mapping[str, float]]) -> Measured:
    """The same by factors on the times that a plan expected, which may itself rest on what was measured before.

    Visits are as they were counted: what they were expected to be may have changed with the sources since. Those of
    what the plan does not know are left out.
    """
    before = {use.engine: use.corrected for use in plan.profiles}
    return Measured(
        {engine: before[engine] * factor for engine, factor in times.items() if engine in before},
        {
            share.name: {name: visits[share.name][name] for name in share.visits if name in visits[share.name]}
            for share in plan.pipelines
            if share.name in visits
        },
    )


def corrected(problem: Problem, measured: Measured) -> Problem:
    """The problem with what was measured in place of what was expected. Chains of calls stay as they were."""
    return replace(
        problem,
        needs=tuple(_need(need, measured.times.get(need.engine, 1.0)) for need in problem.needs),
        pipelines=tuple(_pipeline(one, measured.visits.get(one.name, {})) for one in problem.pipelines),
    )


def _need(need: Need, factor: float) -> Need:
    return need if factor == 1.0 else replace(need, options=tuple(_option(one, factor) for one in need.options))


def _option(option: Option, factor: float) -> Option:
    return replace(
        option,
        busy_ms={name: ms * factor for name, ms in option.busy_ms.items()},
        latency_ms=_longer(option.latency_ms, factor),
        first_ms=_longer(option.first_ms, factor),
        adds_ms={name: ms * factor for name, ms in option.adds_ms.items()},
        corrected=option.corrected * factor,
    )


def _longer(times: Mapping[str, Sequence[float]], factor: float) -> dict[str, tuple[float, ...]]:
    return {name: tuple(ms * factor for ms in each) for name, each in times.items()}


def _pipeline(pipeline: Pipeline, visits: Mapping[str, float]) -> Pipeline:
    return replace(pipeline, visits={name: visits.get(name, expected) for name, expected in pipeline.visits.items()})
