"""To be one of a set for a while."""

from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Among(Generic[T]):
    """In this `with`, `one` is among `others`. A class, since a generator costs more than what it would do here."""

    __slots__ = ("_one", "_others")

    def __init__(self, others: set[T], one: T) -> None:
        self._others, self._one = others, one

    def __enter__(self) -> None:
        self._others.add(self._one)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._others.discard(self._one)
