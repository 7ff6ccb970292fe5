"""Every admitted request ends exactly once, whatever happens to the client, to an engine, or to time."""

import asyncio
import dataclasses
import json
import random
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import aiohttp
import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.contract.program import Call, MakeList, Parameter, Program
from harmonia_compiler.contract.types import ListOf
from harmonia_compiler.policy.events import Send
from harmonia_compiler.policy.pipeline import Promise
from harmonia_compiler.runtime.gateway.body import ClientGone
from harmonia_compiler.runtime.gateway.http_transport import HttpTransport
from harmonia_compiler.runtime.gateway.stage import Stage
from tests.gateway.fakes import COMPONENTS, ENGINES, TEXT, FakeEngine, Served, eventually, program, serving

CHAT = "/v1/chat/completions"
OPERATIONS = (Parameter("question"), Call("say", ("question",), (0,)))


def saying(name: str = "p", *, settings: dict[str, Any] | None = None, **more: Any) -> Program:
    """One call of a model, with these settings of its component."""
    said = COMPONENTS["say"]
    changed = Component(
        said.name, said.kind, said.engine, said.ports, said.result, prompt=said.prompt, settings=settings or {}
    )
    return program(name, OPERATIONS, components={"say": changed}, **more)


def ask(*, stream: bool = False, model: str = "p") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream}


async def last_error(response: aiohttp.ClientResponse) -> Any:
    """The error that a stream ends with, which may have been read in part."""
    *_, last, after = (await response.read()).split(b"\n\n")
    assert after == b""
    return msgspec.json.decode(last.removeprefix(b"data: "))["error"]


async def leave(served: Served, engine: FakeEngine, *, stream: bool, words: int) -> None:
    """A client that asks, waits until the engine works or so many events came, and closes its connection."""
    async with aiohttp.ClientSession() as session:
        response_of = asyncio.ensure_future(session.post(served.client.url + CHAT, json=ask(stream=stream)))
        await eventually(lambda: engine.in_flight > 0)
        if words:
            response = await response_of
            for _ in range(words):
                await response.content.readuntil(b"\n\n")
            response.close()
        else:
            response_of.cancel()
            await asyncio.gather(response_of, return_exceptions=True)


@pytest.mark.parametrize(("stream", "words"), [(False, 0), (True, 0), (True, 2)], ids=["plain", "before", "midway"])
async def test_a_client_that_leaves_cancels_the_engine_s_work(engine: FakeEngine, *, stream: bool, words: int) -> None:
    engine.words, engine.pause_s = ["word"] * 1000, 0.05
    async with serving([saying()], {"llm": engine.port}) as served:
        await leave(served, engine, stream=stream, words=words)
        await eventually(lambda: engine.cancelled == 1 and engine.in_flight == 0)
        counters = await served.client.counters("p")
        assert (counters["accepted"], counters["cancelled"], counters["in_flight"]) == (1, 1, 0)


async def test_a_client_that_leaves_the_queue_is_forgotten(engine: FakeEngine) -> None:
    engine.pause_s = 0.3
    async with serving([saying()], {"llm": engine.port}, concurrency=1) as served:
        first = asyncio.ensure_future(served.client.post(CHAT, ask()))
        await eventually(lambda: engine.in_flight == 1)
        queue = served.gateway.dispatcher.queues["llm"]
        async with aiohttp.ClientSession() as session:
            second = asyncio.ensure_future(session.post(served.client.url + CHAT, json=ask()))
            await eventually(lambda: len(queue.line.waiting) == 1)
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)
        await eventually(lambda: not queue.line.waiting)
        assert (await first)[0] == 200
        assert len(engine.calls) == 1
        assert (await served.client.counters("p"))["cancelled"] == 1


@pytest.mark.parametrize("path", [CHAT, "/v1/pipelines/p"])
async def test_an_engine_killed_in_mid_stream_ends_in_an_error_event(engine: FakeEngine, path: str) -> None:
    engine.break_after = 2
    async with serving([saying()], {"llm": engine.port}) as served:
        asked = ask(stream=True) if path == CHAT else {"inputs": {"question": "hi"}, "stream": True}
        events = await served.client.events(path, asked)
        assert events[-1]["error"]["code"] == "answer_broken"
        assert events[-1]["error"]["component"] == "say"
        assert "[DONE]" not in events
        assert len(engine.calls) == 1
        assert (await served.client.counters("p"))["failed"] == 1


