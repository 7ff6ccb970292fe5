"""Bodies that nobody should send: each is refused as OpenAI refuses, and the gateway serves on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from harmonia_compiler.runtime.gateway import body as limits
from tests.gateway.fakes import Served

USER = {"role": "user", "content": "hi"}


pytestmark = pytest.mark.asyncio(loop_scope="module")


def chat(**changed: Any) -> bytes:
    return msgspec.json.encode({"model": "p", "messages": [USER], **changed})


MALFORMED = {
    "empty": b"",
    "cut off": chat()[:-5],
    "no JSON": b"question=hi",
    "a list": b"[]",
    "a text": b'"p"',
    "null": b"null",
    "not UTF-8": b'{"model":"\xff\xfe"}',
    "half a surrogate": b'{"model":"p","messages":[{"role":"user","content":"\\ud800"}]}',
    "NaN": b'{"model":"p","temperature":NaN}',
    "infinity": b'{"model":"p","temperature":1e999}',
    "a huge number": b'{"model":"p","messages":[{"role":"user","content":"x"}],"seed":' + b"9" * 500 + b"}",
    "deep lists": b'{"model":"p","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"model":"p","x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "no model": msgspec.json.encode({"messages": [USER]}),
    "a model that is no text": chat(model=7),
    "no messages": msgspec.json.encode({"model": "p"}),
    "no message": chat(messages=[]),
    "messages that are none": chat(messages="hi"),
    "a message that is none": chat(messages=["hi"]),
    "an unknown role": chat(messages=[{"role": "root", "content": "hi"}]),
    "nobody asks": chat(messages=[{"role": "system", "content": "hi"}]),
    "an image": chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
    "a temperature that is text": chat(temperature="hot"),
    "a temperature that is true": chat(temperature=True),
    "a temperature below zero": chat(temperature=-1),
    "top_p above one": chat(top_p=1.5),
    "no tokens": chat(max_tokens=0),
    "half a token": chat(max_tokens=1.5),
    "five stops": chat(stop=list("abcde")),
    "two answers": chat(n=2),
    "a stream that is text": chat(stream="yes"),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_is_refused_in_openai_s_shape(served: Served, body: bytes) -> None:
    accepted = (await served.client.counters("p"))["accepted"]
    for path in ("/v1/chat/completions", "/v1/pipelines/p"):
        status, document, headers = await served.client.post(path, body)
        assert status == 400, document
        assert set(document["error"]) == {"message", "type", "code", "param"}
        assert document["error"]["type"] == "invalid_request_error"
        assert "Traceback" not in document["error"]["message"]
        assert headers["content-type"] == "application/json"
    assert (await served.client.post("/v1/chat/completions", chat()))[0] == 200
    assert (await served.client.counters("p"))["accepted"] == accepted + 1


async def test_a_body_may_have_a_mebibyte_and_no_more(served: Served) -> None:
    status, document, headers = await served.client.post("/v1/chat/completions", b" " * (limits.BODY_LIMIT + 1))
    assert (status, document["error"]["code"]) == (413, "body_too_large")
    assert headers["connection"] == "close"
    spare = limits.BODY_LIMIT - len(chat())
    assert (await served.client.post("/v1/chat/completions", chat() + b" " * spare))[0] == 200


async def test_a_body_without_a_length_is_limited_too(served: Served) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 2**15

    async with served.client.session.post(f"{served.client.url}/v1/chat/completions", data=chunks()) as response:
        assert response.status == 413


@pytest.mark.parametrize(
    ("encodings", "status"),
    [
        (["gzip"], 415),
        (["gzip", "identity"], 415),
        (["identity, gzip"], 415),
        (["identity"], 200),
        (["Identity"], 200),
        (["identity", "IDENTITY "], 200),
    ],
)
async def test_a_compressed_body_is_refused(served: Served, encodings: list[str], status: int) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(chat())}\r\n"
    said = "".join(f"content-encoding: {encoding}\r\n" for encoding in encodings)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(f"{head}{said}\r\n".encode() + chat())
    answer = await reader.read()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"unsupported_encoding" in answer) == (status == 415)
    writer.close()


async def test_a_slow_body_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_DEADLINE_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_too_slow" in answer
    writer.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /v1/chat/completions HTTP/1.1", 405),
        (b"GET /nowhere HTTP/1.1", 404),
        (b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5", 400),
        (b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -1", 400),
        (b"NONSENSE", 400),
    ],
)
async def test_other_requests_end_in_4xx(served: Served, request_: bytes, status: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(request_ + b"\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert int((await reader.read()).split(b" ", 2)[1]) == status
    writer.close()
