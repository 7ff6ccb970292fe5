"""The connections to all replicas that speak HTTP: kept open for a while, and used again."""

import asyncio
import os

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import KEEP_ALIVE_S, Wire
from harmonia_compiler.runtime.gateway.http_connection import Connection
from harmonia_compiler.runtime.gateway.transport import Unreachable

CONNECT_TIMEOUT_S = 3.0


class Pool:
    """Owned by one event loop. Every connection that is taken is given back, whatever became of the call."""

    def __init__(self) -> None:
        self._all: set[Connection] = set()
        #: By address, those that have been idle for longest first.
        self._idle: dict[tuple[str, int], list[Connection]] = {}
        self._sweep_at: asyncio.TimerHandle | None = None

    async def take(self, host: str, port: int) -> Connection:
        """A connection over which no call is under way. Raises Unreachable."""
        idle = self._idle.get((host, port))
        while idle:
            connection = idle.pop()
            if connection.is_reusable and connection.idle_since > _now() - KEEP_ALIVE_S:
                return connection
            connection.close()
        return await self._connect(host, port)

    def give_back(self, connection: Connection) -> None:
        """The call has ended; one that was not read to its end is broken off with its connection."""
        if not connection.is_reusable:
            connection.close()
            return
        connection.idle_since = _now()
        self._idle.setdefault(connection.address, []).append(connection)
        if self._sweep_at is None:
            self._sweep_at = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._sweep)

    async def exchange(self, endpoint: Endpoint, wire: Wire, limit: int) -> tuple[int, str, bytes]:
        """The status of a replica's answer, its reason, and its body of at most so many bytes.

        Raises Unreachable or Broken.
        """
        connection = await self.take(endpoint.host, endpoint.port)
        try:
            connection.begin(head_of(endpoint, wire), wire.body, limit, pieces=False)
            body = await connection.whole()
            return connection.status, said_of(connection), body
        finally:
            self.give_back(connection)

    def close(self) -> None:
        """Close every connection."""
        if self._sweep_at is not None:
            self._sweep_at.cancel()
        for connection in tuple(self._all):
            connection.close()

    async def _connect(self, host: str, port: int) -> Connection:
        address = host, port
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, connection = await loop.create_connection(lambda: Connection(address, self._forget), host, port)
        except TimeoutError:
            raise Unreachable(f"no connection within {CONNECT_TIMEOUT_S:g} s") from None
        except OSError as problem:
            raise Unreachable(_phrase(problem)) from problem
        self._all.add(connection)
        return connection

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        idle = self._idle.get(connection.address, ())
        if connection in idle:
            self._idle[connection.address].remove(connection)

    def _sweep(self) -> None:
        """Close what has been idle for long, and look again as long as there is anything."""
        self._sweep_at = None
        since = _now() - KEEP_ALIVE_S
        for address, idle in tuple(self._idle.items()):
            self._idle[address] = [connection for connection in idle if connection.idle_since > since]
            for connection in idle:
                if connection.idle_since <= since:
                    connection.close()
            if not self._idle[address]:
                del self._idle[address]
        if self._idle:
            self._sweep_at = asyncio.get_running_loop().call_later(KEEP_ALIVE_S, self._sweep)


def head_of(endpoint: Endpoint, wire: Wire) -> bytes:
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


def said_of(connection: Connection) -> str:
    """The words behind the status of its answer."""
    return connection.reason.decode("latin-1")


def _now() -> float:
    return asyncio.get_running_loop().time()


def _phrase(problem: OSError) -> str:
    """Why there is no connection, without the addresses of sockets that an event loop writes into it."""
    if problem.errno is not None and problem.errno > 0:
        return os.strerror(problem.errno)
    return problem.strerror or "connection refused"
