import asyncio
import threading
from collections.abc import Sequence

import pytest

from harmonia_compiler.runtime.worker.batching import Batcher, Overloaded


class Held:
    """A function over batches that waits until it is let go, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.began = threading.Event()
        self.go = threading.Event()

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.began.set()
        assert self.go.wait(10)
        return [-item for item in items]


async def begun(held: Held) -> None:
    assert await asyncio.to_thread(held.began.wait, 10)


async def test_what_comes_in_meanwhile_is_the_next_batch() -> None:
    held = Held()
    batcher = Batcher(held, most=8)
    first = asyncio.create_task(batcher.submit([1]))
    await begun(held)
    others = [asyncio.create_task(batcher.submit([at, at])) for at in (2, 3)]
    await asyncio.sleep(0)
    held.go.set()
    assert list(await first) == [-1]
    assert [list(await other) for other in others] == [[-2, -2], [-3, -3]]
    assert held.batches == [[1], [2, 2, 3, 3]]


async def test_a_batch_is_bounded_but_a_call_is_never_cut() -> None:
    held = Held()
    held.go.set()
    batcher = Batcher(held, most=3)
    calls = [[1, 1], [2, 2], [3] * 5, [4]]
    results = await asyncio.gather(*(batcher.submit(call) for call in calls))
    assert [list(result) for result in results] == [[-item for item in call] for call in calls]
    assert held.batches == calls


async def test_a_failure_reaches_its_own_batch_alone() -> None:
    def run(items: Sequence[int]) -> list[int]:
        if 2 in items:
            raise ValueError("two")
        return list(items)

    batcher = Batcher(run, most=1)
    results = await asyncio.gather(*(batcher.submit([at]) for at in (1, 2, 3)), return_exceptions=True)
    assert results[0] == [1]
    assert isinstance(results[1], ValueError)
    assert results[2] == [3]


async def test_what_nobody_awaits_is_not_worked_on_and_takes_no_room() -> None:
    held = Held()
    batcher = Batcher(held, most=8, waiting=3)
    first = asyncio.create_task(batcher.submit([1]))
    await begun(held)
    gone = asyncio.create_task(batcher.submit([2, 2]))
    last = asyncio.create_task(batcher.submit([3]))
    await asyncio.sleep(0)
    gone.cancel()
    later = asyncio.create_task(batcher.submit([4, 4]))
    await asyncio.sleep(0)
    held.go.set()
    await asyncio.gather(first, last, later)
    assert held.batches == [[1], [3, 4, 4]]


async def test_what_waits_is_bounded() -> None:
    held = Held()
    batcher = Batcher(held, most=1, waiting=3)
    first = asyncio.create_task(batcher.submit([1]))
    await begun(held)
    waiting = asyncio.create_task(batcher.submit([2, 2]))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await batcher.submit([3, 3])
    held.go.set()
    await asyncio.gather(first, waiting)
    assert list(await batcher.submit([3, 3])) == [-3, -3]


async def test_nothing_needs_no_batch() -> None:
    held = Held()
    assert list(await Batcher(held, most=1).submit([])) == []
    assert held.batches == []
