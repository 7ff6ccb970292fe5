"""A real transformer behind the routes of an OpenAI-compatible server: transformers' continuous batching.

It stands in for vLLM where that is not installed. Weights are random, and an answer's tokens are written as
numbers. As in vLLM, what computes is a process of its own, so that tokenising and streaming take it no time.
"""

import argparse
import asyncio
import contextlib
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from tokenizers import Tokenizer

from bench.engines.tokens import BEGIN, END, byte_tokenizer
from bench.engines.wire import Came, Cancel, Line, Open, Pace, Ready, Wanted
from harmonia_compiler.contract import sse
from harmonia_compiler.emulate.servers.replica import problem
from harmonia_compiler.emulate.servers.speech import Ask, usage
from harmonia_compiler.kinds.openai import CHAT

#: The room for a line of the process that computes: tokens of all calls of a step.
_MOST_LINE = 2**22


@dataclass(frozen=True)
class Served:
    """A server: where it is, and how the model decoded before anybody asked."""

    url: str
    paces: list[Pace]


class Lost(Exception):
    """The process that computes has ended, or could not compute a call."""


class Computing:
    """The process that computes, as the server sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._awaited: dict[str, asyncio.Queue[Came | None]] = {}
        self._numbers = itertools.count()
        self.is_well = True

    async def listen(self) -> None:
        """Hand out what comes, until the process ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            for came in msgspec.json.decode(line, type=list[Came]):
                if came.id in self._awaited:
                    self._awaited[came.id].put_nowait(came)
        self.is_well = False
        for queue in self._awaited.values():
            queue.put_nowait(None)

    async def tokens(self, prompt: list[int], answer: int) -> AsyncIterator[bool]:
        """Each token as it comes: whether it is the last one. Raises Lost."""
        name = str(next(self._numbers))
        heard = self._awaited[name] = asyncio.Queue()
        self._send(Wanted(name, prompt, answer))
        told, ended = 0, False
        try:
            while not ended:
                came = await heard.get()
                if came is None or came.error is not None:
                    raise Lost("the process has ended" if came is None else came.error)
                ended = came.ended
                for number in range(told, came.tokens):
                    yield ended and number == came.tokens - 1
                told = came.tokens
        finally:
            del self._awaited[name]
            if not ended:
                self._send(Cancel(name))

    def _send(self, line: Line) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(line) + b"\n")


class Server:
    """The routes."""

    def __init__(self, model: str, context: int, version: str, computing: Computing) -> None:
        self._model = model
        self._context = context
        self._version = version
        self._computing = computing
        self._tokenizer = byte_tokenizer()

    def app(self) -> web.Application:
        """All of them."""
        app = web.Application(client_max_size=2**26)
        app.router.add_post(CHAT, self.chat)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/version", self.version)
        app.router.add_get("/health", self.health)
        return app

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/chat/completions`, streamed: nothing here asks otherwise."""
        try:
            ask = msgspec.json.decode(await request.read(), type=Ask)
        except msgspec.DecodeError as unreadable:
            return problem(400, str(unreadable))
        prompt = _prompt(self._tokenizer, [turn.text for turn in ask.messages])
        if not ask.stream or ask.most is None or not 0 < ask.most <= self._context - len(prompt):
            return problem(400, f"wanted: a stream, and `max_tokens` with a prompt in {self._context} tokens")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        head = {"object": "chat.completion.chunk", "model": self._model}
        delta = {"role": "assistant", "content": ""}
        try:
            async for number, last in _numbered(self._computing.tokens(prompt, ask.most)):
                if not number:
                    await response.write(sse.event({**head, "choices": [_choice(delta, last=False)]}))
                await response.write(sse.event({**head, "choices": [_choice({"content": f" {number}"}, last=last)]}))
        except Lost as lost:
            await response.write(sse.event({"error": {"message": str(lost), "code": 500}}))
            return response
        await response.write(sse.event({**head, "choices": [], "usage": usage(len(prompt), ask.most)}))
        await response.write(sse.END)
        return response

    async def models(self, _: web.Request) -> web.Response:
        """`GET /v1/models`."""
        listed = {"id": self._model, "object": "model", "max_model_len": self._context}
        return web.json_response({"object": "list", "data": [listed]})

    async def version(self, _: web.Request) -> web.Response:
        """`GET /version`."""
        return web.json_response({"version": self._version})

    async def health(self, _: web.Request) -> web.Response:
        """`GET /health`."""
        return web.Response(status=200 if self._computing.is_well else 503)


def _prompt(tokenizer: Tokenizer, turns: Sequence[str]) -> list[int]:
    tokens: list[int] = tokenizer.encode("".join(f"{BEGIN}{turn}{END}" for turn in turns)).ids
    return tokens


async def _numbered(lasts: AsyncIterator[bool]) -> AsyncIterator[tuple[int, bool]]:
    number = 0
    async for last in lasts:
        yield number, last
        number += 1


def _choice(delta: dict[str, str], *, last: bool) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": "length" if last else None}


async def serve(model: str, context: int, options: Sequence[str]) -> None:
    """The server's process: prints what it is once it is ready, and serves until it is ended."""
    script = Path(__file__).with_name("batching.py")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, *options, "--context", str(context), stdin=pipe, stdout=pipe, limit=_MOST_LINE
    )
    assert process.stdout is not None
    first = await process.stdout.readline()
    if not first:
        sys.exit("the process that computes did not start")
    ready = msgspec.json.decode(first, type=Ready)
    computing = Computing(process)
    runner = web.AppRunner(Server(model, context, ready.version, computing).app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(msgspec.json.encode(Open(runner.addresses[0][1], ready.paces)).decode(), flush=True)
    await computing.listen()


@contextlib.contextmanager
def served(
    model: str, shape: str, device: str, context: int, sequences: int, step_tokens: int, *, graphs: bool
) -> Iterator[Served]:
    """Such a server in a process of its own."""
    options = ["--shape", shape, "--device", device, "--sequences", str(sequences), "--step-tokens", str(step_tokens)]
    options += ["--graphs"] if graphs else []
    command = [sys.executable, __file__, model, str(context), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if not said:
                sys.exit("the server did not start")
            there = msgspec.json.decode(said, type=Open)
            yield Served(f"http://127.0.0.1:{there.port}", there.paces)
        finally:
            process.terminate()


def main() -> None:
    """Serve a model under a name; what follows the context goes to the process that computes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("context", type=int)
    given, options = parser.parse_known_args()
    asyncio.run(serve(given.model, given.context, options))


if __name__ == "__main__":
    main()
