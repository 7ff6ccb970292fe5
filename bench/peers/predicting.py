"""What ratio can be had, before anything is measured: the plan beside the best set-up of each way to run a pipeline.

All by simulation, which is the same for all of them. What a peer adds by its own processes, and what its balancer does
worse than the simulator's, is not in it: a measured ratio is larger by that, and by no more.
"""

from dataclasses import replace
from pathlib import Path

import msgspec

from bench.peers.allocation import Division, allocated, apart, uniform
from bench.peers.judging import OURS
from bench.peers.search import LIKELY, best, figures, over, rate_of
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.predict import capacities, used_options
from harmonia_compiler.policy.parts import ALL, NONE
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.queueing import HEADROOM


class Predicted(msgspec.Struct, frozen=True):
    """One way to run a pipeline, in requests a second.

    `rate_rps` is the highest rate that keeps the promise in simulation. `busy_rps` is the rate at which some model's
    GPUs would never be idle by the profiles, whatever was promised; of the plan as well, so that its share is told.
    `tried` simulations found the set-up; the rate is the mean over so many `seeds`.
    """

    pipeline: str
    inventory: str
    way: str
    setup: str
    rate_rps: float
    busy_rps: float
    tried: int = 0
    seeds: int = 1


def predicted(scenario: Scenario, inventory: str, kept: Path, count: int) -> list[Predicted]:
    """The integer plan as it is served, the same without scheduling, and each way to run the pipeline at its best.

    Rates are means over so many seeds.
    """
    seeds = range(1, count + 1)
    (pipeline,) = scenario.plan.predicted
    reckoned = scenario.plan.predicted[pipeline].throughput_rps
    busy, most = of_plan(scenario)
    parted = apart(scenario)
    searched = {
        "pool per model": (scenario, best(scenario, kept)),
        "deployment per component": (parted, best(parted, kept)),
        "whole pipeline replicated": (scenario, best(scenario, kept, whole=True)),
    }

    def row(way: str, setup: str, rate_rps: float, busy_rps: float, tried: int = 0) -> Predicted:
        return Predicted(pipeline, inventory, way, setup, rate_rps, busy_rps, tried, count)

    def divided(way: str, given: Scenario, division: Division, likely: float, tried: int = 0) -> Predicted:
        served = over(given, allocated(given, division))
        rate = rate_of(served, NONE, likely, seeds)
        return row(way, division.describe(), rate, figures(given).carries(division), tried)

    def evenly(way: str, given: Scenario) -> Predicted:
        division = uniform(given)
        return divided(f"{way}, even", given, division, LIKELY * figures(given).carries(division))

    return [
        row("any plan, nothing promised", "", most, most / HEADROOM),
        row("the plan as reckoned", "", reckoned, busy),
        row(OURS, "its plan", rate_of(scenario, ALL, reckoned, seeds), busy),
        row("its plan without scheduling", "its plan", rate_of(scenario, NONE, reckoned, seeds), busy),
        *(
            divided(f"{way}, best", given, found.division, found.rate_rps, found.tried)
            for way, (given, found) in searched.items()
        ),
        evenly("pool per model", scenario),
        evenly("deployment per component", parted),
    ]


def of_plan(scenario: Scenario) -> tuple[float, float]:
    """The rate at which the plan's first engine is never idle, and what any plan carries when nothing is promised."""
    problem = build_problem(scenario.application, scenario.inventory, "throughput", BestProfiles()).problem
    full = capacities(problem, used_options(problem, scenario.plan.replicas))
    free = replace(problem, pipelines=tuple(replace(one, promises=()) for one in problem.pipelines))
    most = optimise(free)
    assert most is not None
    (load,) = (one.load_rps for one in problem.pipelines)
    return min(full.values()) * load, most.rate * load


def told(rows: list[Predicted]) -> list[str]:
    """A line for each way, and our rate by that of the best of the others."""
    ours = next(one for one in rows if one.way == OURS)
    others = [one for one in rows if one.way.endswith((", best", ", even"))]
    top = max(others, key=lambda one: one.rate_rps)
    lines = [
        f"{one.way:32} {one.rate_rps:6.1f}/s in time, {one.busy_rps:6.1f}/s busy, "
        f"{one.busy_rps / ours.busy_rps:5.0%} of the plan  {one.setup}"
        for one in rows
    ]
    ratio = ours.rate_rps / top.rate_rps if top.rate_rps else float("inf")
    return [*lines, f"{ours.pipeline}: {ratio:.2f} times {top.way}, the best of the others"]
