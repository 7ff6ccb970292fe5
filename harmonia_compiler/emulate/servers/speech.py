"""What an emulated model says: text of so many tokens, or a value written as models write it under a constraint."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.types import Text
from harmonia_compiler.emulate.behaviour import Behaviour, text_of
from harmonia_compiler.emulate.servers.replica import Called
from harmonia_compiler.kinds.extents import CHARACTERS_PER_TOKEN, text_tokens
from harmonia_compiler.kinds.llm import template_tokens
from harmonia_compiler.kinds.openai import spoken
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.worker.chat_ask import ChatMessage, StreamOptions
from harmonia_compiler.workload.draws import length

#: A caller that says neither which component it is nor how long an answer may be, gets this much on average.
USUAL_TOKENS = 128.0


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, and how many tokens it has. What `is_whole` is not cut off, also where it has as many as it may."""

    text: str
    tokens: int
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Speech:
    """What is said for whom: for a component of the service as its flows expect, for others as they constrain it."""

    behaviour: Behaviour
    components: Mapping[str, Component]

    def answer(self, whose: Called, ask: "Ask", body: bytes, room: int) -> Said:
        """The answer to a chat request; it ends where the engine has no more `room`, in tokens."""
        said = self._wanted(whose, ask, body)
        return said if said.tokens <= room else Said(said.text[: round(room * CHARACTERS_PER_TOKEN)], room)

    def _wanted(self, whose: Called, ask: "Ask", body: bytes) -> Said:
        most = ask.most
        said = self._answer(whose, most, ask.choices, body)
        if not ask.ignore_eos or most is None or ask.choices:
            return said
        return _cut(said.text * math.ceil(most * CHARACTERS_PER_TOKEN / max(1, len(said.text))), most)

    def _answer(self, whose: Called, most: int | None, choices: list[str] | None, body: bytes) -> Said:
        component = self.components.get(whose.component)
        if component is None:
            return self._unknown(whose, most, choices, body)
        # A call may say its limit anew, by which its answer is as long as planned.
        settings = component.settings if most is None else {**component.settings, "max_tokens": most}
        value = self.behaviour.value(component, {}, whose.request, whose.place, settings)
        if isinstance(component.result, Text):
            return _cut(str(value), most)
        asked, kind = msgspec.structs.replace(component, settings=settings), kinds()[component.kind]
        tokens = kind.work(asked, {}, kind.result_extent(asked)).output_tokens
        return Said(spoken(value, component.result), max(1, round(tokens)), is_whole=True)

    def _unknown(self, whose: Called, most: int | None, choices: list[str] | None, body: bytes) -> Said:
        key = whose.request or hashlib.blake2b(body, digest_size=8).hexdigest()
        uniform = self.behaviour.draws.of(key, "")
        if choices:
            return _cut(choices[int(uniform("choice") * len(choices))], most)
        mean = USUAL_TOKENS if most is None else most / 2
        tokens = length(uniform("length"), mean, 0.5, math.inf if most is None else most)
        return Said(text_of(f"answer.{key}", tokens), tokens)


def _cut(text: str, most: int | None) -> Said:
    tokens = max(1, math.ceil(len(text) / CHARACTERS_PER_TOKEN))
    if most is not None and tokens > most:
        return Said(text[: round(most * CHARACTERS_PER_TOKEN)], most)
    return Said(text, tokens)


class Structured(msgspec.Struct):
    """vLLM's `structured_outputs`, as far as it says what may be answered."""

    choice: list[str] | None = None


class Ask(msgspec.Struct):
    """A chat request, as far as an emulated engine heeds it."""

    messages: list[ChatMessage]
    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    ignore_eos: bool = False
    stream: bool = False
    stream_options: StreamOptions | None = None
    structured_outputs: Structured | None = None
    priority: int = 0

    @property
    def prompt(self) -> int:
        """How many tokens its turns are, in the model's template; at least one turn."""
        turns = len(self.messages) - (self.messages[0].role == "system")
        return round(template_tokens(turns) + sum(text_tokens(turn.text) for turn in self.messages))

    @property
    def most(self) -> int | None:
        """The most tokens of the answer."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def choices(self) -> list[str] | None:
        """What may be answered, where that is a few texts."""
        return self.structured_outputs.choice if self.structured_outputs else None


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
