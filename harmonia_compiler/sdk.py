"""What a user's Python writes its annotations with, so that a `.rag` need not repeat the ports of a function.

    from typing import Annotated, Literal
    from harmonia_compiler.sdk import Passage, component, items, tokens

    @component
    def walk(entities: list[str], question: str) -> Annotated[list[Passage], items(4)]:
        ...

Checking reads these annotations and never imports the module. The decorator changes nothing about the function; it
finds an annotation that no type of the language fits as soon as the module is imported, in the user's own tests.
"""

import dataclasses
import inspect
from collections.abc import Callable
from typing import (
    Annotated,
    Any,
    Literal,
    TypedDict,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
    overload,
)

Function = TypeVar("Function", bound=Callable[..., Any])


class Passage(TypedDict):
    """A piece of a document with its source and score: the language's `passage`."""

    text: str
    source: str
    score: float


class Message(TypedDict):
    """A turn of a conversation: the language's `message`."""

    role: str
    text: str


#: An embedding: the language's `vector`.
Vector = list[float]

#: Beyond this a number is not exact in JSON, and no `.rag` may hold it.
_LARGEST = 2**53


@dataclasses.dataclass(frozen=True, slots=True)
class _Size:
    """A size that is expected. Raises ValueError for what checking would leave unread."""

    expected: float

    def __post_init__(self) -> None:
        if isinstance(self.expected, bool) or not 0 < self.expected <= _LARGEST:
            raise ValueError(
                f"{type(self).__name__}({self.expected!r}): what is expected is a number above 0, up to 2⁵³"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class tokens(_Size):  # noqa: N801 - it reads as a size does in a `.rag`: `Annotated[str, tokens(40)]`
    """How many tokens a text is expected to have."""


@dataclasses.dataclass(frozen=True, slots=True)
class items(_Size):  # noqa: N801 - as `tokens`
    """How many items a list is expected to have."""


@overload
def component(function: Function) -> Function: ...
@overload
def component() -> Callable[[Function], Function]: ...


def component(function: Function | None = None) -> Function | Callable[[Function], Function]:
    """Say that a function is called by pipelines, with or without brackets behind the decorator's name.

    Raises TypeError where a port or the result has no type of theirs.
    """
    if function is None:
        return component
    where = getattr(function, "__qualname__", repr(function))
    try:
        parameters = inspect.signature(function).parameters.values()
        hints = get_type_hints(function, include_extras=True)
    except NameError as problem:
        raise TypeError(f"{where}: {problem}, which an annotation names") from problem
    for each in parameters:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            raise TypeError(f"{where}: `{str(each).partition(':')[0]}` takes any number of values, and is no port")
    for name in (*(each.name for each in parameters), "return"):
        if name not in hints:
            raise TypeError(f"{where}: `{name}` has no annotation")
        if not _is_of_the_language(hints[name], ()):
            raise TypeError(f"{where}: `{name}` is {hints[name]!r}, which is no type of a pipeline")
    return function


def _is_of_the_language(annotation: Any, around: tuple[Any, ...]) -> bool:
    """Whether a type of the language fits; `around` are the records that it is a part of, none of which it may be."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return all(_is_size_of(each, parts[0]) for each in parts[1:]) and _is_of_the_language(parts[0], around)
    if origin is list and parts:
        return _is_of_the_language(parts[0], around)
    if origin is Literal:
        return all(isinstance(label, str) for label in parts)
    if annotation in (str, int, float, bool):
        return True
    # What is derived from a dataclass or a NamedTuple is one again only if that is said: else its annotations are none.
    said = vars(annotation) if isinstance(annotation, type) else {}
    is_record = is_typeddict(annotation) or "__dataclass_fields__" in said or "_fields" in said
    if origin is not None or not is_record or annotation in around:
        return False
    fields = get_type_hints(annotation, include_extras=True).values()
    return bool(fields) and all(_is_of_the_language(each, (*around, annotation)) for each in fields)


def _is_size_of(said: Any, annotation: Any) -> bool:
    """Whether what is said of a type can be said of it: lists have items, texts tokens, and nothing else a size."""
    if isinstance(said, items):
        return get_origin(annotation) is list
    return not isinstance(said, tokens) or annotation in (str, Passage, Message)
