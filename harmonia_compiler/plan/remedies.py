"""Ways out of a problem that has no plan: hosts to add, with their price, and promises to give in place of others.

Each is read off a solution, so that whoever follows it has a plan as far as the limit goes that it is for.
"""

from collections.abc import Callable
from dataclasses import replace

import msgspec

from harmonia_compiler.plan.figures import time_up
from harmonia_compiler.plan.infeasible import Hosts, Later, Looser
from harmonia_compiler.plan.model import build
from harmonia_compiler.plan.objectives import cost
from harmonia_compiler.plan.optimise import ended, options_of
from harmonia_compiler.plan.pools import Division, divide
from harmonia_compiler.plan.predict import keeps, quantile_ms
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.plan.refine import Answer, refined
from harmonia_compiler.plan.solve import Outcome, Terms, total
from harmonia_compiler.plan.variables import Model

#: How many hosts like one that there is are thought of, and of how many kinds.
MOST_COPIES = 32
MOST_KINDS = 8


def answer(
    problem: Problem,
    make: Callable[[Division], Model],
    objective: Callable[[Model], Terms],
    *,
    maximise: bool = False,
    gap: float = 0.0,
    anywhere: bool = False,
) -> Answer:
    """The best solution of a model that stands on the hosts, some of them enlarged if `anywhere`."""

    def search(division: Division) -> tuple[Model, list[Outcome]]:
        model = make(division)
        return model, [model.program.solve(objective(model), maximise=maximise, gap=gap)]

    return refined(search, divide(problem, anywhere=anywhere))


def required(found: Answer) -> Answer:
    """The answer of a model that has one."""
    if found.infeasible:
        raise RuntimeError("a relaxed model that has a solution ended as infeasible")
    if not found.found:
        raise ended()
    return found


def hosts_to_add(problem: Problem, rate: float, *, promises: bool = True) -> Hosts | None:
    """The cheapest hosts, each like one that there is and has a price, with which so many times the load is carried.

    None where they would be very many, or hosts differ so much that nobody would buy more of each.
    """
    firsts = [kind.hosts[0] for pool in divide(problem).pools for kind in pool.kinds]
    like = [h for h in firsts if problem.hosts[h].price_per_hour > 0.0]
    if not like or len(firsts) > MOST_KINDS:
        return None
    # What is there already costs nothing more.
    there = [msgspec.structs.replace(host, price_per_hour=0.0) for host in problem.hosts]
    added = [h for h in like for _ in range(MOST_COPIES)]
    copies = [
        msgspec.structs.replace(problem.hosts[h], name=f"{problem.hosts[h].name} +{at}") for at, h in enumerate(added)
    ]
    extended = replace(problem, hosts=(*there, *copies))
    cheapest = answer(extended, lambda over: build(extended, over, rate, promises=promises, paying=True), cost)
    if not cheapest.found:
        return None
    used = sorted({h for _, _, h in cheapest.counts if h >= len(there)})
    counts: dict[str, int] = {}
    for h in used:
        name = problem.hosts[added[h - len(there)]].name
        counts[name] = counts.get(name, 0) + 1
    return Hosts(counts, sum(extended.hosts[h].price_per_hour for h in used)) if counts else None


def promises_to_give(problem: Problem) -> Looser | None:
    """The promises that would have to be looser for the load to be carried; None where that would not help."""
    if not any(pipeline.promises for pipeline in problem.pipelines):
        return None
    latest = answer(problem, lambda over: build(problem, over, 1.0, late=True), lambda model: total(model.late))
    if not latest.found:
        return None
    used = options_of(problem, latest.counts)
    later = []
    for pipeline in problem.pipelines:
        for promise in pipeline.promises:
            least = quantile_ms(problem, used, pipeline, promise.metric, promise.quantile, 1.0)
            if not keeps(promise, least):
                later.append(Later(pipeline.name, promise, time_up(least)))
    return Looser(tuple(later)) if later else None
