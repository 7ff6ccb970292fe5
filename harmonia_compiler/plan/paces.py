"""Lists: calls that are sent at once are answered by all replicas of their engine, so that n of them over r take n / r.

How many replicas there are is what the integer program is to find, and a time that is shared by them is not linear in
their number. So a problem is solved for numbers of replicas that it must have at least (`Need.minimum`), which share
its lists; the numbers that it then has are tried next, and twice as many, as long as plans get better.

A language model writes the calls of a list together on one replica, and these slow each other down: which replicas they
meet makes little difference as long as none is full, and they are taken to meet one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from harmonia_compiler.plan.optimise import Allocation, carried
from harmonia_compiler.plan.problem import Need, Pipeline, Problem, Step
from harmonia_compiler.plan.queueing import together_ms, waves

#: How many times as many replicas as a plan has are tried, one after the other, and how many at most where no plan is
#: found that is quick enough.
TRIES = (1, 2)
MOST_REPLICAS = 16

#: What a plan must be better by, as a part, for its numbers to be gone on from.
BETTER = 1e-3

Replicas = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Paced:
    """An allocation, and the problem with its lists shared by as many replicas as that has."""

    problem: Problem
    allocation: Allocation


def paced(problem: Problem, replicas: Replicas) -> Problem:
    """The problem whose engines have at least so many replicas, which share lists; of others those they must have."""
    needs = tuple(replace(need, minimum=max(need.minimum, replicas.get(need.engine, 1))) for need in problem.needs)
    shared = {name: need for need in needs if _shares(need) for name in need.components}
    if not shared:
        return problem
    return replace(problem, needs=needs, pipelines=tuple(_pipeline(one, shared) for one in problem.pipelines))


def _shares(need: Need) -> bool:
    return bool(need.options) and not any(option.adds_ms for option in need.options)


def _pipeline(pipeline: Pipeline, shared: Mapping[str, Need]) -> Pipeline:
    return replace(pipeline, steps=tuple(_step(step, shared.get(step.component)) for step in pipeline.steps))


def _step(step: Step, need: Need | None) -> Step:
    if need is None or step.count <= 1.0 or need.minimum == 1:
        return step
    count = share(step.count, need.minimum)
    usual = min(together_ms(count, option, step.component, 0) for option in need.options)
    return replace(step, count=count, usual_ms=usual)


def share(count: float, replicas: int) -> float:
    """How many of so many calls that are sent at once the replica has that is done last: half a call more than most.

    Who has none to spare is sent one: which replica is done first is not known in advance.
    """
    if replicas == 1 or count <= 1.0:
        return count
    return 1.0 if count <= replicas else min(count, count / replicas + 0.5)


def lists(problem: Problem) -> list[Need]:
    """The engines that answer lists in several turns, for which a promise is made: more replicas make these shorter."""
    long = {
        step.component: step.count
        for pipeline in problem.pipelines
        if pipeline.promises
        for step in pipeline.steps
        if step.count > 1.0
    }
    return [
        need
        for need in problem.needs
        if _shares(need)
        and need.maximum != need.minimum
        and any(waves(long[name], option) > 1 for name in need.components if name in long for option in need.options)
    ]


def solved(problem: Problem, solve: Callable[[Problem], Allocation | None]) -> Paced | None:
    """The best allocation that is found for any numbers of replicas; None where there is none.

    Raises what `solve` raises.
    """

    def attempt(replicas: Replicas) -> Paced | None:
        one = paced(problem, replicas)
        allocation = solve(one)
        return None if allocation is None else Paced(paced(problem, counted(one, allocation)), allocation)

    engines = [need.engine for need in lists(problem)]
    best, least = attempt({}), 2
    while engines and best is None and least <= MOST_REPLICAS:
        best, least = attempt(_bounded(problem, dict.fromkeys(engines, least))), 2 * least
    if best is None:
        return None
    for times in TRIES if engines else ():
        have = counted(best.problem, best.allocation)
        more = attempt(_bounded(problem, {name: have[name] * times for name in engines}))
        if more is not None and _is_better(more, best):
            best = more
    return best


def _bounded(problem: Problem, replicas: Replicas) -> dict[str, int]:
    """No more than engines may have."""
    most = {need.engine: need.maximum for need in problem.needs}
    return {name: count if (least := most[name]) is None else min(count, least) for name, count in replicas.items()}


def _is_better(one: Paced, other: Paced) -> bool:
    if one.problem.aim == "cost":
        return _price(one) < _price(other) * (1.0 - BETTER)
    return _carries(one) > _carries(other) * (1.0 + BETTER)


def _carries(one: Paced) -> float:
    return carried(one.problem, one.allocation.counts)


def _price(one: Paced) -> float:
    return sum(one.problem.hosts[h].price_per_hour for h in {h for _, _, h in one.allocation.counts})


def counted(problem: Problem, allocation: Allocation) -> dict[str, int]:
    """How many replicas each engine has."""
    found = {need.engine: 0 for need in problem.needs}
    for (e, _, _), count in allocation.counts.items():
        found[problem.needs[e].engine] += count
    return found
