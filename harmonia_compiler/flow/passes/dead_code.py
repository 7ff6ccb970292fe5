"""Removes the nodes that no path to the answer reads."""

from dataclasses import replace

from harmonia_compiler.contract.program import inputs, with_inputs
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.flow.passes.definition import Context, Pass


def dead_code(flow: Flow, _context: Context) -> Flow:
    """The flow without unread nodes."""
    return without_unread(flow)


def without_unread(flow: Flow) -> Flow:
    """Keep what the result reads, directly or not, in its order."""
    read = [False] * len(flow.nodes)
    read[flow.result] = True
    for position in range(flow.result, -1, -1):
        if read[position]:
            for needed in inputs(flow.nodes[position].operation):
                read[needed] = True
    kept = [position for position, is_read in enumerate(read) if is_read]
    moved = {position: new for new, position in enumerate(kept)}
    nodes = (
        replace(flow.nodes[position], operation=with_inputs(flow.nodes[position].operation, moved.__getitem__))
        for position in kept
    )
    return replace(flow, nodes=tuple(nodes), result=moved[flow.result])


PASS = Pass(
    "dead_code",
    "removes what no path to the answer reads",
    dead_code,
    gives=frozenset({"every node is read"}),
)
