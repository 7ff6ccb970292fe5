"""An event loop with longer seconds: a rehearsal's processes live in the time that is rehearsed.

Whatever waits, gives up or measures by the clock of its loop is stretched with it, and need not know.
"""

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import TypeVarTuple, Unpack

import uvloop

Given = TypeVarTuple("Given")


class StretchedLoop(uvloop.Loop):
    """uvloop's, of which each second takes `factor` seconds of a clock."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        #: How many seconds of a clock each second here takes.
        self.factor = factor

    def time(self) -> float:
        """Seconds that have passed here."""
        return super().time() / self.factor

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Given]], object],
        *args: *Given,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call it after so many seconds here. All that waits comes to this, `call_at` too."""
        return super().call_later(delay * self.factor, callback, *args, context=context)


def loop_of(factor: float) -> Callable[[], uvloop.Loop]:
    """What makes the loop of a process whose seconds take so many; at 1 it is uvloop's own, at no cost."""
    return uvloop.new_event_loop if factor == 1.0 else partial(StretchedLoop, factor)


def by_clock(seconds: float) -> float:
    """How many seconds of a clock so many of the running loop take: for what waits by no loop, as gRPC's core does."""
    loop = asyncio.get_running_loop()
    return seconds * loop.factor if isinstance(loop, StretchedLoop) else seconds
