"""Keeps what was made of texts that come again: passages that many questions find are encoded once."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """What was made of the `most` texts that were asked for last. For one thread."""

    def __init__(self, make: Callable[[Sequence[str]], Sequence[T]], *, most: int) -> None:
        self._make = make
        self._most = most
        self._known: OrderedDict[str, T] = OrderedDict()

    def of(self, texts: Iterable[str]) -> dict[str, T]:
        """What is made of each text; all that are not known are made in one go. Raises what `make` raises."""
        wanted = dict.fromkeys(texts)
        fresh = [text for text in wanted if text not in self._known]
        made = dict(zip(fresh, self._make(fresh), strict=True)) if fresh else {}
        found = {text: made[text] if text in made else self._known[text] for text in wanted}
        for text, value in found.items():
            self._known[text] = value
            self._known.move_to_end(text)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found
