"""The variables of the integer program, and how large each can be; `plan/model.py` has the formulation."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from harmonia_compiler.plan.choices import Choice
from harmonia_compiler.plan.pools import Division, Kind, Pool
from harmonia_compiler.plan.problem import Need, Problem
from harmonia_compiler.plan.promised import Figure
from harmonia_compiler.plan.solve import Program
from harmonia_compiler.profile.queueing import HEADROOM, LEVELS

#: Replicas of one engine on one host at most, where they take nothing of it and nothing else bounds them.
MOST_REPLICAS = 1024

#: The same in a diagnosis, where hosts may be given more than they have: what takes more replicas than this to carry
#: what is asked is no option.
MOST_ANYWHERE = 65_536

#: Multiples of the whole rate that a replica counts as carrying at most: enough at the lowest level.
ENOUGH = 1.0 / LEVELS[0]

#: Positions of an engine, one of its options and a host.
Key = tuple[int, int, int]


@dataclass(slots=True)
class Model:
    """A program with the numbers of its columns, by positions of engines, choices and pools.

    `goal_rate` is the rate that `keep_up` asks for; None makes it a variable between 0 and `scale`.
    `extra` (capacity that a pool may be given beyond what it has) and `late` (the seconds by which each
    promise may be missed) are for the diagnosis of a problem that has no plan. `busy` is how much of a choice's
    replicas its parts of the calls take: an expression for each division of them.
    """

    problem: Problem
    division: Division
    choices: list[list[Choice]]
    scale: float
    goal_rate: float | None
    program: Program = field(default_factory=Program)
    n: dict[Key, int] = field(default_factory=dict)
    paid: dict[tuple[int, int], int] = field(default_factory=dict)
    mixture: dict[tuple[int, int], int] = field(default_factory=dict)
    busy: dict[tuple[int, int], list[dict[int, float]]] = field(default_factory=dict)
    mean: dict[Figure, int] = field(default_factory=dict)
    deviating: dict[Figure, int] = field(default_factory=dict)
    extra: dict[tuple[int, str], int] = field(default_factory=dict)
    late: list[int] = field(default_factory=list)
    rate: int | None = None
    stands: dict[tuple[int, int], int] = field(default_factory=dict)
    chosen: dict[tuple[int, int], int] = field(default_factory=dict)

    def carries(self, engine: int, choice: int) -> float:
        """What a replica carries when never idle, as a part of `scale`: no more than the whole, at the lowest level."""
        return min(self.choices[engine][choice].capacity / self.scale, ENOUGH)

    def replicas(self, engine: int) -> dict[int, float]:
        """The number of replicas of an engine."""
        return {column: 1.0 for (e, _, _), column in self.n.items() if e == engine}

    def counts(self, values: Sequence[float]) -> dict[Key, int]:
        """A solution's replicas, by engine, option and pool."""
        found = {(e, self.choices[e][c].at, g): round(values[column]) for (e, c, g), column in self.n.items()}
        return {key: count for key, count in found.items() if count}

    def in_use(self, values: Sequence[float]) -> list[list[int]]:
        """The hosts of each pool that a solution may use: those that cost nothing, and those that it pays for."""
        return [
            [
                host
                for j, kind in enumerate(pool.kinds)
                for host in kind.hosts[: round(values[self.paid[g, j]]) if (g, j) in self.paid else None]
            ]
            for g, pool in enumerate(self.division.pools)
        ]


def add_variables(model: Model, *, paying: bool) -> None:
    """Replicas, hosts that are paid for, the rate that is sought, and what pools are given beyond what they have."""
    resources = sorted({name for choices in model.choices for choice in choices for name in choice.takes})
    for g, pool in enumerate(model.division.pools):
        for resource in resources if pool.enlarged else ():
            model.extra[g, resource] = model.program.column(whole=True)
        for j, kind in enumerate(pool.kinds if paying else ()):
            if kind.price > 0:
                model.paid[g, j] = model.program.column(high=len(kind.hosts), whole=True)
    for e, need in enumerate(model.problem.needs):
        for c, choice in enumerate(model.choices[e]):
            enough = _of_use(need, choice, model)
            for g, pool in enumerate(model.division.pools):
                if pool.enlarged and pool.kinds[0].admits(need.hosts):
                    most = _enlarged(need, choice, model.goal_rate)
                else:
                    most = min(_most(need, choice, pool), enough)
                if most:
                    model.n[e, c, g] = model.program.column(high=most, whole=True)
    if model.goal_rate is None:
        model.rate = model.program.column(high=1.0)


def _of_use(need: Need, choice: Choice, model: Model) -> int:
    """As many replicas in one choice as carry the whole rate at the lowest level; more are never needed."""
    wanted = 0.0
    if model.goal_rate != 0:
        wanted = model.scale / (choice.idlest * choice.capacity)
    return max(math.ceil(min(wanted, 2.0**53) * (1 + 1e-9)), need.minimum, 1)


def _enlarged(need: Need, choice: Choice, goal_rate: float | None) -> int:
    """The same where hardware is no limit; 0 where there are too many to count.

    An engine without a maximum is never what bounds a rate that is maximised, so that the fewest do.
    """
    fewest, most = (
        min((goal_rate or 0.0) / (level * choice.capacity), MOST_ANYWHERE + 1.0) for level in (HEADROOM, choice.idlest)
    )
    bounds = [
        max(math.ceil(wanted), need.minimum, need.maximum or 0 if goal_rate is None else 0) for wanted in (fewest, most)
    ]
    fewest, most = (wanted if need.maximum is None else min(wanted, need.maximum) for wanted in bounds)
    return min(most, MOST_ANYWHERE) if fewest <= MOST_ANYWHERE else 0


def _most(need: Need, choice: Choice, pool: Pool) -> int:
    """How many replicas of an engine in one choice could stand on a pool if nothing else did."""
    first = pool.kinds[0]
    # Kinds of one pool have the same resources.
    if not first.admits(need.hosts) or not choice.takes.keys() <= first.room.keys():
        return 0
    here = sum(len(kind.hosts) * fitting(choice.takes, kind) for kind in pool.kinds)
    return here if need.maximum is None else min(here, need.maximum)


def fitting(takes: Mapping[str, float], kind: Kind) -> int:
    """How many replicas that take so much an empty host of a kind holds."""
    room = kind.room
    return min((int((room.get(name, 0.0) + 1e-9) / amount) for name, amount in takes.items()), default=MOST_REPLICAS)


def rate_bound(
    problem: Problem, division: Division, choices: Sequence[Sequence[Choice]], keeping: Collection[int]
) -> float:
    """No plan carries more than this: for each engine, the whole inventory to itself for every option at once.

    Where hosts are enlarged it is as many replicas as an engine may have.
    """
    anywhere = any(pool.enlarged for pool in division.pools)
    bounds = []
    for e in keeping:
        need, bound = problem.needs[e], 0.0
        for choice in choices[e]:
            here = need.maximum or 0 if anywhere else sum(_most(need, choice, pool) for pool in division.pools)
            if here:
                bound += min(here, need.maximum or here) * HEADROOM * choice.capacity
        bounds.append(bound)
    bound = min(bounds, default=float("inf"))
    return bound if 0 < bound < float("inf") else 1.0
