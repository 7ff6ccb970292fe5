"""Where a value comes from: the calls whose text may be streamed and which the request's own settings reach.

A value is followed through whatever only hands it on: branches, loops, fallbacks, and what is handed to a block.
Where the answer comes from in the end, a request tells while it runs (`policy/heading.py`); which calls may be
where, is known before.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from harmonia_compiler.contract.program import After, Argument, Attempt, Call, MakeRecord, Output, Repeat, Select, Whole
from harmonia_compiler.contract.types import Type, first_text
from harmonia_compiler.flow.graph import Body, Flow, Node


class Place(msgspec.Struct, frozen=True):
    """Nodes, and where what is handed to them by an argument's index comes from.

    `block` is their index among the blocks; None for those that are none, or not yet.
    """

    nodes: Sequence[Node]
    handed: "Callable[[int], Sequence[Source]]"
    block: int | None = None


#: A value: a node among others.
Source = tuple[Place, int]


def sources(place: Place, position: int, blocks: Sequence[Body], *, in_pieces: bool = False) -> Iterator[Source]:
    """The nodes that make what the value at a position may be, each once: all that do not only hand it on.

    Those `in_pieces` end at what is a `Whole`.
    """
    pending: list[Source] = [(place, position)]
    seen: set[tuple[int, int]] = set()
    while pending:
        here = pending.pop()
        key = (id(here[0].nodes), here[1])
        if key not in seen:
            seen.add(key)
            before = [] if in_pieces and _is_whole(*here) else _before(*here, blocks)
            pending += before[::-1]
            if not before:
                yield here


def _is_whole(place: Place, at: int) -> bool:
    return isinstance(place.nodes[at].operation, Whole)


def _before(place: Place, at: int, blocks: Sequence[Body]) -> list[Source]:
    """What may hand its value to a node that hands it on; nothing for any other."""
    match place.nodes[at].operation:
        case Select(_, then, otherwise):
            return [(place, then), (place, otherwise)]
        case After(_, then) | Whole(then):
            return [(place, then)]
        case Argument(index):
            return [*place.handed(index)]
        case Output(repeat, index):
            loop = place.nodes[repeat].operation
            assert isinstance(loop, Repeat)
            body = blocks[loop.block]
            return [(_in_loop(place, loop, body), body.results[1 + index])]
        case Attempt(block, given, _, otherwise):
            body = blocks[block]
            inside = Place(body.nodes, lambda index: [(place, given[index])], block)
            instead = [] if otherwise is None else [(place, otherwise)]
            return [(inside, body.results[0]), *instead]
        case _:
            return []


def _in_loop(around: Place, loop: Repeat, body: Body) -> Place:
    """The block of a loop, which what it carries comes to from before the loop and from the round before."""

    def handed(index: int) -> list[Source]:
        first: Source = (around, loop.inputs[index])
        return [first, (inside, body.results[1 + index])] if index < loop.carried else [first]

    inside = Place(body.nodes, handed, loop.block)
    return inside


def answers_of(flow: Flow, *, in_pieces: bool = False) -> tuple[frozenset[int], ...]:
    """For each body, the calls whose value may be the answer or, of one that is a record, its first text.

    Those `in_pieces` may be it without a `Whole` between.
    A call for all items of a list gives a list, which is no text that somebody's wishes could be about: it is none
    of them, as the calls item by item are none.
    """
    found: list[set[int]] = [set() for _ in flow.bodies]
    main = Place(flow.nodes, lambda _: ())
    pending = [(main, flow.result)]
    while pending:
        for place, at in sources(*pending.pop(), flow.blocks, in_pieces=in_pieces):
            operation = place.nodes[at].operation
            if isinstance(operation, Call) and not operation.over:
                found[-1 if place.block is None else place.block].add(at)
            elif isinstance(operation, MakeRecord) and (part := _first_text(operation, flow.result_type)) is not None:
                pending.append((place, part))
    return tuple(frozenset(calls) for calls in found)


def _first_text(record: MakeRecord, of: Type) -> int | None:
    name = first_text(of)
    return None if name is None else record.inputs[record.names.index(name)]
