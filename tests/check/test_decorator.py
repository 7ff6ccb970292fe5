"""What annotations mean to the decorator, when the user's module is imported."""

import dataclasses
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import pytest

from harmonia_compiler import sdk


class Step(TypedDict):
    """A record of the language."""

    thought: Annotated[str, sdk.tokens(30)]
    done: bool


@dataclasses.dataclass
class Graded:
    """Another one."""

    verdict: Literal["yes", "no"]
    steps: list[Step]


class Pair(NamedTuple):
    """A third."""

    one: float
    other: int


class Silent(Graded):
    """No dataclass of its own, so that what it adds is no field."""

    more: str


class Tree(TypedDict):
    """No record of the language, since it contains itself."""

    children: list["Tree"]


def test_a_good_function_is_left_as_it_is() -> None:
    def f(q: str, graded: Graded, *, pair: Pair, sources: list[sdk.Passage]) -> Annotated[list[str], sdk.items(4)]:
        return [q, *(source["text"] for source in sources), *graded.verdict, str(pair)]

    async def g(turns: list[sdk.Message], vector: sdk.Vector) -> bool:
        return not turns and not vector

    assert sdk.component(f) is f
    assert sdk.component(g) is g
    assert sdk.component()(g) is g


@pytest.mark.parametrize("size", [sdk.tokens, sdk.items])
@pytest.mark.parametrize("expected", [0, -1.0, float("nan"), float("inf")])
def test_a_size_that_checking_would_leave_unread_is_a_value_error(size: type, expected: float) -> None:
    with pytest.raises(ValueError, match=rf"{size.__name__}\(.*\): what is expected is a number above 0"):
        size(expected)


@pytest.mark.parametrize("expected", [True, 2**53 + 1])
def test_so_is_one_that_no_rag_may_hold(expected: float) -> None:
    with pytest.raises(ValueError, match="a number above 0, up to 2"):
        sdk.tokens(expected)


def test_what_no_type_fits_is_a_type_error() -> None:
    def unannotated(q):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return q

    def without_result(q: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        return q

    def mapping(q: dict[str, str]) -> str:
        return str(q)

    def optional(q: str | None) -> str:
        return str(q)

    def nested(q: Tree) -> str:
        return str(q)

    def bare(q: list) -> str:  # type: ignore[type-arg]
        return str(q)

    def silent(q: Silent) -> str:
        return q.more

    def unknown(q: "Missing") -> str:  # type: ignore[name-defined]  # noqa: F821
        return str(q)

    def counted(q: Annotated[str, sdk.items(3)]) -> str:
        return q

    def long(q: Annotated[list[str], sdk.tokens(3)]) -> str:
        return q[0]

    functions: list[Callable[..., Any]] = [
        counted,
        long,
        unannotated,
        without_result,
        mapping,
        optional,
        nested,
        bare,
        silent,
        unknown,
    ]
    for function in functions:
        with pytest.raises(TypeError, match=function.__name__):
            sdk.component(function)


def test_what_takes_any_number_of_values_is_one_too() -> None:
    def several(*q: str) -> str:
        return str(q)

    def named(q: str, **more: str) -> str:
        return f"{q}{more}"

    for function, name in ((several, "*q"), (named, "**more")):
        with pytest.raises(TypeError, match=rf"{function.__name__}: `{re.escape(name)}` takes any number of values"):
            sdk.component(function)
