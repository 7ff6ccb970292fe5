"""An emulated vLLM: its chat route, its list of models, and the names of its metrics."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from harmonia_compiler.contract.sse import END, event
from harmonia_compiler.emulate.llm.engine import Engine, EngineFailed
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.emulate.servers.replica import called, problem
from harmonia_compiler.emulate.servers.speech import Ask, Said, Speech, usage
from harmonia_compiler.kinds.extents import CHARACTERS_PER_TOKEN
from harmonia_compiler.kinds.llm import TEMPLATE_TOKENS


class Metrics:
    """What vLLM 0.32 exports and dashboards read, by its names."""

    def __init__(self, model: str) -> None:
        self.registry = CollectorRegistry()
        names = ["model_name", "engine"]

        def gauge(name: str, doc: str) -> Gauge:
            return Gauge(f"vllm:{name}", doc, names, registry=self.registry).labels(model, "0")

        def counter(name: str, doc: str) -> Counter:
            return Counter(f"vllm:{name}", doc, names, registry=self.registry).labels(model, "0")

        def histogram(name: str, doc: str) -> Histogram:
            return Histogram(f"vllm:{name}", doc, names, registry=self.registry).labels(model, "0")

        self.running = gauge("num_requests_running", "Number of requests in model execution batches.")
        self.waiting = gauge("num_requests_waiting", "Number of requests waiting to be processed.")
        self.cache = gauge("kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.")
        self.preemptions = counter("num_preemptions", "Cumulative number of preemption from the engine.")
        self.queries = counter("prefix_cache_queries", "Prefix cache queries, in number of tokens.")
        self.hits = counter("prefix_cache_hits", "Prefix cache hits, in number of tokens.")
        self.prompt = counter("prompt_tokens", "Number of prefill tokens processed.")
        self.generated = counter("generation_tokens", "Number of generation tokens processed.")
        self.succeeded = counter("request_success", "Count of successfully processed requests.")
        self.first = histogram("time_to_first_token_seconds", "Histogram of time to first token in seconds.")
        self.whole = histogram("e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.")


@dataclass(slots=True)
class Chat:
    """One replica of a language model. Token counts go by length: a token is so many characters."""

    model: str
    engine: Engine
    speech: Speech
    block: int
    metrics: Metrics = field(init=False)
    _counted: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.model)

    @property
    def busy_ms(self) -> float:
        """How long its steps have taken."""
        return self.engine.busy_ms

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/chat/completions`."""
        body = await request.read()
        try:
            ask = msgspec.json.decode(body, type=Ask)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as unreadable:
            return problem(400, str(unreadable))
        if ask.model not in (None, self.model):
            return problem(404, f"The model `{ask.model}` does not exist.", "NotFoundError")
        if ask.most is not None and ask.most < 1:
            return problem(400, f"max_tokens must be at least 1, got {ask.most}.")
        text = "\n".join(turn.content or "" for turn in ask.messages)
        prompt = round(TEMPLATE_TOKENS + len(text) / CHARACTERS_PER_TOKEN)
        said = self.speech.answer(called(request.headers), ask, body)
        context = self.engine.scheduler.limits.context
        if not self.engine.scheduler.fits(prompt) or prompt + (ask.most or 0) > context:
            return problem(
                400,
                f"This model's maximum context length is {context} tokens. However, you requested "
                f"{ask.most or 0} output tokens and your prompt contains {prompt} input tokens.",
            )
        sequence = Sequence(prompt, said.tokens, _blocks(text, self.block), priority=ask.priority)
        self.metrics.prompt.inc(prompt)
        began = time.monotonic()
        response = await (
            self._streamed(request, ask, sequence, said) if ask.stream else self._whole(ask, sequence, said)
        )
        self.metrics.whole.observe(time.monotonic() - began)
        self.metrics.succeeded.inc()
        return response

    async def _whole(self, ask: Ask, sequence: Sequence, said: Said) -> web.StreamResponse:
        ended = asyncio.get_running_loop().create_future()

        def hear(each: Sequence) -> None:
            self.metrics.generated.inc()
            if each.ended and not ended.done():
                ended.set_result(None)

        self.engine.submit(sequence, hear)
        try:
            await ended
        finally:
            self.engine.cancel(sequence)
        if sequence.delivered < sequence.answer:
            return problem(500, "the engine died", "InternalServerError")
        document = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": said.text},
                    "logprobs": None,
                    "finish_reason": _finish(ask, said),
                }
            ],
            "usage": usage(sequence.prompt, said.tokens),
        }
        return web.Response(body=msgspec.json.encode(document), content_type="application/json")

    async def _streamed(self, request: web.Request, ask: Ask, sequence: Sequence, said: Said) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time())}
        began = time.monotonic()

        async def send(delta: dict[str, str], finish: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            await response.write(event({**head, "model": self.model, "choices": [choice]}))

        try:
            async for piece in self._pieces(sequence, said):
                if began:
                    # As vLLM does: who speaks is said with the first token, and not before.
                    await send({"role": "assistant", "content": ""})
                    self.metrics.first.observe(time.monotonic() - began)
                    began = 0.0
                await send({"content": piece})
        except EngineFailed as failed:
            await response.write(event({"error": {"message": str(failed), "type": "InternalServerError", "code": 500}}))
            return response
        await send({}, _finish(ask, said))
        if ask.stream_options is not None and ask.stream_options.include_usage:
            counted = usage(sequence.prompt, said.tokens)
            await response.write(event({**head, "model": self.model, "choices": [], "usage": counted}))
        await response.write(END)
        return response

    async def _pieces(self, sequence: Sequence, said: Said) -> AsyncIterator[str]:
        """The text token by token, the rest with the last one."""
        at = 0
        async for delivered in self.engine.generate(sequence):
            self.metrics.generated.inc()
            end = len(said.text) * delivered // said.tokens
            if end > at:
                yield said.text[at:end]
                at = end

    async def models(self, _: web.Request) -> web.Response:
        """`GET /v1/models`."""
        context = self.engine.scheduler.limits.context
        listed = {"id": self.model, "object": "model", "owned_by": "vllm", "root": self.model, "max_model_len": context}
        return web.json_response({"object": "list", "data": [listed]})

    async def exported(self, _: web.Request) -> web.Response:
        """`GET /metrics`."""
        scheduler, metrics = self.engine.scheduler, self.metrics
        metrics.running.set(len(scheduler.running))
        metrics.waiting.set(len(scheduler.waiting))
        metrics.cache.set(1.0 - scheduler.blocks.free / scheduler.blocks.total)
        counts = (scheduler.counts.preemptions, scheduler.counts.queried, scheduler.counts.hit)
        counters = (metrics.preemptions, metrics.queries, metrics.hits)
        for counter, now, before in zip(counters, counts, self._counted, strict=True):
            # An engine that failed counts from nothing again.
            counter.inc(now - before if now >= before else now)
        self._counted = counts
        return web.Response(body=generate_latest(metrics.registry), content_type="text/plain")


def _finish(ask: Ask, said: Said) -> str:
    return "length" if ask.most is not None and said.tokens >= ask.most else "stop"


def _blocks(text: str, block: int) -> tuple[int, ...]:
    """A name for each whole block of a prompt: equal where all up to its end is."""
    step, name, names = round(block * CHARACTERS_PER_TOKEN), 0, []
    for end in range(step, len(text) + 1, step):
        name = hash((name, text[end - step : end]))
        names.append(name)
    return tuple(names)
