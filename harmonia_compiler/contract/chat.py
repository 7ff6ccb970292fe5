"""What an OpenAI-compatible server says in a chat, as far as those read it who measure one.

They read servers of anybody's: what they do not need may be absent or anything. Numbers that no server means are none,
since figures are made of them.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

#: A number of tokens; larger ones are no sum that somebody counted, and floats do not tell them apart.
Tokens = Annotated[int, Meta(ge=0, le=2**53)]


class Counted(msgspec.Struct, frozen=True):
    """The tokens of a request and of its answer, as far as the server says them."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None


class Said(msgspec.Struct, frozen=True):
    """A message, or a piece of it."""

    role: Any = None
    content: str | None = None
    #: What a model thinks before it answers: vLLM's name for it, and that of others, which was vLLM's.
    reasoning: str | None = None
    reasoning_content: str | None = None

    @property
    def text(self) -> str | None:
        """What is said, aloud or not; it may be empty. None where nothing is."""
        return self.content or self.reasoning or self.reasoning_content or self.content


class Choice(msgspec.Struct, frozen=True):
    """An answer, or a piece of it: a `delta`."""

    delta: Said | None = None
    message: Said | None = None


class Chunk(msgspec.Struct, frozen=True):
    """An event of a streamed answer, or a whole one: they differ in what their choices hold."""

    choices: tuple[Choice, ...] = ()
    usage: Counted | None = None
    error: Any = None
