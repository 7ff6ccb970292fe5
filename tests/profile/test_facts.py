"""What engines say of themselves, well or badly."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from harmonia_compiler.profile import facts as module
from harmonia_compiler.profile.asking import NotAsked
from harmonia_compiler.profile.facts import facts
from harmonia_compiler.profile.limits import LEAST_CONTEXT, MOST_CONTEXT, Limits

ASSUMED = Limits(kv_blocks=1000, step_tokens=256, sequences=4, context=2048, block_size=128)


@asynccontextmanager
async def said(models: bytes, metrics: str = "", version: bytes = b"{}") -> AsyncIterator[str]:
    """The URL of an engine that answers so."""
    app = web.Application()
    for path, body in (("/v1/models", models), ("/metrics", metrics.encode()), ("/version", version)):

        async def handle(_: web.Request, body: bytes = body) -> web.Response:
            return web.Response(body=body)

        app.router.add_get(path, handle)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


def listing(**more: object) -> bytes:
    return json.dumps({"data": [{"id": "other", "max_model_len": "long"}, {"id": "m", **more}]}).encode()


@pytest.mark.parametrize(
    ("models", "why"),
    [
        (b"", "lists no models: b'': it is empty"),
        (b"<html>", "lists no models: b'<html>'"),
        (b"[]", "got `array`"),
        (b'{"data": 5}', "got `int`"),
        (b'{"data": [{"id": [1]}]}', "got `array`"),
        (b'{"data": [{"name": "m"}]}', "required field `id`"),
        (b'{"data": "\xff"}', r"b'\{\"data\": \"\\xff\"\}'"),
        (b'{"data": [{"id": "\xff"}]}', "not UTF-8"),
        (b'{"data": [], "other": ' + b"[" * 90_000 + b"]" * 90_000 + b"}", "nested too deeply"),
        (b'{"data": []}', "serves no model, and not `m`"),
        (json.dumps({"data": [{"id": "x" * 100_000}]}).encode(), "serves `x{100}…`, and not `m`"),
        *(
            (listing(max_model_len=number), f"`max_model_len` that it says is b'{number}'")
            for number in (0, -5, LEAST_CONTEXT - 1, MOST_CONTEXT + 1)
        ),
        (listing(max_model_len=10**400), "`max_model_len` that it says is b'1000"),
        (listing(max_model_len="2048"), "got `str`"),
        (listing(max_model_len=[[]]), "got `array`"),
    ],
    ids=lambda part: ascii(part)[:40],
)
async def test_what_cannot_be_is_told(models: bytes, why: str) -> None:
    async with said(models) as url:
        with pytest.raises(NotAsked, match=why) as raised:
            await facts(url, "m", ASSUMED)
    assert len(str(raised.value)) < 500


async def test_a_list_is_read_as_far_as_it_may_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 1 << 20)
    async with said(listing() + b" " * (1 << 20)) as url:
        with pytest.raises(NotAsked, match="/v1/models answers with more than 1 MiB"):
            await facts(url, "m", ASSUMED)


@pytest.mark.parametrize("context", [LEAST_CONTEXT, MOST_CONTEXT])
async def test_a_context_is_taken(context: int) -> None:
    async with said(listing(max_model_len=context)) as url:
        assert (await facts(url, "m", ASSUMED)).limits.context == context


@pytest.mark.parametrize(("blocks", "size", "found"), [("2", "1", (1, 1)), ("401", "16", (400, 16))])
async def test_a_cache_is_taken(blocks: str, size: str, found: tuple[int, int]) -> None:
    async with said(listing(), _cache(blocks, size)) as url:
        limits = (await facts(url, "m", ASSUMED)).limits
    assert (limits.kv_blocks, limits.block_size) == found


@pytest.mark.parametrize(
    ("blocks", "size"),
    [
        ("²", "16"),
        ("401", "²"),
        ("٣", "16"),
        ("0", "16"),
        ("1", "16"),
        ("401", "0"),
        ("None", "16"),
        ("9" * 5000, "16"),
    ],
    ids=lambda part: ascii(part)[:40],
)
async def test_a_cache_of_no_size_is_not_said(blocks: str, size: str) -> None:
    async with said(listing(max_model_len=None), _cache(blocks, size)) as url:
        assert (await facts(url, "m", ASSUMED)).limits == ASSUMED


def _cache(blocks: str, size: str) -> str:
    return f'vllm:cache_config_info{{block_size="{size}",num_gpu_blocks="{blocks}"}} 1.0\n'


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (b'{"version": "0.3"}', "openai-compatible server 0.3"),
        (b"{}", "openai-compatible server"),
        (b"<html>", "openai-compatible server"),
        (b'{"version": 3}', "openai-compatible server"),
        (json.dumps({"version": "x" * 101}).encode(), "openai-compatible server"),
        (b'{"version": ' + b"[" * 90_000, "openai-compatible server"),
    ],
    ids=range(6),
)
async def test_a_version_is_named_where_there_is_one(version: bytes, name: str) -> None:
    async with said(listing(), version=version) as url:
        assert (await facts(url, "m", ASSUMED)).engine == name
