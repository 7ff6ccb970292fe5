"""The price of being faster: plans of which none is both cheaper and faster than another, for the declared loads."""

from collections.abc import Callable
from dataclasses import dataclass

from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.diagnostics.diagnostic import Rejected

#: By which part each plan shall be faster than the one before, and the smallest such step where it is too large.
STEP, LEAST_STEP = 0.1, 0.02

#: How far apart equal prices may be: they are sums of parts of six digits.
_ROUNDING = 2e-5

#: Plans at most that are looked at.
MOST_PLANS = 40

#: The cheapest plan whose pipelines each have a p95 latency of so many ms at most, if any bound is given.
Make = Callable[[float | None], Plan]


@dataclass(frozen=True, slots=True)
class Point:
    """A plan with what its hosts cost an hour, and the p95 latency of its slowest pipeline at the declared loads."""

    plan: Plan
    cost_per_hour: float
    latency_ms: float


def frontier(make: Make) -> list[Point]:
    """The plans from the cheapest to the fastest, about a step apart. Raises Rejected where there is none."""
    found = [_point(make(None))]
    step = STEP
    for _ in range(MOST_PLANS - 1):
        try:
            faster = _point(make(found[-1].latency_ms * (1.0 - step)))
        except Rejected:
            # There is none, or none that is found: the step was too large, or this is the end.
            step /= 2
            if step < LEAST_STEP:
                break
            continue
        # Prices are found to within a part of a percent: what costs no more makes the slower one pointless.
        while found and faster.cost_per_hour <= found[-1].cost_per_hour * (1.0 + _ROUNDING):
            found.pop()
        found.append(faster)
    return found


def _point(plan: Plan) -> Point:
    expected = plan.predicted.values()
    return Point(plan, sum(one.cost_per_hour for one in expected), max(one.latency_ms for one in expected))
