"""Reads a streamed answer: what came together is decoded one by one, and leaves together."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from harmonia_compiler.contract.launch import Reply, Usage
from harmonia_compiler.kinds.kind import DecodePiece, MalformedReply
from harmonia_compiler.runtime.gateway.dispatch import Emit
from harmonia_compiler.runtime.gateway.transport import Broken


async def read_pieces(
    stream: AsyncGenerator[Sequence[bytes], None], decode: DecodePiece, heard: Callable[[], None], emit: Emit
) -> Reply:
    """The whole answer, once its text was handed to `emit`; `heard` is called whenever something comes.

    Raises Broken or MalformedReply, and what `emit` does.
    """
    texts: list[str] = []
    usage, finish, failure = Usage(), None, None
    # Closed here: whoever reads no further must not leave the engine at work until the generator is collected.
    async with aclosing(stream) as events:
        async for together in events:
            heard()
            known = len(texts)
            for event in together:
                try:
                    piece = decode(event)
                except MalformedReply as problem:
                    # What came before it leaves all the same.
                    failure = problem
                    break
                if piece is None:
                    continue
                usage = piece.usage or usage
                finish = piece.finish or finish
                if piece.text:
                    texts.append(piece.text)
            if len(texts) > known:
                await emit(texts[known:])
            if failure is not None:
                raise failure
    if finish is None:
        raise Broken("the stream ended before the answer did")
    return Reply("".join(texts), usage, finish)
