"""What a function of the language is: data and pure functions, as a kind is, but of values alone.

A function is one module in this folder that defines `FUNCTION`. It needs no component: the stepper
evaluates it in place. It says what it takes, which type it gives, its value, and how large that is
expected to be. A program's own names go before those of functions.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from harmonia_compiler.contract.types import Type, Value
from harmonia_compiler.kinds.kind import Extent


class Taken(msgspec.Struct, frozen=True):
    """What a function takes, by position or by name; `type` is how its type is written in a message.

    `step` is the next step where something of another type is given.
    A `constant` one is a whole number from `minimum` to `maximum` that stands in the source, an
    `Apply`'s setting. It may be left out where it has a default; nothing else may.
    """

    name: str
    type: str
    doc: str
    step: str = ""
    constant: bool = False
    default: int | None = None
    minimum: int = 1
    maximum: int = 16_384

    def of(self, settings: Mapping[str, int]) -> int:
        """The constant among an `Apply`'s settings, or the default where it was left out."""
        found = settings.get(self.name, self.default)
        assert found is not None, f"`{self.name}` has no default and was not given"
        return found


class ResultTypeOf(Protocol):
    """The type of the result for values of these types, those of the constants left out; None where they do not fit."""

    def __call__(self, types: Sequence[Type]) -> Type | None:
        """Type of the result."""
        ...


class Evaluate(Protocol):
    """The value for these values, which are of types that fit. Pure, and leaves what it is given as it is."""

    def __call__(self, values: Sequence[Value], settings: Mapping[str, int]) -> Value:
        """Value of the result."""
        ...


class ExtentFor(Protocol):
    """How large the result is expected to be, given the extents of the values."""

    def __call__(self, extents: Sequence[Extent], settings: Mapping[str, int]) -> Extent:
        """Extent of the result."""
        ...


class Function(msgspec.Struct, frozen=True):
    """One function. `name` equals its module's; `doc` is a sentence for `harmoniac explain` and the reference.

    `parameters` are in the order of positions. `values` and `types` hold one entry for each that is no constant. One
    that `keeps_items` gives a list of items of what it is given, or of the lists in that, as they are. One that
    `counts` gives a whole number, no less than 0.
    """

    name: str
    doc: str
    parameters: tuple[Taken, ...]
    result_type: ResultTypeOf
    evaluate: Evaluate
    extent: ExtentFor
    keeps_items: bool = False
    counts: bool = False

    def parameter(self, name: str) -> Taken | None:
        """The parameter of that name."""
        return next((parameter for parameter in self.parameters if parameter.name == name), None)
