"""What is made up for where a replica fails a call, and what is not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.program import Call, Parameter, Program
from tests.gateway.fakes import COMPONENTS, FakeEngine, Served, eventually, program, serving

CHAT = "/v1/chat/completions"


@pytest.fixture
async def bad() -> AsyncIterator[FakeEngine]:
    fake = await FakeEngine().start()
    yield fake
    await fake.stop()


def saying(**settings: Any) -> Program:
    made = msgspec.structs.replace(COMPONENTS["say"], settings=settings)
    operations = (Parameter("question"), Call("say", ("question",), (0,)))
    return program("p", operations, components={"say": made})


def both(bad: FakeEngine, good: FakeEngine) -> list[Endpoint]:
    """The bad one goes first."""
    return [Endpoint(f"llm-{at}", "llm", "127.0.0.1", one.port) for at, one in enumerate((bad, good), start=1)]


def ask(*, stream: bool = False) -> dict[str, Any]:
    return {"model": "p", "messages": [{"role": "user", "content": "why?"}], "stream": stream}


async def retries(served: Served) -> float:
    _, text = await served.client.get("/metrics")
    found = [line for line in text.splitlines() if line.startswith("harmonia_component_retries_total")]
    return sum(float(line.split()[-1]) for line in found)


@pytest.mark.parametrize("status", [500, 503])
async def test_an_error_of_one_replica_is_made_up_for_by_another(
    bad: FakeEngine, engine: FakeEngine, status: int
) -> None:
    bad.status = status
    async with serving([saying()], both(bad, engine)) as served:
        for _ in range(6):
            assert (await served.client.post(CHAT, ask()))[0] == 200
        assert await retries(served) >= 1


async def test_what_is_the_call_s_own_fault_is_not_sent_again(bad: FakeEngine, engine: FakeEngine) -> None:
    bad.status = engine.status = 422
    async with serving([saying()], both(bad, engine)) as served:
        assert (await served.client.post(CHAT, ask()))[1]["error"]["code"] == "component_refused"
        assert len(bad.calls) + len(engine.calls) == 1


@pytest.mark.parametrize("way", ["break_after", "fail_after"])
async def test_a_stream_that_fails_before_its_first_piece_begins_anew_elsewhere(
    bad: FakeEngine, engine: FakeEngine, way: str
) -> None:
    setattr(bad, way, 0)
    async with serving([saying()], both(bad, engine)) as served:
        events = await served.client.events(CHAT, ask(stream=True))
        assert events[-1] == "[DONE]"
        assert await retries(served) == 1


async def test_a_stream_whose_engine_says_that_it_failed_ends_in_an_error(bad: FakeEngine, engine: FakeEngine) -> None:
    bad.fail_after = 2
    async with serving([saying()], both(bad, engine)) as served:
        events = await served.client.events(CHAT, ask(stream=True))
        assert events[-1]["error"]["code"] == "component_error"
        assert engine.calls == []


async def test_one_replica_is_not_sent_its_own_errors_again(bad: FakeEngine) -> None:
    bad.status = 500
    async with serving([saying()], {"llm": bad.port}) as served:
        assert (await served.client.post(CHAT, ask()))[0] == 502
        assert len(bad.calls) == 1


async def test_without_a_budget_nothing_is_sent_again(bad: FakeEngine, engine: FakeEngine) -> None:
    bad.status = 500
    async with serving([saying()], both(bad, engine)) as served:
        served.gateway.dispatcher.queues["llm"].budget.left = 0.0
        assert (await served.client.post(CHAT, ask()))[0] == 502
        assert engine.calls == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmonia_compiler.policy.routing.pool.UNKNOWN_PATIENCE_S", 0.2)
    monkeypatch.setattr("harmonia_compiler.runtime.gateway.dispatch.LOOK_S", 0.05)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_at_a_replica_that_hangs_is_broken_off_and_made_elsewhere(
    bad: FakeEngine, engine: FakeEngine, *, stream: bool
) -> None:
    bad.hang = True
    async with serving([saying()], both(bad, engine)) as served:
        if stream:
            assert (await served.client.events(CHAT, ask(stream=True)))[-1] == "[DONE]"
        else:
            assert (await served.client.post(CHAT, ask()))[0] == 200
        await eventually(lambda: bad.cancelled == 1)


@pytest.mark.usefixtures("impatient")
async def test_a_stream_that_makes_no_progress_ends_in_an_error(bad: FakeEngine, engine: FakeEngine) -> None:
    bad.pause_s = 0.1

    def stop() -> None:
        bad.pause_s = 60.0

    async with serving([saying()], both(bad, engine)) as served:
        asyncio.get_running_loop().call_later(0.15, stop)
        events = await served.client.events(CHAT, ask(stream=True))
        assert events[-1]["error"]["code"] == "answer_broken"
        assert engine.calls == []


@pytest.mark.usefixtures("impatient")
async def test_what_may_not_be_made_again_is_waited_for(bad: FakeEngine, engine: FakeEngine) -> None:
    bad.pause_s = 0.5
    async with serving([saying(pure=False)], both(bad, engine)) as served:
        assert (await served.client.post(CHAT, ask()))[0] == 200
        assert engine.calls == []
