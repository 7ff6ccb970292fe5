"""An emulated Milvus: as much of its gRPC service as a gateway uses, with passages that are drawn and not found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
import msgspec
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.launch import CALL_HEADER, REQUEST_HEADER
from harmonia_compiler.emulate.behaviour import Behaviour
from harmonia_compiler.emulate.servers.replica import Condition, called
from harmonia_compiler.emulate.servers.stations import Counter
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.kinds.milvus import SOURCE_FIELD, TEXT_FIELD, sign_of
from harmonia_compiler.runtime.milvus import RECORD_PROPERTY

#: Milvus's version that is told to clients.
_VERSION = "2.6.0"
#: Milvus's codes for a collection that is not there, and for what nothing can be found by.
_NO_COLLECTION, _INVALID = 100, 1100
#: Numbers of a vector are of four bytes.
_NUMBER_BYTES = 4


@dataclass(slots=True)
class Store:
    """The collections of a service, all of them served, and what a search by each component takes.

    A search says for which request and which call it is, and finds what that finds in a simulation. One that does not
    is one of its own.
    """

    counter: Counter
    behaviour: Behaviour
    condition: Condition
    records: Mapping[str, CollectionRecord]
    components: Mapping[str, Component]
    works: Mapping[str, Work]
    _searches: int = 0

    def add_to(self, server: grpc.aio.Server) -> None:
        """Answer this server's calls."""
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(_servicer(self), server)

    async def search(self, collection: str, limit: int, queries: int, named: str = "") -> list[list[dict[str, Any]]]:
        """Passages for each query, with Milvus's figures of how near they are, in the order that a simulation has.

        Scores do not fall in it, since tests of the first few are to hold as often as those of all.
        """
        self._searches += 1
        request, _, call = unquote(named).rpartition(" ")
        whose = called({REQUEST_HEADER: request, CALL_HEADER: call})
        searching = (one for one in self.components.values() if one.settings["collection"] == collection)
        component = self.components.get(whose.component) or next(searching)
        key = whose.request or f"{collection}.{self._searches}"
        uniform = self.behaviour.draws.of(key, component.name, whose.place)
        work = self.works[component.name]
        try:
            await self.counter.visit(_times(work, queries), uniform)
            await self.condition.moving()
        finally:
            self.condition.calls += queries
        settings = {**component.settings, "top_k": limit}
        places = [whose.place] if queries == 1 else [_of_item(whose.place, number + 1) for number in range(queries)]
        found = [self.behaviour.value(component, {}, key, place, settings) for place in places]
        sign = sign_of(component)
        return [[{**passage, "score": sign * passage["score"]} for passage in one] for one in found]


def _of_item(place: str, number: int) -> str:
    """Where the call for one item of a list stands, of a call for all of them."""
    path, sign, site = place.partition("#")
    return f"{path}/{number}{sign}{site}" if path else f"{number}{sign}{site}"


def _times(work: Work, times: int) -> Work:
    """The work of so many such calls."""
    return Work(core_ms=work.core_ms * times)


def _servicer(store: Store) -> Any:
    """Methods by Milvus's names, which its client calls."""
    ok = common_pb2.Status()

    class Servicer(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]
        async def Connect(self, _request: Any, _context: Any) -> Any:  # noqa: N802
            return milvus_pb2.ConnectResponse(status=ok, identifier=1)

        async def GetVersion(self, _request: Any, context: Any) -> Any:  # noqa: N802
            if not store.condition.says_well:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the store is not well")
            return milvus_pb2.GetVersionResponse(status=ok, version=_VERSION)

        async def ListAliases(self, _request: Any, _context: Any) -> Any:  # noqa: N802
            return milvus_pb2.ListAliasesResponse(status=ok, aliases=sorted(store.records))

        async def DescribeAlias(self, request: Any, _context: Any) -> Any:  # noqa: N802
            return milvus_pb2.DescribeAliasResponse(status=ok, alias=request.alias, collection=request.alias)

        async def DescribeCollection(self, request: Any, _context: Any) -> Any:  # noqa: N802
            known = store.records.get(request.collection_name)
            if known is None:
                return milvus_pb2.DescribeCollectionResponse(status=_absent(request.collection_name))
            record = msgspec.json.encode(known).decode()
            return milvus_pb2.DescribeCollectionResponse(
                status=ok,
                collection_name=request.collection_name,
                schema=schema_pb2.CollectionSchema(name=request.collection_name, fields=_FIELDS),
                properties=[common_pb2.KeyValuePair(key=RECORD_PROPERTY, value=record)],
            )

        async def Search(self, request: Any, context: Any) -> Any:  # noqa: N802
            await _refuse(store.condition, context)
            return await _found(store, request.collection_name, [request], _limit(request.search_params), context)

        async def HybridSearch(self, request: Any, context: Any) -> Any:  # noqa: N802
            await _refuse(store.condition, context)
            searches, limit = request.requests, _limit(request.rank_params)
            return await _found(store, request.collection_name, searches, limit, context)

    return Servicer()