async def test_a_stream_that_ends_without_a_finish_is_broken() -> None:
    async def short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'data: {"choices":[{"delta":{"content":"Blue"}}]}\n\n'
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(short, "127.0.0.1", 0)
    async with server, serving([saying()], {"llm": server.sockets[0].getsockname()[1]}) as served:
        events = await served.client.events(CHAT, ask(stream=True))
        assert events[-1]["error"]["message"] == "`say`: the stream ended before the answer did"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_deadline_ends_the_request(engine: FakeEngine, *, stream: bool) -> None:
    engine.hang = True
    async with serving([saying(deadline_ms=80.0)], {"llm": engine.port}) as served:
        status, body, _ = await served.client.post(CHAT, ask(stream=stream))
        assert (status, body["error"]["code"], body["error"]["component"]) == (504, "deadline_exceeded", "say")
        await eventually(lambda: engine.cancelled == 1)


async def test_a_deadline_of_seconds_is_told_in_seconds(engine: FakeEngine) -> None:
    engine.hang = True
    async with serving([saying(deadline_ms=1000.0)], {"llm": engine.port}) as served:
        _, body, _ = await served.client.post(CHAT, ask())
        assert body["error"]["message"] == "the request's 1 s passed while `say` ran"


async def test_a_deadline_says_of_a_call_that_it_waited(engine: FakeEngine) -> None:
    engine.hang = True
    programs = [saying("patient"), saying("hasty", deadline_ms=100.0)]
    async with serving(programs, {"llm": engine.port}, concurrency=1) as served:
        before = asyncio.ensure_future(served.client.post(CHAT, ask(model="patient")))
        await eventually(lambda: engine.in_flight == 1)
        status, body, _ = await served.client.post(CHAT, ask(model="hasty"))
        assert (status, body["error"]["code"], body["error"]["component"]) == (504, "deadline_exceeded", "say")
        assert body["error"]["message"] == "the request's 100 ms passed while `say` waited for a replica"
        before.cancel()


async def test_a_deadline_says_of_each_call_what_it_did(engine: FakeEngine) -> None:
    engine.hang = True
    names = ("say", "add", "tell")
    three = program(
        "p",
        (Parameter("question"), *(Call(name, ("question",), (0,)) for name in names), MakeList((1, 2, 3))),
        components={name: msgspec.structs.replace(COMPONENTS["say"], name=name) for name in names},
        result_type=ListOf(TEXT),
        streams=False,
        deadline_ms=100.0,
    )
    async with serving([three], {"llm": engine.port}, concurrency=1) as served:
        _, body, _ = await served.client.post("/v1/pipelines/p", {"inputs": {"question": "q"}})
    said = "the request's 100 ms passed while `say` ran and `add` and `tell` waited for a replica"
    assert (body["error"]["message"], body["error"]["component"]) == (said, "say")


async def test_the_deadline_ends_a_stream_with_an_error_event(engine: FakeEngine) -> None:
    """A busy machine may take longer to the first word than a deadline is, which then is no stream's: the next is."""
    engine.words, engine.pause_s = ["word"] * 5000, 0.02
    told = {"within100": "100 ms", "within1000": "1 s", "within10000": "10 s"}
    programs = [saying(name, deadline_ms=float(name.removeprefix("within"))) for name in told]
    async with serving(programs, {"llm": engine.port}) as served:
        for name in told:
            asked = ask(stream=True, model=name)
            async with served.client.session.post(served.client.url + CHAT, json=asked) as response:
                error = await last_error(response) if response.status == 200 else None
            if error is not None:
                break
        assert error is not None
        assert (error["code"], error["message"]) == (
            "deadline_exceeded",
            f"the request's {told[name]} passed while `say` ran",
        )
        await eventually(lambda: engine.in_flight == 0)


async def test_a_component_s_timeout_ends_the_call(engine: FakeEngine) -> None:
    engine.hang = True
    async with serving([saying(settings={"timeout": 50})], {"llm": engine.port}) as served:
        status, body, _ = await served.client.post(CHAT, ask())
        assert (status, body["error"]["code"]) == (504, "component_timeout")
        assert body["error"]["message"] == "`say`: no answer within 50 ms"
        await eventually(lambda: engine.cancelled == 1)


