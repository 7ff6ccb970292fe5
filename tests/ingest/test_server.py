"""What a server of Milvus does otherwise than milvus-lite: aliases outlive collections, iterators lag, and no BM25."""

from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from harmonia_compiler.contract.collection import physical_name
from harmonia_compiler.ingest.discover import discover
from harmonia_compiler.ingest.run import Wanted, ingest
from harmonia_compiler.ingest.scope import Options
from harmonia_compiler.runtime import milvus
from harmonia_compiler.runtime.milvus import Milvus, StoreFailed
from tests.ingest.conftest import MilvusServer
from tests.ingest.fakes import RECORD, embed

pytestmark = pytest.mark.engines


class AsMilvus23(MilvusClient):  # type: ignore[misc]
    """Answers as Milvus 2.3 does: the alias of what was dropped is not listed and yet there, and there is no BM25."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.left: set[str] = set()
        self.strong: set[str] = set()

    def create_collection(self, collection_name: str, *given: Any, consistency_level: str = "", **more: Any) -> Any:
        if consistency_level == "Strong":
            self.strong.add(collection_name)
        return super().create_collection(collection_name, *given, **more)

    def query_iterator(self, collection_name: str, *given: Any, **more: Any) -> Any:
        """Some seconds ago there was nothing."""
        behind = {} if collection_name in self.strong else {"filter": 'id == ""'}
        return super().query_iterator(collection_name, *given, **{**more, **behind})

    def drop_collection(self, collection_name: str, *given: Any, **more: Any) -> Any:
        self.left |= {*self.list_aliases(collection_name)["aliases"]}
        return super().drop_collection(collection_name, *given, **more)

    def create_alias(self, collection_name: str, alias: str, *given: Any, **more: Any) -> Any:
        if alias in self.left:
            raise MilvusException(1602, "alias already exist")
        return super().create_alias(collection_name, alias, *given, **more)

    def alter_alias(self, collection_name: str, alias: str, *given: Any, **more: Any) -> Any:
        if alias in self.left:
            self.left.remove(alias)
            return super().create_alias(collection_name, alias, *given, **more)
        return super().alter_alias(collection_name, alias, *given, **more)

    def describe_collection(self, collection_name: str, *given: Any, **more: Any) -> Any:
        return {**super().describe_collection(collection_name, *given, **more), "functions": []}


@pytest.fixture(params=[MilvusClient, AsMilvus23], ids=["milvus-lite", "as Milvus 2.3"])
def store(request: pytest.FixtureRequest, milvus_server: MilvusServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(milvus, "MilvusClient", request.param)
    with closing(Milvus(milvus_server.uri)) as found:
        for physical in found.physicals("handbook"):
            found.drop(physical)
        yield found


def test_what_serves_is_known_again_and_replaced(store: Milvus, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/one.md").write_text("one")
    tree = discover([tmp_path / "docs"], tmp_path)
    other = msgspec.structs.replace(RECORD, revision="2")
    assert store.serving("handbook") is None
    for record, added in ((RECORD, 1), (RECORD, 0), (other, 1), (other, 0), (RECORD, 1)):
        report = ingest(store, embed, Wanted("handbook", record), tree, Options(reembed=True))
        assert report.added == added
        assert store.serving("handbook") == physical_name("handbook", record)
        assert store.physicals("handbook") == [physical_name("handbook", record)]


def test_what_somebody_dropped_can_be_ingested_again(store: Milvus, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/one.md").write_text("one")
    tree, wanted = discover([tmp_path / "docs"], tmp_path), Wanted("handbook", RECORD)
    ingest(store, embed, wanted, tree)
    store.drop(physical_name("handbook", RECORD))
    assert store.serving("handbook") is None
    assert ingest(store, embed, wanted, tree).added == 1
    assert store.serving("handbook") == physical_name("handbook", RECORD)


def test_a_hybrid_collection_that_the_store_cannot_have_is_refused_and_not_left_half_made(store: Milvus) -> None:
    hybrid = msgspec.structs.replace(RECORD, hybrid=True)
    if isinstance(store._client, AsMilvus23):
        with pytest.raises(StoreFailed, match=r"Milvus 2\.5 can"):
            store.create("handbook__01234567", hybrid)
        assert store.physicals("handbook") == []
    else:
        store.create("handbook__01234567", hybrid)
        assert store.physicals("handbook") == ["handbook__01234567"]


def test_what_was_just_written_is_read(store: Milvus, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/one.md").write_text("one")
    ingest(store, embed, Wanted("handbook", RECORD), discover([tmp_path / "docs"], tmp_path))
    assert [row.chunk.source for row in store.rows(physical_name("handbook", RECORD))] == ["docs/one.md"]
