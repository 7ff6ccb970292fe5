"""Asks an engine once for all items of a list, where every item asks it and it can answer for many at once.

The first calls of an `Each`'s block, those that read items and what is the same for all, become one
call outside of it, whose results are items of a further list. That is awaited by what reads an item of it
alone, so that all else that the items ask for begins when it would have begun. So one after the other a
whole chain may leave the block, and a list whose items nothing is left to do with is that list itself.
"""

from msgspec.structs import replace

from harmonia_compiler.contract.program import Argument, Call, Constant, Each, Operation
from harmonia_compiler.contract.types import ListOf
from harmonia_compiler.flow.bodies import Rewriting, needed_always, with_bodies
from harmonia_compiler.flow.graph import Body, Flow, Node
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.likeness import is_pure


def batch_each(flow: Flow, context: Context) -> Flow:
    """Make one call of the calls that every item makes on every path, of kinds that can answer for many at once."""
    bodies = list(flow.bodies)
    for index, body in enumerate(bodies):
        new = Rewriting(body)
        for node in body.nodes:
            operation = new.read(node.operation)
            if not isinstance(operation, Each):
                new.keep(node, operation)
                continue
            while (batched := _batched(operation, bodies[operation.block], new, context)) is not None:
                operation, bodies[operation.block] = batched
            whole = _itself(operation, bodies[operation.block], new)
            if whole is None:
                new.keep(node, operation)
            else:
                new.moved.append(whole)
        bodies[index] = new.done()
    return with_bodies(flow, bodies)


def _batched(each: Each, block: Body, around: Rewriting, context: Context) -> tuple[Each, Body] | None:
    """With one more call made before it; None where no call is left that could be."""
    always = needed_always(block, block.results[:1])
    for at, node in enumerate(block.nodes):
        if isinstance(node.operation, Call) and at in always and _can_be_one(node.operation, each, block, context):
            return _without_call(each, block, at, around)
    return None


def _can_be_one(call: Call, each: Each, block: Body, context: Context) -> bool:
    kind = context.kinds[context.application.components[call.component].kind]
    # What a call comes `after` is a place in the block, and the call would stand outside of it.
    if kind.encode_many is None or call.over or call.after is not None or not is_pure(call, context):
        return False
    read = [block.nodes[at].operation for at in call.inputs]
    is_of_item = [isinstance(one, Argument) and one.index < len(each.lists) for one in read]
    return any(is_of_item) and all(isinstance(one, Argument | Constant) for one in read)


def _without_call(each: Each, block: Body, at: int, around: Rewriting) -> tuple[Each, Body]:
    node = block.nodes[at]
    call = node.operation
    assert isinstance(call, Call)
    given = (*each.lists, *each.inputs)
    inputs: list[int] = []
    over: list[str] = []
    for port, read in zip(call.ports, call.inputs, strict=True):
        operation = block.nodes[read].operation
        if isinstance(operation, Argument):
            inputs.append(given[operation.index])
            over += [port] if operation.index < len(each.lists) else []
        else:
            inputs.append(around.append(block.nodes[read]))
    batch = replace(call, inputs=tuple(inputs), over=tuple(over))
    results = around.append(Node(batch, ListOf(node.type), node.span))
    item = len(each.lists)

    def shifted(operation: Operation) -> Operation:
        later = isinstance(operation, Argument) and operation.index >= item
        return Argument(operation.index + 1) if later and isinstance(operation, Argument) else operation

    nodes = [replace(one, operation=shifted(one.operation)) for one in block.nodes]
    nodes[at] = replace(node, operation=Argument(item))
    return replace(each, lists=(*each.lists, results)), Body(tuple(nodes), block.results)


def _itself(each: Each, block: Body, around: Rewriting) -> int | None:
    """The list that the results are, where they are just the items of what one call has given.

    What other lists there are says nothing more: they are those that this pass has added, each as long as the first.
    """
    operation = block.nodes[block.results[0]].operation
    if not isinstance(operation, Argument) or operation.index >= len(each.lists):
        return None
    whole = each.lists[operation.index]
    made = around.nodes[whole].operation
    # Only then is it known that there are no more items than may be.
    return whole if isinstance(made, Call) and made.over else None


PASS = Pass(
    "batch_each",
    "asks an engine once for all items of a list",
    batch_each,
    needs=frozenset({"explicit vectors", "what is the same each time is outside"}),
    gives=frozenset({"calls for all items are one"}),
)
