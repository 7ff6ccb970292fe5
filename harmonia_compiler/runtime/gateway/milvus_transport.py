"""Carries a search to Milvus over gRPC; the only home of pymilvus beside `runtime.milvus`.

The client reconnects by itself, but would ask a server that is gone dozens of times: here every
call is sent once, and a server that cannot be reached is reported within milliseconds.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any
from urllib.parse import quote

import grpc
import msgspec
from pymilvus import AnnSearchRequest, AsyncMilvusClient, RRFRanker
from pymilvus.exceptions import MilvusException

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import CALL_HEADER, REQUEST_HEADER, Wire
from harmonia_compiler.functions.fuse import DAMPING
from harmonia_compiler.kinds.milvus import (
    SOURCE_FIELD,
    TEXT_FIELD,
    VECTOR_FIELD,
    WORDS_FIELD,
    WORDS_METRIC,
    Hit,
    Search,
    SearchReply,
)
from harmonia_compiler.runtime.gateway.transport import INGEST_MAKES_IT, Refused, Unreachable
from harmonia_compiler.runtime.milvus import read_record
from harmonia_compiler.runtime.milvus_client import GRPC_OPTIONS
from harmonia_compiler.runtime.stretched import by_clock

CONNECT_TIMEOUT_S = 3.0
MESSAGE_LIMIT = 300

#: Milvus's own codes for a server that is not there, and for a collection that is not, or not yet, there.
_UNAVAILABLE = 2
_NO_COLLECTION = 100
_NOT_LOADED = 101

__all__ = ["TRANSPORT", "MilvusTransport", "read_record"]

#: What an id that is told to Milvus may have beside letters, digits and `_.-~`.
_IN_IDS = " /#;:"
_OUTPUT = [TEXT_FIELD, SOURCE_FIELD]
#: A search may miss what was written in the last seconds. A server would keep one that may not waiting for its clock.
_RECENT = "Bounded"


class MilvusTransport:
    """Every Milvus server; one channel for each replica, shared by all requests."""

    def __init__(self) -> None:
        self._clients: dict[str, tuple[Endpoint, AsyncMilvusClient]] = {}
        self._connecting = asyncio.Lock()

    async def send(self, endpoint: Endpoint, wire: Wire) -> bytes:
        """Carry out a `Search`; the answer is a `SearchReply`."""
        search = msgspec.json.decode(wire.body, type=Search)
        client = await self._client(endpoint)
        try:
            named = _request_id(wire)
            found = await (_by_words_too(client, search, named) if search.texts else _by_vector(client, search, named))
        except (MilvusException, grpc.RpcError) as problem:
            raise _failure(problem, search.collection) from problem
        return msgspec.json.encode(SearchReply([[_hit(row) for row in rows] for rows in found]))

    async def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[Sequence[bytes], None]:
        """The whole answer as one event: a search has no parts."""
        yield [await self.send(endpoint, wire)]

    async def answers(self, endpoint: Endpoint) -> str | None:
        """None where the server tells its version."""
        try:
            client = await self._client(endpoint)
            await client.get_server_version(retry_times=0)
        except (Unreachable, MilvusException, grpc.RpcError):
            return "it cannot be reached"
        return None

    async def close(self) -> None:
        """Close every channel."""
        for _, client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def _client(self, endpoint: Endpoint) -> AsyncMilvusClient:
        """The connected client of this server; the first who asks connects it.

        A replica that came back elsewhere has left the channel to where it was before, which is closed.
        """
        if (known := self._clients.get(endpoint.replica)) and known[0] == endpoint:
            return known[1]
        async with self._connecting:
            known = self._clients.get(endpoint.replica)
            if known is not None and known[0] == endpoint:
                return known[1]
            client = await _connected(endpoint)
            self._clients[endpoint.replica] = (endpoint, client)
            if known is not None:
                await known[1].close()
        return client


TRANSPORT = MilvusTransport


def _request_id(wire: Wire) -> str:
    """What Milvus writes into its log of a search: for which request it is, and for which call of it."""
    said = dict(wire.headers)
    # gRPC sends nothing else than printable ASCII.
    return quote(" ".join(said.get(name, "") for name in (REQUEST_HEADER, CALL_HEADER)).strip(), safe=_IN_IDS)


async def _by_vector(client: AsyncMilvusClient, search: Search, named: str) -> list[list[dict[str, Any]]]:
    """The rows nearest to each vector."""
    found: list[list[dict[str, Any]]] = await client.search(
        search.collection,
        data=search.vectors,
        anns_field=VECTOR_FIELD,
        limit=search.limit,
        filter=search.filter,
        output_fields=_OUTPUT,
        search_params={"metric_type": search.metric, "params": search.parameters},
        client_request_id=named,
        retry_times=0,
        consistency_level=_RECENT,
    )
    return found


async def _by_words_too(client: AsyncMilvusClient, search: Search, named: str) -> list[list[dict[str, Any]]]:
    """The rows that vectors and words find, each ranking as long as the result; Milvus fuses them."""
    near = {"metric_type": search.metric, "params": search.parameters}
    rankings = [
        AnnSearchRequest(search.vectors, VECTOR_FIELD, near, search.limit, search.filter),
        AnnSearchRequest(search.texts, WORDS_FIELD, {"metric_type": WORDS_METRIC}, search.limit, search.filter),
    ]
    found: list[list[dict[str, Any]]] = await client.hybrid_search(
        search.collection,
        rankings,
        RRFRanker(DAMPING),
        limit=search.limit,
        output_fields=_OUTPUT,
        client_request_id=named,
        retry_times=0,
        consistency_level=_RECENT,
    )
    return found


def _hit(row: dict[str, Any]) -> Hit:
    return Hit(row["entity"][TEXT_FIELD], row["entity"][SOURCE_FIELD], row["distance"])


async def _connected(endpoint: Endpoint) -> AsyncMilvusClient:
    uri = f"http://{endpoint.host}:{endpoint.port}"
    timeout_s = by_clock(CONNECT_TIMEOUT_S)
    client = AsyncMilvusClient(uri=uri, timeout=timeout_s, dedicated=True, grpc_options=GRPC_OPTIONS)
    try:
        await client.get_server_version(retry_times=0)
    except (MilvusException, grpc.RpcError) as problem:
        await client.close()
        raise Unreachable("it cannot be reached") from problem
    except BaseException:
        # Whoever waits for the server may be cancelled; nobody else would close the channel.
        await client.close()
        raise
    return client


def _failure(problem: Exception, collection: str) -> Unreachable | Refused:
    """What went wrong, in the terms of every transport."""
    code = problem.code() if isinstance(problem, grpc.RpcError) else getattr(problem, "code", None)
    if code in {_UNAVAILABLE, grpc.StatusCode.UNAVAILABLE}:
        return Unreachable("it cannot be reached")
    if code == _NO_COLLECTION:
        return Refused(404, f"there is no collection `{collection}`; {INGEST_MAKES_IT}")
    if code == _NOT_LOADED:
        return Refused(503, f"the collection `{collection}` is not loaded yet")
    said = str(getattr(problem, "message", "") or "no reason given").rsplit("message=", 1)[-1]
    return Refused(500, said[:MESSAGE_LIMIT])
