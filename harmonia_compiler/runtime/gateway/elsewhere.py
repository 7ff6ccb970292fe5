"""Calls services that somebody else runs: at whole URLs, over TLS and whatever else the web has."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from harmonia_compiler.contract.launch import KEEP_ALIVE_S, Wire
from harmonia_compiler.runtime.gateway.http_connection import CLOSED
from harmonia_compiler.runtime.gateway.http_pool import CONNECT_TIMEOUT_S
from harmonia_compiler.runtime.gateway.transport import Broken, Unreachable


class Elsewhere:
    """Connections are kept, and shared by all requests."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def send(self, wire: Wire, limit: int) -> tuple[int, str, bytes]:
        """The status of the answer, its reason, and its body of at most so many bytes."""
        parts: list[bytes] = []
        size = 0
        async with self._exchange(wire) as response:
            async for chunk in _read(response):
                size += len(chunk)
                if size > limit:
                    raise Broken(f"the answer is larger than {limit} bytes")
                parts.append(chunk)
            return response.status, response.reason or "", b"".join(parts)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    @asynccontextmanager
    async def _exchange(self, wire: Wire) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the wire and give the response; it is closed unless read to its end."""
        try:
            response = await self._session.request(
                wire.method, wire.path, data=wire.body or None, headers=wire.headers, allow_redirects=False
            )
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as problem:
            raise Unreachable(_phrase(problem)) from problem
        try:
            yield response
        finally:
            response.close() if not response.content.is_eof() else response.release()


async def _read(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, ConnectionError) as problem:
        raise Broken(f"the answer broke off: {_phrase(problem)}") from problem


def _phrase(problem: Exception) -> str:
    """A connection's failure in a few words, without addresses of sockets."""
    match problem:
        case TimeoutError():
            return f"no connection within {CONNECT_TIMEOUT_S:g} s"
        case aiohttp.ClientConnectorError():
            return problem.os_error.strerror or "connection refused"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
            return CLOSED
        case _:
            return type(problem).__name__
