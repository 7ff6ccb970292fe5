"""A client that leaves is noticed whatever it sent: a large body, or requests behind the one that is worked on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import uvicorn

from harmonia_compiler.runtime.heads import AHEAD, HEAD_LIMIT, BoundedHeads
from tests.gateway.fakes import FakeEngine, Served, eventually, serving
from tests.gateway.test_at_door import SAYING, at_most

#: Nearly as much as a body may have, and far more than a server takes from a connection at once.
LARGE = 1_000_000
#: How much the event loop takes from a connection at once, in bytes.
AT_ONCE = 256 * 2**10
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"

Ends = Callable[[asyncio.StreamWriter], None]


def abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def close(writer: asyncio.StreamWriter) -> None:
    writer.close()


def asked(size: int, *, stream: bool = False) -> bytes:
    """A request with a question of that many bytes."""
    messages = [{"role": "user", "content": "x" * size}]
    body = msgspec.json.encode({"model": "p", "stream": stream, "messages": messages})
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


async def sent(port: int, request: bytes) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    return writer


def in_call(served: Served, engine: FakeEngine) -> bool:
    return bool(engine.in_flight)


def in_line(served: Served, engine: FakeEngine) -> bool:
    return bool(served.gateway.dispatcher.queues["llm"].line.waiting)


def at_door(served: Served, engine: FakeEngine) -> bool:
    return bool(served.gateway.schedule.at_door)


@pytest.mark.parametrize("ends", [abort, close])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("where", [in_call, in_line, at_door])
async def test_a_client_with_a_large_body_is_missed_wherever_its_request_is(
    engine: FakeEngine, where: Callable[[Served, FakeEngine], bool], ends: Ends, *, stream: bool
) -> None:
    engine.hang = True
    async with serving([SAYING], {"llm": engine.port}, concurrency=1) as served:
        before = None
        if where is not in_call:
            before = await sent(served.port, asked(2))
            await eventually(lambda: engine.in_flight == 1)
        if where is at_door:
            at_most(served, 1)
        leaving = await sent(served.port, asked(LARGE, stream=stream))
        await eventually(lambda: where(served, engine))
        ends(leaving)
        await eventually(lambda: not where(served, engine))
        counters = await served.client.counters("p")
        assert (counters["cancelled"], counters["failed"]) == (1, 0)
        if before:
            before.close()


@pytest.mark.parametrize("together", [False, True], ids=["later", "together"])
async def test_a_client_is_missed_though_it_sent_another_request_behind(engine: FakeEngine, *, together: bool) -> None:
    engine.hang = True
    async with serving([SAYING], {"llm": engine.port}) as served:
        writer = await sent(served.port, asked(2) + HEALTH if together else asked(2))
        await eventually(lambda: engine.in_flight == 1)
        if not together:
            # Of the last one, the body is never whole.
            writer.write(HEALTH + asked(2)[:-5])
            await writer.drain()
        writer.close()
        await eventually(lambda: engine.cancelled == 1)
        assert (await served.client.counters("p"))["cancelled"] == 1


class Slow:
    """An application that reads each request's body, waits for the client to leave as workers do, and answers if told.

    It answers as many as it was `told`.
    """

    def __init__(self) -> None:
        self.told = asyncio.Semaphore(0)
        self.answered = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            pass
        gone = asyncio.ensure_future(receive())
        await self.told.acquire()
        gone.cancel()
        self.answered += 1
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


@asynccontextmanager
async def slow() -> AsyncIterator[tuple[Slow, uvicorn.Server, int]]:
    app = Slow()
    server = uvicorn.Server(uvicorn.Config(app, port=0, http=BoundedHeads, ws="none", lifespan="off", log_config=None))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    yield app, server, server.servers[0].sockets[0].getsockname()[1]
    server.force_exit = True
    await server.shutdown()


async def test_no_more_is_read_of_requests_that_wait_than_may_be() -> None:
    head = b"GET / HTTP/1.1\r\nhost: x\r\nx-more: " + b"m" * (HEAD_LIMIT // 4) + b"\r\n\r\n"
    most = AHEAD + AT_ONCE // len(head) + 1
    async with slow() as (app, server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # Far more than the system itself holds on the way.
        writer.write(head * (2**25 // len(head)))
        await eventually(lambda: server.server_state.connections)
        [connection] = server.server_state.connections
        assert isinstance(connection, BoundedHeads)
        for answered in range(50):
            await eventually(lambda: connection.flow.read_paused)
            assert AHEAD <= len(connection.pipeline) <= most
            app.told.release()
            await reader.readuntil(b"\r\n\r\n")
            assert app.answered == answered + 1
        writer.transport.abort()


async def test_all_are_answered_that_wait() -> None:
    count = 40 * AHEAD
    async with slow() as (app, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            app.told.release()
        writer.write((b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n" + b"m" * 5000) * count)
        for _ in range(count):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
