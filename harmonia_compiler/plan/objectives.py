"""What the integer program is solved for, one after the other; `plan/model.py` has the formulation."""

from collections.abc import Sequence

from harmonia_compiler.plan.choices import Choice
from harmonia_compiler.plan.problem import worth
from harmonia_compiler.plan.variables import Model

#: What the position of all replicas weighs against one replica more: too little to buy one.
POSITION = 1e-4


def cost(model: Model) -> dict[int, float]:
    """Price per hour of the hosts in use, as a part of the highest of a host: the unit of money says nothing."""
    prices = {at: model.division.pools[at[0]].kinds[at[1]].price for at in model.paid}
    highest = max(prices.values(), default=1.0)
    return {model.paid[at]: float(f"{price / highest:.12g}") for at, price in prices.items()}


def hardware(model: Model) -> dict[int, float]:
    """How much hardware is tied up, in TB/s of memory bandwidth."""
    worths = [[worth(one.option.configuration) / 1000.0 for one in choices] for choices in model.choices]
    return {column: worths[e][c] for (e, c, _), column in model.n.items() if worths[e][c]}


def started(model: Model) -> dict[int, float]:
    """How many replicas have to be started, where some run already: all but those that stay. Adds what they are."""
    terms: dict[int, float] = {}
    for (e, c, g), column in model.n.items():
        kinds = model.division.pools[g].kinds
        running = sum(len(kind.hosts) * kind.running.get((e, model.choices[e][c].at), 0) for kind in kinds)
        terms[column] = 1.0
        if running:
            kept = model.program.column(high=float(running))
            model.program.row({kept: 1.0, column: -1.0}, high=0.0)
            terms[kept] = -1.0
    return terms


def fewest(model: Model) -> dict[int, float]:
    """How many replicas; of as many, those that take the least memory, on earlier hosts, so that equals do not tie."""
    width = 1 + max((len(choices) for choices in model.choices), default=0)
    last = width * (1 + len(model.division.pools))
    ranks = [_by_memory(choices) for choices in model.choices]
    return {column: 1.0 + POSITION * (g * width + ranks[e][c]) / last for (e, c, g), column in model.n.items()}


def _by_memory(choices: Sequence[Choice]) -> dict[int, int]:
    """The rank of each choice by the memory that it takes, by position."""
    taken = [(one.option.configuration.memory_gib, one.option.configuration.gpu_memory_gib) for one in choices]
    return {c: rank for rank, c in enumerate(sorted(range(len(choices)), key=lambda c: (taken[c], c)))}
