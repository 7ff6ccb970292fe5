"""An emulated vLLM: its chat route and its list of models."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import msgspec
from aiohttp import web

from harmonia_compiler.contract.sse import END, event
from harmonia_compiler.emulate.behaviour import block_names
from harmonia_compiler.emulate.llm.engine import Engine, EngineFailed
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.emulate.servers.metrics import Account, Metrics
from harmonia_compiler.emulate.servers.replica import called, problem
from harmonia_compiler.emulate.servers.speech import Ask, Said, Speech, usage
from harmonia_compiler.kinds.extents import CHARACTERS_PER_TOKEN


async def _always() -> None:
    """At once."""


@dataclass(slots=True)
class Chat:
    """One replica of a language model. Token counts go by length: a token is so many characters.

    Each piece of a stream waits until it is `moving`.
    """

    model: str
    engine: Engine
    speech: Speech
    block: int
    moving: Callable[[], Awaitable[None]] = _always
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.model, self.engine.scheduler.limits)
        self.engine.watch(self.metrics.stepped)

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
        if ask.n is not None and ask.n < 1:
            return problem(400, f"n must be at least 1, got {ask.n}.")
        if ask.n is not None and ask.n > 1:
            return problem(400, f"n must be 1 for an emulated model, got {ask.n}.")
        if not ask.messages:
            return problem(400, "messages must have at least one turn.")
        text = "\n".join(turn.text for turn in ask.messages)
        prompt = ask.prompt
        context = self.engine.scheduler.limits.context
        # Before a word is said: the text of as many tokens as somebody asks for may fill the memory.
        if not self.engine.scheduler.fits(prompt) or prompt + (ask.most or 0) > context:
            return problem(
                400,
                f"This model's maximum context length is {context} tokens. However, you requested "
                f"{ask.most or 0} output tokens and your prompt contains {prompt} input tokens.",
            )
        room = self.engine.scheduler.room(prompt)
        said = self.speech.answer(called(request.headers), ask, body, room)
        finish = "length" if not said.is_whole and said.tokens >= min(ask.most or room, room) else "stop"
        sequence = Sequence(prompt, said.tokens, _blocks(text, self.block), priority=ask.priority)
        account = self.metrics.called(prompt, ask.most, sequence)
        # Its client has left unless one of the two says otherwise.
        how = "abort"
        try:
            response = await (
                self._streamed(request, ask, sequence, said, finish, account)
                if ask.stream
                else self._whole(sequence, said, finish, account)
            )
            how = finish if sequence.delivered >= sequence.answer else "error"
        finally:
            account.ended(how)
        return response

    async def _whole(self, sequence: Sequence, said: Said, finish: str, account: Account) -> web.StreamResponse:
        ended = asyncio.get_running_loop().create_future()

        def hear(each: Sequence) -> None:
            if not each.ended or each.delivered >= each.answer:
                account.token()
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
                    "finish_reason": finish,
                }
            ],
            "usage": usage(sequence.prompt, said.tokens),
        }
        return web.Response(body=msgspec.json.encode(document), content_type="application/json")

    async def _streamed(
        self, request: web.Request, ask: Ask, sequence: Sequence, said: Said, finish: str, account: Account
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion.chunk", "created": int(time.time())}
        is_first = True

        async def send(delta: dict[str, str], ends: str | None = None) -> None:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": ends}
            await response.write(event({**head, "model": self.model, "choices": [choice]}))

        try:
            async for piece in self._pieces(sequence, said, account):
                if is_first:
                    # As vLLM does: who speaks is said with the first token, and not before.
                    await send({"role": "assistant", "content": ""})
                    is_first = False
                await send({"content": piece})
        except EngineFailed as failed:
            await response.write(event({"error": {"message": str(failed), "type": "InternalServerError", "code": 500}}))
            return response
        await send({}, finish)
        if ask.stream_options is not None and ask.stream_options.include_usage:
            counted = usage(sequence.prompt, said.tokens)
            await response.write(event({**head, "model": self.model, "choices": [], "usage": counted}))
        await response.write(END)
        return response

    async def _pieces(self, sequence: Sequence, said: Said, account: Account) -> AsyncIterator[str]:
        """The text token by token, the rest with the last one."""
        at = 0
        async for delivered in self.engine.generate(sequence):
            await self.moving()
            account.token()
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
        return web.Response(body=self.metrics.exported(self.engine.scheduler), content_type="text/plain")


def _blocks(text: str, block: int) -> tuple[int, ...]:
    """A name for each whole block of a prompt: equal where all up to its end is."""
    step = round(block * CHARACTERS_PER_TOKEN)
    return block_names((text[at : at + step] for at in range(0, len(text), step)), block)
