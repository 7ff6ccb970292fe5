"""What a request is expected to ask of each component: how often, how much, and after what.

Visits are probabilities added up over the calls of a flow, each of which is sent at most once. For
flows whose branches are taken independently they are the visit ratios v = (I - Mᵀ)⁻¹ s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import networkx as nx

from harmonia_compiler.contract.program import Call, answering
from harmonia_compiler.flow.calls import bridged, call_graph
from harmonia_compiler.flow.extents import extents, work
from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.guards import guards
from harmonia_compiler.kinds.kind import Extent, Kind, Work
from harmonia_compiler.kinds.registry import kinds as all_kinds

_QUANTITIES = tuple(quantity.name for quantity in fields(Work))


@dataclass(frozen=True, slots=True)
class CallDemand:
    """One call of a flow: how likely a request sends it, what it asks, and which calls end before it starts.

    `answers` says that its value may be the request's answer, or part of a record that is, so that
    a streamed answer begins when this call does.
    """

    position: int
    component: str
    probability: float
    work: Work
    after: tuple[int, ...]
    answers: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """What one request of a pipeline asks.

    `visits` are expected calls, `work` the mean of one call, by component; `probabilities` and
    `extents` go by node. `calls` are in an order in which each stands after those it waits for.
    `guessed` names the components whose work rests on a size that nobody said. `rarest` lists calls
    from the rarest on, each with the probability that it or a rarer one is sent. Where not `exact`,
    the flow branches beyond the bound of `guards.py`, and probabilities are estimates.
    """

    pipeline: str
    visits: dict[str, float]
    work: dict[str, Work]
    probabilities: tuple[float, ...]
    extents: tuple[Extent, ...]
    calls: tuple[CallDemand, ...]
    guessed: frozenset[str]
    rarest: tuple[tuple[int, float], ...]
    exact: bool


def demand(application: Application, flow: Flow, *, kinds: Mapping[str, Kind] | None = None) -> Demand:
    """The expected demand of one flow of the application."""
    kinds = all_kinds() if kinds is None else kinds
    likely = guards(flow)
    sizes = extents(flow, application, kinds, likely.taken)
    answers = answering([node.operation for node in flow.nodes], flow.result)
    graph = call_graph(flow)
    found: dict[int, CallDemand] = {}
    guessed: set[str] = set()
    for position, _ in likely.calls:
        call = flow.nodes[position].operation
        assert isinstance(call, Call)
        asked = work(call, application, kinds, sizes, position)
        found[position] = CallDemand(
            position, call.component, likely.demanded[position], asked, (), position in answers
        )
        if sizes[position].guessed or any(sizes[at].guessed for at in call.inputs):
            guessed.add(call.component)
    calls = _ordered(bridged(graph, sorted({*graph} - {*found})), found)
    by_component = {
        name: [call for call in calls if call.component == name] for name in sorted({call.component for call in calls})
    }
    return Demand(
        pipeline=flow.name,
        visits={name: sum(call.probability for call in own) for name, own in by_component.items()},
        work={name: _mean(own) for name, own in by_component.items()},
        probabilities=likely.demanded,
        extents=sizes,
        calls=calls,
        guessed=frozenset(guessed),
        rarest=likely.calls,
        exact=likely.exact,
    )


def _ordered(graph: "nx.DiGraph[int]", found: Mapping[int, CallDemand]) -> tuple[CallDemand, ...]:
    """The calls of the graph, each after those it waits for, earlier nodes first where that leaves a choice."""
    return tuple(
        replace(found[position], after=tuple(sorted(graph.predecessors(position))))
        for position in nx.lexicographical_topological_sort(graph)
    )


def _mean(calls: list[CallDemand]) -> Work:
    visits = sum(call.probability for call in calls)
    return Work(
        **{name: sum(call.probability * getattr(call.work, name) for call in calls) / visits for name in _QUANTITIES}
    )
