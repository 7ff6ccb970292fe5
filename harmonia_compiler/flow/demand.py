"""What a request is expected to ask of each component: how often, how much, and after what.

Visits are probabilities added up over the calls of a flow, each of which is sent at most once. For
flows whose branches are taken independently they are the visit ratios v = (I - Mᵀ)⁻¹ s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import networkx as nx

from harmonia_compiler.contract.program import Call, answering
from harmonia_compiler.flow import calls as graphs
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

    def within(self, quantile: float) -> tuple[CallDemand, ...]:
        """The calls that a latency at this quantile must count.

        The rarest are left out as long as at most the rest of the requests sends any of them; their
        followers then wait for what those waited for.
        """
        dropped = {position for position, any_of in self.rarest if any_of <= 1.0 - quantile + 1e-12}
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(call.position for call in self.calls)
        graph.add_edges_from((before, call.position) for call in self.calls for before in call.after)
        by_position = {call.position: call for call in self.calls}
        return _ordered(graphs.bridged(graph, sorted(dropped)), by_position)


def demand(application: Application, flow: Flow, *, kinds: Mapping[str, Kind] | None = None) -> Demand:
    """The expected demand of one flow of the application."""
    kinds = all_kinds() if kinds is None else kinds
    likely = guards(flow)
    sizes = extents(flow, application, kinds, likely.taken)
    answers = answering([node.operation for node in flow.nodes], flow.result)
    graph = graphs.call_graph(flow)
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
    calls = _ordered(graphs.bridged(graph, sorted({*graph} - {*found})), found)
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


def critical_path(calls: Sequence[CallDemand], latency_ms: Mapping[int, float]) -> tuple[float, tuple[int, ...]]:
    """The longest way through the calls, in ms, and the positions on it; `calls` in their order in a Demand."""
    ends: dict[int, tuple[float, tuple[int, ...]]] = {}
    for call in calls:
        before, way = max((ends[at] for at in call.after), default=(0.0, ()))
        ends[call.position] = (before + latency_ms[call.position], (*way, call.position))
    return max(ends.values(), default=(0.0, ()))


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
