"""The connections to replicas, over real sockets, against a server that says byte for byte what it is told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.runtime.gateway import http_pool, http_transport
from harmonia_compiler.runtime.gateway.http_transport import HttpTransport
from harmonia_compiler.runtime.gateway.transport import Broken, Refused, Unreachable

WIRE = Wire("/v1/call", b'{"q": 1}', headers=(("content-type", "application/json"),))
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


#: The servers of a test.
STARTED: list[asyncio.Server] = []


@dataclass
class Replica:
    """Answers each request with the next of `says`, and closes the connection where that ends in `close`.

    `heads` are those of the requests that came, `met` how many connections were made.
    """

    says: list[bytes] = field(default_factory=list)
    close: bool = False
    heads: list[bytes] = field(default_factory=list)
    met: int = 0
    written: int = 0
    server: Any = None

    async def start(self) -> Endpoint:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        STARTED.append(self.server)
        return Endpoint("r-1", "r", "127.0.0.1", self.server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.met += 1
        try:
            while self.says:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(sum(length))
                said = self.says.pop(0)
                for at in range(0, len(said), 2**16):
                    writer.write(said[at : at + 2**16])
                    await writer.drain()
                    self.written += 2**16
                if self.close:
                    break
            else:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    made = HttpTransport()
    yield made
    await made.close()


@pytest.fixture(autouse=True)
async def stopped() -> AsyncIterator[None]:
    yield
    while STARTED:
        server = STARTED.pop()
        server.close()
        await server.wait_closed()
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("said", "close", "body"),
    [
        (WHOLE, False, b"hi"),
        (CHUNKED + b"1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", False, b"hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", True, b"hi"),
        (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + WHOLE, False, b"hi"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", False, b""),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi", True, b"hi"),
    ],
)
async def test_reads_an_answer_however_it_is_framed(
    transport: HttpTransport, said: bytes, *, close: bool, body: bytes
) -> None:
    replica = Replica([said], close)
    assert await transport.send(await replica.start(), WIRE) == body


async def test_says_what_it_sends(transport: HttpTransport) -> None:
    replica = Replica([WHOLE])
    endpoint = await replica.start()
    await transport.send(endpoint, WIRE)
    first, *rest = replica.heads[0].decode().removesuffix("\r\n\r\n").split("\r\n")
    assert first == "POST /v1/call HTTP/1.1"
    assert rest == [f"host: 127.0.0.1:{endpoint.port}", "content-type: application/json", "content-length: 8"]


async def test_a_header_cannot_become_another_request(transport: HttpTransport) -> None:
    replica = Replica([WHOLE])
    wire = Wire("/v1/call", b"", headers=(("x-request-id", "1\r\n\r\nGET /admin HTTP/1.1"),))
    with pytest.raises(ValueError, match="holds another one"):
        await transport.send(await replica.start(), wire)
    assert replica.heads == []


@pytest.mark.parametrize(
    ("said", "problem", "says"),
    [
        (b"", Unreachable, "the connection was closed"),
        (b"HTTP/1.1 200 OK\r\n", Unreachable, "the connection was closed"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", Unreachable, "what came is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 2**17, Unreachable, "what came is not HTTP"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", Broken, "the answer broke off: the connection was closed"),
        (CHUNKED + b"9\r\nhi", Broken, "the answer broke off: the connection was closed"),
        (CHUNKED + b"nine", Broken, "the answer broke off: what came is not HTTP"),
        (b"HTTP/1.1 500 Oh no\r\ncontent-length: 0\r\n\r\n", Refused, "Oh no"),
        (b"HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", Refused, "Moved"),
    ],
)
async def test_what_is_no_answer_is_told(
    transport: HttpTransport, said: bytes, problem: type[Exception], says: str
) -> None:
    endpoint = await Replica([said], close=True).start()
    with pytest.raises(problem, match=says):
        await transport.send(endpoint, WIRE)


async def test_nobody_there_is_told_without_addresses(transport: HttpTransport) -> None:
    replica = Replica()
    endpoint = await replica.start()
    replica.server.close()
    await replica.server.wait_closed()
    with pytest.raises(Unreachable, match=r"^Connection refused$"):
        await transport.send(endpoint, WIRE)


async def test_an_answer_is_limited(transport: HttpTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "ANSWER_LIMIT", 1000)
    endpoint = await Replica([CHUNKED + b"1000\r\n" + b"x" * 4096]).start()
    with pytest.raises(Broken, match="larger than 1000 bytes"):
        await transport.send(endpoint, WIRE)


async def test_a_connection_is_used_again_and_not_for_ever(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica([WHOLE] * 4)
    endpoint = await replica.start()
    await transport.send(endpoint, WIRE)
    await transport.send(endpoint, WIRE)
    assert replica.met == 1
    monkeypatch.setattr(http_pool, "KEEP_ALIVE_S", 0.01)
    await asyncio.sleep(0.02)
    await transport.send(endpoint, WIRE)
    assert replica.met == 2


async def test_an_idle_connection_is_closed_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "KEEP_ALIVE_S", 0.02)
    pool = http_pool.Pool()
    endpoint = await Replica([WHOLE] * 2).start()
    connection = await pool.take(endpoint.host, endpoint.port)
    connection.begin(b"GET / HTTP/1.1\r\n\r\n", b"", 10, pieces=False)
    assert await connection.whole() == b"hi"
    pool.give_back(connection)
    assert pool._all == {connection}
    await asyncio.sleep(0.1)
    assert not pool._all


@pytest.mark.parametrize("more", [WHOLE, b"HTTP/1.1 "])
async def test_what_nobody_asked_for_reaches_nobody(transport: HttpTransport, more: bytes) -> None:
    replica = Replica([WHOLE + more, WHOLE.replace(b"hi", b"ho")])
    endpoint = await replica.start()
    assert await transport.send(endpoint, WIRE) == b"hi"
    assert await transport.send(endpoint, WIRE) == b"ho"
    assert replica.met == 2


async def test_a_call_that_is_broken_off_leaves_no_connection_to_another(transport: HttpTransport) -> None:
    replica = Replica([b"HTTP/1.1 200 OK\r\n", WHOLE])
    endpoint = await replica.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await transport.send(endpoint, WIRE)
    assert await transport.send(endpoint, WIRE) == b"hi"
    assert replica.met == 2


async def test_a_stream_is_read_no_faster_than_it_is_taken(transport: HttpTransport) -> None:
    size = 64 * 2**20
    event = b"data: " + b"x" * 2**10 + b"\n\n"
    replica = Replica([b"HTTP/1.1 200 OK\r\n\r\n" + event * (size // len(event))], close=True)
    stream = transport.stream(await replica.start(), WIRE)
    count = len(await anext(stream))
    written = -1
    while written != replica.written:
        written = replica.written
        await asyncio.sleep(0.05)
    assert written < size / 2
    async for together in stream:
        assert set(together) == {b"x" * 2**10}
        count += len(together)
    assert count == size // len(event)


async def test_a_stream_that_is_refused_says_why(transport: HttpTransport) -> None:
    said = b'HTTP/1.1 400 Bad\r\ncontent-length: 34\r\n\r\n{"error":{"message":"too long!!"}}'
    with pytest.raises(Refused, match="too long!!") as refused:
        await anext(transport.stream(await Replica([said]).start(), WIRE))
    assert refused.value.status == 400
