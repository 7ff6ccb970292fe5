"""An engine behind the real route whose steps take known times: what a measurement must find out."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web

from harmonia_compiler.emulate.llm.engine import Engine
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import MeasuredSteps
from harmonia_compiler.profile.steps import StepModel

MODEL = "known"
#: One that there is a card of.
CARDED = "SmolLM2-135M-Instruct"
KNOWN = MeasuredSteps(1.0, (1, 4), (0.01, 0.002), 0.0, 0.05, 0.0, 0.5)
LIMITS = Limits(kv_blocks=400, step_tokens=256, sequences=4, context=600)

Served = Callable[..., AbstractAsyncContextManager[str]]


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


@asynccontextmanager
async def _served(limits: Limits = LIMITS, steps: StepModel = KNOWN, *, counts: bool = True) -> AsyncIterator[str]:
    """The URL of such an engine; without `counts` it answers one token too few."""
    engine = Engine(limits, steps)

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        words = [word for turn in body["messages"] for word in turn["content"].split()]
        in_block = limits.block_size // 2
        blocks = tuple(tuple(words[:at]) for at in range(in_block, len(words) + 1, in_block))
        sequence = Sequence(2 * len(words) + 5, body["max_tokens"], blocks)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        async for delivered in engine.generate(sequence):
            if delivered == 1:
                await response.write(_event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}))
            await response.write(_event({"choices": [{"delta": {"content": "a"}}]}))
        # Not vLLM, but others say in a piece of its own how the answer ended.
        await response.write(_event({"choices": [{"delta": {}, "finish_reason": "length"}]}))
        usage = {"prompt_tokens": sequence.prompt, "completion_tokens": sequence.answer - (not counts)}
        await response.write(_event({"choices": [], "usage": usage}))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def models(_: web.Request) -> web.Response:
        named = [{"id": name, "max_model_len": limits.context} for name in (MODEL, CARDED)]
        return web.json_response({"data": named})

    async def metrics(_: web.Request) -> web.Response:
        labels = (
            f'block_size="{limits.block_size}",enable_prefix_caching="True",num_gpu_blocks="{limits.kv_blocks + 1}"'
        )
        counts = engine.scheduler.counts
        cached = f"vllm:prefix_cache_queries_total {counts.queried}\nvllm:prefix_cache_hits_total {counts.hit}\n"
        return web.Response(
            text=f"# TYPE vllm:cache_config_info gauge\nvllm:cache_config_info{{{labels}}} 1.0\n{cached}"
        )

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"version": "0.0"})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    for path, handle in (("/v1/models", models), ("/metrics", metrics), ("/version", version)):
        app.router.add_get(path, handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
def served() -> Served:
    """Makes such an engine, in the event loop of the test."""
    return _served


@pytest.fixture
def running() -> Iterator[str]:
    """The URL of such an engine in a thread of its own, for commands, which have an event loop of theirs."""
    loop, ready, urls = asyncio.new_event_loop(), threading.Event(), list[str]()
    ends = asyncio.Event()

    async def serve() -> None:
        async with _served() as url:
            urls.append(url)
            ready.set()
            await ends.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    yield urls[0]
    loop.call_soon_threadsafe(ends.set)
    thread.join()
    loop.close()
