"""Takes out of loops and lists what is the same in every round and for every item.

Nothing runs more often for it, and nothing that would not run: what is outside of a block is computed
when the first of its runs needs it, and then once. Out of an attempt nothing moves, since its failure
is caught there; but an attempt moves as a whole, with its clock and what stands in for it, and so do lists
and inner loops.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    Argument,
    Attempt,
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
from harmonia_compiler.flow.graph import Body, Flow
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.likeness import may_merge


def hoist_invariants(flow: Flow, context: Context) -> Flow:
    """Move what depends on nothing but what stays the same, and what it reads, in front of the loop or list.

    Calls move, and lists, loops and attempts with their blocks. Inner blocks come first, so that what leaves one of
    them may leave the next. Calls that are not pure, and those of a model that samples, stay, and with them what runs
    a block that makes them: they may give something else each time.
    """
    bodies = list(flow.bodies)
    steady: list[bool] = []
    for body in bodies:
        steady.append(all(_is_steady(node.operation, steady, context) for node in body.nodes))
    for index, body in enumerate(bodies):
        new = Rewriting(body)
        for node in body.nodes:
            operation = new.read(node.operation)
            if isinstance(operation, Repeat | Each):
                moving = _moving(operation, bodies[operation.block], steady, context)
                runner, bodies[operation.block] = _hoist(operation, bodies[operation.block], moving, new)
                new.keep(node, runner)
            else:
                new.keep(node, operation)
        bodies[index] = new.done()
    return with_bodies(flow, bodies)


def _is_steady(operation: Operation, steady: Sequence[bool], context: Context) -> bool:
    """Whether an operation gives the same whenever it reads the same; `steady` says so of each earlier body's."""
    if isinstance(operation, Call):
        return may_merge(operation, context)
    block = block_of(operation)
    return block is None or steady[block]


def _hoist(runner: Repeat | Each, block: Body, moving: list[int], around: Rewriting) -> tuple[Operation, Body]:
    """The operation and its block without what may move, which stands in the nodes around them now."""
    if not moving:
        return runner, block
    outside = dict(invariants(runner))
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
    new = Rewriting(block)
    for at, node in enumerate(block.nodes):
        if at in arguments:
            new.keep(replace(node, share=None), arguments[at])
        elif at in needed and isinstance(node.operation, Repeat):
            new.drop()
        else:
            new.keep(node, new.read(node.operation))
    handed = (*runner.inputs, *(places[at] for at in moving))
    return replace(runner, inputs=handed), new.done()


def _moving(runner: Repeat | Each, block: Body, steady: Sequence[bool], context: Context) -> list[int]:
    """What may move out of a block: each becomes an argument, and what nothing reads then is dead code.

    Of a loop that is its outputs, which are all that is read of it. What else is free is data, which is made a second
    time outside where it is read there.
    """
    outside = dict(invariants(runner))
    free: list[bool] = []
    for node in block.nodes:
        if isinstance(node.operation, Argument):
            free.append(node.operation.index in outside)
        else:
            alike = _is_steady(node.operation, steady, context)
            free.append(alike and all(free[at] for at in inputs(node.operation)))
    moves = Call | Each | Attempt | Output
    return [at for at, node in enumerate(block.nodes) if free[at] and isinstance(node.operation, moves)]


def _with_inputs_of(block: Body, positions: list[int]) -> set[int]:
    found: set[int] = set()
    pending = list(positions)
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
