"""Overload: who would be late is told so at once, and whoever is let in is counted until it ends."""

import asyncio
import time

import msgspec
import pytest

from harmonia_compiler.contract.program import Argument, Attempt, Block, Call, Parameter, Program, RequestClass
from harmonia_compiler.policy.lookahead import START
from tests.gateway.fakes import COMPONENTS, FakeEngine, eventually, program, serving

CHAT = "/v1/chat/completions"
SAYING = (Parameter("question"), Call("say", ("question",), (0,)))


def ask(**more: object) -> dict[str, object]:
    return {"model": "p", "messages": [{"role": "user", "content": "hi"}], **more}


async def test_who_would_be_late_is_refused_before_any_call(engine: FakeEngine) -> None:
    engine.pause_s = 0.2
    async with serving([program("p", SAYING, deadline_ms=900.0)], {"llm": engine.port}, concurrency=1) as served:
        # The first one tells how long a call takes.
        assert (await served.client.post(CHAT, ask()))[0] == 200
        answers = await asyncio.gather(*(served.client.post(CHAT, ask()) for _ in range(12)))
        # On a busy machine some that were let in are late all the same, or given up when their turn comes.
        refused = [(body, headers) for _, body, headers in answers if "error" in body]
        refused = [(body, headers) for body, headers in refused if body["error"]["code"] == "overloaded"]
        assert {status for status, _, _ in answers} <= {200, 429, 504}
        assert 1 <= len(refused) <= 11
        assert len(engine.calls) <= 13 - len(refused)
        for body, headers in refused:
            assert body["error"]["type"] == "overloaded_error"
            assert 1 <= int(headers["retry-after"]) <= 30
        counters = await served.client.counters("p")
        assert (counters["accepted"], counters["in_flight"]) == (13, 0)
        assert counters["shed"] >= len(refused)


async def test_a_refusal_waits_for_nobody(engine: FakeEngine) -> None:
    engine.hang = True
    async with serving([program("p", SAYING, deadline_ms=5000.0)], {"llm": engine.port}, concurrency=1) as served:
        served.gateway.schedule.lines["llm"].held_s.add(10.0)
        first = asyncio.ensure_future(served.client.post(CHAT, ask()))
        await eventually(lambda: engine.in_flight == 1)
        began = time.monotonic()
        status, _, _ = await served.client.post(CHAT, ask())
        assert status == 429
        assert time.monotonic() - began < 2.0, "far from the deadline"
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_class_with_more_time_is_let_in_where_another_is_refused(engine: FakeEngine) -> None:
    engine.hang = True
    classes = (RequestClass("hurried", 1000.0), RequestClass("patient", 60_000.0))
    async with serving([program("p", SAYING, classes=classes)], {"llm": engine.port}, concurrency=1) as served:
        served.gateway.schedule.lines["llm"].held_s.add(2.0)
        first = asyncio.ensure_future(served.client.post(CHAT, ask(**{"class": "patient"})))
        await eventually(lambda: engine.in_flight == 1)
        assert (await served.client.post(CHAT, ask(**{"class": "hurried"})))[0] == 429
        second = asyncio.ensure_future(served.client.post(CHAT, ask(**{"class": "patient"})))
        await eventually(lambda: len(served.gateway.schedule.lines["llm"].waiting) == 1)
        for one in (first, second):
            one.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


async def test_a_call_whose_turn_comes_too_late_is_given_up(engine: FakeEngine) -> None:
    engine.pause_s = 0.3
    async with serving([program("p", SAYING, deadline_ms=500.0)], {"llm": engine.port}, concurrency=1) as served:
        # Nothing is known yet, so that both are let in.
        first = asyncio.ensure_future(served.client.post(CHAT, ask()))
        await eventually(lambda: engine.in_flight == 1)
        leg_s = served.gateway.schedule.pipelines["p"].lookahead.at(("say", 0, ())).whole
        for _ in range(50):
            leg_s.add(0.4)
        status, body, headers = await served.client.post(CHAT, ask())
        assert (status, body["error"]["code"], body["error"]["component"]) == (429, "given_up", "say")
        assert "retry-after" in headers
        assert (await first)[0] == 200
        assert len(engine.calls) == 1


def timed_out() -> Program:
    said = msgspec.structs.replace(COMPONENTS["say"], settings={"timeout": 60})
    return program("p", SAYING, components={"say": said}, deadline_ms=60_000.0)


def within() -> Program:
    block = Block((Argument(0), Call("say", ("question",), (0,))), (1,))
    one = program("p", (Parameter("question"), Attempt(0, (0,), 60.0)), blocks=(block,), deadline_ms=60_000.0)
    return msgspec.structs.replace(one, components={"say": COMPONENTS["say"]})


@pytest.mark.parametrize(("one", "code"), [(timed_out(), "component_timeout"), (within(), "value_late")])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_a_time_of_its_own_ends_was_late_for_the_schedule(
    engine: FakeEngine, one: Program, code: str, *, stream: bool
) -> None:
    engine.hang = True
    async with serving([one], {"llm": engine.port}) as served:
        answers = await asyncio.gather(*(served.client.post(CHAT, ask(stream=stream)) for _ in range(8)))
        assert {(status, body["error"]["code"]) for status, body, _ in answers} == {(504, code)}
        (pipeline,) = served.gateway.schedule.pipelines.values()
        await eventually(lambda: pipeline.under_way() == 0)
        # More than the 60 ms that they had worked lay ahead of them.
        assert pipeline.lookahead.at(START).whole.at(1.0) >= 0.055


@pytest.mark.parametrize("stream", [False, True])
async def test_under_overload_every_request_is_in_one_place_at_every_scrape(
    engine: FakeEngine, *, stream: bool
) -> None:
    # Far more than are in time by any clock, and some that are on a machine that is busy with something else.
    engine.pause_s = 0.05
    seen: list[int] = []

    async def one(at: int) -> None:
        await asyncio.sleep(at / 400)
        async with served.client.session.post(served.client.url + CHAT, json=ask(stream=stream)) as response:
            await response.read()
            seen.append(response.status)

    async with serving([program("p", SAYING, deadline_ms=2000.0)], {"llm": engine.port}, concurrency=2) as served:
        storm = [asyncio.ensure_future(one(at)) for at in range(200)]
        while not all(task.done() for task in storm):
            counters = await served.client.counters("p")
            assert counters.pop("accepted") == sum(counters.values())
            await asyncio.sleep(0.01)
        await asyncio.gather(*storm)
        counters = await served.client.counters("p")
        assert (counters["accepted"], counters["in_flight"]) == (200, 0)
        assert counters["completed"] > 0
        assert counters["shed"] > 0
        assert seen.count(429) <= counters["shed"]
        (group,) = served.gateway.schedule.pipelines["p"].groups.values()
        assert all(calls == pytest.approx(0.0, abs=1e-6) for calls in group.pending.values())


async def test_a_model_is_told_which_call_is_in_more_of_a_hurry(engine: FakeEngine) -> None:
    classes = (RequestClass("hurried", 5000.0), RequestClass("patient", 60_000.0))
    async with serving([program("p", SAYING, classes=classes)], {"llm": engine.port}) as served:
        for one in ("patient", "hurried", "patient"):
            assert (await served.client.post(CHAT, ask(**{"class": one})))[0] == 200
    first, hurried, last = (call["priority"] for call in engine.calls)
    assert hurried < first < last
    assert 50_000 < first - hurried < 60_000
