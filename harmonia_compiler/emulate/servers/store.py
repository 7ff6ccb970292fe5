"""An emulated Milvus: what its gRPC service tells and finds, with passages that are drawn and not found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.launch import CALL_HEADER, REQUEST_HEADER
from harmonia_compiler.emulate.behaviour import Behaviour
from harmonia_compiler.emulate.servers import collections
from harmonia_compiler.emulate.servers.replica import Condition, called
from harmonia_compiler.emulate.servers.stations import Counter
from harmonia_compiler.kinds.kind import Work, value_of
from harmonia_compiler.kinds.milvus import SETTINGS, SOURCE_FIELD, TEXT_FIELD, sign_of

#: Milvus's version that is told to clients.
_VERSION = "2.6.0"


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
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(_Servicer(self), server)

    def searching(self, collection: str) -> Component:
        """The first component that searches a collection of these."""
        return next(one for one in self.components.values() if one.settings["collection"] == collection)

    async def search(self, collection: str, limit: int, queries: int, named: str = "") -> list[list[dict[str, Any]]]:
        """Passages for each query, with Milvus's figures of how near they are, in the order that a simulation has.

        Scores do not fall in it, since tests of the first few are to hold as often as those of all.
        """
        self._searches += 1
        request, _, call = unquote(named).rpartition(" ")
        whose = called({REQUEST_HEADER: request, CALL_HEADER: call})
        component = self.components.get(whose.component) or self.searching(collection)
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


#: The field of a query that wants to know only how many passages there are.
_COUNT = "count(*)"
#: What a call is answered that went well.
_OK = common_pb2.Status()


class _Servicer(milvus_pb2_grpc.MilvusServiceServicer):  # type: ignore[misc]
    """Methods by Milvus's names, which its client calls."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _there(self, request: Any) -> Any:
        """The status of a call that any collection answers alike."""
        return _OK if request.collection_name in self._store.records else collections.absent(request.collection_name)

    async def Connect(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return milvus_pb2.ConnectResponse(status=_OK, identifier=1)

    async def GetVersion(self, _request: Any, context: Any) -> Any:  # noqa: N802
        if not self._store.condition.says_well:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the store is not well")
        return milvus_pb2.GetVersionResponse(status=_OK, version=_VERSION)

    async def ListAliases(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return milvus_pb2.ListAliasesResponse(status=_OK, aliases=sorted(self._store.records))

    async def DescribeAlias(self, request: Any, _context: Any) -> Any:  # noqa: N802
        is_there = request.alias in self._store.records
        status = _OK if is_there else collections.absent_alias(request.alias)
        return milvus_pb2.DescribeAliasResponse(status=status, alias=request.alias, collection=request.alias)

    async def DescribeCollection(self, request: Any, _context: Any) -> Any:  # noqa: N802
        name = request.collection_name
        known = self._store.records.get(name)
        if known is None:
            return milvus_pb2.DescribeCollectionResponse(status=collections.absent(name))
        return collections.described(name, known)

    async def ShowCollections(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        return milvus_pb2.ShowCollectionsResponse(status=_OK, collection_names=sorted(self._store.records))

    async def DescribeIndex(self, request: Any, _context: Any) -> Any:  # noqa: N802
        name = request.collection_name
        known = self._store.records.get(name)
        if known is None:
            return milvus_pb2.DescribeIndexResponse(status=collections.absent(name))
        build = value_of("index", self._store.searching(name).settings, SETTINGS)
        return collections.indices(known, build, request.index_name or request.field_name)

    async def LoadCollection(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return self._there(request)

    async def GetLoadingProgress(self, request: Any, _context: Any) -> Any:  # noqa: N802
        status = self._there(request)
        return milvus_pb2.GetLoadingProgressResponse(status=status, progress=100, refresh_progress=100)

    async def GetLoadState(self, request: Any, _context: Any) -> Any:  # noqa: N802
        is_there = request.collection_name in self._store.records
        state = common_pb2.LoadStateLoaded if is_there else common_pb2.LoadStateNotExist
        return milvus_pb2.GetLoadStateResponse(status=_OK, state=state)

    async def GetCollectionStatistics(self, request: Any, _context: Any) -> Any:  # noqa: N802
        rows = [common_pb2.KeyValuePair(key="row_count", value=str(collections.MOST_FOUND))]
        return milvus_pb2.GetCollectionStatisticsResponse(status=self._there(request), stats=rows)

    async def Query(self, request: Any, context: Any) -> Any:  # noqa: N802
        await _refuse(self._store.condition, context)
        await _refuse_iterator(request.query_params, context)
        return await _queried(self._store, request)

    async def Search(self, request: Any, context: Any) -> Any:  # noqa: N802
        await _refuse(self._store.condition, context)
        await _refuse_iterator(request.search_params, context)
        limit = collections.limit_of(request.search_params)
        return await _found(self._store, request.collection_name, [request], limit, context)

    async def HybridSearch(self, request: Any, context: Any) -> Any:  # noqa: N802
        await _refuse(self._store.condition, context)
        limit = collections.limit_of(request.rank_params)
        if (wrong := collections.wrong_together(limit)) is not None:
            return milvus_pb2.SearchResults(status=wrong)
        return await _found(self._store, request.collection_name, request.requests, limit, context)


async def _refuse(condition: Condition, context: Any) -> None:
    """End a call that is not to be answered; never comes back where the store hangs."""
    if (refusal := await condition.refusal()) is not None:
        status, message = refusal
        code = grpc.StatusCode.UNAVAILABLE if status == 503 else grpc.StatusCode.INTERNAL
        await context.abort(code, message)


async def _refuse_iterator(parameters: Sequence[Any], context: Any) -> None:
    """End a call that wants the next page: what is drawn has no last one."""
    if any(one.key == "iterator" and one.value == "True" for one in parameters):
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "an emulated store has no iterators")


async def _found(store: Store, collection: str, searches: Sequence[Any], limit: int, context: Any) -> Any:
    record = store.records.get(collection)
    if record is None:
        return milvus_pb2.SearchResults(status=collections.absent(collection))
    for wrong in filter(None, (collections.wrong_search(record, search) for search in searches)):
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
        primary_field_name=collections.ID_FIELD,
    )
    return milvus_pb2.SearchResults(status=common_pb2.Status(), results=results, collection_name=collection)


async def _queried(store: Store, request: Any) -> Any:
    """Passages that are drawn as for a search, with the ids that are asked for or else as a search numbers them."""
    collection, ids = request.collection_name, collections.ids_of(request.expr)
    limit = len(ids) or collections.limit_of(request.query_params)
    wrong = collections.wrong_together(limit) or collections.wrong_filter(request.expr)
    if collection not in store.records or wrong is not None:
        return milvus_pb2.QueryResults(status=wrong or collections.absent(collection))
    if _COUNT in request.output_fields:
        return _counted(collection, len(ids) or collections.MOST_FOUND)
    (rows,) = await store.search(collection, limit, 1)
    columns = {collections.ID_FIELD: ids or [str(at) for at in range(limit)]}
    columns |= {field: [row[name] for row in rows] for field, name in ((TEXT_FIELD, "text"), (SOURCE_FIELD, "source"))}
    wanted = [name for name in columns if {name, "*"} & {*request.output_fields} or name == collections.ID_FIELD]
    return milvus_pb2.QueryResults(
        status=common_pb2.Status(),
        fields_data=[_texts(name, columns[name]) for name in wanted],
        collection_name=collection,
        output_fields=wanted,
        primary_field_name=collections.ID_FIELD,
    )


def _counted(collection: str, passages: int) -> Any:
    scalars = schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=[passages]))
    column = schema_pb2.FieldData(type=schema_pb2.Int64, field_name=_COUNT, scalars=scalars)
    return milvus_pb2.QueryResults(status=_OK, fields_data=[column], collection_name=collection, output_fields=[_COUNT])


def _texts(name: str, texts: list[str]) -> Any:
    scalars = schema_pb2.ScalarField(string_data=schema_pb2.StringArray(data=texts))
    return schema_pb2.FieldData(type=schema_pb2.VarChar, field_name=name, scalars=scalars)
