"""What is said of an engine whose streams are not those of an engine."""

import asyncio
import json
from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import harmonia_compiler.profile.asking
from harmonia_compiler.contract.sse import END, EVENT_LIMIT, event
from harmonia_compiler.profile.asking import NotAsked, asking

TOKEN = {"choices": [{"delta": {"content": "a"}}]}


def _counted(prompt: object) -> bytes:
    """An answer of one token to a prompt of so many."""
    usage = {"prompt_tokens": prompt, "completion_tokens": 1}
    return b"data: " + json.dumps(TOKEN | {"usage": usage}).encode() + b"\n\n" + END


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b'data: {"choices"\n\n', "ends in the middle"),
        (b"data: [1]\n\n", "Expected `object`, got `array`"),
        (b"data: " + b'{"choices": ' + b"[" * 90_000 + b"]" * 90_000 + b"}\n\n", "`object`, got `array`"),
        (b'data: {"other": ' + b"[" * 90_000 + b"]" * 90_000 + b"}\n\n", "nested too deeply"),
        (b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n', "not UTF-8"),
        (b'data: {"error": "out of memory"}\n\n', "an error"),
        (b"data: " + b"x" * (EVENT_LIMIT + 8), "larger than"),
        (event({"choices": [5]}), r"`\$\.choices\[0\]`"),
        (event({"choices": {"a": 1}}), "`\\$.choices`"),
        (event(TOKEN | {"usage": 5}), "`\\$.usage`"),
        (event(TOKEN | {"usage": {"completion_tokens": 1}}) + END, "11 words and counted no number of tokens"),
        (_counted(None), "11 words and counted no number of tokens"),
        (_counted("x"), "prompt_tokens"),
        (_counted(10**400), "prompt_tokens"),
        (_counted(-1), "prompt_tokens"),
        (_counted(2**17), f"11 words and counted {2**17} tokens"),
        (_counted(0), "11 words and counted 0 tokens"),
        (event(TOKEN), "asked for 1 tokens and counted no number of tokens"),
    ],
    ids=lambda part: ascii(part)[:40],
)
async def test_a_stream_that_is_no_answer_is_told(said: bytes, why: str) -> None:
    async def chat(_: web.Request) -> web.Response:
        return web.Response(body=said, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server:
        with pytest.raises(NotAsked, match=why):
            async with asking(str(server.make_url("/")), "model", 1):
                pass


async def test_what_is_no_token_is_none_of_an_answer() -> None:
    """A server may send pieces without anything in them, and what is an error may be null."""
    said = event({"choices": [{"delta": None}], "error": None}) + event({"choices": [{}]}) + _counted(20)

    async def chat(_: web.Request) -> web.Response:
        return web.Response(body=said, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server, asking(str(server.make_url("/")), "model", 1) as asker:
        heard = await asker.ask(8, 1)
    assert (len(heard.came_ms), heard.prompt) == (1, 20)


def _pieces(*deltas: Mapping[str, object]) -> bytes:
    """A stream of such pieces, without what is counted at its end."""
    return b"".join(event({"choices": [{"delta": delta}]}) for delta in deltas)


@pytest.mark.parametrize(
    "said",
    [
        _pieces({"role": "assistant", "content": ""}, {"content": "a"}, {"content": ""}),
        _pieces({"role": "assistant", "content": ""}, {"reasoning": "a"}, {"content": "b"}, {}),
        _pieces({"role": "assistant", "content": ""}, {"reasoning_content": "a"}, {"content": "b"}, {}),
        _pieces(
            {"role": "assistant", "content": ""},
            {"role": None, "content": "a", "reasoning_content": None},
            {"role": None, "content": None, "reasoning_content": "b"},
            {"role": None, "content": None},
        ),
        _pieces(*({"role": "assistant", "content": text} for text in ("a", "b", ""))),
    ],
    ids=["vLLM", "vLLM's that think", "others that think", "SGLang", "Ollama"],
)
async def test_each_piece_with_a_text_is_a_token_whoever_says_so(said: bytes) -> None:
    async def chat(request: web.Request) -> web.Response:
        usage = {"prompt_tokens": 20, "completion_tokens": (await request.json())["max_tokens"]}
        body = said + event({"choices": [], "usage": usage}) + END
        return web.Response(body=body, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server, asking(str(server.make_url("/")), "model", 1) as asker:
        assert len((await asker.ask(8, 2)).came_ms) == 2


async def test_of_what_an_engine_says_of_its_failure_the_beginning_is_told() -> None:
    async def chat(_: web.Request) -> web.Response:
        return web.Response(body=b"out of \xff memory" * 100_000, status=500)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server:
        with pytest.raises(NotAsked, match="it answered 500: out of \ufffd memory") as raised:
            async with asking(str(server.make_url("/")), "model", 1):
                pass
    assert len(str(raised.value)) < 400


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
    async with TestServer(app) as server, asking(str(server.make_url("/")), "model", 1) as asker:
        await asyncio.sleep(0.02)
        await asker.ask(8, 1)
    assert seen[-1] is not seen[-2]


async def test_as_many_words_are_as_many_tokens_whatever_is_drawn() -> None:
    """By a tokenizer to which some words are more tokens than others, and any is another one at the beginning."""

    async def chat(request: web.Request) -> web.Response:
        [turn] = (await request.json())["messages"]
        first, *others = turn["content"].split()
        tokens = 7 * len(first) + sum(map(len, others))
        usage = {"prompt_tokens": tokens, "completion_tokens": 1}
        return web.Response(body=event(TOKEN | {"usage": usage}) + END, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    async with TestServer(app) as server:
        for seed in range(20):
            async with asking(str(server.make_url("/")), "model", seed) as asker:
                assert abs((await asker.ask(20_000, 1)).prompt - 20_000) < 10
