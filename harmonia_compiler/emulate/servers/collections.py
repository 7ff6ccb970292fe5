"""What an emulated Milvus says of a collection, and of searches that it refuses: in Milvus's own words and codes."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.kinds.filters import slip_in
from harmonia_compiler.kinds.milvus import (
    BUILDS,
    SOURCE_FIELD,
    TEXT_FIELD,
    VECTOR_FIELD,
    WORDS_FIELD,
    WORDS_INDEX,
    WORDS_METRIC,
)
from harmonia_compiler.runtime.milvus import PATH_BYTES, RECORD_PROPERTY, TEXT_BYTES

ID_FIELD = "id"
#: The most that one search finds, by Milvus's quota. A collection says that it has as many passages: there is one for
#: each place.
MOST_FOUND = 16_384
#: Milvus's codes for a collection, an index and an alias that are not there, for what is not as it must be, and for
#: the rest.
_NO_COLLECTION, _NO_INDEX, _NO_ALIAS, _INVALID, _UNEXPECTED = 100, 700, 1600, 1100, 65535
#: What a search may be for in a field, first as that field holds it, and what Milvus's engine calls that.
_SEARCHED = {
    VECTOR_FIELD: (common_pb2.FloatVector,),
    WORDS_FIELD: (common_pb2.SparseFloatVector, common_pb2.VarChar),
}
_TYPES = {
    common_pb2.FloatVector: "VECTOR_FLOAT",
    common_pb2.SparseFloatVector: "VECTOR_SPARSE_U32_F32",
    common_pb2.VarChar: "VARCHAR",
}
#: Numbers of a vector are of four bytes.
_NUMBER_BYTES = 4
_IDS = re.compile(rf"\s*{ID_FIELD}\s+in\s*\[(.*)\]\s*", re.DOTALL)
_TEXT = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def absent(collection: str) -> Any:
    """The status of a call about a collection that is not there."""
    return common_pb2.Status(code=_NO_COLLECTION, reason=f"collection not found[collection={collection}]")


def absent_alias(alias: str) -> Any:
    """The status of a call about an alias that is not there."""
    return common_pb2.Status(code=_NO_ALIAS, reason=f"alias not found[database=default][alias={alias}]")


def described(collection: str, record: CollectionRecord) -> Any:
    """The collection's fields, of those that `ingest` gives it the ones that searches read, and its record."""
    fields = [
        _field(ID_FIELD, schema_pb2.VarChar, max_length=64),
        _field(VECTOR_FIELD, schema_pb2.FloatVector, dim=record.dimension),
        _field(TEXT_FIELD, schema_pb2.VarChar, max_length=TEXT_BYTES),
        _field(SOURCE_FIELD, schema_pb2.VarChar, max_length=PATH_BYTES),
    ]
    if record.hybrid:
        fields.append(_field(WORDS_FIELD, schema_pb2.SparseFloatVector))
    for at, field in enumerate(fields):
        field.fieldID = 100 + at
    return milvus_pb2.DescribeCollectionResponse(
        status=common_pb2.Status(),
        collection_name=collection,
        schema=schema_pb2.CollectionSchema(name=collection, fields=fields),
        properties=_pairs({RECORD_PROPERTY: msgspec.json.encode(record).decode()}),
    )


def _field(name: str, of: Any, **parameters: int) -> Any:
    given = _pairs({key: str(value) for key, value in parameters.items()})
    return schema_pb2.FieldSchema(name=name, data_type=of, is_primary_key=name == ID_FIELD, type_params=given)


def _pairs(values: Mapping[str, str]) -> list[Any]:
    return [common_pb2.KeyValuePair(key=key, value=value) for key, value in values.items()]


def metrics(record: CollectionRecord) -> dict[str, str]:
    """What is searched by, and how near is measured in it."""
    return {VECTOR_FIELD: record.metric, **({WORDS_FIELD: WORDS_METRIC} if record.hybrid else {})}


