"""Milvus as ingestion and start-up need it: collections behind aliases, with their records.

The one home of pymilvus beside the gateway's own transport. What is used works alike on a Milvus
server and on milvus-lite: aliases, collection properties (where the record is kept; milvus-lite
drops descriptions), upsert, delete by id, iterators. milvus-lite opens every collection unloaded
after a restart, so whoever starts one calls `load` before the first search.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import msgspec
from pymilvus import DataType, Function, FunctionType, MilvusClient
from pymilvus.exceptions import MilvusException

from harmonia_compiler.contract.collection import (
    CollectionRecord,
    NotOurs,
    Row,
    StoredChunk,
    differences,
    is_physical_of,
)
from harmonia_compiler.kinds.milvus import (
    BUILDS,
    SOURCE_FIELD,
    TEXT_FIELD,
    VECTOR_FIELD,
    WORDS_FIELD,
    WORDS_INDEX,
    WORDS_METRIC,
)
from harmonia_compiler.runtime.milvus_client import GRPC_OPTIONS

#: Where a collection keeps its record.
RECORD_PROPERTY = "harmonia.record"
_CHUNK_FIELDS = list(StoredChunk.__struct_fields__)
_SCAN_ROWS = 5_000
#: With texts and vectors, most often some KiB each.
_WHOLE_ROWS = 500

#: The most bytes of a chunk's text, and of the path and name of its document, that a row holds.
TEXT_BYTES = 65_535
PATH_BYTES = 4_096


class StoreFailed(Exception):
    """The store cannot be reached or refuses; the message is the store's own."""


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except MilvusException as failure:
        raise StoreFailed(failure.message) from failure


