"""Solves the model objective by objective: each later one chooses among the optima of those before."""

from collections.abc import Callable
from dataclasses import dataclass

import pulp

from harmonia_compiler.plan.model import build, cost, fewest, hardware
from harmonia_compiler.plan.predict import keeps_promises, rate
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.plan.solve import Outcome, solve
from harmonia_compiler.plan.variables import Key, Model
from harmonia_compiler.profile.profiles import Option

#: How much of an earlier objective a later one may give up: rounding, not quality.
SLACK = 1e-8


@dataclass(frozen=True, slots=True)
class Allocation:
    """Replicas by engine, option and host (positions in the problem), and the rate that they carry.

    `rate` is in multiples of the declared loads. `proven` says that no search ended at its node
    limit; `gap` is the largest relative distance of an objective to its bound, with what was given up of
    the rate.
    """

    counts: dict[Key, int]
    rate: float
    proven: bool
    gap: float


def optimise(problem: Problem) -> Allocation | None:
    """The best allocation for the problem's aim; None where no allocation satisfies it."""
    if not problem.needs:
        kept = keeps_promises(problem, {}, 0.0)
        return Allocation({}, float("inf"), proven=True, gap=0.0) if kept else None
    fastest = _fastest(problem) if problem.aim == "throughput" else _Fastest({}, 1.0, 0.0, proven=True)
    if fastest is None:
        return None
    counts = fastest.counts
    outcomes: list[Outcome] = []
    model = build(problem, fastest.goal * (1 - SLACK))
    if not model.n:
        return None
    for objective in (cost, hardware, fewest):
        outcome = _next(model, objective)
        if outcome is None:
            continue
        if outcome.status == "infeasible":
            if counts:
                raise RuntimeError("an optimum of the model is infeasible once it is held")
            return None
        outcomes.append(outcome)
        if outcome.found or not counts:
            counts = _found(model, outcome)
    rate = carried(problem, counts)
    short = max(0.0, 1.0 - rate / fastest.bound) if fastest.bound else 0.0
    proven = fastest.proven and all(one.status == "optimal" for one in outcomes)
    return Allocation(counts, rate, proven, max([short, *(one.gap for one in outcomes)]))


@dataclass(frozen=True, slots=True)
class _Fastest:
    """An allocation of about the highest rate, the rate that simpler ones must carry, and a bound that none exceeds.

    Where no rate is sought there is no bound. `proven` is that of `Allocation`.
    """

    counts: dict[Key, int]
    goal: float
    bound: float
    proven: bool


def _fastest(problem: Problem) -> _Fastest | None:
    """The highest rate, to within half of what may be given up; the other half is left to the later objectives.

    Nothing is given up of a load that can be carried: where the search ends so near to the load that the
    highest rate may be on the other side, it goes on.
    """
    model = build(problem, None)
    model.lp.setObjective(model.rate)
    outcome = solve(model.lp, gap=problem.give_up / 2)
    if outcome.status == "infeasible":
        return None
    counts = _found(model, outcome)
    rate = outcome.objective * model.scale
    bound = min(model.scale, rate * (1 + outcome.gap)) if outcome.gap < float("inf") else model.scale
    proven = outcome.status == "optimal"
    asked = min(rate, 1.0) if rate >= 1.0 - SLACK else 0.0
    goal = max(rate * (1 - problem.give_up / 2), asked)
    if rate < 1.0 - SLACK <= bound:
        at_load = build(problem, 1.0 - SLACK)
        at_load.lp.setObjective(at_load.replicas())
        carrying = solve(at_load.lp, gap=1.0)
        if carrying.found:
            return _Fastest(at_load.counts(), 1.0, bound, proven)
        # Nobody knows where this search too ended at its node limit.
        proven = proven and carrying.status == "infeasible"
    return _Fastest(counts, goal, bound, proven)


def _next(model: Model, objective: Callable[[Model], pulp.LpAffineExpression]) -> Outcome | None:
    """Minimise one objective and hold it; None where it is the same for every plan."""
    expression = objective(model)
    if not expression:
        return None
    model.lp.setObjective(expression)
    outcome = solve(model.lp, gap=model.problem.give_up / 2)
    if outcome.found:
        model.lp.addConstraint(expression <= outcome.objective + SLACK * max(1.0, abs(outcome.objective)))
    return outcome


def _found(model: Model, outcome: Outcome) -> dict[Key, int]:
    if outcome.status == "unknown":
        raise RuntimeError("the solver reached its node limit before it found any plan")
    return model.counts()


def carried(problem: Problem, counts: dict[Key, int]) -> float:
    """Multiples of the declared loads that these replicas carry while promises are kept."""
    return rate(problem, options_of(problem, counts))


def options_of(problem: Problem, counts: dict[Key, int]) -> dict[str, list[Option]]:
    """The option of each replica, by engine."""
    used: dict[str, list[Option]] = {need.engine: [] for need in problem.needs}
    for (e, c, _), replicas in sorted(counts.items()):
        need = problem.needs[e]
        used[need.engine] += [need.options[c]] * replicas
    return used
