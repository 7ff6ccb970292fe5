"""Closes the loop between planning and simulating: a plan that the simulation finds too slow is made again.

The planner works with means and an assumed tail. The simulation has every step and queue. Where that misses a promise,
the planner is told to stay as many times below it as it was missed by, and a little more.
"""

from collections.abc import Callable
from dataclasses import dataclass

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until

#: How many plans are tried.
MOST_PLANS = 6
#: How long each is simulated, in ms of its own time, and how much of that is warm-up.
FOR_MS, WARMUP_MS = 150_000.0, 30_000.0
#: A margin is raised by at least this.
LEAST_STEP = 1.1

#: Makes an application's plan with a margin. Raises Infeasible where there is none.
Make = Callable[[float], tuple[Application, Plan]]


@dataclass(frozen=True, slots=True)
class Missed:
    """A promise that the simulation does not keep: of which pipeline, and what it comes to instead."""

    pipeline: str
    objective: Objective
    found_ms: float


@dataclass(frozen=True, slots=True)
class Tried:
    """A plan, the margin that it was made with, what the simulation says of it, and what it misses."""

    application: Application
    plan: Plan
    margin: float
    report: Report
    missed: tuple[Missed, ...]


def certify(make: Make, inventory: Inventory, cards: dict[str, Card], seed: int = 1) -> list[Tried]:
    """Plans with rising margins, up to one whose simulation keeps every promise; the last one is the best there is.

    Raises Infeasible where even the first plan cannot be made. The simulation is at the rate that the plan is
    made for, or at what it carries of it.
    """
    margin, tried = 1.0, [_try(make, 1.0, inventory, cards, seed)]
    while tried[-1].missed and len(tried) < MOST_PLANS:
        worst = max(one.found_ms / one.objective.bound_ms for one in tried[-1].missed)
        margin *= max(LEAST_STEP, worst)
        try:
            tried.append(_try(make, margin, inventory, cards, seed))
        except Infeasible:
            break
    return tried


def _try(make: Make, margin: float, inventory: Inventory, cards: dict[str, Card], seed: int) -> Tried:
    application, plan = make(margin)
    made = scenario(application, inventory, plan, seed)
    window = Window(WARMUP_MS, FOR_MS)
    arrivals = until(poisson(_rate(made), seed), FOR_MS)
    report = simulate(made, arrivals, window, cards, {}, patient=True).report
    return Tried(application, plan, margin, report, tuple(_missed(report)))


def _rate(made: Scenario) -> float:
    """The planned loads together; of a plan that carries less, what it carries."""
    plan = made.plan
    carried = min(
        (plan.predicted[one.name].throughput_rps / one.load_rps for one in plan.pipelines if one.load_rps > 0),
        default=1.0,
    )
    return sum(one.load_rps for one in plan.pipelines) * min(1.0, carried)


def _missed(report: Report) -> list[Missed]:
    found = []
    for group in report.groups:
        for kept in group.figures.kept if group.request_class is None else ():
            times = group.figures.latency if kept.objective.metric == "latency" else group.figures.ttft
            if not kept.met and times is not None:
                at = {0.5: times.p50, 0.9: times.p90, 0.95: times.p95, 0.99: times.p99}
                quantile = next((at[each] for each in sorted(at) if each >= kept.objective.quantile), times.max)
                found.append(Missed(group.pipeline, kept.objective, max(quantile, kept.objective.bound_ms)))
    return found
