"""A time in which something must be done, as `asyncio.timeout`, at a part of its cost: each call of a request has one.

It also ends for reasons other than the time: one is enough for whoever has several. Hardly any comes to its end. So
those that end at about the same moment have one timer of the event loop in common, which stays until then: of those
there are never more than some hundreds, whoever comes and goes.
"""

import asyncio
import math
from types import TracebackType
from typing import Self

#: A time ends later than it is asked for by so many seconds at most, or by this part of itself where that is more.
TICK_S, PART = 0.02, 1.0 / 64.0


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
        self._moment.waiting.discard(self)
        if self._why is None:
            return
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._why from problem


def within_s(seconds: float) -> Within:
    """So many seconds from now."""
    return Within(asyncio.get_running_loop().time() + seconds)


class _Moment:
    """What ends together."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: set[Within] = set()

    def come(self) -> None:
        """It is there."""
        for one in self.waiting:
            one.end(TimeoutError())


class _Moments:
    """Those of the event loop that runs, by their times: a process has one loop, and tests one after the other."""

    def __init__(self) -> None:
        self.found: dict[float, _Moment] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def at(self, until: float) -> _Moment:
        """The next one from that time on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self.found = loop, {}
        # Powers of two, so that those of nearly the same length have their moments in common.
        tick_s = max(TICK_S, PART * math.ldexp(0.5, math.frexp(until - loop.time())[1]))
        at = math.ceil(until / tick_s) * tick_s
        found = self.found.get(at)
        if found is None:
            found = self.found[at] = _Moment()
            loop.call_at(at, self._come, at)
        return found

    def _come(self, at: float) -> None:
        self.found.pop(at).come()


_MOMENTS = _Moments()
