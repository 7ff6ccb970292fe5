"""What an OpenAI-compatible server says in a chat, as far as those read it who measure one.

They read servers of anybody's: what they do not need may be absent or anything. Numbers that no server means are none,
since figures are made of them.
"""

from collections.abc import AsyncIterable, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from harmonia_compiler.contract.sse import Oversized

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


async def gathered(
    chunks: AsyncIterable[bytes], most_bytes: int, hold: Callable[[int], object] = lambda _size: None
) -> bytes:
    """A body that comes in chunks, which is no larger than that. Raises Oversized.

    `hold` is told how many bytes are kept.
    """
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        hold(len(body))
        if len(body) > most_bytes:
            raise Oversized(f"a body is larger than {most_bytes} bytes")
    return bytes(body)
