"""Where a value that a test asks about comes from: which part of what a call answers, or of what a request brings.

A test of an item of a list, of a field, of what a function has kept, is followed to what is drawn in the end. So values
can be drawn such that it holds as often as is planned.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harmonia_compiler.contract.program import (
    After,
    Apply,
    Call,
    Concat,
    GetField,
    MakeList,
    MakeRecord,
    Parameter,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import ListOf, Passage
from harmonia_compiler.flow.expand import Gather, Item
from harmonia_compiler.flow.graph import Node
from harmonia_compiler.functions.registry import functions

#: In a path, the items of a list.
ITEM = "[]"


class Origin(NamedTuple):
    """A part of the value of a call, or of a port, by its node: names of fields, and `ITEM` for those of a list."""

    position: int
    path: tuple[str, ...]


def origins(nodes: Sequence[Node], position: int, fields: tuple[str, ...]) -> Iterator[Origin]:
    """The parts of what calls answer, for one item of those that are for lists, and of ports that such a field may be.

    The nodes are those of an expanded flow. Of a value that is made in another way, nothing is drawn.
    """
    pending, seen = [Origin(position, fields)], set[Origin]()
    while pending:
        here = pending.pop()
        if here in seen:
            continue
        seen.add(here)
        before = _before(nodes, here)
        if before is None:
            yield here
        else:
            pending += before


def _before(nodes: Sequence[Node], here: Origin) -> list[Origin] | None:
    """What hands on that part of its own value; None where it is drawn here."""
    position, path = here
    operation = nodes[position].operation
    match operation:
        case Parameter():
            return None
        case Call():
            return _of_call(nodes, operation, here)
        case Item(_, (listed,)):
            return [Origin(listed, (ITEM, *path))]
        case Gather(_, (_, one, *_)):
            return [Origin(one, path[1:])] if path[:1] == (ITEM,) else []
        case Select(_, then, otherwise):
            return [Origin(then, path), Origin(otherwise, path)]
        case After(_, then) | Whole(then):
            return [Origin(then, path)]
        case GetField(record, name):
            return [Origin(record, (name, *path))]
        case _:
            return _of_made(nodes, operation, here)


def _of_call(nodes: Sequence[Node], call: Call, here: Origin) -> list[Origin] | None:
    """What is given passages hands on some of them."""
    path = here.path
    if call.over and path[:1] != (ITEM,):
        return []
    taken = path[1:] if call.over else path
    of = nodes[here.position].type
    result = of.item if call.over and isinstance(of, ListOf) else of
    given: list[Origin] = []
    for port, at in zip(call.ports, call.inputs, strict=True):
        each = nodes[at].type
        if port in call.over and isinstance(each, ListOf) and each.item == ListOf(Passage()):
            given.append(Origin(at, (ITEM, *taken)))
        elif port not in call.over and each == ListOf(Passage()):
            given.append(Origin(at, taken))
    return given if given and result == ListOf(Passage()) else None


def _of_made(nodes: Sequence[Node], operation: object, here: Origin) -> list[Origin]:
    path = here.path
    match operation:
        case MakeRecord(names, values) if path and path[0] in names:
            return [Origin(values[names.index(path[0])], path[1:])]
        case MakeList(items) if path[:1] == (ITEM,):
            return [Origin(at, path[1:]) for at in items]
        case Concat(left, right):
            return [Origin(left, path), Origin(right, path)]
        case Apply(name, given) if name in functions() and functions()[name].keeps_items and path[:1] == (ITEM,):
            # The items of lists of lists, or those of a list.
            of = nodes[here.position].type
            return [Origin(at, path if nodes[at].type == of else (ITEM, *path)) for at in given]
        case _:
            return []
