"""Removes what no path to the answer reads: nodes, and the arguments, results and blocks that nothing reads."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    Argument,
    Attempt,
    Each,
    Operation,
    Output,
    Repeat,
    inputs,
    with_inputs,
)
from harmonia_compiler.flow.bits import bits
from harmonia_compiler.flow.graph import Body, Flow
from harmonia_compiler.flow.passes.definition import Context, Pass

Runner = Repeat | Each | Attempt

#: For each result of a body, the arguments that it reads, as bits.
Reads = tuple[int, ...]


class _Live(msgspec.Struct):
    """What of a body is read, by position; its results in the order in which they are kept."""

    results: tuple[int, ...] = ()
    nodes: set[int] = msgspec.field(default_factory=set)
    arguments: set[int] = msgspec.field(default_factory=set)


def dead_code(flow: Flow, _context: Context) -> Flow:
    """The flow without what is not read."""
    return without_unread(flow)


def without_unread(flow: Flow) -> Flow:
    """Keep what the result reads, directly or not, in its order.

    What a loop carries goes where neither its test nor what is read after it needs it in any round.
    An `Each` keeps its first list, which says how many items there are.
    """
    bodies = flow.bodies
    reads: list[Reads] = []
    for body in bodies:
        reads.append(_reads(body, reads))
    live = [_Live() for _ in bodies]
    live[-1].results = (0,)
    for index in range(len(bodies) - 1, -1, -1):
        _mark(bodies[index], live[index], reads, live)
    kept = [index for index, each in enumerate(live) if each.results]
    moved = {index: new for new, index in enumerate(kept)}
    after = [_without_unread(bodies[index], live[index], live, moved) for index in kept]
    return replace(flow, blocks=tuple(after[:-1]), nodes=after[-1].nodes, result=after[-1].results[0])


def _reads(body: Body, reads: Sequence[Reads]) -> Reads:
    found: list[int] = []
    for node in body.nodes:
        if isinstance(node.operation, Argument):
            found.append(1 << node.operation.index)
            continue
        mask = 0
        for at in _read(node.operation, body, reads):
            mask |= found[at]
        found.append(mask)
    return tuple(found[at] for at in body.results)


def _read(operation: Operation, body: Body, reads: Sequence[Reads]) -> Iterable[int]:
    """The positions that an operation reads; of what it would hand to a block, what the block reads."""
    match operation:
        case Output(repeat, index):
            run = body.nodes[repeat].operation
            assert isinstance(run, Repeat)
            return _handed(run, _needed(run, {1 + index}, reads)[1])
        case Repeat() | Each() | Attempt():
            return _handed(operation, _needed(operation, set(), reads)[1])
        case _:
            return inputs(operation)


def _needed(operation: Runner, wanted: Iterable[int], reads: Sequence[Reads]) -> tuple[set[int], set[int]]:
    """The results of its block that an operation needs if these are wanted, and the arguments that those read.

    A carried argument that is read needs the result that is its value in the next round.
    """
    results: set[int] = set()
    arguments: set[int] = set()
    pending = {0, *wanted}
    while pending:
        result = pending.pop()
        results.add(result)
        read = set(bits(reads[operation.block][result])) - arguments
        arguments |= read
        if isinstance(operation, Repeat):
            pending |= {1 + index for index in read if index < operation.carried} - results
    if isinstance(operation, Each):
        arguments.add(0)
    return results, arguments


def _ordered(operation: Runner, results: set[int], arguments: set[int]) -> tuple[int, ...]:
    """The results in their order; what a loop no longer carries comes after what it does."""
    carried = operation.carried if isinstance(operation, Repeat) else 0
    first = (0, *(1 + index for index in sorted(arguments) if index < carried))
    return (*first, *sorted(results.difference(first)))


def _handed(operation: Runner, arguments: Iterable[int]) -> tuple[int, ...]:
    """The positions that are read for these arguments, and besides them."""
    given = (*operation.lists, *operation.inputs) if isinstance(operation, Each) else operation.inputs
    read = tuple(given[index] for index in sorted(arguments))
    if isinstance(operation, Attempt) and operation.otherwise is not None:
        return (*read, operation.otherwise)
    return read


def _mark(body: Body, own: _Live, reads: Sequence[Reads], live: Sequence[_Live]) -> None:
    """Mark what a body's live results read, and what they need of the blocks that it runs."""
    own.nodes.update(body.results[result] for result in own.results)
    outputs: dict[int, set[int]] = {}
    for position in range(len(body.nodes) - 1, -1, -1):
        if position not in own.nodes:
            continue
        match body.nodes[position].operation:
            case Argument(index):
                own.arguments.add(index)
            case Output(repeat, index):
                outputs.setdefault(repeat, set()).add(1 + index)
                own.nodes.add(repeat)
            case Repeat() | Each() | Attempt() as run:
                results, arguments = _needed(run, outputs.get(position, ()), reads)
                live[run.block].results = _ordered(run, results, arguments)
                live[run.block].arguments = arguments
                own.nodes.update(_handed(run, arguments))
            case operation:
                own.nodes.update(inputs(operation))


def _without_unread(body: Body, own: _Live, live: Sequence[_Live], blocks: dict[int, int]) -> Body:
    moved = {position: new for new, position in enumerate(sorted(own.nodes))}
    arguments = {index: new for new, index in enumerate(sorted(own.arguments))}

    def smaller(operation: Operation) -> Operation:
        match operation:
            case Argument(index):
                return Argument(arguments[index])
            case Output(repeat, index):
                run = body.nodes[repeat].operation
                assert isinstance(run, Repeat)
                return Output(repeat, live[run.block].results.index(1 + index) - 1)
            case Repeat() | Each() | Attempt():
                return _smaller(operation, live[operation.block].arguments, blocks)
            case _:
                return operation

    return Body(
        tuple(
            replace(body.nodes[at], operation=with_inputs(smaller(body.nodes[at].operation), moved.__getitem__))
            for at in moved
        ),
        tuple(moved[body.results[result]] for result in own.results),
    )


def _smaller(operation: Runner, arguments: set[int], blocks: dict[int, int]) -> Operation:
    """The operation with its block's new number, handing in no more than these arguments."""
    block = blocks[operation.block]

    def kept(given: tuple[int, ...], first: int = 0) -> tuple[int, ...]:
        return tuple(at for index, at in enumerate(given, first) if index in arguments)

    match operation:
        case Repeat(_, given, carried, limit):
            return Repeat(block, kept(given), sum(index < carried for index in arguments), limit)
        case Each(_, lists, given):
            return Each(block, kept(lists), kept(given, len(lists)))
        case Attempt(_, given):
            return replace(operation, block=block, inputs=kept(given))


PASS = Pass(
    "dead_code",
    "removes what no path to the answer reads",
    dead_code,
    gives=frozenset({"every node is read"}),
)
