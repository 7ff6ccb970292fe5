"""Calls replicas over HTTP, and services of somebody else's at whole URLs."""

from collections.abc import AsyncGenerator, Sequence

import msgspec

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.contract.sse import EventParser, Oversized
from harmonia_compiler.runtime.gateway.elsewhere import Elsewhere
from harmonia_compiler.runtime.gateway.http_connection import Connection
from harmonia_compiler.runtime.gateway.http_pool import Pool
from harmonia_compiler.runtime.gateway.transport import Broken, Refused, Unreachable

#: The largest answer that is read, in bytes.
ANSWER_LIMIT = 2**26
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
            status, reason, body = await self._whole(endpoint, wire)
        if status // 100 != 2:
            raise Refused(status, _error_message(body, reason))
        return body

    async def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[Sequence[bytes], None]:
        """The data of the server-sent events that came together."""
        events = EventParser()
        connection = await self._pool.take(endpoint.host, endpoint.port)
        try:
            connection.begin(_head(endpoint, wire), wire.body, ANSWER_LIMIT, pieces=True)
            await connection.opened()
            if connection.status // 100 != 2:
                raise Refused(connection.status, _error_message(await _rest(connection), _reason(connection)))
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
            status, _, _ = await self._whole(endpoint, _HEALTH)
        except (Unreachable, Broken) as problem:
            return str(problem)
        return None if status == 200 else f"/health answers {status}"

    async def close(self) -> None:
        """Close every connection."""
        self._pool.close()
        await self._elsewhere.close()

    async def _whole(self, endpoint: Endpoint, wire: Wire) -> tuple[int, str, bytes]:
        """The status of a replica's answer, its reason, and its body."""
        connection = await self._pool.take(endpoint.host, endpoint.port)
        try:
            connection.begin(_head(endpoint, wire), wire.body, ANSWER_LIMIT, pieces=False)
            body = await connection.whole()
            return connection.status, _reason(connection), body
        finally:
            self._pool.give_back(connection)


TRANSPORT = HttpTransport


def _head(endpoint: Endpoint, wire: Wire) -> bytes:
    """The head of a request, which nothing in it can make another one."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    lines = [f"{wire.method} {wire.path} HTTP/1.1", f"host: {host}:{endpoint.port}"]
    lines += [f"{name}: {value}" for name, value in wire.headers]
    if wire.body or wire.method != "GET":
        lines.append(f"content-length: {len(wire.body)}")
    head = "\r\n".join(lines)
    if not head.count("\r") == head.count("\n") == len(lines) - 1:
        raise ValueError("a line of a request's head holds another one")
    return f"{head}\r\n\r\n".encode()


async def _rest(connection: Connection) -> bytes:
    """What an error says, as far as it comes to its end."""
    parts: list[bytes] = []
    try:
        while part := await connection.more():
            parts.append(part)
    except Broken:
        pass
    return b"".join(parts)


def _reason(connection: Connection) -> str:
    return connection.reason.decode("latin-1")


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