async def _refuse(condition: Condition, context: Any) -> None:
    """End a call that is not to be answered; never comes back where the store hangs."""
    if (refusal := await condition.refusal()) is not None:
        status, message = refusal
        code = grpc.StatusCode.UNAVAILABLE if status == 503 else grpc.StatusCode.INTERNAL
        await context.abort(code, message)


_FIELDS = [
    schema_pb2.FieldSchema(fieldID=100 + at, name=name, data_type=schema_pb2.VarChar, is_primary_key=name == "id")
    for at, name in enumerate(("id", TEXT_FIELD, SOURCE_FIELD))
]


def _limit(parameters: Sequence[Any]) -> int:
    named = {one.key: one.value for one in parameters}
    return int(named.get("topk") or named.get("limit") or 10)


def _absent(collection: str) -> Any:
    return common_pb2.Status(code=_NO_COLLECTION, reason=f"collection not found[collection={collection}]")


def _wrong(record: CollectionRecord, searches: Sequence[Any]) -> Any | None:
    """What Milvus says of vectors that are not as long as those of the collection; None where all are."""
    expected = _NUMBER_BYTES * record.dimension
    groups = (common_pb2.PlaceholderGroup.FromString(search.placeholder_group) for search in searches)
    asked = (one for group in groups for one in group.placeholders if one.type == common_pb2.FloatVector)
    sizes = {len(vector) for one in asked for vector in one.values}
    if not (others := sizes - {expected}):
        return None
    differ = f"expected vector size(byte) {expected}, actual {max(others)}"
    return common_pb2.Status(code=_INVALID, reason=f"vector dimension mismatch, {differ}: invalid parameter")


async def _found(store: Store, collection: str, searches: Sequence[Any], limit: int, context: Any) -> Any:
    record = store.records.get(collection)
    if (wrong := _absent(collection) if record is None else _wrong(record, searches)) is not None:
        return milvus_pb2.SearchResults(status=wrong)
    queries = searches[0].nq
    named = dict(context.invocation_metadata()).get("client-request-id", "")
    rows = await store.search(collection, limit, queries, named)
    flat = [row for some in rows for row in some]
    texts, sources = ([row[name] for row in flat] for name in ("text", "source"))
    results = schema_pb2.SearchResultData(
        num_queries=queries,
        top_k=limit,
        topks=[len(some) for some in rows],
        scores=[row["score"] for row in flat],
        ids=schema_pb2.IDs(str_id=schema_pb2.StringArray(data=[str(at) for at in range(len(flat))])),
        fields_data=[_texts(TEXT_FIELD, texts), _texts(SOURCE_FIELD, sources)],
        output_fields=[TEXT_FIELD, SOURCE_FIELD],
        primary_field_name="id",
    )
    return milvus_pb2.SearchResults(status=common_pb2.Status(), results=results, collection_name=collection)


def _texts(name: str, texts: list[str]) -> Any:
    scalars = schema_pb2.ScalarField(string_data=schema_pb2.StringArray(data=texts))
    return schema_pb2.FieldData(type=schema_pb2.VarChar, field_name=name, scalars=scalars)
