"""What OpenAI's chat route takes in its fields, whoever answers: the gateway for a pipeline, a worker for its model."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

#: Who may speak in a conversation.
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

#: Fields of OpenAI's that say who asks, what is kept and how it is paid for, or that only save time.
UNREAD = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)

#: Fields of OpenAI's that ask for what is not done, unless they hold one of these values or null.
NOTHING: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "n": (1,),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": ("medium",),
    "web_search_options": (),
}

MOST_STOPS = 4


@dataclass(frozen=True, slots=True)
class Unfit:
    """What is wrong with a body, in a sentence, and the field at fault where one is."""

    field: str | None
    message: str


@dataclass(frozen=True, slots=True)
class _Range:
    """What a number may be, and that in words."""

    holds: Callable[[float], bool]
    words: str


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer is sampled, and how long it may be, in tokens; None where a body does not say."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    ignore_eos: bool | None = None

    @property
    def stops(self) -> list[str] | None:
        """The texts that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def most(self) -> int | None:
        """The most tokens of an answer; of the two fields for it, the newer one is heeded."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


_TOKENS = _Range(lambda tokens: tokens >= 1, "1 or more")
#: vLLM refuses what lies outside, but only when its turn comes.
_RANGES = {
    "temperature": _Range(lambda temperature: 0 <= temperature <= 2, "from 0 to 2"),
    "top_p": _Range(
        lambda share: 0 < share <= 1, "above 0 and at most 1; `temperature` 0 takes the likeliest token always"
    ),
    "seed": _Range(lambda seed: -(2**63) <= seed < 2**63, "a whole number of 64 bits"),
    "max_tokens": _TOKENS,
    "max_completion_tokens": _TOKENS,
}


def out_of_range(options: Sampling) -> Unfit | None:
    """The first option that cannot be followed, and what it must be; None where all can."""
    for name, allowed in _RANGES.items():
        value = getattr(options, name)
        if value is not None and not allowed.holds(value):
            return Unfit(name, f"`{name}` must be {allowed.words}")
    stops = options.stops or []
    if len(stops) > MOST_STOPS or "" in stops:
        return Unfit("stop", f"`stop` takes up to {MOST_STOPS} texts, none of them empty")
    return None


def misread(problem: msgspec.ValidationError) -> Unfit:
    """Why a document has not the form that was wanted, and in which field."""
    text = str(problem)
    place = re.search(r" - at `\$\.?(.*)`$", text)
    missing = re.search(r"missing required field `(.*?)`", text)
    field = missing.group(1) if missing else place.group(1) if place else None
    return Unfit(field, text.split(" - at ", maxsplit=1)[0] + (f" in `{field}`" if place else ""))
