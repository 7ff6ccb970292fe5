"""Collects what comes in while a batch is being worked on into the next batch.

There is no timer: a lone call is worked on at once, and under load batches grow by themselves.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Overloaded(Exception):
    """More is waiting than may wait."""


class Batcher(Generic[T, R]):
    """Runs a function over batches, in one thread of its own, for callers on one event loop.

    `run` gives one result for each item, in order. A batch holds at most `most` items, or the items
    of one call where it alone has more; at most `waiting` items wait.
    """

    def __init__(self, run: Callable[[Sequence[T]], Sequence[R]], *, most: int, waiting: int = 16_384) -> None:
        self._run = run
        self._most = most
        self._limit = waiting
        self._waiting: deque[tuple[Sequence[T], asyncio.Future[Sequence[R]]]] = deque()
        self._thread = ThreadPoolExecutor(1, "batches")
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, items: Sequence[T]) -> Sequence[R]:
        """The results of these items; raises what `run` raised, or Overloaded."""
        if not items:
            return []
        if sum(len(each) for each, future in self._waiting if not future.done()) + len(items) > self._limit:
            raise Overloaded
        future: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        self._waiting.append((items, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        """Works until nothing waits."""
        while batch := self._next_batch():
            items = [item for each, _ in batch for item in each]
            try:
                results = await asyncio.get_running_loop().run_in_executor(self._thread, self._run, items)
            except Exception as problem:  # noqa: BLE001 - handed on to whoever waits
                for _, future in batch:
                    if not future.done():
                        future.set_exception(problem)
                continue
            start = 0
            for each, future in batch:
                if not future.done():
                    future.set_result(results[start : start + len(each)])
                start += len(each)

    def _next_batch(self) -> list[tuple[Sequence[T], asyncio.Future[Sequence[R]]]]:
        """The calls that have waited longest and still want their results, as many as fit."""
        batch: list[tuple[Sequence[T], asyncio.Future[Sequence[R]]]] = []
        size = 0
        while self._waiting:
            items, future = self._waiting[0]
            if batch and size + len(items) > self._most:
                break
            self._waiting.popleft()
            if future.done():
                continue
            batch.append((items, future))
            size += len(items)
        return batch
