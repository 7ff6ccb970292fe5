"""An event loop that a signal ends at any time: uvloop keeps to itself what is raised while it reads or writes."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from harmonia_compiler.runtime.interruptions import put_off

_Result = TypeVar("_Result")


def run_interruptibly(main: Coroutine[Any, Any, _Result], loop_factory: Callable[[], uvloop.Loop]) -> _Result:
    """What `main` gives in a loop of its own, which the first signal that is handled cancels, and no later one.

    Handlers are called once the loop has ended. Raises KeyboardInterrupt where they do not raise themselves.
    """
    is_told = False
    tasks: list[asyncio.Task[Any]] = []

    async def noted() -> _Result:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        if is_told:
            task.cancel()
        return await main

    def tell() -> None:
        nonlocal is_told
        is_told = True
        # One that has ended is not told, whose loop ends.
        for task in tasks:
            task.cancel()

    try:
        with put_off(tell):
            return uvloop.run(noted(), loop_factory=loop_factory)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
