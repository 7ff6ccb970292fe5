"""Takes out of loops and lists what is the same in every round and for every item.

Nothing runs more often for it, and nothing that would not run: what is outside of a block is computed
when the first of its runs needs it, and then once. Out of an attempt nothing moves, since its failure
is caught there.
"""

from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    Argument,
    Call,
    Each,
    Operation,
    Output,
    Repeat,
    block_of,
    inputs,
    with_inputs,
)
from harmonia_compiler.flow.bodies import Rewriting, invariants, with_bodies
from harmonia_compiler.flow.graph import Body, Flow, Node
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.likeness import may_merge


def hoist_invariants(flow: Flow, context: Context) -> Flow:
    """Move calls that depend on nothing but what stays the same, and what they read, in front of the loop or list.

    Inner blocks come first, so that what leaves one of them may leave the next. Calls that are not pure, and those of
    a model that samples, stay: they may give something else each time.
    """
    bodies = list(flow.bodies)
    for index, body in enumerate(bodies):
        new = Rewriting(body)
        for node in body.nodes:
            operation = new.read(node.operation)
            if isinstance(operation, Repeat | Each):
                runner, bodies[operation.block] = _hoist(operation, bodies[operation.block], new, context)
                new.keep(node, runner)
            else:
                new.keep(node, operation)
        bodies[index] = new.done()
    return with_bodies(flow, bodies)


def _hoist(runner: Repeat | Each, block: Body, around: Rewriting, context: Context) -> tuple[Operation, Body]:
    """The operation and its block without what could move, which stands in the nodes around them now."""
    outside = dict(invariants(runner))
    moving = _moving(block, outside, context)
    if not moving:
        return runner, block
    needed = _with_inputs_of(block, moving)
    places: dict[int, int] = {}
    for at in sorted(needed):
        node = block.nodes[at]
        if isinstance(node.operation, Argument):
            places[at] = outside[node.operation.index]
        else:
            places[at] = around.append(replace(node, operation=with_inputs(node.operation, places.__getitem__)))
    first = (len(runner.lists) if isinstance(runner, Each) else 0) + len(runner.inputs)
    arguments = {at: Argument(first + number) for number, at in enumerate(moving)}
    nodes = tuple(
        replace(node, operation=arguments[at], share=None) if at in arguments else node
        for at, node in enumerate(block.nodes)
    )
    handed = (*runner.inputs, *(places[at] for at in moving))
    return replace(runner, inputs=handed), Body(nodes, block.results)


def _moving(block: Body, outside: dict[int, int], context: Context) -> list[int]:
    """The calls that may move: each becomes an argument, and what nothing reads then is dead code."""
    free: list[bool] = []
    for node in block.nodes:
        free.append(_is_free(node, outside, context) and all(free[at] for at in inputs(node.operation)))
    return [at for at, node in enumerate(block.nodes) if free[at] and isinstance(node.operation, Call)]


def _is_free(node: Node, outside: dict[int, int], context: Context) -> bool:
    """Whether a node by itself may stand outside."""
    match node.operation:
        case Argument(index):
            return index in outside
        case Call() as call:
            return may_merge(call, context)
        case Output():
            return False
        case operation:
            return block_of(operation) is None


def _with_inputs_of(block: Body, calls: list[int]) -> set[int]:
    found: set[int] = set()
    pending = list(calls)
    while pending:
        at = pending.pop()
        if at not in found:
            found.add(at)
            pending += inputs(block.nodes[at].operation)
    return found


PASS = Pass(
    "hoist_invariants",
    "takes out of loops and lists what is the same each time",
    hoist_invariants,
    needs=frozenset({"explicit vectors"}),
    gives=frozenset({"what is the same each time is outside"}),
)
