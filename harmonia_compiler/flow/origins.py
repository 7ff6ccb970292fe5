"""Where a value that a test asks about comes from: which part of what a call answers, or of what a request brings.

A test of an item of a list, of a field, of what a function has kept, is followed to what is drawn in the end. So values
can be drawn such that it holds as often as is planned. Where a list has only what another test has kept, that test is
told, too: what is asked about the same value is known by it or holds of what was kept alone.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

from harmonia_compiler.contract.program import (
    After,
    Apply,
    Call,
    Concat,
    Constant,
    GetField,
    MakeList,
    MakeRecord,
    Parameter,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import ListOf, Passage
from harmonia_compiler.flow.asked import COUNT, ITEM, Asked, Test, implied, is_count
from harmonia_compiler.flow.expand import Gather, Item
from harmonia_compiler.flow.graph import EVEN, Node
from harmonia_compiler.functions.registry import functions


class Origin(NamedTuple):
    """A part of the value of a call, or of a port, by its node: names of fields, and `ITEM` for those of a list.

    `COUNT` at the end is how many items the list has.
    """

    position: int
    path: tuple[str, ...]


class Kept(NamedTuple):
    """A question about a value, as in `Asked`, on whose answer an item stays in a list."""

    position: int
    fields: tuple[str, ...]
    test: Test
    holds: bool


class Way(NamedTuple):
    """A way to where a value comes from, with the tests of it that it has passed, the last one first.

    Where not `is_drawn`, the value is made there. `open` are tests on the way that are of other values. `weight` says
    how often the value comes this way beside others; lists that are joined count as equally long.
    """

    origin: Origin
    kept: tuple[Kept, ...] = ()
    open: tuple[Kept, ...] = ()
    is_drawn: bool = True
    weight: float = 1.0


#: So many steps are taken before ways are no longer told apart by what they have passed.
_MOST_STEPS = 2_000


def ways(nodes: Sequence[Node], position: int, fields: tuple[str, ...]) -> Iterator[Way]:
    """The parts of what calls answer, for one item of those that are for lists, and of ports that such a field may be.

    The nodes are those of an expanded flow. Of a value that is made in another way, nothing is drawn.
    """
    pending, seen = [Way(Origin(position, fields))], set[tuple[Origin, tuple[Kept, ...], tuple[Kept, ...]]]()
    while pending:
        here, kept, passed, _, weight = pending.pop()
        if (here, kept, passed) in seen:
            continue
        seen.add((here, kept, passed))
        if passed:
            kept += tuple(test for test in passed if (test.position, test.fields) == here)
            passed = tuple(test for test in passed if (test.position, test.fields) != here)
        before = _before(nodes, here)
        if before is None:
            yield Way(here, kept, passed, weight=weight)
            continue
        if not before and not (_is_empty(nodes[here.position].operation) and here.path[:1] == (ITEM,)):
            yield Way(here, kept, passed, is_drawn=False, weight=weight)
        passed += _kept(nodes, here)
        if len(seen) > _MOST_STEPS:
            kept = passed = ()
        shares = _shares(nodes[here.position])
        pending += (
            Way(each, kept, passed, weight=weight * share)
            for each, share in zip(before, shares or repeat(1.0), strict=bool(shares))
        )


def _shares(node: Node) -> tuple[float, ...]:
    """How often a choice is which of its arms; empty for what is none."""
    if not isinstance(node.operation, Select):
        return ()
    share = EVEN if node.share is None else node.share
    return share, 1.0 - share


def _kept(nodes: Sequence[Node], here: Origin) -> tuple[Kept, ...]:
    """The tests that have passed where a list of one item is not empty, as it would be otherwise."""
    operation = nodes[here.position].operation
    if here.path[:1] != (ITEM,) or not isinstance(operation, Select):
        return ()
    empty = [_is_empty(nodes[at].operation) for at in (operation.then, operation.otherwise)]
    filled = nodes[operation.otherwise if empty[0] else operation.then].operation
    if empty[0] == empty[1] or not isinstance(filled, MakeList):
        return ()
    answers = implied(nodes, Asked(operation.condition), holds=empty[1])
    return tuple(Kept(asked.position, asked.fields, asked.test, holds) for asked, holds in answers)


def _is_empty(operation: object) -> bool:
    return isinstance(operation, Constant) and operation.value == []


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
        case Gather(_, (listed, one, *_)):
            of_list = [Origin(listed, path)] if path == (COUNT,) else []
            return [Origin(one, path[1:])] if path[:1] == (ITEM,) else of_list
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
    # How many items a list has that no request brings, is as it is declared.
    if path[-1:] == (COUNT,) or (call.over and path[:1] != (ITEM,)):
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
        case Concat(left, right) if path != (COUNT,):
            return [Origin(left, path), Origin(right, path)]
        case Apply(name, given) if name in functions() and functions()[name].keeps_items and path[:1] == (ITEM,):
            # The items of lists of lists, or those of a list.
            of = nodes[here.position].type
            return [Origin(at, path if nodes[at].type == of else (ITEM, *path)) for at in given]
        case Apply(_, (listed,)) if is_count(operation):
            return [Origin(listed, (COUNT,))]
        case _:
            return []
