"""What is made up for where a replica fails a call, and what is not."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.program import Call, Parameter, Program
from harmonia_compiler.contract.types import Vector
from harmonia_compiler.policy.quantile import Mean
from harmonia_compiler.policy.routing import budget
from harmonia_compiler.policy.routing.health import TIMES
from harmonia_compiler.policy.routing.hedge import KEPT, KNOWN_FROM
from harmonia_compiler.runtime.gateway.second import Second
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


async def test_a_stage_that_is_gone_is_sent_no_more_than_its_budget_again() -> None:
    """Also where there is nobody but who is gone."""
    asked = 60
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = [Endpoint(f"llm-{at}", "llm", *nobody.getsockname()) for at in (1, 2)]
        async with serving([saying()], dead) as served:
            for _ in range(asked):
                assert (await served.client.post(CHAT, ask()))[1]["error"]["code"] == "replica_unreachable"
            # What was saved up before, once, and a part of what is sent.
            assert budget.KEPT < await retries(served) <= budget.KEPT + budget.EARNED * asked


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


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_reads_nothing_for_long_is_no_fault_of_the_replica(
    bad: FakeEngine, engine: FakeEngine
) -> None:
    bad.words = engine.words = ["x" * 2**16] * 256
    async with serving([saying()], both(bad, engine)) as served:
        unread = socket.socket()
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.setblocking(False)  # noqa: FBT003 - the socket's own signature
        await asyncio.get_running_loop().sock_connect(unread, ("127.0.0.1", served.port))
        reader, writer = await asyncio.open_connection(sock=unread, limit=4096)
        body = msgspec.json.encode(ask(stream=True))
        writer.write(b"POST %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" % CHAT.encode())
        writer.write(b"content-length: %d\r\n\r\n%s" % (len(body), body))
        await asyncio.sleep(1.0)
        assert (await reader.read()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        writer.close()
        assert served.gateway.dispatcher.queues["llm"].line.pool.left_out == 0


@pytest.mark.usefixtures("impatient")
async def test_a_model_that_was_left_out_is_brought_back_by_a_token_of_our_own(
    bad: FakeEngine, engine: FakeEngine
) -> None:
    bad.hang = True
    async with serving([saying()], both(bad, engine)) as served:
        assert (await served.client.post(CHAT, ask()))[0] == 200
        pool = served.gateway.dispatcher.queues["llm"].line.pool
        assert pool.left_out == 1
        bad.hang = False
        asked = len(engine.calls)
        await eventually(lambda: not pool.loads["llm-1"].health.on_trial)
        assert bad.calls[-1]["max_tokens"] == 1
        assert len(engine.calls) == asked


async def test_a_model_that_is_gone_is_left_out_after_one_call_that_found_out(engine: FakeEngine) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = Endpoint("llm-1", "llm", "127.0.0.1", nobody.getsockname()[1])
        async with serving([saying()], [dead, Endpoint("llm-2", "llm", "127.0.0.1", engine.port)]) as served:
            pool = served.gateway.dispatcher.queues["llm"].line.pool
            while not pool.loads["llm-1"].health.failing.count:
                assert (await served.client.post(CHAT, ask()))[0] == 200
            await eventually(lambda: pool.left_out == 1)
            assert len(engine.calls) <= 3


@pytest.mark.usefixtures("impatient")
async def test_a_model_with_a_call_and_no_word_is_probed_and_left_out(
    bad: FakeEngine, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmonia_compiler.policy.routing.pool.UNKNOWN_PATIENCE_S", 60.0)
    monkeypatch.setattr("harmonia_compiler.policy.routing.pool.SUSPECT_S", 0.1)
    monkeypatch.setattr("harmonia_compiler.policy.routing.pool.PROBE_S", 0.2)
    bad.hang = True
    async with serving([saying()], both(bad, engine)) as served:
        assert (await served.client.post(CHAT, ask()))[0] == 200
        assert served.gateway.dispatcher.queues["llm"].line.pool.left_out == 1
        assert [call["max_tokens"] for call in bad.calls[-1:]] == [1]


REMEMBERING = (Parameter("question"), Call("minilm", ("text",), (0,)))


def embedding(bad: FakeEngine, good: FakeEngine) -> tuple[Program, list[Endpoint]]:
    made = program("p", REMEMBERING, result_type=Vector(), streams=False)
    ports = (bad.port, good.port)
    return made, [Endpoint(f"embedder-{at}", "embedder", "127.0.0.1", port) for at, port in enumerate(ports, start=1)]


async def remember(served: Served, times: int = 1) -> None:
    for _ in range(times):
        status, body, _ = await served.client.post("/v1/pipelines/p", {"inputs": {"question": "why?"}})
        assert status == 200, body


async def seconds(served: Served) -> float:
    _, text = await served.client.get("/metrics")
    found = [line for line in text.splitlines() if line.startswith("harmonia_component_second_calls_total")]
    return sum(float(line.split()[-1]) for line in found)


async def test_a_call_that_takes_much_longer_than_usual_is_made_a_second_time_and_the_first_answer_counts(
    bad: FakeEngine, engine: FakeEngine
) -> None:
    made, endpoints = embedding(bad, engine)
    async with serving([made], endpoints) as served:
        await remember(served, 2 * KNOWN_FROM)
        assert bad.calls
        queue = served.gateway.dispatcher.queues["embedder"]
        health = queue.line.pool.loads["embedder-1"].health
        # How busy this machine was says nothing of what comes now.
        health.pace = Mean(memory=TIMES)
        queue.hedge.budget.left = KEPT
        before, bad.pause_s = await seconds(served), 30.0
        while not bad.cancelled:
            await asyncio.wait_for(remember(served), 5.0)
        assert await seconds(served) > before
        await eventually(lambda: queue.line.in_flight == 0)
        assert queue.line.pool.left_out == 0
        assert health.pace.count, "what it took so far counts as its time (how slow that is, says tests/policy)"
        assert await retries(served) == 0


async def test_a_second_call_that_is_needed_no_more_when_it_is_about_to_begin_keeps_no_place(
    bad: FakeEngine, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, endpoints = embedding(bad, engine)
    over = Second.__exit__

    def late_at_the_end(second: Second[Any], *error: Any) -> None:
        """Its time comes in the turn of the loop in which the first call's answer is read, and not before."""
        second._begin()
        over(second, *error)

    def alone(second: Second[Any]) -> Second[Any]:
        second._timer.cancel()
        return second

    async with serving([made], endpoints) as served:
        await remember(served, 2 * KNOWN_FROM)
        queue = served.gateway.dispatcher.queues["embedder"]
        before = await seconds(served)
        monkeypatch.setattr(Second, "__exit__", late_at_the_end)
        monkeypatch.setattr(Second, "__enter__", alone)
        await remember(served, 3)
        await eventually(lambda: queue.line.in_flight == 0)
        assert [load.places.taken for load in queue.line.pool.loads.values()] == [0, 0]
        assert await seconds(served) == before


