"""What the clock of an attempt waits for: the outer values that its block needs on every path.

`within` counts from when the inputs are there. A value is awaited only where the block cannot give
its result without it, so that waiting makes nothing run that would not: conditions count, the arms of
a branch do not, and neither does what an `Each` hands to its items, of which there may be none.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from harmonia_compiler.contract.program import Argument, Attempt, Each, Operation, Output, Repeat, Select, inputs
from harmonia_compiler.flow.graph import Body, Flow, Node

#: For each result of a body, the arguments that it needs on every path.
Needs = tuple[frozenset[int], ...]


def with_awaits(flow: Flow) -> Flow:
    """The flow with `awaits` filled in wherever there is a clock."""
    needs: list[Needs] = []
    bodies: list[Body] = []
    for body in flow.bodies:
        nodes = tuple(_with_awaits(node, needs) for node in body.nodes)
        bodies.append(replace(body, nodes=nodes))
        needs.append(_needs(body, needs))
    return replace(flow, blocks=tuple(bodies[:-1]), nodes=bodies[-1].nodes)


def _with_awaits(node: Node, needs: Sequence[Needs]) -> Node:
    operation = node.operation
    if not isinstance(operation, Attempt) or operation.within_ms is None:
        return node
    awaited = dict.fromkeys(operation.inputs[index] for index in sorted(needs[operation.block][0]))
    return replace(node, operation=replace(operation, awaits=tuple(awaited)))


def _needs(body: Body, needs: Sequence[Needs]) -> Needs:
    found: list[frozenset[int]] = []
    for node in body.nodes:
        if isinstance(node.operation, Argument):
            found.append(frozenset({node.operation.index}))
        else:
            found.append(frozenset[int]().union(*(found[at] for at in _strict(node.operation, body, needs))))
    return tuple(found[at] for at in body.results)


def _strict(operation: Operation, body: Body, needs: Sequence[Needs]) -> tuple[int, ...]:
    """The positions without whose values an operation never has one."""
    match operation:
        case Select(condition):
            return (condition,)
        case Each(_, lists):
            return lists[:1]
        case Attempt(block, read):
            return tuple(read[index] for index in needs[block][0])
        case Repeat(block, read):
            return tuple(read[index] for index in needs[block][0])
        case Output(repeat, index):
            # In the last round the carried values are those of the round before, and need what that says.
            run = body.nodes[repeat].operation
            assert isinstance(run, Repeat)
            same = (at for at in needs[run.block][1 + index] if at >= run.carried)
            return (repeat, *(run.inputs[at] for at in same))
        case _:
            return inputs(operation)
