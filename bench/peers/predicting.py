"""What ratio can be had, before anything is measured: the plan beside the best set-up of each way to run a pipeline.

All by simulation, which is the same for all of them. What a peer adds by its own processes, and what its balancer does
worse than the simulator's, is not in it: a measured ratio is larger by that, and by no more.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import msgspec

from bench.peers.ablation import ABLATIONS, WITHOUT, Given
from bench.peers.allocation import Division, allocated, apart, uniform
from bench.peers.judging import OURS
from bench.peers.search import LIKELY, Found, best, figures, likely, over, rate_of
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.explain import relaxed
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.predict import capacities, used_options
from harmonia_compiler.policy.parts import ALL, PLAIN, Parts
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.queueing import HEADROOM


class Predicted(msgspec.Struct, frozen=True):
    """One way to run a pipeline, in requests a second.

    `rate_rps` is the highest rate that keeps the promise in simulation, None where nothing was simulated. `busy_rps` is
    the rate at which some model's GPUs would never be idle by the profiles, whatever was promised, None where that is
    not known; of the plan as well, so that its share is told. `tried` simulations found the set-up; the rate is the
    mean over so many `seeds`.
    """

    pipeline: str
    inventory: str
    way: str
    setup: str
    rate_rps: float | None
    busy_rps: float | None
    tried: int = 0
    seeds: int = 1


def predicted(
    scenario: Scenario, inventory: str, kept: Path, count: int, replanned: Callable[..., Scenario] | None = None
) -> list[Predicted]:
    """The integer plan as it is served, the same without scheduling, and each way to run the pipeline at its best.

    Rates are means over so many seeds; with none, nothing is simulated, and the best is what is so by its profiles.
    With `replanned`, which makes other plans, ours is simulated without each of what `ablation.py` takes away as well.
    """
    seeds = range(1, count + 1)
    (pipeline,) = scenario.plan.predicted
    reckoned = scenario.plan.predicted[pipeline].throughput_rps
    busy, most = of_plan(scenario)
    parted = apart(scenario)

    def row(way: str, setup: str, rate_rps: float | None, busy_rps: float | None, tried: int = 0) -> Predicted:
        return Predicted(pipeline, inventory, way, setup, rate_rps, busy_rps, tried, count)

    def ours(way: str, parts: Parts) -> Predicted:
        return row(way, "its plan", rate_of(scenario, parts, reckoned, seeds) if count else None, busy)

    def divided(way: str, given: Scenario, found: Found) -> Predicted:
        carries = figures(given).carries(found.division)
        rate: float | None = None
        if count:
            served = over(given, allocated(given, found.division))
            # The search was with the first seed.
            others = [rate_of(served, PLAIN, found.rate_rps, (seed,)) for seed in seeds[1:]]
            rate = fmean([found.rate_rps, *others])
        return row(way, found.division.describe(), rate, carries, found.tried)

    def searched(way: str, given: Scenario, *, whole: bool = False) -> Predicted:
        found = best(given, kept, whole=whole) if count else likely(given, whole=whole)
        return divided(f"{way}, best", given, found)

    def evenly(way: str, given: Scenario) -> Predicted:
        division = uniform(given)
        served = over(given, allocated(given, division))
        around = LIKELY * figures(given).carries(division)
        rate = rate_of(served, PLAIN, around, seeds[:1]) if count else 0.0
        return divided(f"{way}, even", given, Found(division, rate, 0))

    def without(what: str, given: Given) -> Predicted:
        tried = ABLATIONS[what](given)
        rate = rate_of(tried.scenario, tried.parts, reckoned, seeds) if count else None
        return row(f"{WITHOUT}{what}", tried.setup, rate, None)

    def pooled() -> Division:
        return (best(scenario, kept) if count else likely(scenario, whole=False)).division

    more: list[Predicted] = []
    if replanned is not None and count:
        given = Given(scenario, pooled, lambda: replanned(passes=False))
        more = [without(what, given) for what in ABLATIONS]
    return [
        row("any plan, nothing promised", "", None, most / HEADROOM),
        row("in fractions, as promised", "", bound_rps(scenario), None),
        row("the plan as reckoned", "", reckoned, busy),
        ours(OURS, ALL),
        ours("its plan without scheduling", PLAIN),
        searched("pool per model", scenario),
        searched("deployment per component", parted),
        searched("whole pipeline replicated", scenario, whole=True),
        evenly("pool per model", scenario),
        evenly("deployment per component", parted),
        *more,
    ]


def bound_rps(scenario: Scenario) -> float:
    """What the linear relaxation of the plan's program carries: replicas in fractions, promises kept, by profiles.

    No plan on these hosts is said to carry more.
    """
    problem = build_problem(scenario.application, scenario.inventory, "throughput", BestProfiles()).problem
    (load,) = (one.load_rps for one in problem.pipelines)
    return relaxed(problem)[2] * load


def of_plan(scenario: Scenario) -> tuple[float, float]:
    """The rate at which the plan's first engine is never idle, and what any plan carries when nothing is promised."""
    problem = build_problem(scenario.application, scenario.inventory, "throughput", BestProfiles()).problem
    full = capacities(problem, used_options(problem, scenario.plan.replicas))
    free = replace(problem, pipelines=tuple(replace(one, promises=()) for one in problem.pipelines))
    most = optimise(free)
    assert most is not None
    (load,) = (one.load_rps for one in problem.pipelines)
    return min(full.values()) * load, most.rate * load


def told(rows: Sequence[Predicted]) -> list[str]:
    """A line for each way, and our rate by that of the best of the others."""
    ours = next(one for one in rows if one.way == OURS)

    def busy(one: Predicted) -> str:
        if one.busy_rps is None or not ours.busy_rps:
            return ""
        return f"{one.busy_rps:6.1f}/s busy, {one.busy_rps / ours.busy_rps:5.0%} of the plan"

    lines = [
        f"{one.way:36} {'' if one.rate_rps is None else f'{one.rate_rps:6.1f}/s in time':16} {busy(one):32} {one.setup}"
        for one in rows
    ]
    return [*lines, f"{ours.pipeline}: {ratio(rows):.2f} times the best of the others"]


def ratio(rows: Sequence[Predicted]) -> float:
    """Our rate by that of the best of the others; where nothing was simulated, by what keeps GPUs busy."""
    ours = next(one for one in rows if one.way == OURS)
    others = [one for one in rows if one.way.endswith((", best", ", even"))]
    if ours.rate_rps is None:
        return (ours.busy_rps or 0.0) / max(one.busy_rps or 0.0 for one in others)
    top = max(one.rate_rps or 0.0 for one in others)
    return ours.rate_rps / top if top else math.inf
