"""Calls code that is not ours, so that whatever it raises comes back as a value.

To let it be raised on would hand it to whoever gives exceptions a meaning of their own: a future refuses
`StopIteration` and is then never done, a task that raises `KeyboardInterrupt` ends the whole event loop, and
`CancelledError` says that nobody waits any more. What the code leaves on the loop to be run later, tasks and
callbacks, nobody calls: there the loop goes on (`lasting`).
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Raised:
    """What a call raised instead of giving a result."""

    problem: BaseException

    @property
    def message(self) -> str:
        """What the exception says; where it says nothing, or fails to, its class."""
        try:
            said = str(self.problem).encode("utf-8", "replace").decode()
        except BaseException:  # noqa: BLE001 - also this is code that is not ours
            said = ""
        return said or type(self.problem).__name__

    @property
    def described(self) -> str:
        """The exception's class, and what it says."""
        name = type(self.problem).__name__
        return name if self.message == name else f"{name}: {self.message}"


def called(call: Callable[[], T]) -> T | Raised:
    """The result of a call, or what it raised."""
    try:
        return call()
    except BaseException as problem:  # noqa: BLE001 - handed back
        return Raised(problem)


async def awaited(call: Callable[[], Awaitable[T]]) -> T | Raised:
    """The same of a coroutine function; raises CancelledError only where the task that awaits this is cancelled."""
    task = asyncio.current_task()
    try:
        return await call()
    except asyncio.CancelledError as problem:
        if task is not None and task.cancelling():
            raise
        return Raised(problem)
    except BaseException as problem:  # noqa: BLE001 - handed back
        return Raised(problem)


def lasting(main: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, on a loop of its own that nothing else which runs on it can end.

    A task that exits fails like any other: whoever awaits it is told, and its traceback is printed.
    """
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        task.add_done_callback(lambda _: loop.stop())
        while not task.done():
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                traceback.print_exc()
        return task.result()
