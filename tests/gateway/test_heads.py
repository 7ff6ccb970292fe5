"""Heads of requests that are too large: refused by the gateway and by workers alike, and never kept whole."""

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_asyncio

from harmonia_compiler.runtime import heads
from harmonia_compiler.runtime.gateway import body
from harmonia_compiler.runtime.heads import HEAD_LIMIT
from tests.gateway.fakes import SAYING, Served, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

GET = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
LAST = b"connection: close\r\n\r\n"
POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n"
#: What is sent where nobody minds: far more than the system itself holds on the way.
ENDLESS = 2**24


@pytest.fixture
def _no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large is ended for its size, and not because it takes long."""
    monkeypatch.setattr(heads, "HEAD_DEADLINE_S", 1000.0)
    monkeypatch.setattr(body, "BODY_DEADLINE_S", 1000.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    """A gateway that is asked for no more than its health."""
    async with serving([SAYING], {}) as running:
        yield running


async def sent(port: int, begin: bytes, piece: bytes = b"", upto: int = 0) -> tuple[bytes, int]:
    """What comes back until the connection is closed, and how many bytes were sent after the beginning."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begin)
    answer = asyncio.ensure_future(reader.read())
    size = 0
    try:
        while size < upto and not answer.done():
            writer.write(piece)
            size += len(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await answer, size
    except ConnectionError:
        answer.cancel()
        return b"", size
    finally:
        writer.close()


def one_large(size: int) -> bytes:
    """A head of that many bytes, nearly all of them one value's."""
    return GET + b"x-more: " + b"m" * (size - len(GET) - len(b"x-more: \r\n") - len(LAST)) + b"\r\n" + LAST


def many_small(size: int) -> bytes:
    """A head of that many bytes, most of them between names and values."""
    room = size - len(GET) - len(LAST) - len(b"x: ?\r\n")
    count = room // len(b"a: b\r\n")
    return GET + b"a: b\r\n" * count + b"x: ?" + b"!" * (room - count * len(b"a: b\r\n")) + b"\r\n" + LAST


@pytest.mark.parametrize("head", [one_large, many_small])
async def test_a_head_may_be_large_and_no_larger(served: Served, head: Callable[[int], bytes]) -> None:
    assert len(head(HEAD_LIMIT)) == HEAD_LIMIT
    answer, _ = await sent(served.port, head(HEAD_LIMIT))
    assert answer.startswith(b"HTTP/1.1 200 ")
    answer, _ = await sent(served.port, head(HEAD_LIMIT + 1))
    lines, _, told = answer.partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in lines
    error = msgspec.json.decode(told)["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "head_too_large", None)


@pytest.mark.usefixtures("_no_hurry")
@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET /", b"a" * 9999),
        (GET + b"x-more: ", b"a" * 9999),
        (GET, b"a" * 9999),
        (GET, b"x-more: a\r\n" * 999),
        (GET, b"x-more:" + b" " * 9999 + b"a\r\n"),
    ],
    ids=["path", "value", "name", "many", "spaces"],
)
async def test_a_head_that_never_ends_is_ended(served: Served, begin: bytes, piece: bytes) -> None:
    answer, size = await sent(served.port, begin, piece, ENDLESS)
    # Where more was on its way, the client's system may throw away what it was told.
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
    assert size < ENDLESS


@pytest.mark.usefixtures("_no_hurry")
@pytest.mark.parametrize("begin", [POST + b"0\r\nx-more: ", POST + b"1;"], ids=["trailer", "chunk"])
async def test_what_becomes_no_body_is_ended_and_not_answered_twice(served: Served, begin: bytes) -> None:
    assert (await sent(served.port, begin, b"a" * 9999, ENDLESS))[1] < ENDLESS


async def test_each_request_of_a_connection_has_a_head_of_its_own(served: Served) -> None:
    head = GET + b"x-more: " + b"m" * (HEAD_LIMIT - len(GET) - len(b"x-more: \r\n\r\n")) + b"\r\n\r\n"
    answer, _ = await sent(served.port, head + POST + b"0\r\n\r\n" + head + one_large(HEAD_LIMIT))
    assert answer.count(b"HTTP/1.1 200 ") == 3
    assert b"HTTP/1.1 431 " not in answer


async def test_one_connection_too_many_is_told_so_and_the_others_are_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(GET + b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    # The one that is open, and no other.
    monkeypatch.setattr(heads.BoundedHeads, "most", 1)
    answer, _ = await sent(served.port, GET + LAST)
    lines, _, told = answer.partition(b"\r\n\r\n")
    assert lines.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in lines
    assert msgspec.json.decode(told)["error"]["code"] == "connections_full"
    writer.write(GET + LAST)
    assert (await reader.read()).count(b"HTTP/1.1 200 ") == 1
    writer.close()
    monkeypatch.undo()
    assert (await sent(served.port, GET + LAST))[0].startswith(b"HTTP/1.1 200 ")
