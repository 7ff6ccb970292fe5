"""`take(list, count)`: the first items of a list."""

from collections.abc import Mapping, Sequence

from harmonia_compiler.contract.types import ListOf, Type, Value
from harmonia_compiler.functions.function import Function, Taken
from harmonia_compiler.kinds.kind import Extent

_COUNT = Taken("count", "a whole number", "how many of the first items are kept at most", constant=True)


def result_type(types: Sequence[Type]) -> Type | None:
    """The same list."""
    return types[0] if isinstance(types[0], ListOf) else None


def evaluate(values: Sequence[Value], settings: Mapping[str, int]) -> Value:
    """The first `count` items; all of them where there are no more."""
    return values[0][: _COUNT.of(settings)]


def extent(extents: Sequence[Extent], settings: Mapping[str, int]) -> Extent:
    """The kept items' part of the tokens."""
    whole = extents[0]
    kept = min(whole.items, float(_COUNT.of(settings)))
    tokens = whole.tokens * kept / whole.items if whole.items else 0.0
    return Extent(tokens, kept, whole.guessed, whole.item)


FUNCTION = Function(
    name="take",
    doc="The first items of a list, in their order.",
    parameters=(
        Taken(
            "list", "a list", "what the first items are taken of", "give a list, such as `take(search(question), 3)`"
        ),
        _COUNT,
    ),
    result_type=result_type,
    evaluate=evaluate,
    extent=extent,
    keeps_items=True,
)
