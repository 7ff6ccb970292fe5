"""Solves the model objective by objective: each later one chooses among the optima of those before."""

from collections.abc import Callable
from dataclasses import dataclass

import pulp

from harmonia_compiler.plan.model import Key, Model, build, cost, fewest, hardware
from harmonia_compiler.plan.predict import keeps_promises, rate
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.plan.solve import Outcome, solve
from harmonia_compiler.profile.profiles import Option

#: How much of an earlier objective a later one may give up: rounding, not quality.
SLACK = 1e-8


@dataclass(frozen=True, slots=True)
class Allocation:
    """Replicas by engine, option and host (positions in the problem), and the rate that they carry.

    `rate` is in multiples of the declared loads. `proven` says that no search ended at its node
    limit; `gap` is the largest relative distance of an objective to its bound.
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
    outcomes: list[Outcome] = []
    if problem.aim == "throughput":
        model = build(problem, None)
        model.lp.setObjective(model.rate)
        outcomes.append(solve(model.lp, gap=problem.give_up / 2))
        if outcomes[-1].status == "infeasible":
            return None
        counts = _found(model, outcomes[-1])
        goal = outcomes[-1].objective * model.scale * (1 - problem.give_up / 2)
    else:
        counts, goal = {}, 1.0
    model = build(problem, goal * (1 - SLACK))
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
        if outcome.status != "unknown" or not counts:
            counts = _found(model, outcome)
    gap = max(outcome.gap for outcome in outcomes)
    return Allocation(counts, carried(problem, counts), all(one.status == "optimal" for one in outcomes), gap)


def _next(model: Model, objective: Callable[[Model], pulp.LpAffineExpression]) -> Outcome | None:
    """Minimise one objective and hold it; None where it is the same for every plan."""
    expression = objective(model)
    if not expression:
        return None
    model.lp.setObjective(expression)
    outcome = solve(model.lp, gap=model.problem.give_up / 2)
    if outcome.status in ("optimal", "feasible"):
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
