"""What other people's code raises comes back as a value; that nobody waits any more does not."""

import asyncio
import sys

import pytest

from harmonia_compiler.runtime.worker.outcome import Raised, awaited, called, lasting


def test_a_result_is_itself() -> None:
    assert called(lambda: 3) == 3


async def test_a_coroutine_is_cancelled_with_whoever_awaits_it() -> None:
    ended = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("the call")

    task = asyncio.create_task(awaited(forever))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["the call"]


async def test_a_cancellation_that_the_call_itself_raises_is_what_it_raised() -> None:
    async def gives_up() -> None:
        raise asyncio.CancelledError("enough")

    raised = await asyncio.create_task(awaited(gives_up))
    assert isinstance(raised, Raised)
    assert raised.described == "CancelledError: enough"


def test_a_message_that_no_document_can_hold_is_made_one_that_it_can() -> None:
    assert Raised(ValueError("\ud800")).message == "?"


def test_a_loop_outlasts_what_exits_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    async def leaves() -> None:
        sys.exit("enough")

    async def main() -> str:
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.stop)
        raised = await awaited(lambda: asyncio.create_task(leaves()))
        assert isinstance(raised, Raised)
        return raised.described

    assert lasting(main()) == "SystemExit: enough"
    assert capsys.readouterr().err.endswith("SystemExit: enough\n")


def test_what_the_main_coroutine_raises_is_raised() -> None:
    async def main() -> None:
        raise SystemExit(2)

    with pytest.raises(SystemExit):
        lasting(main())
