"""Passages found by their words as well as by their vectors, and filters, on a real Milvus."""

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.types import ListOf, Passage
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.ingest.discover import discover
from harmonia_compiler.ingest.run import Wanted, ingest
from harmonia_compiler.ingest.scope import DEFAULTS, Options
from harmonia_compiler.kinds.milvus import KIND
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport
from harmonia_compiler.runtime.milvus import Milvus, load, verify
from tests.ingest.conftest import MilvusServer
from tests.ingest.fakes import RECORD, embed

pytestmark = pytest.mark.engines

HYBRID = msgspec.structs.replace(RECORD, hybrid=True)
ENGINE = Engine("store", "milvus", {})
#: What has the query's word and lies opposite to its vector, by the name of its document (which stands above its
#: text); and a hundred others.
NEEDLE = "The pump stops with code P419 when its filter is wet."
FAR_FROM_NEEDLE = [-number for number in embed([f"000\n\n{NEEDLE}"])[0]]
HAY = [f"Chapter {at} of the manual is about part number {at * 7}." for at in range(100)]


def fill(server: MilvusServer, docs: Path, record: CollectionRecord, *, options: Options = DEFAULTS) -> None:
    docs.mkdir(exist_ok=True)
    for at, text in enumerate([NEEDLE, *HAY]):
        (docs / f"{at:03}.md").write_text(text)
    with closing(Milvus(server.uri)) as milvus:
        ingest(milvus, embed, Wanted("handbook", record), discover([docs], docs.parent), options)


def empty(server: MilvusServer) -> None:
    with closing(Milvus(server.uri)) as milvus:
        for physical in milvus.physicals("handbook"):
            milvus.drop(physical)


async def search(server: MilvusServer, *words: str, **settings: Any) -> list[list[dict[str, Any]]]:
    """What a component finds for each of the words; the vectors alone find the needle last."""
    given = {"collection": "handbook", "top_k": 5, **settings}
    component = Component("c", "milvus", "store", (), ListOf(Passage()), settings=given)
    queries = [{"query": FAR_FROM_NEEDLE, "words": word} for word in words]
    assert KIND.encode_many is not None
    assert KIND.decode_many is not None
    transport = MilvusTransport()
    try:
        endpoint = Endpoint("store-1", "store", "127.0.0.1", server.port)
        body = await transport.send(endpoint, KIND.encode_many(ENGINE, component, queries))
    finally:
        await transport.close()
    found: list[list[dict[str, Any]]] = [reply.value for reply in KIND.decode_many(component, body, queries)]  # type: ignore[misc]
    return found


def sources(passages: list[dict[str, Any]]) -> list[str]:
    return [passage["source"].removeprefix("docs/") for passage in passages]


async def test_a_word_is_found_that_vectors_miss(milvus_server: MilvusServer, tmp_path: Path) -> None:
    empty(milvus_server)
    fill(milvus_server, tmp_path / "docs", HYBRID)
    (dense,) = await search(milvus_server, "p419")
    (hybrid,) = await search(milvus_server, "p419", hybrid=True)
    assert "000.md" not in sources(dense)
    assert "000.md" in sources(hybrid)
    assert len(hybrid) == 5
    assert [passage["score"] for passage in hybrid] == sorted((passage["score"] for passage in hybrid), reverse=True)
    # Both rankings count: the word's only passage and the nearest vector are each first in one of them.
    assert set(sources(hybrid)[:2]) == {"000.md", sources(dense)[0]}

    several = await search(milvus_server, "p419", "chapter 42", "nowhere", hybrid=True)
    assert several[0] == hybrid
    assert "043.md" in sources(several[1])
    assert sources(several[2]) == sources(dense)

    # What is written later is found as well, and what is deleted no more; also after a restart.
    (tmp_path / "docs" / "000.md").unlink()
    (tmp_path / "docs" / "new.md").write_text("P420 means that the lamp is broken.")
    with closing(Milvus(milvus_server.uri)) as milvus:
        ingest(milvus, embed, Wanted("handbook", HYBRID), discover([tmp_path / "docs"], tmp_path))
    milvus_server.kill()
    milvus_server.start()
    assert load(milvus_server.uri, "handbook")
    found = await search(milvus_server, "P419", "P420", hybrid=True)
    assert sources(found[0]) == sources((await search(milvus_server, "nowhere", hybrid=True))[0])
    assert "new.md" in sources(found[1])[:2]


@pytest.mark.parametrize("hybrid", [False, True])
async def test_a_filter_holds_for_vectors_and_words(
    milvus_server: MilvusServer, tmp_path: Path, *, hybrid: bool
) -> None:
    empty(milvus_server)
    fill(milvus_server, tmp_path / "docs", HYBRID)
    # The passage that lies farthest away is found among the nearest, if it is the only one.
    one = 'source == "docs/000.md"'
    (only,) = await search(milvus_server, "chapter", hybrid=hybrid, filter=one)
    assert sources(only) == ["000.md"]
    (tens,) = await search(milvus_server, "chapter", hybrid=hybrid, filter='source like "docs/01%"', top_k=50)
    assert sorted(sources(tens)) == [f"01{at}.md" for at in range(10)]
    (none,) = await search(milvus_server, "chapter", hybrid=hybrid, filter='source in ["elsewhere.md"]')
    assert none == []


def test_a_collection_without_words_is_refused_and_can_be_built_anew(
    milvus_server: MilvusServer, tmp_path: Path
) -> None:
    empty(milvus_server)
    fill(milvus_server, tmp_path / "docs", RECORD)
    reason = "hybrid is False there and True here"
    assert verify(milvus_server.uri, "handbook", RECORD) == []
    assert verify(milvus_server.uri, "handbook", HYBRID) == [reason]
    with pytest.raises(Rejected) as caught:
        fill(milvus_server, tmp_path / "docs", HYBRID)
    (found,) = caught.value.found
    assert found.code == "E1015"
    assert found.message.endswith(reason)
    fill(milvus_server, tmp_path / "docs", HYBRID, options=Options(reembed=True))
    assert verify(milvus_server.uri, "handbook", HYBRID) == []


def test_collections_of_before_are_the_ones_without_words() -> None:
    document = {"embedder": "e", "revision": "1", "dimension": 8, "metric": "COSINE", "chunker": "markdown-v1:60:10"}
    record = msgspec.convert(document, CollectionRecord)
    assert not record.hybrid
    assert msgspec.json.decode(msgspec.json.encode(record)) == document
