"""Calls replicas over HTTP, and services of somebody else's at whole URLs."""

from collections.abc import AsyncGenerator, Sequence

import msgspec

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import ANSWER_LIMIT, Wire
from harmonia_compiler.contract.sse import EventParser, Oversized
from harmonia_compiler.runtime.gateway.elsewhere import Elsewhere
from harmonia_compiler.runtime.gateway.http_connection import Connection
from harmonia_compiler.runtime.gateway.http_pool import Pool, head_of, said_of
from harmonia_compiler.runtime.gateway.transport import Broken, Refused, Unreachable

#: How much of an engine's own error message is passed on, in characters.
MESSAGE_LIMIT = 300

_HEALTH = Wire("/health", b"", "GET")


class HttpTransport:
    """Every replica that speaks HTTP. A wire whose path is a whole URL goes there instead of to the endpoint."""

    def __init__(self) -> None:
        self._pool = Pool()
        self._elsewhere = Elsewhere()

    async def send(self, endpoint: Endpoint, wire: Wire) -> bytes:
        """The body of a 2xx answer."""
        if _is_url(wire.path):
            status, reason, body = await self._elsewhere.send(wire, ANSWER_LIMIT)
        else:
            status, reason, body = await self._pool.exchange(endpoint, wire, ANSWER_LIMIT)
        if status // 100 != 2:
            raise Refused(status, _error_message(body, reason))
        return body

    async def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[Sequence[bytes], None]:
        """The data of the server-sent events that came together."""
        events = EventParser()
        connection = await self._pool.take(endpoint.host, endpoint.port)
        try:
            connection.begin(head_of(endpoint, wire), wire.body, ANSWER_LIMIT, pieces=True)
            await connection.opened()
            if connection.status // 100 != 2:
                raise Refused(connection.status, _error_message(await _rest(connection), said_of(connection)))
            while chunk := await connection.more():
                if found := events.feed(chunk):
                    yield found
        except Oversized as problem:
            raise Broken(str(problem)) from problem
        finally:
            self._pool.give_back(connection)

    async def answers(self, endpoint: Endpoint) -> str | None:
        """None where `/health` answers 200."""
        try:
            status, _, _ = await self._pool.exchange(endpoint, _HEALTH, ANSWER_LIMIT)
        except (Unreachable, Broken) as problem:
            return str(problem)
        return None if status == 200 else f"/health answers {status}"

    async def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        await self._elsewhere.close()


TRANSPORT = HttpTransport


async def _rest(connection: Connection) -> bytes:
    """What an error says, as far as it comes to its end."""
    parts: list[bytes] = []
    try:
        while part := await connection.more():
            parts.append(part)
    except Broken:
        pass
    return b"".join(parts)


def _error_message(body: bytes, reason: str) -> str:
    """What the engine says about its error, in the shape of OpenAI, FastAPI or plain text."""
    otherwise = reason or "no reason given"
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return otherwise
    for key in ("error", "message"):
        if isinstance(found, dict):
            found = found.get(key, found.get("detail", ""))
    return (found if isinstance(found, str) and found else otherwise)[:MESSAGE_LIMIT]


def _is_url(path: str) -> bool:
    return path.startswith(("http://", "https://"))
