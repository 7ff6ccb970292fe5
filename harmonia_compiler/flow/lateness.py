"""How often what is bounded by `within` is late, and how long its calls last then, where calls take usual times.

A block takes as long as its longest chain of calls: in the mean the sum of theirs, and normal about it, with deviations
whose squares add up. One that takes longer in the mean than it may is mostly given up: its calls end when its time has
passed, whatever runs them. One that mostly keeps its time takes what it takes.
"""

import math
from collections.abc import Mapping
from statistics import NormalDist

import msgspec
import networkx as nx
from msgspec.structs import replace

from harmonia_compiler.contract.program import Call
from harmonia_compiler.flow.expand import Expanded, Limited


class Takes(msgspec.Struct, frozen=True):
    """About how long a call of each component takes, in ms, and by what part of that it usually deviates."""

    ms: Mapping[str, float]
    deviation: float


class Lateness(msgspec.Struct, frozen=True):
    """What comes of the times in a flow.

    `given_up[i]` is how long, in ms, one round of the call at node i lasts, as what it belongs to is given up;
    `shares` are how often the calls of a component belong to what is late, for the latest place of each.
    """

    given_up: Mapping[int, float]
    shares: Mapping[str, float]


def with_lateness(expanded: Expanded, graph: "nx.DiGraph[int]", takes: Takes) -> tuple[Expanded, Lateness]:
    """The flow in which late attempts fall back as well as those that fail. `graph` says which calls wait for which."""
    nodes = list(expanded.flow.nodes)
    given_up: dict[int, float] = {}
    shares: dict[str, float] = {}
    for limited in expanded.limited:
        mean, squares = _longest(expanded, graph, takes, limited, given_up)
        late = _beyond(limited.within_ms, mean, takes.deviation * math.sqrt(squares))
        calls = [at for at in range(limited.first, limited.end) if isinstance(nodes[at].operation, Call)]
        for at in calls:
            component = _component(expanded, at)
            shares[component] = max(shares.get(component, 0.0), late)
            if mean > limited.within_ms:
                given_up[at] = _took(expanded, takes, at, given_up) * limited.within_ms / mean
        if limited.choice is not None:
            choice = nodes[limited.choice]
            assert choice.share is not None
            nodes[limited.choice] = replace(choice, share=choice.share * (1.0 - late))
    return replace(expanded, flow=replace(expanded.flow, nodes=tuple(nodes))), Lateness(given_up, shares)


def _longest(
    expanded: Expanded, graph: "nx.DiGraph[int]", takes: Takes, limited: Limited, given_up: Mapping[int, float]
) -> tuple[float, float]:
    """The mean and the squares of the longest chain of calls of a block, once it has begun."""
    inside = [at for at in range(limited.first, limited.end) if at in graph]
    ended: dict[int, tuple[float, float]] = {}
    for at in nx.topological_sort(graph.subgraph(inside)):
        ms = _took(expanded, takes, at, given_up) * expanded.rounds[at] / limited.rounds
        mean, squares = max((ended[before] for before in graph.predecessors(at) if before in ended), default=(0.0, 0.0))
        ended[at] = mean + ms, squares + ms * ms
    return max(ended.values(), default=(0.0, 0.0))


def _took(expanded: Expanded, takes: Takes, at: int, given_up: Mapping[int, float]) -> float:
    """How long one round of a call takes, in ms; a component of which nothing is known takes none."""
    return given_up[at] if at in given_up else takes.ms.get(_component(expanded, at), 0.0)


def _component(expanded: Expanded, at: int) -> str:
    call = expanded.flow.nodes[at].operation
    assert isinstance(call, Call)
    return call.component


def _beyond(bound: float, mean: float, deviation: float) -> float:
    return 1.0 - NormalDist(mean, deviation).cdf(bound) if deviation > 0.0 else float(mean > bound)