async def test_second_calls_and_those_that_make_up_for_failures_have_one_budget(
    bad: FakeEngine, engine: FakeEngine
) -> None:
    remembering, endpoints = embedding(bad, engine)
    async with serving([remembering], endpoints) as served:
        await remember(served, 2 * KNOWN_FROM)
        before, bad.pause_s, engine.pause_s = await seconds(served), 0.2, 0.2
        queue = served.gateway.dispatcher.queues["embedder"]
        queue.budget.left = 0.0
        await remember(served, 3)
        assert await seconds(served) == before
        # Each second call is charged to it, and to their own.
        for charged, full in ((queue.budget, queue.hedge.budget), (queue.hedge.budget, queue.budget)):
            charged.left, made = 3.0, 0
            for _ in range(10):
                full.left = full.kept
                if (other := queue.second(endpoints[0])) is not None:
                    queue.release(other)
                    made += 1
            assert made == 3


async def test_what_may_not_be_made_again_is_not_made_a_second_time(bad: FakeEngine, engine: FakeEngine) -> None:
    made, endpoints = embedding(bad, engine)
    kept = msgspec.structs.replace(made.components["minilm"], settings={"pure": False})
    async with serving([msgspec.structs.replace(made, components={"minilm": kept})], endpoints) as served:
        await remember(served, 2 * KNOWN_FROM)
        bad.pause_s = engine.pause_s = 0.3
        await remember(served, 4)
        assert await seconds(served) == 0
        assert bad.cancelled + engine.cancelled == 0


async def test_where_the_first_call_fails_the_second_one_that_is_on_its_way_makes_up_for_it(
    bad: FakeEngine, engine: FakeEngine
) -> None:
    made, endpoints = embedding(bad, engine)
    async with serving([made], endpoints) as served:
        await remember(served, 2 * KNOWN_FROM)
        before, bad.pause_s, engine.pause_s = await seconds(served), 0.5, 1.0
        asking = asyncio.gather(*(remember(served) for _ in range(4)))
        await asyncio.sleep(0.3)
        assert await seconds(served) > before
        await bad.stop()
        await asyncio.wait_for(asking, 10.0)
