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

from starlette.responses import Response, StreamingResponse

from harmonia_compiler.contract.sse import END, event
from harmonia_compiler.kinds.openai import CHAT
from harmonia_compiler.runtime.worker.chat_ask import ChatAsk, read_chat
from harmonia_compiler.runtime.worker.constraint import Constraint
from harmonia_compiler.runtime.worker.encoder import use_cores
from harmonia_compiler.runtime.worker.generation import Generator, Options, Part
from harmonia_compiler.runtime.worker.server import Handler, json_response

#: The most tokens of an answer to whoever does not say.
_USUAL_TOKENS = 256


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
        ask = read_chat(body, self.model)
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

    async def _events(self, call: "_Call", ask: ChatAsk) -> AsyncIterator[bytes]:
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

    def __init__(self, generator: Generator, thread: ThreadPoolExecutor, ask: ChatAsk) -> None:
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
        messages = [{"role": each.role, "content": each.text} for each in self._ask.messages]
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


def _options(ask: ChatAsk) -> Options:
    return Options(
        _USUAL_TOKENS if ask.most is None else ask.most,
        1.0 if ask.temperature is None else ask.temperature,
        1.0 if ask.top_p is None else ask.top_p,
        ask.seed,
        tuple(ask.stops or ()),
        bool(ask.ignore_eos),
    )


def _constraint(ask: ChatAsk, generator: Generator) -> Constraint | None:
    structured, form = ask.structured_outputs, ask.response_format
    if structured is not None and structured.choice is not None:
        return generator.constraints.choice(structured.choice)
    if structured is not None and structured.regex is not None:
        return generator.constraints.regex(structured.regex)
    if form is not None and form.json_schema is not None and form.type == "json_schema":
        return generator.constraints.schema(form.json_schema.schema)
    return None


def _delta(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def make_role(arguments: argparse.Namespace) -> ChatModel:
    """The role for these arguments."""
    return ChatModel(arguments)