async def test_a_component_s_timeout_counts_the_wait_for_a_replica(engine: FakeEngine) -> None:
    engine.hang = True
    async with serving([saying(settings={"timeout": 80})], {"llm": engine.port}, concurrency=1) as served:
        await served.gateway.dispatcher.queues["llm"].acquire()
        status, body, _ = await served.client.post(CHAT, ask())
        assert (status, body["error"]["code"]) == (504, "component_timeout")
        assert body["error"]["message"] == "`say`: no replica had room for it within 80 ms"
        assert engine.calls == []
        assert not served.gateway.dispatcher.queues["llm"].line.waiting


class EndlessTransport(HttpTransport):
    """A transport whose stream goes on, and that knows whether it was closed."""

    open = False

    async def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[list[bytes], None]:
        self.open = True
        try:
            while True:
                yield [b'{"choices": [{"delta": {"content": "word"}}]}']
        finally:
            self.open = False


async def test_a_stream_that_nobody_reads_on_is_closed_at_once(engine: FakeEngine) -> None:
    async def gone(texts: Sequence[str]) -> None:
        raise ClientGone

    async with serving([saying()], {"llm": engine.port}) as served:
        transport = EndlessTransport()
        caller = dataclasses.replace(served.gateway.caller, transports={"http": transport})
        send = Send(1, "say", {"question": "hi"}, {}, streams=True)
        schedule = served.gateway.schedule
        leg = schedule.ask(schedule.arrive(served.gateway.service.programs["p"], Promise(), 0.0), send, 0.0)
        with pytest.raises(ClientGone):
            await caller.call(COMPONENTS["say"], send, {}, Stage("say", 0.0), leg, gone)
        assert not transport.open
        await transport.close()


class TogetherTransport(HttpTransport):
    """A transport whose words come together with the news that the engine failed."""

    async def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[list[bytes], None]:
        words = [b'{"choices": [{"delta": {"content": "%s"}}]}' % word for word in (b"Blue", b" as")]
        yield [*words, b'{"error": {"message": "told to fail"}}']


async def test_words_leave_that_come_together_with_a_failure(engine: FakeEngine) -> None:
    async with serving([saying()], {"llm": engine.port}) as served:
        await served.gateway.transports["http"].close()
        served.gateway.transports["http"] = TogetherTransport()  # type: ignore[index]
        *pieces, last = await served.client.events("/v1/pipelines/p", {"inputs": {"question": "?"}, "stream": True})
        assert pieces == [{"type": "text", "text": "Blue"}, {"type": "text", "text": " as"}]
        assert last["error"]["code"] == "component_error"


class EndingTransport(HttpTransport):
    """A transport that ends the request in the turn of the event loop in which its first word comes."""

    def __init__(self, end: Callable[[], None]) -> None:
        super().__init__()
        self._end = end

    async def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[list[bytes], None]:
        self._end()
        yield [b'{"choices": [{"delta": {"content": "Blue"}}]}']


async def test_no_word_leaves_of_a_request_that_has_ended(engine: FakeEngine) -> None:
    """Nobody has cancelled the call yet; a word would make a stream of what is to be told as a failure."""
    async with serving([saying()], {"llm": engine.port}) as served:
        await served.gateway.transports["http"].close()
        served.gateway.transports["http"] = EndingTransport(served.gateway.cut)  # type: ignore[index]
        status, body, _ = await served.client.post(CHAT, ask(stream=True))
        assert (status, body["error"]["code"]) == (503, "stopping")


async def test_one_failure_cancels_what_runs_beside_it(engine: FakeEngine) -> None:
    failing = await FakeEngine(status=500).start()
    components = {**COMPONENTS, "other": Component("other", "llm", "other", COMPONENTS["say"].ports, TEXT)}
    both = program(
        "p",
        (Parameter("question"), Call("say", ("question",), (0,)), Call("other", ("question",), (0,)), MakeList((1, 2))),
        components=components,
        result_type=ListOf(TEXT),
        streams=False,
    )
    engine.hang = True
    engines = {**ENGINES, "other": ENGINES["llm"]}
    async with serving([both], {"llm": engine.port, "other": failing.port}, engines=engines) as served:
        status, body, _ = await served.client.post(CHAT, ask())
        assert (status, body["error"]["component"]) == (502, "other")
        await eventually(lambda: engine.cancelled == 1)
    await failing.stop()


