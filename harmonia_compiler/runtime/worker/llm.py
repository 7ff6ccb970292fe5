"""The role `llm`: `/v1/chat/completions` on transformers, for hosts that vLLM has no build for.

Conversations are answered one after another. What nobody awaits any more (the client is gone) is
not begun, or ends with the token that is being generated.
"""

import argparse
import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from harmonia_compiler.contract.sse import END, event
from harmonia_compiler.kinds.openai import CHAT
from harmonia_compiler.runtime.worker.constraint import Constraint
from harmonia_compiler.runtime.worker.encoder import use_cores
from harmonia_compiler.runtime.worker.generation import Generator, Options, Part
from harmonia_compiler.runtime.worker.server import Handler, Refusal, check_model, json_response, read_body


class _Message(msgspec.Struct):
    role: str
    content: str


class _Structured(msgspec.Struct):
    choice: list[str] | None = None
    regex: str | None = None


class _Schema(msgspec.Struct):
    schema: dict[str, Any]


class _Format(msgspec.Struct):
    type: str = "text"
    json_schema: _Schema | None = None


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Ask(msgspec.Struct):
    messages: list[_Message]
    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool = False
    stream: bool = False
    stream_options: _StreamOptions | None = None
    structured_outputs: _Structured | None = None
    response_format: _Format | None = None


class ChatModel:
    """A generator behind the OpenAI route."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model = str(arguments.model)
        self._arguments = arguments
        self._thread = ThreadPoolExecutor(1, "generation")

    def load(self) -> None:
        """Load the model and generate one token."""
        given = self._arguments
        use_cores(given.cores)
        self._generator = Generator(
            given.weights, device=given.device, precision=given.precision, longest=given.max_model_len
        )
        prompt = self._generator.prompt([{"role": "user", "content": "Ready?"}])
        list(self._generator.parts(prompt, Options(max_tokens=1), None, lambda: False))

    def routes(self) -> Sequence[tuple[str, Handler]]:
        """The OpenAI route."""
        return [(CHAT, self._chat)]

    async def _chat(self, body: bytes) -> Response:
        ask = read_body(body, _Ask)
        check_model(self.model, ask.model)
        call = _Call(self._generator, self._thread, ask)
        await call.begin()
        if ask.stream:
            return StreamingResponse(self._events(call, ask), media_type="text/event-stream")
        return await self._whole(call)

    async def _whole(self, call: "_Call") -> Response:
        try:
            parts = [part async for part in call.parts()]
        finally:
            call.stop.set()
        text = "".join(part.text for part in parts)
        message = {"role": "assistant", "content": text}
        return json_response(
            {
                **self._head(call, "chat.completion"),
                "choices": [{"index": 0, "message": message, "finish_reason": parts[-1].finish}],
                "usage": call.usage(parts[-1].completion_tokens),
            }
        )

    async def _events(self, call: "_Call", ask: _Ask) -> AsyncIterator[bytes]:
        head = self._head(call, "chat.completion.chunk")
        made = 0
        try:
            yield event({**head, "choices": [_delta({"role": "assistant", "content": ""}, None)]})
            async for part in call.parts():
                made = part.completion_tokens
                delta = {"content": part.text} if part.text else {}
                yield event({**head, "choices": [_delta(delta, part.finish)]})
            if ask.stream_options is not None and ask.stream_options.include_usage:
                yield event({**head, "choices": [], "usage": call.usage(made)})
            yield END
        except Exception as problem:  # noqa: BLE001 - the answer has begun: an event is all that can still say it
            yield event({"error": {"message": f"the worker failed: {problem}", "type": "internal_error", "code": 500}})
        finally:
            call.stop.set()

    def _head(self, call: "_Call", kind: str) -> dict[str, Any]:
        return {"id": call.id, "object": kind, "created": call.created, "model": self.model}


class _Call:
    """One answer on its way from the generating thread to the event loop."""

    def __init__(self, generator: Generator, thread: ThreadPoolExecutor, ask: _Ask) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.stop = Event()
        self._generator = generator
        self._thread = thread
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._parts: asyncio.Queue[Part | Exception | None] = asyncio.Queue()

    async def begin(self) -> None:
        """Read the prompt and the constraint, which may be refused, then start generating."""
        run = self._loop.run_in_executor
        messages = [{"role": each.role, "content": each.content} for each in self._ask.messages]
        self._prompt, self._constraint = await run(self._thread, self._prepare, messages)
        run(self._thread, self._generate)

    async def parts(self) -> AsyncIterator[Part]:
        """What is generated, as it comes."""
        while (part := await self._parts.get()) is not None:
            if isinstance(part, Exception):
                raise part
            yield part

    def usage(self, completion_tokens: int) -> dict[str, int]:
        """The tokens of prompt and answer."""
        prompt = len(self._prompt)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt + completion_tokens,
        }

    def _prepare(self, messages: Sequence[dict[str, str]]) -> tuple[list[int], Constraint | None]:
        return self._generator.prompt(messages), _constraint(self._ask, self._generator)

    def _generate(self) -> None:
        try:
            for part in self._generator.parts(self._prompt, _options(self._ask), self._constraint, self.stop.is_set):
                self._put(part)
        except Exception as problem:  # noqa: BLE001 - handed on to whoever waits
            self._put(problem)
        self._put(None)

    def _put(self, part: Part | Exception | None) -> None:
        self._loop.call_soon_threadsafe(self._parts.put_nowait, part)


def _options(ask: _Ask) -> Options:
    stop = [ask.stop] if isinstance(ask.stop, str) else ask.stop or []
    most = ask.max_completion_tokens or ask.max_tokens or 256
    return Options(max(1, most), ask.temperature, ask.top_p, ask.seed, tuple(stop), ask.ignore_eos)


def _constraint(ask: _Ask, generator: Generator) -> Constraint | None:
    structured, form = ask.structured_outputs, ask.response_format
    if structured is not None and structured.choice:
        return generator.constraints.choice(structured.choice)
    if structured is not None and structured.regex is not None:
        return generator.constraints.regex(structured.regex)
    if form is None or form.type == "text":
        return None
    if form.type == "json_schema" and form.json_schema is not None:
        return generator.constraints.schema(form.json_schema.schema)
    raise Refusal(400, "invalid_request_error", f"the response format `{form.type}` is not supported")


def _delta(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def make_role(arguments: argparse.Namespace) -> ChatModel:
    """The role for these arguments."""
    return ChatModel(arguments)
