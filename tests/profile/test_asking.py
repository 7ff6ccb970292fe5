"""What is said of an engine whose streams are not those of an engine."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from harmonia_compiler.contract.sse import EVENT_LIMIT
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
