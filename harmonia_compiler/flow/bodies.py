"""Rewriting all bodies of a flow alike, and nodes that move within one."""

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from harmonia_compiler.contract.program import Attempt, Each, Operation, Repeat, Select, Whole, inputs, with_inputs
from harmonia_compiler.flow.graph import Body, Flow, Node


def in_each_body(flow: Flow, rewrite: Callable[[Body], Body]) -> Flow:
    """The flow with every block and the main part rewritten, each for itself."""
    return with_bodies(flow, [rewrite(body) for body in flow.bodies])


def with_bodies(flow: Flow, bodies: Sequence[Body]) -> Flow:
    """The flow with these blocks, and the last one as its main part."""
    *blocks, main = bodies
    return replace(flow, blocks=tuple(blocks), nodes=main.nodes, result=main.results[0])


#: Where a node is that is no more.
_GONE = -1


class Rewriting:
    """A body that is written anew, node by node; `moved` says where the old nodes are now."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.nodes: list[Node] = []
        self.moved: list[int] = []

    def read(self, operation: Operation) -> Operation:
        """An operation of the old body, reading from the new one."""
        return with_inputs(operation, self.moved.__getitem__)

    def append(self, node: Node) -> int:
        """Add a node, whose operation reads from the new body."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def keep(self, node: Node, operation: Operation) -> None:
        """The next old node is this operation now."""
        self.moved.append(self.append(replace(node, operation=operation)))

    def drop(self) -> None:
        """The next old node is gone, and nothing reads it."""
        self.moved.append(_GONE)

    def done(self) -> Body:
        """The new body."""
        return Body(tuple(self.nodes), tuple(self.moved[result] for result in self.body.results))


def in_pieces(body: Body) -> Body:
    """The body without any `Whole`: what its plain returns give may leave as whoever calls the pipeline returns it."""
    if not any(isinstance(node.operation, Whole) for node in body.nodes):
        return body
    rewriting = Rewriting(body)
    for node in body.nodes:
        if isinstance(node.operation, Whole):
            rewriting.moved.append(rewriting.moved[node.operation.value])
        else:
            rewriting.keep(node, rewriting.read(node.operation))
    return rewriting.done()


def invariants(operation: Operation) -> list[tuple[int, int]]:
    """What is handed to a block and is the same in all of its runs: the argument, and the position around the block."""
    match operation:
        case Repeat(_, read, carried):
            return list(enumerate(read))[carried:]
        case Each(_, lists, read):
            return list(enumerate(read, len(lists)))
        case Attempt(_, read):
            return list(enumerate(read))
        case _:
            return []


def reads_always(operation: Operation) -> tuple[int, ...]:
    """What an operation reads of a body on every path, as far as branches alone decide, and at once."""
    match operation:
        case Select(condition):
            return (condition,)
        case Each(_, lists):
            return lists[:1]
        case Repeat() | Attempt():
            # What is handed to a block may not be read on every path of it.
            return ()
        case _:
            return inputs(operation)


def needed_always(body: Body, of: Iterable[int]) -> frozenset[int]:
    """The positions of a body that these need on every path, as far as branches alone decide, themselves included."""
    found: set[int] = set()
    pending = [*of]
    while pending:
        at = pending.pop()
        if at not in found:
            found.add(at)
            pending += reads_always(body.nodes[at].operation)
    return frozenset(found)
