"""An event loop that a signal ends at any time: uvloop keeps to itself what is raised while it reads or writes."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

import uvloop

_Result = TypeVar("_Result")

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_interruptibly(main: Coroutine[Any, Any, _Result], loop_factory: Callable[[], uvloop.Loop]) -> _Result:
    """What `main` gives in a loop of its own. A signal that is handled cancels it, and is handled once the loop ended.

    Only the first: what comes while the loop ends is handled where it comes. Signals reach the main thread alone.
    """
    is_reached = threading.current_thread() is threading.main_thread()
    handlers = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number)) and is_reached}
    told: list[signal.Signals] = []
    tasks: list[asyncio.Task[Any]] = []

    async def noted() -> _Result:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        return await main

    def tell(number: int, frame: FrameType | None) -> None:
        if told or not tasks:
            handlers[signal.Signals(number)](number, frame)
            return
        told.append(signal.Signals(number))
        tasks[0].cancel()
        # A loop that waits for something to read does not look at what was cancelled.
        tasks[0].get_loop().call_soon_threadsafe(lambda: None)

    for number in handlers:
        signal.signal(number, tell)
    try:
        return uvloop.run(noted(), loop_factory=loop_factory)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for first in told:
            handlers[first](first, None)
