"""The calls of a flow and which of them wait for which: what a latency is added up over.

A call waits for the calls whose values it reads, and for those that decide whether it is wanted at
all: what is demanded in one arm of a branch alone is sent only when the condition is known, unless
it is begun early.
"""

from collections.abc import Iterable

import networkx as nx

from harmonia_compiler.contract.program import Call, Select, inputs
from harmonia_compiler.flow.bits import bits
from harmonia_compiler.flow.expand import Gather
from harmonia_compiler.flow.graph import Flow


def call_graph(flow: Flow) -> "nx.DiGraph[int]":
    """Positions of calls; an edge where the second waits for the first, without those that follow from others.

    The flow has no blocks. Calls that nothing demands are left out. Calls of arms that exclude each
    other may lie on one path if the flow tests one condition twice; no request takes that path.
    """
    known = _known_conditions(flow)
    nearest: list[set[int]] = []
    for position, node in enumerate(flow.nodes):
        is_call = isinstance(node.operation, Call)
        nearest.append({position} if is_call else set[int]().union(*(nearest[at] for at in inputs(node.operation))))
    graph: nx.DiGraph[int] = nx.DiGraph()
    for position, node in enumerate(flow.nodes):
        conditions = known[position]
        if isinstance(node.operation, Call) and conditions is not None:
            graph.add_node(position)
            for needed in {*inputs(node.operation), *bits(conditions)}:
                graph.add_edges_from((before, position) for before in nearest[needed])
    return _reduced(graph)


def bridged(graph: "nx.DiGraph[int]", dropped: Iterable[int]) -> "nx.DiGraph[int]":
    """The graph without these calls, whose followers then wait for what they waited for."""
    rest = graph.copy()
    for position in dropped:
        before, after = [*rest.predecessors(position)], [*rest.successors(position)]
        rest.remove_node(position)
        rest.add_edges_from((one, other) for one in before for other in after)
    return _reduced(rest)


def _reduced(graph: "nx.DiGraph[int]") -> "nx.DiGraph[int]":
    """Without the edges that follow from others. What is before a call is held as bits, since that may be much."""
    reduced: nx.DiGraph[int] = nx.DiGraph()
    reduced.add_nodes_from(graph)
    order = {position: number for number, position in enumerate(nx.topological_sort(graph))}
    before: dict[int, int] = {}
    for position in order:
        before[position] = 0
        for other in sorted(graph.predecessors(position), key=order.__getitem__, reverse=True):
            if not before[position] >> other & 1:
                reduced.add_edge(other, position)
                before[position] |= before[other] | 1 << other
    return reduced


def _known_conditions(flow: Flow) -> list[int | None]:
    """For each node the conditions known by whenever it is demanded, as bits; None where it never is."""
    known: list[int | None] = [None] * len(flow.nodes)
    known[flow.result] = 0

    def demand(position: int, conditions: int) -> None:
        already = known[position]
        known[position] = conditions if already is None else already & conditions

    for position in range(flow.result, -1, -1):
        conditions, operation = known[position], flow.nodes[position].operation
        if conditions is None:
            continue
        if isinstance(operation, Select):
            for needed in (operation.condition, *operation.early):
                demand(needed, conditions)
            demand(operation.then, conditions | 1 << operation.condition)
            demand(operation.otherwise, conditions | 1 << operation.condition)
        elif isinstance(operation, Gather):
            # Until its list is there, nobody knows how many items there are, if any.
            first, one, *others = operation.inputs
            for needed in (first, *others):
                demand(needed, conditions)
            demand(one, conditions | 1 << first)
        else:
            for needed in inputs(operation):
                demand(needed, conditions)
    return known