def indices(record: CollectionRecord, build: str, named: str) -> Any:
    """The indices of a collection, that of vectors as `build` says; or the one of that name, which is its field's."""
    types = {VECTOR_FIELD: BUILDS[build].name, WORDS_FIELD: WORDS_INDEX}
    there = {name: metric for name, metric in metrics(record).items() if named in ("", name)}
    if not there:
        missing = common_pb2.Status(code=_NO_INDEX, reason=f"index not found[indexName={named}]")
        return milvus_pb2.DescribeIndexResponse(status=missing)
    parameters = {VECTOR_FIELD: {key: str(value) for key, value in BUILDS[build].parameters.items()}}
    found = [
        milvus_pb2.IndexDescription(
            index_name=name,
            field_name=name,
            params=_pairs({"index_type": types[name], "metric_type": metric, **parameters.get(name, {})}),
            indexed_rows=MOST_FOUND,
            total_rows=MOST_FOUND,
            state=common_pb2.Finished,
        )
        for name, metric in there.items()
    ]
    return milvus_pb2.DescribeIndexResponse(status=common_pb2.Status(), index_descriptions=found)


def limit_of(parameters: Sequence[Any]) -> int:
    """How many passages are wanted."""
    named = {one.key: one.value for one in parameters}
    return int(named.get("topk") or named.get("limit") or 10)


def ids_of(written: str) -> list[str]:
    """The ids that a filter names, where that is all that it does."""
    found = _IDS.fullmatch(written)
    return [] if found is None else [single or double for single, double in _TEXT.findall(found[1])]


def wrong_search(record: CollectionRecord, search: Any) -> Any | None:
    """What Milvus says of a search that it refuses; None where it searches."""
    return next(_of_search(record, search), None)


def wrong_together(limit: int) -> Any | None:
    """What it says of a query, or of several searches that are fused, for more than it gives."""
    if limit <= MOST_FOUND:
        return None
    window = f"should be in range [1, {MOST_FOUND}], but got {limit}"
    return _status(_UNEXPECTED, f"invalid max query result window, (offset+limit) {window}")


def wrong_filter(written: str) -> Any | None:
    """What it says of a filter that it cannot read; here as a component's is read, over the fields that are texts."""
    slip = slip_in(written, (ID_FIELD, TEXT_FIELD, SOURCE_FIELD))
    if slip is None:
        return None
    return _invalid(f"failed to create query plan: cannot parse expression: {written}, error: {slip.message}")


def _of_search(record: CollectionRecord, search: Any) -> Iterator[Any]:
    asked = {one.key: one.value for one in search.search_params}
    if (limit := limit_of(search.search_params)) > MOST_FOUND:
        yield _status(
            _UNEXPECTED, f"topk [{limit}] is invalid, it should be in range [1, {MOST_FOUND}], but got {limit}"
        )
    known, field = metrics(record), asked.get("anns_field", "")
    if not field and len(known) > 1:
        yield _status(_UNEXPECTED, "multiple anns_fields exist, please specify a anns_field in search_params")
    expected = known.get(field or VECTOR_FIELD)
    if expected is None:
        what = f"failed to get field schema by name: fieldName({field}) not found"
        yield _invalid(f"failed to create query plan: {what}")
    if wrong := wrong_filter(search.dsl):
        yield wrong
    groups = common_pb2.PlaceholderGroup.FromString(search.placeholder_group).placeholders
    kinds = _SEARCHED[field or VECTOR_FIELD]
    for strange in (one.type for one in groups if one.type not in kinds):
        differ = f"type {_TYPES[kinds[0]]}, search info type {_TYPES.get(strange, strange)}"
        yield _status(_UNEXPECTED, f"vector type must be the same, field {field or VECTOR_FIELD} - {differ}")
    sizes = {len(vector) for one in groups if one.type == common_pb2.FloatVector for vector in one.values}
    if others := sizes - {_NUMBER_BYTES * record.dimension}:
        differ = f"expected vector size(byte) {_NUMBER_BYTES * record.dimension}, actual {max(others)}"
        yield _invalid(f"vector dimension mismatch, {differ}")
    if (metric := asked.get("metric_type") or expected) != expected:
        yield _status(_INVALID, f"metric type not match: invalid parameter[expected={expected}][actual={metric}]")


def _invalid(why: str) -> Any:
    return _status(_INVALID, f"{why}: invalid parameter")


def _status(code: int, reason: str) -> Any:
    return common_pb2.Status(code=code, reason=reason)
