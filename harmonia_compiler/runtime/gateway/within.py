"""A time in which something must be done, as `asyncio.timeout`, at a third of its cost: each call of a request has one.

It also ends for reasons other than the time: one timer is enough for whoever has several.
"""

import asyncio
from types import TracebackType
from typing import Self


class Within:
    """What is done in this `with` is broken off at a time of the loop's clock, or by `end`, and raises why.

    Used in a task, by which it is interrupted.
    """

    __slots__ = ("_cancelling", "_task", "_timer", "_until", "_why")

    def __init__(self, until: float) -> None:
        self._until = until
        self._why: Exception | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        # Whoever else cancelled the task means something else by it.
        self._cancelling = task.cancelling()
        self._timer = asyncio.get_running_loop().call_at(self._until, self._late)
        return self

    def end(self, why: Exception) -> None:
        """Break it off for this reason, unless it is broken off already."""
        if self._why is None:
            self._why = why
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._why is None:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._why from problem

    def _late(self) -> None:
        self.end(TimeoutError())


def within_s(seconds: float) -> Within:
    """So many seconds from now."""
    return Within(asyncio.get_running_loop().time() + seconds)
