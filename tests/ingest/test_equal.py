"""Passages among many equal ones, as licences are in the folders of one repository: a real Milvus finds each."""

import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.collection import CollectionRecord, Row, StoredChunk, physical_name
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.types import ListOf, Passage
from harmonia_compiler.ingest.discover import discover
from harmonia_compiler.ingest.run import Wanted, ingest
from harmonia_compiler.kinds.kind import value_of
from harmonia_compiler.kinds.milvus import KIND
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport
from harmonia_compiler.runtime.milvus import Milvus
from tests.ingest.conftest import MilvusServer
from tests.ingest.fakes import RECORD, MemoryStore, embed

DEFAULT_INDEX = str(value_of("index", {}, KIND.settings))
#: As many numbers as the vectors of a small embedder have; in few dimensions all are near to each other.
WIDE = CollectionRecord("drawn", "1", 384, "COSINE", "markdown-v1:60:10")
READMES, LICENCES = 100, 300


def rows() -> list[Row]:
    """A hundred readmes, each with a vector of its own, and three hundred times one licence."""
    drawn = random.Random(0)
    vectors = [[drawn.gauss(0, 1) for _ in range(WIDE.dimension)] for _ in range(READMES + 1)]
    names = [f"{at:03}/README.md" for at in range(READMES)] + [f"{at:03}/LICENSE.md" for at in range(LICENCES)]
    return [
        Row(StoredChunk(f"{at:04}", name, "d", 0, 1, f"/{name}"), name, vectors[min(at, READMES)])
        for at, name in enumerate(names)
    ]


async def found(server: MilvusServer, readmes: Sequence[Row]) -> int:
    """How many are found by their own vectors, by a component that says no more than it must."""
    component = Component("c", "milvus", "store", (), ListOf(Passage()), settings={"collection": "handbook"})
    queries = [{"query": row.vector} for row in readmes]
    assert KIND.encode_many is not None
    assert KIND.decode_many is not None
    transport = MilvusTransport()
    try:
        endpoint = Endpoint("store-1", "store", "127.0.0.1", server.port)
        body = await transport.send(endpoint, KIND.encode_many(Engine("store", "milvus", {}), component, queries))
    finally:
        await transport.close()
    hits: list[list[dict[str, str]]] = [reply.value for reply in KIND.decode_many(component, body, queries)]  # type: ignore[misc]
    return sum(any(hit["source"] == row.chunk.source for hit in each) for row, each in zip(readmes, hits, strict=True))


@pytest.mark.engines
@pytest.mark.parametrize("before", [DEFAULT_INDEX, "HNSW", "AUTOINDEX", "IVF_FLAT"])
async def test_each_passage_is_found_among_many_equal_ones(milvus_server: MilvusServer, before: str) -> None:
    """Also in a collection that was indexed otherwise, from the next ingestion on."""
    every, physical = rows(), physical_name("handbook", WIDE)
    with closing(Milvus(milvus_server.uri)) as milvus:
        for other in milvus.physicals("handbook"):
            milvus.drop(other)
        milvus.create(physical, WIDE)
        milvus.load(physical, before)
        milvus.upsert(physical, every)
        milvus.flush(physical)
        milvus.point("handbook", physical)
        milvus.load(physical, DEFAULT_INDEX)
        assert await found(milvus_server, every[:READMES]) == READMES
        # What goes leaves the others to be found, and what comes is found as well.
        milvus.delete(physical, [row.chunk.id for row in (every[7], *every[-100:])])
        milvus.flush(physical)
        assert await found(milvus_server, every[:READMES]) == READMES - 1
        milvus.upsert(physical, [every[7]])
        assert await found(milvus_server, every[:READMES]) == READMES


@pytest.mark.parametrize(
    ("index", "licences", "readmes", "said"),
    [
        ("HNSW", 400, 100, ["399 of the 500 passages that were embedded repeat another;"]),
        ("AUTOINDEX", 34, 0, ["33 of the 34 passages that were embedded repeat another;"]),
        ("HNSW", 33, 0, []),
        ("HNSW", 34, 627, []),
        (DEFAULT_INDEX, 400, 100, []),
        ("IVF_FLAT", 400, 100, []),
    ],
)
def test_a_graph_of_many_equal_passages_is_warned_of(
    tmp_path: Path, index: str, licences: int, readmes: int, said: list[str]
) -> None:
    for name, texts in (("LICENSE", ["As is."] * licences), ("README", [f"Part {at}." for at in range(readmes)])):
        for at, text in enumerate(texts):
            (tmp_path / f"{at:03}").mkdir(exist_ok=True)
            (tmp_path / f"{at:03}" / f"{name}.md").write_text(text)
    findings = ingest(MemoryStore(), embed, Wanted("handbook", RECORD, index), discover([tmp_path])).findings
    assert [(finding.code, finding.message.partition(" among")[0]) for finding in findings] == [
        ("W1006", message) for message in said
    ]