async def test_a_client_that_reads_nothing_counts_as_gone(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmonia_compiler.runtime.gateway.exchange.STALL_S", 0.2)
    engine.words = ["x" * 10_000] * 3000
    async with serving([saying()], {"llm": engine.port}) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            body = json.dumps(ask(stream=True)).encode()
            client.sendall(
                b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (CHAT.encode(), len(body)) + body
            )
            await eventually(lambda: engine.cancelled == 1)
            assert (await served.client.counters("p"))["cancelled"] == 1


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nhost: x\r\n"], ids=["nothing", "half"])
async def test_a_head_that_does_not_arrive_in_time_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("harmonia_compiler.runtime.heads.HEAD_DEADLINE_S", 0.2)
    async with serving([saying()], {}) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(sent)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_an_answer_may_take_longer_than_a_head(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmonia_compiler.runtime.heads.HEAD_DEADLINE_S", 0.1)
    engine.pause_s = 0.4
    async with serving([saying()], {"llm": engine.port}) as served:
        assert (await served.client.post(CHAT, ask()))[0] == 200
        assert (await served.client.post(CHAT, ask()))[0] == 200


async def test_what_still_runs_when_the_gateway_must_stop_is_told(engine: FakeEngine) -> None:
    engine.words, engine.pause_s = ["word"] * 1000, 0.02
    async with serving([saying()], {"llm": engine.port}) as served:
        async with served.client.session.post(served.client.url + CHAT, json=ask(stream=True)) as stream:
            await stream.content.readuntil(b"\n\n")
            served.gateway.cut()
            assert (await last_error(stream))["code"] == "stopping"
        await eventually(lambda: engine.cancelled == 1)
        engine.hang = True
        plain = asyncio.ensure_future(served.client.post(CHAT, ask()))
        await eventually(lambda: engine.in_flight == 1)
        served.gateway.cut()
        status, _, headers = await plain
        assert (status, headers["retry-after"]) == (503, "10")


async def test_an_engine_without_replicas_is_a_quick_503() -> None:
    async with serving([saying()], {}) as served:
        status, body, headers = await served.client.post(CHAT, ask(stream=True))
        assert (status, body["error"]["code"], body["error"]["component"]) == (503, "no_replica", "say")
        assert int(headers["retry-after"]) >= 1


async def test_a_full_queue_sheds_with_retry_after(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmonia_compiler.policy.line.WAITING_AT_LEAST", 2)
    monkeypatch.setattr("harmonia_compiler.policy.line.WAITING_PER_SLOT", 2)
    engine.pause_s = 0.2
    async with serving([saying()], {"llm": engine.port}, concurrency=1) as served:
        answers = await asyncio.gather(*(served.client.post(CHAT, ask()) for _ in range(6)))
        statuses = sorted(status for status, _, _ in answers)
        assert statuses == [200, 200, 200, 429, 429, 429]
        refused = next((body, headers) for status, body, headers in answers if status == 429)
        assert refused[0]["error"]["code"] == "queue_full"
        assert int(refused[1]["retry-after"]) >= 1
        counters = await served.client.counters("p")
        assert (counters["shed"], counters["completed"], counters["failed"]) == (3, 3, 0)


def replicas(*ports: int) -> list[Endpoint]:
    return [Endpoint(f"llm-{at}", "llm", "127.0.0.1", port) for at, port in enumerate(ports, start=1)]


async def dead_port() -> int:
    """A port on which nobody listens."""
    gone = await FakeEngine().start()
    await gone.stop()
    return gone.port


async def test_a_pure_call_goes_to_another_replica_when_the_first_is_gone(engine: FakeEngine) -> None:
    async with serving([saying()], replicas(await dead_port(), engine.port)) as served:
        for _ in range(5):
            status, body, _ = await served.client.post("/v1/pipelines/p", {"inputs": {"question": "hi"}})
            assert status == 200
            assert body["timings"]["stages"][0]["replica"] == "llm-2"
        assert (await served.client.counters("p"))["completed"] == 5


async def test_a_pure_call_is_sent_twice_at_most() -> None:
    async with serving([saying()], replicas(*[await dead_port() for _ in range(3)])) as served:
        status, body, _ = await served.client.post(CHAT, ask())
        assert (status, body["error"]["code"]) == (503, "replica_unreachable")
        _, text = await served.client.get("/metrics")
        assert 'harmonia_component_retries_total{component="say"} 1.0' in text


async def test_an_impure_call_is_never_sent_again(engine: FakeEngine) -> None:
    async with serving([saying(settings={"pure": False})], replicas(await dead_port(), engine.port)) as served:
        assert (await served.client.post(CHAT, ask()))[0] == 503
        assert engine.calls == []


async def test_nothing_is_sent_again_once_the_answer_began(engine: FakeEngine) -> None:
    engine.break_after = 1
    other = await FakeEngine().start()
    async with serving([saying()], replicas(engine.port, other.port)) as served:
        events = await served.client.events(CHAT, ask(stream=True))
        assert events[-1]["error"]["code"] == "answer_broken"
        assert other.calls == []
    await other.stop()


async def test_nothing_gets_lost_in_a_storm(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harmonia_compiler.policy.line.WAITING_AT_LEAST", 8)
    monkeypatch.setattr("harmonia_compiler.policy.line.WAITING_PER_SLOT", 1)
    chance = random.Random(7)
    engine.pause_s = 0.01
    seen = {"statuses": 0, "left": 0, "whole": 0}

    async def one(served: Served, at: int) -> None:
        await asyncio.sleep(chance.random() / 2)
        kind = at % 5
        # A replica that breaks is left alone for a while: the first only once something has been answered.
        engine.break_after = 2 if at % 11 == 0 and seen["whole"] else None
        if kind == 4:
            async with aiohttp.ClientSession() as session:
                leaving = asyncio.ensure_future(session.post(served.client.url + CHAT, json=ask(stream=True)))
                await asyncio.sleep(0.004)
                leaving.cancel()
                await asyncio.gather(leaving, return_exceptions=True)
            seen["left"] += 1
            return
        async with served.client.session.post(served.client.url + CHAT, json=ask(stream=kind > 1)) as response:
            text = await response.text()
            assert response.status in {200, 429, 502, 503}
            assert response.status != 200 or ("[DONE]" in text) != ('"error"' in text) or kind <= 1
            seen["statuses"] += 1
            seen["whole"] += response.status == 200 and '"error"' not in text

    async with serving([saying()], replicas(engine.port, engine.port), concurrency=3) as served:
        storm = [asyncio.ensure_future(one(served, at)) for at in range(300)]
        while not all(task.done() for task in storm):
            counters = await served.client.counters("p")
            assert counters.pop("accepted") == sum(counters.values())
            await asyncio.sleep(0.02)
        await asyncio.gather(*storm)
        await eventually(lambda: not served.gateway.dispatcher.queues["llm"].line.waiting)
        async with asyncio.timeout(5):
            while (counters := await served.client.counters("p"))["in_flight"]:
                await asyncio.sleep(0.02)
        assert counters.pop("accepted") == sum(counters.values())
        assert counters["completed"] > 0
        assert counters["cancelled"] + counters["shed"] + counters["failed"] > 0
        loads = served.gateway.dispatcher.queues["llm"].line.replicas.values()
        assert [load.in_flight for load in loads] == [0, 0]
        await eventually(lambda: engine.in_flight == 0)
    assert seen["statuses"] + seen["left"] == 300


@pytest.mark.parametrize(
    ("given", "kept"), [("user-7.a_b", True), ("two words", False), ("x" * 65, False), ("", False)]
)
async def test_a_request_keeps_the_plain_id_that_it_brings_and_replicas_are_told(
    engine: FakeEngine, given: str, *, kept: bool
) -> None:
    async with serving([saying()], {"llm": engine.port}) as served:
        _, _, headers = await served.client.post(
            "/v1/pipelines/p", {"inputs": {"question": "q"}}, {"x-request-id": given}
        )
    assert (headers["x-request-id"] == given) == kept
    assert engine.told[-1]["x-request-id"] == headers["x-request-id"]
    assert engine.told[-1]["x-harmonia-call"] == "say;"


async def test_of_several_ids_the_first_plain_one_counts(engine: FakeEngine) -> None:
    given = [("x-request-id", each) for each in ("two words", "first", "second")]
    async with serving([saying()], {"llm": engine.port}) as served:
        url = served.client.url + CHAT
        async with served.client.session.post(url, json=ask(), headers=given) as response:
            assert response.headers["x-request-id"] == "first"
    assert engine.told[-1]["x-request-id"] == "first"
