"""Computes equal things once: equal operations merge, and so do equal calls that may be merged."""

from msgspec.structs import replace

from harmonia_compiler.contract.program import Argument, Call, block_of, with_inputs
from harmonia_compiler.contract.types import show
from harmonia_compiler.flow.answers import answers_of
from harmonia_compiler.flow.bodies import invariants, with_bodies
from harmonia_compiler.flow.graph import Body, Flow, Node
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.likeness import may_merge
from harmonia_compiler.flow.text import show_operation


def common_subexpressions(flow: Flow, context: Context) -> Flow:
    """Let the first of several equal nodes of a body stand for all, and the first of several equal arguments.

    Calls are equal when component, inputs and settings are; calls that are not pure, and calls of a
    language model that may sample, each stay their own. Branches of which different shares are said do, too: each is
    of the requests that reach it.
    """
    bodies = list(flow.bodies)
    answers, in_pieces = answers_of(flow), answers_of(flow, in_pieces=True)
    same: dict[int, dict[int, int]] = {}
    # From the outside in, since a block's arguments are equal where what is handed in is.
    for index in range(len(bodies) - 1, -1, -1):
        bodies[index] = _merged(bodies[index], (answers[index], in_pieces[index]), same.get(index, {}), context)
        for node in bodies[index].nodes:
            block = block_of(node.operation)
            if block is not None:
                same[block] = _equal_arguments(node)
    return with_bodies(flow, bodies)


def _merged(body: Body, answers: tuple[frozenset[int], frozenset[int]], same: dict[int, int], context: Context) -> Body:
    """One body with equal nodes merged; `same` are arguments that equal earlier ones.

    `answers` are the calls that may answer, and those of them whose text may leave in pieces.
    """
    first: dict[tuple[str, str, bool, bool], int] = {}
    of_share: dict[tuple[str, str, bool, bool, float | None], int] = {}
    nodes: list[Node] = []
    moved: list[int] = []
    for position, node in enumerate(body.nodes):
        operation = with_inputs(node.operation, moved.__getitem__)
        if isinstance(operation, Argument):
            operation = Argument(same.get(operation.index, operation.index))
        if (isinstance(operation, Call) and not may_merge(operation, context)) or block_of(operation) is not None:
            moved.append(len(nodes))
            nodes.append(replace(node, operation=operation))
            continue
        # A request's own wishes reach the calls that may answer alone, so that these equal no others; and of those that
        # may, each leaves in pieces or does not.
        may_answer, in_pieces = (position in some for some in answers)
        key = (show_operation(operation), show(node.type), may_answer, in_pieces)
        at = first.setdefault(key, len(nodes))
        if at < len(nodes) and nodes[at].guessed and not node.guessed:
            said = {"share": node.share, "guessed": False, "written": node.written, "arm": node.arm}
            nodes[at] = replace(nodes[at], **said)
        elif at < len(nodes) and not node.guessed and node.share != nodes[at].share:
            at = of_share.setdefault((*key, node.share), len(nodes))
        if at == len(nodes):
            nodes.append(replace(node, operation=operation))
        moved.append(at)
    return Body(tuple(nodes), tuple(moved[result] for result in body.results))


def _equal_arguments(node: Node) -> dict[int, int]:
    """Of what is handed to a block and is the same in all of its runs, what is handed in more than once."""
    found: dict[int, int] = {}
    first: dict[int, int] = {}
    for index, at in invariants(node.operation):
        if at in first:
            found[index] = first[at]
        first.setdefault(at, index)
    return found


PASS = Pass(
    "common_subexpressions",
    "computes equal things once",
    common_subexpressions,
    needs=frozenset({"explicit vectors"}),
    gives=frozenset({"equal nodes are one"}),
)
