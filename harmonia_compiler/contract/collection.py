"""What a vector collection is made of, and what it was built with, kept inside the store beside it.

Vectors of different embedders look alike and compare to nonsense: ingestion, start-up and readiness
refuse a collection whose record differs from what the pipeline expects. The name that a pipeline
uses is an alias; it points at a physical collection whose name carries the record's fingerprint, so
that a changed record is built beside what serves and takes its place in one step. Each record has a
second such name, under which an import is built beside what was ingested with the same record.
"""

import hashlib
import re

import msgspec

#: The version of how documents are read and cut; another one where the same file would give other chunks.
CHUNKER_VERSION = "markdown-v1"

#: The version of what a row holds; collections of another one serve, but are built anew by the next ingestion.
LAYOUT = 2

_FINGERPRINT = re.compile(r"[0-9a-f]{8}")


class CollectionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the vectors of a collection came about; a `hybrid` one also has what finds passages by their words."""

    embedder: str
    revision: str
    dimension: int
    metric: str
    chunker: str
    hybrid: bool = False

    def fingerprint(self, beside: str = "") -> str:
        """Eight hex digits that differ where the records or the layouts differ; part of the physical name."""
        return hashlib.sha256(b"%d%b" % (LAYOUT, beside.encode()) + msgspec.json.encode(self)).hexdigest()[:8]


class StoredChunk(msgspec.Struct, frozen=True):
    """What a row says about the chunk that it holds, without text and vector.

    `document` is the hash of the whole document's bytes; a document is complete where the rows of
    one hash have each `position` from 0 to `chunks` - 1. `path` is the absolute path of its file, which
    tells documents apart, and is empty in layouts before 2; `source` is the name that people see.
    """

    id: str
    source: str
    document: str
    position: int
    chunks: int
    path: str = ""


class Row(msgspec.Struct, frozen=True):
    """A row as it is written."""

    chunk: StoredChunk
    text: str
    vector: list[float]


class NotOurs(Exception):
    """A collection of that name is there and says nothing about how it was built: somebody else made it."""


def differences(found: CollectionRecord, expected: CollectionRecord) -> list[str]:
    """One phrase for each fact on which the two records differ."""
    return [
        f"{name} is {getattr(found, name)!r} there and {getattr(expected, name)!r} here"
        for name in CollectionRecord.__struct_fields__
        if getattr(found, name) != getattr(expected, name)
    ]


def chunker_name(chunk_tokens: int, chunk_overlap: int) -> str:
    """How documents are cut, as a record says it: `markdown-v1:180:30`."""
    return f"{CHUNKER_VERSION}:{chunk_tokens}:{chunk_overlap}"


def physical_name(collection: str, record: CollectionRecord) -> str:
    """The name of the collection that holds the vectors made as the record says."""
    return f"{collection}__{record.fingerprint()}"


def physical_names(collection: str, record: CollectionRecord) -> tuple[str, str]:
    """Both names that a collection of this record may have: the one of `physical_name`, and the one beside it."""
    return physical_name(collection, record), f"{collection}__{record.fingerprint('beside')}"


def is_physical_of(physical: str, collection: str) -> bool:
    """Whether a name is one that `physical_names` gives for the collection."""
    return physical.startswith(f"{collection}__") and bool(_FINGERPRINT.fullmatch(physical[len(collection) + 2 :]))
