"""What `annotations.rag` names."""

from collections.abc import Iterator
from typing import Annotated, Any

from harmonia_compiler.sdk import tokens


def plain(q: str, n: int = 3) -> list[str]:
    """Whose annotations say it all."""
    return [q] * n


def untyped(q, n: int) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001
    """Whose first parameter says nothing."""
    return f"{q} {n}"


def loose(q: str) -> dict[str, Any]:
    """Whose result is no type of the language."""
    return {"q": q}


def stepwise(q: str) -> str:  # type: ignore[misc]
    """What gives its value in parts."""
    yield q


async def dripping(q: str) -> str:  # type: ignore[misc]
    """The same, waited for."""
    yield q


def joined(q: str) -> str:
    """What only uses such a function."""

    def parts() -> Iterator[str]:
        yield q

    return "".join(parts())


def sized(q: Annotated[dict[str, Any], "whatever it is"]) -> str:
    """Of which something is said, and which is no type of the language."""
    return str(q)


def quoted(q: "Annotated[str, tokens(-1)]") -> str:
    """Whose annotation is a text, on this line."""
    return q


def any_number(q: str, *more: str) -> str:
    """Which takes further texts, and a call gives none without a name."""
    return " ".join((q, *more))


def by_any_name(
    q: str,
    **options: float,
) -> str:
    """Which takes further numbers by any name; a port that is declared is one."""
    return f"{q} {options}"
