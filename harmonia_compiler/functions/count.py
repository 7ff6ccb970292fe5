"""`count(list)`: how many items a list has."""

from collections.abc import Mapping, Sequence

from harmonia_compiler.contract.types import ListOf, Number, Type, Value
from harmonia_compiler.functions.function import Function, Taken
from harmonia_compiler.kinds.extents import typed_extent
from harmonia_compiler.kinds.kind import Extent


def result_type(types: Sequence[Type]) -> Type | None:
    """A number, for any list."""
    return Number() if isinstance(types[0], ListOf) else None


def evaluate(values: Sequence[Value], settings: Mapping[str, int]) -> Value:
    """The number of items."""
    return len(values[0])


def extent(extents: Sequence[Extent], settings: Mapping[str, int]) -> Extent:
    """That of any number."""
    return typed_extent(Number())


FUNCTION = Function(
    name="count",
    doc="How many items a list has.",
    parameters=(Taken("list", "a list", "what is counted", "give a list, such as `count(search(question))`"),),
    result_type=result_type,
    evaluate=evaluate,
    extent=extent,
    counts=True,
)
