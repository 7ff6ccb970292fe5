"""A second call beside one that takes long (`policy/routing/hedge.py`): the one that is answered first counts.

The other one is cancelled, which closes its connection, whichever it is.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from harmonia_compiler.runtime.gateway.within import Within

Answer = TypeVar("Answer")


class Overtaken(Exception):
    """The second call was answered first; `answer` is what it gave."""

    def __init__(self, answer: Any) -> None:
        super().__init__("a second call was answered first")
        self.answer = answer


class Second(Generic[Answer]):
    """In this `with`, the first call is made; once that is late, `make` makes the second one, which may give None.

    Where the second one is answered first, `patience` ends with Overtaken. What it takes it has to take while it runs:
    one that is needed no more before its first step is never run at all.
    """

    def __init__(
        self, after_s: float, make: Callable[[], Coroutine[Any, Any, Answer | None]], patience: Within
    ) -> None:
        self._make = make
        self._patience = patience
        self._task: asyncio.Task[Answer | None] | None = None
        self._timer = asyncio.get_running_loop().call_later(after_s, self._begin)

    def __enter__(self) -> "Second[Answer]":
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    async def answer(self) -> Answer | None:
        """What the second call gives where the first one failed; None where there is none, or it fails as well."""
        self._timer.cancel()
        if self._task is None:
            return None
        await asyncio.wait({self._task})
        return None if self._task.cancelled() or self._task.exception() is not None else self._task.result()

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._make())
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Answer | None]) -> None:
        # A failure of the second one is nobody's: the first one goes on.
        if not task.cancelled() and task.exception() is None and task.result() is not None:
            self._patience.end(Overtaken(task.result()))
