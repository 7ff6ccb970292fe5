"""Closes the loop between planning and simulating: a plan that is too slow, or more careful than need be, is made anew.

The planner works with means over the replicas of each engine, and with an assumed spread. The simulation has every step
and queue. Where that misses a promise, the planner is told to stay as many times below it as it was missed
by, and a little more. Where it keeps all of them with room to spare, the planner may go beyond them.

A promise is a pipeline's objective or a class's deadline. It is judged by so many requests as say something, for which
a plan of a low load is simulated for a long time; where a bound on the work leaves fewer, it is not judged.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from harmonia_compiler.contract.card import Cards
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.plan.promises import named, promises
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.measures import Distribution, Window, figures, within
from harmonia_compiler.report.observation import Observation, Outcome
from harmonia_compiler.workload.arrivals import poisson, until

#: How many plans are tried.
MOST_PLANS = 6
#: How many requests a verdict rests on at least, and for how many of each promise a plan is simulated, which by chance
#: are some fewer or more; and for how long in ms of its own time at least. Where that would be more than so many
#: requests in all, for no more than these, but for some time.
ENOUGH_REQUESTS, REQUESTS, LEAST_MS = 1_000, 1_600, 100_000.0
MOST_REQUESTS, SOME_MS = 50_000, 20_000.0
#: The part of that which is warm-up.
WARMUP = 0.2
#: A margin is raised by at least this, and lowered only where it is so many times lower.
LEAST_STEP = 1.1
#: The part of a promise that is taken at most where the margin is below 1, and how much is enough. A margin is lowered
#: to no less than this part of itself at once.
MOST_TAKEN, ENOUGH_TAKEN = 0.95, 0.9
LOWEST_STEP = 0.5

#: Makes an application's plan with a margin. Raises Infeasible where there is none.
Make = Callable[[float], tuple[Application, Plan]]


@dataclass(frozen=True, slots=True)
class Reached:
    """What a promised quantile comes to in a simulation, to within so much, whether that keeps it, and by how many.

    The promise is of a pipeline or of one class of its `requests`; `is_expected` is whether its load has any of those.
    """

    pipeline: str
    objective: Objective
    found_ms: float
    within_ms: float
    met: bool
    requests: int
    request_class: str | None = None
    is_expected: bool = True

    @property
    def name(self) -> str:
        """Of whom it is: `desk`, `desk/urgent`."""
        return named(self.pipeline, self.request_class)

    @property
    def is_judged(self) -> bool:
        """Whether enough requests came for a verdict."""
        return self.requests >= ENOUGH_REQUESTS

    @property
    def taken(self) -> float:
        """The part of what is promised that it takes; above 1 where the promise is missed."""
        return self.found_ms / self.objective.bound_ms

    @property
    def is_sure(self) -> bool:
        """Whether another hour keeps the promise as well."""
        return self.met and max(self.found_ms + self.within_ms, self.found_ms / MOST_TAKEN) <= self.objective.bound_ms


@dataclass(frozen=True, slots=True)
class Tried:
    """A plan, the margin that it was made with, what the simulation says of it, and what it makes of the promises."""

    application: Application
    plan: Plan
    margin: float
    report: Report
    reached: tuple[Reached, ...]

    @property
    def rate_rps(self) -> float:
        """The requests a second that were simulated, of all pipelines together."""
        return _simulated_rps(self.plan)

    @property
    def reckoned_rps(self) -> float:
        """Those at which the latencies hold that the plan itself says."""
        return _reckoned_rps(self.plan)

    @property
    def missed(self) -> tuple[Reached, ...]:
        """The promises that are not kept."""
        return tuple(one for one in self.reached if one.is_judged and not one.met)

    @property
    def kept(self) -> tuple[Reached, ...]:
        """Those that are."""
        return tuple(one for one in self.reached if one.is_judged and one.met)

    @property
    def unjudged(self) -> tuple[Reached, ...]:
        """Those of which too few requests came to say."""
        return tuple(one for one in self.reached if not one.is_judged)

    @property
    def taken(self) -> float:
        """The largest part of a promise that is taken; 0 where none was judged."""
        return max((one.taken for one in self.reached if one.is_judged), default=0.0)

    @property
    def is_kept(self) -> bool:
        """Whether every promise is kept, and surely so where the planner itself would not have promised as much."""
        if self.margin >= 1.0:
            return not self.missed
        return not self.unjudged and all(one.is_sure for one in self.reached)


def certify(make: Make, inventory: Inventory, cards: Cards, seed: int = 1) -> list[Tried]:
    """Plans with several margins; the last one is the best that keeps every promise, or else the most careful there is.

    Raises Infeasible where even the first plan cannot be made. The simulation of a plan for the highest rate is at
    what it carries; else it is at the loads that are declared, or at what is carried of them.
    """
    tried = [attempt(*make(1.0), 1.0, inventory, cards, seed)]
    while len(tried) < MOST_PLANS and (margin := _next(tried)):
        try:
            application, plan = make(margin)
        except Rejected:
            break
        alike = next((one for one in tried if _alike(plan, one.plan)), None)
        if alike is None:
            tried.append(attempt(application, plan, margin, inventory, cards, seed))
        elif margin > 1.0:
            # Not careful enough to be another plan: the next margin may be.
            tried.append(replace(alike, plan=plan, margin=margin))
        else:
            break
    kept = [one for one in tried if one.is_kept]
    best = min(kept, key=lambda one: one.margin) if kept else tried[-1]
    return [*(one for one in tried if one is not best), best]


def _next(tried: Sequence[Tried]) -> float | None:
    """The margin to try after some; None where there is nothing to be gained, or too little."""
    kept = [one for one in tried if one.is_kept]
    if not kept:
        return tried[-1].margin * max(LEAST_STEP, tried[-1].taken)
    best = min(kept, key=lambda one: one.margin)
    if best.unjudged or not 0.0 < best.taken < ENOUGH_TAKEN:
        return None
    failed = max((one.margin for one in tried if one.margin < best.margin), default=0.0)
    margin = best.margin * max(LOWEST_STEP, best.taken / MOST_TAKEN)
    margin = margin if margin > failed else math.sqrt(failed * best.margin)
    return margin if margin * LEAST_STEP <= best.margin else None


def _alike(one: Plan, other: Plan) -> bool:
    """Whether two plans are the same, whatever their predictions of latency."""
    return one.replicas == other.replicas and _simulated_rps(one) == _simulated_rps(other)


def attempt(
    application: Application, plan: Plan, margin: float, inventory: Inventory, cards: Cards, seed: int
) -> Tried:
    """A plan with what its simulation makes of the promises."""
    rate = _simulated_rps(plan)
    # The plan counts with peaks: with the same, it is to be seen whether it holds.
    made = scenario(application, inventory, plan, seed, {one.name: one.load_rps for one in plan.pipelines})
    for_ms = _simulated_ms(made, rate)
    window = Window(WARMUP * for_ms, for_ms)
    done = simulate(made, until(poisson(rate, seed), for_ms), window, cards, {}, patient=True)
    return Tried(application, plan, margin, done.report, tuple(_reached(application, done.observed, window)))


def _simulated_ms(tried: Scenario, rate: float) -> float:
    """For how long a rate of all requests is to come in, for the rarest promise to have enough of them."""
    shares = [
        tried.shares[flow.name] * _part(flow, of_class)
        for flow in tried.application.flows
        for _, of_class in promises(flow)
    ]
    rarest = min((share for share in shares if share > 0.0), default=1.0)
    wanted = REQUESTS / (1.0 - WARMUP) / rarest / rate * 1000.0
    return max(SOME_MS, min(MOST_REQUESTS / rate * 1000.0, max(LEAST_MS, wanted)))


def _part(flow: Flow, request_class: str | None) -> float:
    """The part of a pipeline's requests that are of a class."""
    if request_class is None:
        return 1.0
    by_class = flow.load.by_class if flow.load is not None else {}
    if not by_class:
        # Where nobody says, all are of the first one.
        return float(request_class == flow.classes[0].name)
    return by_class[request_class].rps / sum(one.rps for one in by_class.values()) if request_class in by_class else 0.0


