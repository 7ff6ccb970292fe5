"""The variables of the integer program, and how large each can be; `plan/model.py` has the formulation."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pulp
from pulp import LpAffineExpression, LpProblem, LpVariable, lpSum

from harmonia_compiler.contract.inventory import Host
from harmonia_compiler.plan.choices import Choice
from harmonia_compiler.plan.problem import Need, Problem, admits, fits, room, take
from harmonia_compiler.plan.queueing import capacity
from harmonia_compiler.profile.profiles import Option
from harmonia_compiler.profile.queueing import HEADROOM

#: Replicas of one engine on one host at most, where they take nothing of it and nothing else bounds them.
MOST_REPLICAS = 1024

#: The same in a diagnosis, where hosts may be given more than they have: what takes more replicas than this to carry
#: what is asked is no option.
MOST_ANYWHERE = 65_536

#: Positions of an engine, one of its options (or choices) and a host.
Key = tuple[int, int, int]


@dataclass(slots=True)
class Model:
    """A PuLP problem with its variables, by positions of engines, choices and hosts.

    `goal_rate` is the rate that `keep_up` asks for; None makes it a variable between 0 and `scale`.
    `extra` (capacity that a host may be given beyond what it has) and `late` (the seconds by which each
    promise may be missed) are for the diagnosis of a problem that has no plan.
    """

    problem: Problem
    lp: LpProblem
    scale: float
    goal_rate: float | None
    choices: list[list[Choice]]
    n: dict[Key, LpVariable] = field(default_factory=dict)
    paid: dict[int, LpVariable] = field(default_factory=dict)
    slow: dict[tuple[str, str, float], LpVariable] = field(default_factory=dict)
    extra: dict[tuple[int, str], LpVariable] = field(default_factory=dict)
    late: list[LpVariable] = field(default_factory=list)
    rate: LpVariable | None = None

    def replicas(self, engine: int | None = None, host: int | None = None) -> LpAffineExpression:
        """The number of replicas of an engine, on a host, or all."""
        return lpSum(
            variable
            for (e, _, h), variable in self.n.items()
            if (engine is None or e == engine) and (host is None or h == host)
        )

    def counts(self) -> dict[Key, int]:
        """The solution: replicas by engine, option and host."""
        found: dict[Key, int] = {}
        for (e, c, h), variable in self.n.items():
            if count := round(variable.varValue or 0.0):
                key = (e, self.choices[e][c].at, h)
                found[key] = found.get(key, 0) + count
        return found


def add_variables(model: Model, *, anywhere: bool) -> None:
    """Replicas, hosts that are paid for, the rate that is sought, and what hosts are given `anywhere`."""
    repeated = {other for _, other in alike(model.problem)}
    for h, host in enumerate(model.problem.hosts):
        # Of hosts that are alike one is enlarged: to enlarge the others would be the same.
        enlarged = anywhere and h not in repeated
        for resource in sorted(_resources(model.problem)) if enlarged else ():
            model.extra[h, resource] = model.lp.add_variable(f"extra_{h}_{resource}", 0, None, pulp.LpInteger)
        if host.price_per_hour > 0:
            model.paid[h] = model.lp.add_variable(f"paid_{h}", 0, 1, pulp.LpInteger)
        for e, need in enumerate(model.problem.needs):
            for c, choice in enumerate(model.choices[e]):
                most = most_replicas(need, choice.option, host)
                if enlarged and admits(host, need.hosts):
                    most = _of_use(need, choice, model.goal_rate)
                if most:
                    model.n[e, c, h] = model.lp.add_variable(f"n_{e}_{c}_{h}", 0, most, pulp.LpInteger)
    if model.goal_rate is None:
        model.rate = model.lp.add_variable("rate", 0, 1)


def _resources(problem: Problem) -> set[str]:
    """What some replica would take of a host."""
    return {name for need in problem.needs for option in need.options for name in take(option.configuration)}


def _of_use(need: Need, choice: Choice, goal_rate: float | None) -> int:
    """How many replicas in one choice are of any use where hardware is no limit; 0 where there are too many to count.

    An engine without a maximum is never what bounds a rate that is maximised, so that the fewest do.
    """
    wanted = math.ceil(min(goal_rate / choice.mu, MOST_ANYWHERE + 1.0)) if goal_rate else 0
    wanted = max(wanted, need.minimum, need.maximum or 0 if goal_rate is None else 0)
    wanted = wanted if need.maximum is None else min(wanted, need.maximum)
    return wanted if wanted <= MOST_ANYWHERE else 0


def most_replicas(need: Need, option: Option, host: Host) -> int:
    """How many replicas of an engine in one option could stand on a host if nothing else did."""
    if not admits(host, need.hosts):
        return 0
    takes_something = any(amount > 0 for amount in take(option.configuration).values())
    here = fits(option.configuration, host) if takes_something else MOST_REPLICAS
    return here if need.maximum is None else min(here, need.maximum)


def rate_bound(problem: Problem, keeping: Collection[int], *, anywhere: bool) -> float:
    """No plan carries more than this: for each engine, the whole inventory to itself for every option at once.

    `anywhere` it is as many replicas as an engine may have.
    """
    bounds = []
    for need in (problem.needs[e] for e in keeping):
        bound = 0.0
        for option in need.options:
            here = sum(most_replicas(need, option, host) for host in problem.hosts)
            if most := (need.maximum or 0) if anywhere else here:
                bound += min(most, need.maximum or most) * HEADROOM * capacity(problem, need, option)
        bounds.append(bound)
    bound = min(bounds, default=float("inf"))
    return bound if 0 < bound < float("inf") else 1.0


def alike(problem: Problem) -> Iterator[tuple[int, int]]:
    """Positions of each host and the next that offers and costs the same, to the same engines."""
    classes: dict[tuple[object, ...], list[int]] = {}
    for h, host in enumerate(problem.hosts):
        admitted = tuple(admits(host, need.hosts) for need in problem.needs)
        classes.setdefault((tuple(sorted(room(host).items())), host.price_per_hour, admitted), []).append(h)
    for members in classes.values():
        yield from pairwise(members)
