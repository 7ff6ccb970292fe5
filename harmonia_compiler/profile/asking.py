"""Asks a real engine, over the OpenAI-compatible route that the gateway uses, and notes when each token came."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import aiohttp
import msgspec

from harmonia_compiler.contract.chat import Choice, Chunk, Counted
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.launch import KEEP_ALIVE_S
from harmonia_compiler.contract.sse import DONE, EventParser, Oversized

#: How much of what an engine says of its failure is told, in bytes.
_MOST_SAID = 300
#: No token is less than a letter; a conversation may have so many of them besides, as the model's maker wrote it.
_MOST_BESIDE = 2**16
_WORDS = ("river", "stone", "garden", "window", "paper", "winter", "market", "button", "silver", "copper", "forest")
#: What prompts begin with: without a space before it, a word may be other tokens than elsewhere.
_FIRST = "Words:"


class NotAsked(Exception):
    """The engine did not answer as an engine does. The message says what it did."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer: when it was asked for and when each token came, in ms, and the tokens of the prompt."""

    sent_ms: float
    came_ms: tuple[float, ...]
    prompt: int

    @property
    def first_ms(self) -> float:
        """From asking until the first token."""
        return self.came_ms[0] - self.sent_ms


class Asker:
    """One engine and the model that it serves.

    Who asks one engine again takes another `seed`: its prefix cache knows the prompts of those before.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, model: str, seed: int) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._model = model
        self._rng = random.Random(seed)  # noqa: S311 (prompts, and no secrets)
        self._words = 1.0
        self._other = 0.0

    async def learn(self) -> None:
        """Find out how many tokens words are, and what a conversation has besides."""
        few, many = len(_WORDS), 7 * len(_WORDS)
        short, long = [(await self._ask(words, 1)).prompt for words in (few, many)]
        self._words = max(0.1, (long - short) / (many - few))
        self._other = short - few * self._words

    async def ask(self, prompt: int, answer: int, begun: asyncio.Event | None = None) -> Heard:
        """Ask with a prompt of about so many tokens, none asked before with this seed, for exactly so many tokens.

        `begun` is set when the first one comes.
        """
        return await self._ask(max(1, round((prompt - self._other) / self._words)), answer, begun)

    def _drawn(self) -> Iterator[str]:
        """Words without end: all of them before one comes again, so that equally many are about as many tokens."""
        while True:
            yield from self._rng.sample(_WORDS, len(_WORDS))

    async def _ask(self, words: int, answer: int, begun: asyncio.Event | None = None) -> Heard:
        text = " ".join([_FIRST, *islice(self._drawn(), words)])
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": answer,
            # Nothing of the model's own may end the answer before that.
            "ignore_eos": True,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        sent = perf_counter() * 1000
        came: list[float] = []
        usage = Counted()
        async with self._session.post(f"{self._url}/v1/chat/completions", json=body) as response:
            if response.status != 200:
                said = (await response.content.read(_MOST_SAID)).decode(errors="replace")
                raise NotAsked(f"it answered {response.status}: {said}")
            async for chunk in _chunks(response):
                usage = chunk.usage or usage
                if chunk.choices and _is_token(chunk.choices[0]):
                    came.append(perf_counter() * 1000)
                    if begun is not None:
                        begun.set()
        if usage.completion_tokens != answer:
            raise NotAsked(f"it was asked for {answer} tokens and counted {_number_of(usage.completion_tokens)}")
        if not came:
            raise NotAsked("it streamed nothing")
        prompt = usage.prompt_tokens
        if prompt is None or not 0 < prompt <= len(text) + _MOST_BESIDE:
            raise NotAsked(f"it was sent a prompt of {words} words and counted {_number_of(prompt)}")
        return Heard(sent, tuple(came), prompt)


def _number_of(tokens: int | None) -> str:
    return f"{'no number of' if tokens is None else tokens} tokens"


def _is_token(choice: Choice) -> bool:
    """Whether a piece is a token's, which may end no letter yet, and so have no text.

    The first of all says who speaks, with some engines each piece does, and the last one may say how it ended.
    """
    if choice.delta is None:
        return False
    return bool(choice.delta.text) or (choice.delta.text == "" and choice.delta.role is None)


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[Chunk]:
    events = EventParser()
    async for chunk in response.content.iter_any():
        try:
            complete = events.feed(chunk)
        except Oversized as problem:
            raise NotAsked(f"it streamed what is no answer: {problem}") from None
        for data in complete:
            if data != DONE:
                yield _decoded(data)


def _decoded(data: bytes) -> Chunk:
    try:
        chunk = decode_document(data, Chunk)
    except msgspec.MsgspecError as problem:
        raise NotAsked(f"it streamed what is no piece of an answer: {data[:80]!r}: {problem}") from None
    if chunk.error is not None:
        raise NotAsked(f"it streamed an error: {data[:_MOST_SAID]!r}")
    return chunk


@asynccontextmanager
async def asking(url: str, model: str, seed: int) -> AsyncIterator[Asker]:
    """An asker that has learned what its prompts are made of; another seed gives other prompts."""
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=600)) as session:
        asker = Asker(session, url, model, seed)
        await asker.learn()
        yield asker
