"""Calls replicas over HTTP with connections that are kept alive."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.contract.sse import EventParser, Oversized
from harmonia_compiler.runtime.gateway.transport import Broken, Refused, Unreachable

#: The largest answer that is read, in bytes.
ANSWER_LIMIT = 2**26
#: How much of an engine's own error message is passed on, in characters.
MESSAGE_LIMIT = 300
CONNECT_TIMEOUT_S = 3.0
#: How long an idle connection is kept; shorter than uvicorn's own 5 s, so that we never write into one it just closed.
KEEP_ALIVE_S = 4.0


class HttpTransport:
    """Every replica that speaks HTTP. A wire whose path is a whole URL goes there instead of to the endpoint."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def send(self, endpoint: Endpoint, wire: Wire) -> bytes:
        """The body of a 2xx answer."""
        async with self._exchange(endpoint, wire) as response:
            return await _read_whole(response)

    async def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[bytes, None]:
        """The data of each server-sent event."""
        async with self._exchange(endpoint, wire) as response:
            events = EventParser()
            try:
                async for chunk in response.content.iter_any():
                    for event in events.feed(chunk):
                        yield event
            except (aiohttp.ClientError, ConnectionError) as problem:
                raise Broken(f"the stream broke off: {_phrase(problem)}") from problem
            except Oversized as problem:
                raise Broken(str(problem)) from problem

    async def answers(self, endpoint: Endpoint) -> str | None:
        """None where `/health` answers 200."""
        try:
            async with self._session.get(_url(endpoint, "/health")) as response:
                return None if response.status == 200 else f"/health answers {response.status}"
        except (aiohttp.ClientError, ConnectionError) as problem:
            return _phrase(problem)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    @asynccontextmanager
    async def _exchange(self, endpoint: Endpoint, wire: Wire) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the wire and give the response once its status is known to be 2xx; closed unless read to its end."""
        try:
            response = await self._session.request(
                wire.method,
                _url(endpoint, wire.path),
                data=wire.body or None,
                headers=wire.headers,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as problem:
            raise Unreachable(_phrase(problem)) from problem
        try:
            if response.status // 100 != 2:
                raise Refused(response.status, await _error_message(response))
            yield response
        finally:
            response.close() if not response.content.is_eof() else response.release()


async def _read_whole(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > ANSWER_LIMIT:
                raise Broken(f"the answer is larger than {ANSWER_LIMIT} bytes")
            parts.append(chunk)
    except (aiohttp.ClientError, ConnectionError) as problem:
        raise Broken(f"the answer broke off: {_phrase(problem)}") from problem
    return b"".join(parts)


async def _error_message(response: aiohttp.ClientResponse) -> str:
    """What the engine says about its error, in the shape of OpenAI, FastAPI or plain text."""
    try:
        document = msgspec.json.decode(await _read_whole(response))
    except (Broken, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return response.reason or "no reason given"
    found = document
    for key in ("error", "message"):
        if isinstance(found, dict):
            found = found.get(key, found.get("detail", ""))
    return (found if isinstance(found, str) and found else response.reason or "no reason given")[:MESSAGE_LIMIT]


def _url(endpoint: Endpoint, path: str) -> str:
    if path.startswith(("http://", "https://")):
        return path
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"http://{host}:{endpoint.port}{path}"


def _phrase(problem: Exception) -> str:
    """A connection's failure in a few words, without addresses of sockets."""
    match problem:
        case TimeoutError():
            return f"no connection within {CONNECT_TIMEOUT_S:g} s"
        case aiohttp.ClientConnectorError():
            return problem.os_error.strerror or "connection refused"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
            return "the connection was closed"
        case _:
            return type(problem).__name__
