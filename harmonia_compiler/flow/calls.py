"""The calls of a flow and which of them wait for which: what a latency is added up over.

A call waits for the calls whose values it reads, and for those that decide whether it is wanted at
all: what is demanded in one arm of a branch alone is sent only when the condition is known, unless
it is begun early.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import or_

import networkx as nx

from harmonia_compiler.contract.program import Call, Select, inputs
from harmonia_compiler.flow.bits import Unions
from harmonia_compiler.flow.expand import Gather
from harmonia_compiler.flow.graph import Flow


def call_graph(flow: Flow) -> "nx.DiGraph[int]":
    """Positions of calls; an edge where the second waits for the first, without those that follow from others.

    The flow has no blocks. Calls that nothing demands are left out. Calls of arms that exclude each
    other may lie on one path if the flow tests one condition twice; no request takes that path.
    """
    known = _known_conditions(flow)
    #: For each node the calls that it waits for, itself if it is one, as bits: there may be much of everything here.
    nearest: list[int] = []
    for position, node in enumerate(flow.nodes):
        nearest.append(1 << position if isinstance(node.operation, Call) else _all(nearest, inputs(node.operation)))
    behind = Unions(nearest)
    before = {
        position: _all(nearest, inputs(node.operation)) | behind.of(conditions)
        for position, (node, conditions) in enumerate(zip(flow.nodes, known, strict=True))
        if isinstance(node.operation, Call) and conditions is not None
    }
    return _reduced(before)


def early_calls(flow: Flow) -> tuple[str, ...]:
    """The components whose calls some branch begins early, in the order of their names."""
    found: set[str] = set()
    for body in flow.bodies:
        selects = (node.operation for node in body.nodes if isinstance(node.operation, Select))
        begun = (body.nodes[at].operation for select in selects for at in select.early)
        found |= {call.component for call in begun if isinstance(call, Call)}
    return tuple(sorted(found))


def _all(sets: Sequence[int], of: Iterable[int]) -> int:
    return reduce(or_, (sets[each] for each in of), 0)


def bridged(graph: "nx.DiGraph[int]", dropped: Collection[int]) -> "nx.DiGraph[int]":
    """The graph without these calls, whose followers then wait for what they waited for."""
    if not dropped:
        return graph
    rest = graph.copy()
    for position in dropped:
        before, after = [*rest.predecessors(position)], [*rest.successors(position)]
        rest.remove_node(position)
        rest.add_edges_from((one, other) for one in before for other in after)
    return _reduced({position: sum(1 << each for each in rest.predecessors(position)) for position in rest})


def _reduced(before: Mapping[int, int]) -> "nx.DiGraph[int]":
    """The graph of who waits for whom, of each as bits, without the edges that follow from others."""
    order = _order(before)
    numbers = [0] * (max(order, default=0) + 1)
    for number, position in enumerate(order):
        numbers[position] = 1 << number
    numbered = Unions(numbers)
    reduced: nx.DiGraph[int] = nx.DiGraph()
    reduced.add_nodes_from(before)
    #: For each call, by its number in the order, all that it waits for, through others too.
    waits: list[int] = []
    for position in order:
        direct, all_before = numbered.of(before[position]), 0
        while rest := direct & ~all_before:
            latest = rest.bit_length() - 1
            reduced.add_edge(order[latest], position)
            all_before |= waits[latest] | 1 << latest
        waits.append(all_before)
    return reduced


def _order(before: Mapping[int, int]) -> list[int]:
    """The calls, each after all that it waits for."""
    order: list[int] = []
    done = 0
    pending = sorted(before, reverse=True)
    while pending:
        position = pending[-1]
        if done >> position & 1:
            pending.pop()
        elif missing := before[position] & ~done:
            pending.append(missing.bit_length() - 1)
        else:
            order.append(pending.pop())
            done |= 1 << position
    return order


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
