"""How often what is bounded by `within` is late, and how long its calls last then, where calls take usual times.

Of each path that requests take, a block takes as long as its longest chain of calls: in the mean the sum of theirs, and
normal about it, with deviations whose squares add up. What is streamed counts until its first piece: from then on no
lateness is caught. A block that is late more often than not is mostly given up: its calls end when its time has passed,
whatever runs them. One that mostly keeps its time takes what it takes.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from statistics import NormalDist

import msgspec
import networkx as nx
from msgspec.structs import replace

from harmonia_compiler.contract.program import Call
from harmonia_compiler.flow.expand import Expanded, Limited, scopes_around
from harmonia_compiler.flow.guards import Path

#: A block that is late in more than this share of the requests that reach it is mostly given up.
MOSTLY = 0.5


class Takes(msgspec.Struct, frozen=True):
    """About how long a call of each component takes, in ms, and by what part of that it usually deviates.

    `first_ms` is until its first piece. `at_once` is how many calls of a component may be worked on at once at most;
    any number where nothing is said.
    """

    ms: Mapping[str, float]
    deviation: float
    first_ms: Mapping[str, float] = msgspec.field(default_factory=dict)
    at_once: Mapping[str, float] = msgspec.field(default_factory=dict)


class Lateness(msgspec.Struct, frozen=True):
    """What comes of the times in a flow.

    `given_up[i]` is how long, in ms, one round of the call at node i lasts, as what it belongs to is given up;
    `shares` are how often what takes too long because of a component is late, for the latest place of each.
    """

    given_up: Mapping[int, float]
    shares: Mapping[str, float]


class Course(msgspec.Struct, frozen=True):
    """What is known of a flow before anything is late.

    `graph` says which calls wait for which, `paths` which ones requests send together, `items` how many there are in
    each scope, and `streamed` which calls hand their text on as it comes.
    """

    graph: "nx.DiGraph[int]"
    paths: Sequence[Path]
    items: Sequence[float]
    streamed: Collection[int]


def with_lateness(
    expanded: Expanded, course_of: Callable[[Expanded], Course], takes: Takes
) -> tuple[Expanded, Lateness]:
    """The flow in which late attempts fall back as well as those that fail.

    `course_of` is asked again where what is inside of a block is late: the block takes other paths then.
    """
    course = course_of(expanded)
    given_up: dict[int, float] = {}
    shares: dict[str, float] = {}
    changed: list[Limited] = []
    for limited in expanded.limited:
        if any(limited.first <= inner.first and inner.end <= limited.end for inner in changed):
            course, changed = course_of(expanded), []
        rounds = {
            at: expanded.rounds[at] / limited.rounds
            for at in range(limited.first, limited.end)
            if isinstance(expanded.flow.nodes[at].operation, Call)
        }
        # All rounds of each call.
        took = {
            at: times * (given_up[at] if at in given_up else _round_ms(expanded, course, takes, limited, at))
            for at, times in rounds.items()
        }
        # Paths that never reach it say nothing of how long it takes.
        reaching = [(likely, sent & took.keys()) for likely, sent in course.paths if sent & took.keys()]
        reached = math.fsum(likely for likely, _ in reaching)
        if not reached:
            continue
        chains = [(likely, *_longest(course.graph, took, sent)) for likely, sent in reaching]
        beyond = (
            likely * _beyond(limited.within_ms, mean, takes.deviation * math.sqrt(squares))
            for likely, mean, squares in chains
        )
        late = math.fsum(beyond) / reached
        slowest = _component(expanded, max(took, key=lambda at: (took[at], -at)))
        shares[slowest] = max(shares.get(slowest, 0.0), late)
        longest = max(mean for _, mean, _ in chains)
        if late > MOSTLY and longest > limited.within_ms:
            given_up |= {at: took[at] / rounds[at] * limited.within_ms / longest for at in took}
        if limited.choice is not None and late > 0.0:
            expanded = _falling_back(expanded, limited.choice, late)
            changed.append(limited)
    return expanded, Lateness(given_up, shares)


def _falling_back(expanded: Expanded, choice: int, late: float) -> Expanded:
    nodes = list(expanded.flow.nodes)
    share = nodes[choice].share
    assert share is not None
    nodes[choice] = replace(nodes[choice], share=share * (1.0 - late))
    return replace(expanded, flow=replace(expanded.flow, nodes=tuple(nodes)))


def _longest(graph: "nx.DiGraph[int]", took: Mapping[int, float], sent: Collection[int]) -> tuple[float, float]:
    """The mean and the squares of the longest chain of some calls, once the first of them may begin."""
    ended: dict[int, tuple[float, float]] = {}
    for at in nx.topological_sort(graph.subgraph(took)):
        mean, squares = max((ended[before] for before in graph.predecessors(at) if before in ended), default=(0.0, 0.0))
        # One that is not sent takes no time, and what follows it still follows what it would have waited for.
        ms = took[at] if at in sent else 0.0
        ended[at] = mean + ms, squares + ms * ms
    return max(ended.values(), default=(0.0, 0.0))


def _round_ms(expanded: Expanded, course: Course, takes: Takes, limited: Limited, at: int) -> float:
    """How long one round of a call takes in a block, in ms: its items one after the other where they must.

    A component of which nothing is known takes no time.
    """
    component = _component(expanded, at)
    ms = (takes.first_ms if at in course.streamed else takes.ms).get(component, 0.0)
    outside = scopes_around(expanded, limited.scope)
    inside = [scope for scope in scopes_around(expanded, expanded.scopes[at]) if scope not in outside]
    turns = math.ceil(
        math.prod(course.items[scope] for scope in inside) / takes.at_once.get(component, math.inf) - 1e-9
    )
    return ms * max(1, turns)


def _component(expanded: Expanded, at: int) -> str:
    call = expanded.flow.nodes[at].operation
    assert isinstance(call, Call)
    return call.component


def _beyond(bound: float, mean: float, deviation: float) -> float:
    return 1.0 - NormalDist(mean, deviation).cdf(bound) if deviation > 0.0 else float(mean > bound)
