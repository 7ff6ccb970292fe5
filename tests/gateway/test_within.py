"""A time in which something must be done."""

import asyncio

import pytest

from harmonia_compiler.runtime.gateway.within import _MOMENTS, PART, Within, within_s


async def test_what_is_in_time_is_left_alone() -> None:
    with within_s(60.0):
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_what_is_late_is_broken_off() -> None:
    with pytest.raises(TimeoutError), within_s(0.01):
        await asyncio.sleep(60.0)
    await asyncio.sleep(0)


async def test_it_ends_for_the_first_reason_that_there_is() -> None:
    loop = asyncio.get_running_loop()
    patience = Within(loop.time() + 60.0)

    def end() -> None:
        patience.end(ConnectionError("first"))
        patience.end(ConnectionError("second"))

    loop.call_soon(end)
    with pytest.raises(ConnectionError, match="first"), patience:
        await asyncio.sleep(60.0)


async def test_one_within_another_ends_alone() -> None:
    with within_s(60.0):
        with pytest.raises(TimeoutError), within_s(0.01):
            await asyncio.sleep(60.0)
        await asyncio.sleep(0)


async def test_the_outer_one_ends_the_inner_one() -> None:
    with pytest.raises(TimeoutError), within_s(0.01), within_s(60.0):
        await asyncio.sleep(60.0)


async def test_who_is_cancelled_by_somebody_else_stays_cancelled() -> None:
    async def wait() -> None:
        with within_s(60.0):
            await asyncio.sleep(60.0)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_cancelled_and_late_at_once_is_cancelled() -> None:
    async def wait(patience: Within) -> None:
        with patience:
            await asyncio.sleep(60.0)

    patience = within_s(60.0)
    task = asyncio.create_task(wait(patience))
    await asyncio.sleep(0)
    task.cancel()
    patience.end(TimeoutError())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_those_of_about_one_time_end_together_and_leave_nothing_behind() -> None:
    async def wait(seconds: float) -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError), within_s(seconds):
            await asyncio.sleep(60.0)
        return asyncio.get_running_loop().time() - began

    asked = [0.05 + at / 1000 for at in range(40)]
    took = await asyncio.gather(*(wait(seconds) for seconds in asked))
    assert all(one >= seconds - 0.002 for one, seconds in zip(took, asked, strict=True))
    assert not _MOMENTS.found


@pytest.mark.parametrize("seconds", [0.5, 10.0, 600.0])
async def test_however_many_come_and_go_there_are_few_timers(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for at in range(5000):
        with Within(began + seconds * (1.0 + at / 5000)):
            pass
    assert len(_MOMENTS.found) <= 2.0 / PART
