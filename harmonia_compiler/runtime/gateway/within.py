"""A time in which something must be done, as `asyncio.timeout`, at a part of its cost: each call of a request has one.

It also ends for reasons other than the time: one is enough for whoever has several. Those that end at about the same
moment have one timer of the event loop in common, which goes with the last of them: hardly any comes to its end.
"""

import asyncio
import math
from types import TracebackType
from typing import Self

#: Times end at multiples of this, in seconds: that much later than they are asked for, at most.
TICK_S = 0.02


class Within:
    """What is done in this `with` is broken off at a time of the loop's clock, or by `end`, and raises why.

    Used in a task, by which it is interrupted.
    """

    __slots__ = ("_cancelling", "_moment", "_task", "_until", "_why")

    def __init__(self, until: float) -> None:
        self._until = until
        self._why: Exception | None = None

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        # Whoever else cancelled the task means something else by it.
        self._cancelling = task.cancelling()
        self._moment = _MOMENTS.at(self._until)
        self._moment.waiting.add(self)
        return self

    def end(self, why: Exception) -> None:
        """Break it off for this reason, unless it is broken off already."""
        if self._why is None:
            self._why = why
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        moment = self._moment
        moment.waiting.discard(self)
        if not moment.waiting:
            moment.forget()
        if self._why is None:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._why from problem


def within_s(seconds: float) -> Within:
    """So many seconds from now."""
    return Within(asyncio.get_running_loop().time() + seconds)


class _Moment:
    """What ends together."""

    __slots__ = ("_moments", "_number", "_timer", "waiting")

    def __init__(self, number: int, moments: "_Moments") -> None:
        self._number, self._moments = number, moments
        self.waiting: set[Within] = set()
        self._timer = asyncio.get_running_loop().call_at(number * TICK_S, self._come)

    def forget(self) -> None:
        """Nobody waits for it."""
        self._timer.cancel()
        if self._moments.found.get(self._number) is self:
            del self._moments.found[self._number]

    def _come(self) -> None:
        self._moments.found.pop(self._number, None)
        for one in self.waiting:
            one.end(TimeoutError())


class _Moments:
    """Those of the event loop that runs, by their number: a process has one loop, and tests one after the other."""

    def __init__(self) -> None:
        self.found: dict[int, _Moment] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def at(self, until: float) -> _Moment:
        """The next one from that time on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self.found = loop, {}
        number = math.ceil(until / TICK_S)
        found = self.found.get(number)
        if found is None:
            found = self.found[number] = _Moment(number, self)
        return found


_MOMENTS = _Moments()
