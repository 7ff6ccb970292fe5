"""Requests that offer another protocol: each is answered as if it did not, and so is what follows it."""

import asyncio
import logging

import msgspec
import pytest

from tests.gateway.fakes import Served
from tests.gateway.test_bodies import chat

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: What Java's client sends first, what a browser's would, and an offer of several in fields of their own.
OFFERS = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n",
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n",
    "several": b"Upgrade: a\r\nX-Empty:\r\nUpgrade: b\r\nConnection: keep-alive, upgrade\r\n",
}
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /v1/models?a=%20 HTTP/1.1\r\nHost: x\r\n"
CLOSE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(chat())
#: A POST's framing and its body.
FRAMED = {
    "length": (LENGTH, chat()),
    "chunked": (b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(chat()), chat())),
}


async def statuses(port: int, *pieces: bytes) -> list[int]:
    """The statuses of all that comes back on one connection, until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        # Whoever reads may have it as a piece of its own; what comes of it is the same if it has not.
        await asyncio.sleep(0)
    answered = await reader.read()
    writer.close()
    return [int(answer[:3]) for answer in answered.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
@pytest.mark.parametrize(("framing", "body"), FRAMED.values(), ids=FRAMED.keys())
async def test_a_body_is_read_however_it_comes(served: Served, offer: bytes, framing: bytes, body: bytes) -> None:
    request = CHAT + offer + framing + b"\r\n" + body
    for at in range(0, len(request), 7):
        assert await statuses(served.port, request[:at], request[at:] + CLOSE) == [200, 200], at


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
async def test_a_body_is_read_that_is_sent_once_it_is_asked_for(served: Served, offer: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(CHAT + offer + LENGTH + b"Expect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(chat() + CLOSE)
    assert (await reader.read()).count(b"HTTP/1.1 200 ") == 2
    writer.close()


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
async def test_what_comes_behind_it_is_answered(served: Served, offer: bytes) -> None:
    post = CHAT + offer + LENGTH + b"\r\n" + chat()
    get = GET + offer + b"\r\n"
    plain = CHAT + LENGTH + b"\r\n" + chat()
    assert await statuses(served.port, b"".join([get, post, plain, post, get, CLOSE])) == [200] * 6


@pytest.mark.parametrize("connection", [b"close, upgrade", b"upgrade"])
async def test_a_connection_ends_where_the_client_says_so(served: Served, connection: bytes) -> None:
    version = b"1.1" if b"close" in connection else b"1.0"
    request = CHAT.replace(b"1.1", version) + b"Connection: " + connection + b"\r\nUpgrade: h2c\r\n" + LENGTH
    assert await statuses(served.port, request + b"\r\n" + chat()) == [200]


async def test_a_body_that_is_none_is_told_as_ever(served: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(CHAT + OFFERS["h2c"] + b"Content-Length: 2\r\n\r\n[]" + CLOSE)
    answer = await reader.read()
    writer.close()
    assert [int(one[:3]) for one in answer.split(b"HTTP/1.1 ")[1:]] == [400, 200]
    error = msgspec.json.decode(answer[answer.index(b"{") : answer.index(b"}}") + 2])["error"]
    assert error["message"] == "the body is not a JSON object"


async def test_nobody_is_told_to_install_anything(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "uvicorn"):
        for offer in OFFERS.values():
            assert await statuses(served.port, GET + offer + b"\r\n" + CLOSE) == [200, 200]
        assert await statuses(served.port, b"CONNECT / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == [404]
    assert caplog.messages == []
