"""What is said of an engine whose streams are not those of an engine."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import harmonia_compiler.profile.asking
from harmonia_compiler.contract.sse import END, EVENT_LIMIT, event
from harmonia_compiler.profile.asking import NotAsked, asking


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b'data: {"choices"\n\n', "no JSON object"),
        (b"data: [1]\n\n", "no JSON object"),
        (b'data: {"error": "out of memory"}\n\n', "an error"),
        (b"data: " + b"x" * (EVENT_LIMIT + 8), "larger than"),
    ],
)
async def test_a_stream_that_is_no_answer_is_told(said: bytes, why: str) -> None:
    async def chat(_: web.Request) -> web.Response:
        return web.Response(body=said, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server:
        with pytest.raises(NotAsked, match=why):
            async with asking(str(server.make_url("/")), "model"):
                pass


async def test_a_connection_that_the_engine_may_have_closed_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harmonia_compiler.profile.asking, "KEEP_ALIVE_S", 0.01)
    seen: list[object] = []
    token = {"choices": [{"delta": {"content": "a"}}], "usage": {"prompt_tokens": 8, "completion_tokens": 1}}

    async def chat(request: web.Request) -> web.Response:
        # Kept, so that no other one can be in its place.
        seen.append(request.transport)
        return web.Response(body=event(token) + END, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server, asking(str(server.make_url("/")), "model") as asker:
        await asyncio.sleep(0.02)
        await asker.ask(8, 1)
    assert seen[-1] is not seen[-2]
