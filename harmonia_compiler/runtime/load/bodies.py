"""Bodies of responses, of which no more is read than a service that works sends."""

import aiohttp

from harmonia_compiler.contract.sse import EVENT_LIMIT, Oversized


async def body_of(response: aiohttp.ClientResponse, most_bytes: int = EVENT_LIMIT) -> bytes:
    """All of it, which is no larger than one event of a stream may be if nothing else is said. Raises Oversized."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most_bytes:
            raise Oversized(f"a body is larger than {most_bytes} bytes")
    return bytes(body)
