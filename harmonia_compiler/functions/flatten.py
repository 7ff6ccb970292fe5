"""`flatten(lists)`: the items of several lists as one list."""

from collections.abc import Mapping, Sequence
from itertools import chain

from harmonia_compiler.contract.types import ListOf, Type, Value
from harmonia_compiler.functions.function import Function, Taken
from harmonia_compiler.kinds.extents import USUAL_ITEMS, bounded
from harmonia_compiler.kinds.kind import Extent


def result_type(types: Sequence[Type]) -> Type | None:
    """The type of the inner lists."""
    match types[0]:
        case ListOf(None):
            return ListOf(None)
        case ListOf(ListOf() as inner):
            return inner
        case _:
            return None


def evaluate(values: Sequence[Value], settings: Mapping[str, int]) -> Value:
    """The items of the first list, then those of the second, and so on."""
    return list(chain.from_iterable(values[0]))


def extent(extents: Sequence[Extent], settings: Mapping[str, int]) -> Extent:
    """All the tokens, in the items of all lists."""
    return flat(extents[0], USUAL_ITEMS)


def flat(lists: Extent, usual: float) -> Extent:
    """The extent of the items of lists: `usual` items for each list where nobody knows how long they are."""
    if lists.item is None:
        return Extent(lists.tokens, bounded(lists.items * usual), guessed=True)
    return Extent(lists.tokens, bounded(lists.items * lists.item.items), lists.guessed, lists.item.item)


FUNCTION = Function(
    name="flatten",
    doc="The items of several lists as one list, in their order.",
    parameters=(
        Taken(
            "lists", "a list of lists", "what is joined", "put the lists into one: `flatten([search(a), search(b)])`"
        ),
    ),
    result_type=result_type,
    evaluate=evaluate,
    extent=extent,
    keeps_items=True,
)