class Milvus:
    """A connection to one Milvus; every method may raise `StoreFailed`.

    `collection` is the name that pipelines use, `physical` the name of what holds the vectors. `token` is a user and a
    password with a `:` between them, or a key, where it asks for that.
    """

    def __init__(self, uri: str, *, token: str = "", timeout_s: float = 60.0) -> None:
        with _reported():
            self._client = MilvusClient(uri=uri, token=token, timeout=timeout_s, grpc_options=GRPC_OPTIONS)

    def close(self) -> None:
        """Release the connection."""
        self._client.close()

    def serving(self, collection: str) -> str | None:
        """What searches of the collection read: behind its alias, or somebody's collection of that name."""
        with _reported():
            if collection in self._client.list_aliases()["aliases"]:
                return str(self._client.describe_alias(collection)["collection_name"])
            return collection if self._client.has_collection(collection) else None

    def physicals(self, collection: str) -> list[str]:
        """Everything built for the collection, serving or not, in order of the names."""
        with _reported():
            return sorted(name for name in self._client.list_collections() if is_physical_of(name, collection))

    def record(self, physical: str) -> CollectionRecord | None:
        """What the vectors were made with; None where somebody else made the collection."""
        with _reported():
            kept = self._client.describe_collection(physical)["properties"].get(RECORD_PROPERTY)
        try:
            return msgspec.json.decode(kept, type=CollectionRecord) if kept else None
        except msgspec.MsgspecError:
            return None

    def create(self, physical: str, record: CollectionRecord) -> None:
        """An empty collection with its record, not yet served under any alias; none where the store cannot have it."""
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
        schema.add_field(VECTOR_FIELD, DataType.FLOAT_VECTOR, dim=record.dimension)
        schema.add_field(TEXT_FIELD, DataType.VARCHAR, max_length=TEXT_BYTES, enable_analyzer=record.hybrid)
        schema.add_field(SOURCE_FIELD, DataType.VARCHAR, max_length=PATH_BYTES)
        schema.add_field("path", DataType.VARCHAR, max_length=PATH_BYTES)
        schema.add_field("document", DataType.VARCHAR, max_length=64)
        schema.add_field("position", DataType.INT64)
        schema.add_field("chunks", DataType.INT64)
        if record.hybrid:
            # The store makes these itself, of the text, at every write.
            schema.add_field(WORDS_FIELD, DataType.SPARSE_FLOAT_VECTOR)
            words = Function(
                "words", FunctionType.BM25, input_field_names=[TEXT_FIELD], output_field_names=[WORDS_FIELD]
            )
            schema.add_function(words)
        properties = {RECORD_PROPERTY: msgspec.json.encode(record).decode()}
        with _reported():
            # An iterator of pymilvus reads as its collection says, whatever it is told: without this, on a server, what
            # there was five seconds ago, so that an export would lack what was just ingested.
            self._client.create_collection(physical, schema=schema, properties=properties, consistency_level="Strong")
            if record.hybrid and not self._client.describe_collection(physical)["functions"]:
                # An older one passes over what it does not know, and fails at the first index.
                self._client.drop_collection(physical)
                raise StoreFailed("it finds no passages by their words, as a hybrid search does; Milvus 2.5 can")

    def load(self, physical: str, index: str | None = None) -> None:
        """Make the collection searchable; an `index` is built first, unless it is there already.

        milvus-lite does not tell how many lists an index has. A collection that changes between one list and several
        keeps what it has, which every search of it looks through widely enough.
        """
        build = None if index is None else BUILDS[index]
        with _reported():
            if build is not None and build.name not in self._indices(physical):
                self._client.release_collection(physical)
                for name in self._client.list_indexes(physical):
                    self._client.drop_index(physical, name)
                record = self.record(physical)
                wanted = self._client.prepare_index_params()
                if record is not None and record.hybrid:
                    # First, so that where the other is there this one is too.
                    wanted.add_index(WORDS_FIELD, index_type=WORDS_INDEX, metric_type=WORDS_METRIC)
                wanted.add_index(
                    VECTOR_FIELD,
                    index_type=build.name,
                    metric_type="COSINE" if record is None else record.metric,
                    params=build.parameters,
                )
                self._client.create_index(physical, wanted)
            self._client.load_collection(physical)

    def _indices(self, physical: str) -> list[str]:
        names = self._client.list_indexes(physical)
        return [str(self._client.describe_index(physical, name)["index_type"]) for name in names]

    def chunks(self, physical: str) -> Iterator[StoredChunk]:
        """Every row of a loaded collection, without text and vector; layouts before 2 have no paths."""
        with _reported():
            there = {field["name"] for field in self._client.describe_collection(physical)["fields"]}
        fields = [name for name in _CHUNK_FIELDS if name in there]
        for row in self._scanned(physical, fields, _SCAN_ROWS):
            yield StoredChunk(**{name: row[name] for name in fields})

    def rows(self, physical: str) -> Iterator[Row]:
        """Every row of a loaded collection of the present layout, in order of the ids, a few MiB of them at a time."""
        fields = [*_CHUNK_FIELDS, TEXT_FIELD, VECTOR_FIELD]
        for row in self._scanned(physical, fields, _WHOLE_ROWS):
            chunk = StoredChunk(**{name: row[name] for name in _CHUNK_FIELDS})
            yield Row(chunk, row[TEXT_FIELD], list(row[VECTOR_FIELD]))

    def _scanned(self, physical: str, fields: list[str], rows_at_once: int) -> Iterator[dict[str, Any]]:
        """The fields of every row, also of one just written; Milvus gives pages in order of the ids."""
        with _reported():
            pages = self._client.query_iterator(physical, batch_size=rows_at_once, output_fields=fields)
            with closing(pages):
                while page := pages.next():
                    yield from page

    def upsert(self, physical: str, rows: Sequence[Row]) -> None:
        """Write rows; those with an id that is there already are replaced."""
        data = [{**msgspec.structs.asdict(row.chunk), TEXT_FIELD: row.text, VECTOR_FIELD: row.vector} for row in rows]
        with _reported():
            self._client.upsert(physical, data)

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        """Remove rows; ids that are not there are passed over."""
        with _reported():
            self._client.delete(physical, ids=list(ids))

    def flush(self, physical: str) -> None:
        """Return when what was written is on disk and indexed."""
        with _reported():
            self._client.flush(physical)

    def point(self, collection: str, physical: str) -> None:
        """Let searches of the collection read this one, in one step."""
        with _reported():
            try:
                self._client.alter_alias(physical, collection)
            except MilvusException:
                # That there is none, no list tells: where somebody drops what an alias points at, a server lists the
                # alias no more and keeps it, and only milvus-lite drops it as well.
                self._client.create_alias(physical, collection)

    def drop(self, physical: str) -> None:
        """Remove a collection that nothing points at; milvus-lite would drop its aliases with it."""
        with _reported():
            self._client.drop_collection(physical)


def read_record(uri: str, collection: str) -> CollectionRecord | None:
    """What the collection that serves was built with; None where there is none. Raises `NotOurs`."""
    with closing(Milvus(uri)) as milvus:
        serving = milvus.serving(collection)
        record = None if serving is None else milvus.record(serving)
        if serving is not None and record is None:
            raise NotOurs(collection)
        return record


def verify(uri: str, collection: str, expected: CollectionRecord) -> list[str]:
    """Why the collection cannot serve what was compiled, a phrase each; empty where it can.

    A collection that does not exist yet fits: nothing was ingested so far.
    """
    try:
        found = read_record(uri, collection)
    except NotOurs:
        return ["it was not made by `harmoniac ingest`"]
    return [] if found is None else differences(found, expected)


def load(uri: str, collection: str) -> bool:
    """Make the collection searchable after its server started; False where nothing was ingested yet."""
    with closing(Milvus(uri)) as milvus:
        serving = milvus.serving(collection)
        if serving is not None:
            milvus.load(serving)
        return serving is not None