def _load_rps(plan: Plan) -> float:
    """The requests a second that a plan is made for, of all pipelines together."""
    return sum(one.load_rps for one in plan.pipelines)


def _carried(plan: Plan) -> float:
    """How many times that it carries."""
    return min(
        (plan.predicted[one.name].throughput_rps / one.load_rps for one in plan.pipelines if one.load_rps > 0),
        default=1.0,
    )


def _reckoned_rps(plan: Plan) -> float:
    """The rate of the latencies that a plan predicts: the load, or what it carries of that."""
    return _load_rps(plan) * min(1.0, _carried(plan))


def _simulated_rps(plan: Plan) -> float:
    """The rate that it is simulated at: that one, or all that it carries where that is what it is made for."""
    return _load_rps(plan) * _carried(plan) if plan.objective == "throughput" else _reckoned_rps(plan)


def _reached(application: Application, observed: Sequence[Observation], window: Window) -> Iterator[Reached]:
    for flow in application.flows:
        for objective, of_class in promises(flow):
            of_pipeline = (one for one in observed if one.pipeline == flow.name)
            own = [one for one in of_pipeline if of_class in (None, one.request_class)]
            found = figures(own, window, (objective,))
            times = found.latency if objective.metric == "latency" else found.ttft
            (kept,) = found.kept
            yield Reached(
                flow.name,
                objective,
                0.0 if times is None else _quantile(times, objective, met=kept.met),
                0.0 if times is None else _within(own, window, objective, times.p95_within or 0.0),
                kept.met,
                found.requests,
                of_class,
                _part(flow, of_class) > 0.0,
            )


def _within(observed: Sequence[Observation], window: Window, objective: Objective, otherwise: float) -> float:
    """Half the width of the promised quantile's own interval, or something else where too few lie beyond it to say."""
    came = sorted((one for one in observed if window.holds(one.arrived_ms)), key=lambda one: one.arrived_ms)
    answered = (one for one in came if one.outcome is Outcome.OK)
    times = (one.latency_ms if objective.metric == "latency" else one.ttft_ms for one in answered)
    found = within([ms for ms in times if ms is not None], objective.quantile)
    return otherwise if found is None else found


def _quantile(times: Distribution, objective: Objective, *, met: bool) -> float:
    """The promised quantile, or the next higher one that is known."""
    at = {0.5: times.p50, 0.9: times.p90, 0.95: times.p95, 0.99: times.p99}
    quantile = next((at[each] for each in sorted(at) if each >= objective.quantile), times.max)
    # Whoever was not answered at all is late as well.
    return quantile if met else max(quantile, objective.bound_ms)
