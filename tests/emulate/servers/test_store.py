"""What an emulated Milvus tells Milvus's client of its collections, and refuses, beside Milvus Lite."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pymilvus.client.prepare import Prepare

from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.collections import indices, wrong_search
from tests.emulate.planned import planned_for
from tests.emulate.servers.emulated import SOURCE, emulated


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return planned_for(tmp_path_factory.mktemp("app"), SOURCE)


#: In a process of its own: gRPC's threads and its event loop do not live well together in one.
ASK = """
import json, sys
from pymilvus import Collection, MilvusClient, connections
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.runtime.milvus import Milvus

uri, kept = sys.argv[1], sys.argv[2]
if uri.endswith(".db"):
    milvus = Milvus(uri)
    milvus.create("docs_1", CollectionRecord(**json.loads(kept)))
    milvus.load("docs_1", "FLAT")
    milvus.point("docs", "docs_1")
client, found = MilvusClient(uri), {}
connections.connect("default", uri=uri)

def tell(name, ask):
    try:
        found[name] = ask()
    except Exception as problem:
        found[name] = f"{getattr(problem, 'code', '')}: {getattr(problem, 'message', problem)}"

def search(**more):
    return len(client.search("docs", **({"data": [[0.5] * 384], "limit": 2} | more))[0])

def fields():
    return [[one["name"], one["type"].name, one["params"]] for one in client.describe_collection("docs")["fields"]]

def index():
    told = client.describe_index("docs", "vector")
    return [told[name] for name in ("index_type", "metric_type", "field_name", "index_name", "state")]

tell("load", lambda: client.load_collection("docs"))
tell("state", lambda: client.get_load_state("docs")["state"].name)
tell("state of none", lambda: client.get_load_state("none")["state"].name)
tell("indices", lambda: client.list_indexes("docs"))
tell("index", index)
tell("index of none", lambda: client.describe_index("docs", "none"))
tell("fields", fields)
tell("collections", client.list_collections)
tell("rows", lambda: client.get_collection_stats("docs")["row_count"] >= 0)
tell("loaded", lambda: Collection("docs").load())
tell("indexed", lambda: [one.field_name for one in Collection("docs").indexes])
tell("load none", lambda: client.load_collection("none"))
tell("list none", lambda: client.list_indexes("none"))
tell("stats none", lambda: client.get_collection_stats("none"))
tell("query none", lambda: client.query("none", filter="id == '0'"))
tell("get", lambda: sorted(one["id"] for one in client.get("docs", ["7", "a b"], output_fields=["text"])))
tell("query", lambda: [sorted(one) for one in client.query("docs", filter="source like 'a%'", limit=2)])
tell("many of query", lambda: client.query("docs", filter="", limit=20_000))
tell("many", lambda: search(limit=20_000))
tell("filter", lambda: search(filter="((( nonsense"))
tell("fine filter", lambda: search(filter="source == 'a' and id != '3'"))
tell("metric", lambda: search(search_params={"metric_type": "L2"}))
tell("field", lambda: search(anns_field="none"))
tell("alias", lambda: client.describe_alias("docs")["alias"])
tell("alias none", lambda: client.describe_alias("none"))
tell("text", lambda: search(data=["hello"]))
tell("count", lambda: client.query("docs", output_fields=["count(*)"])[0]["count(*)"] >= 0)
tell("count ids", lambda: client.query("docs", ids=["7", "a b"], output_fields=["count(*)"]))
tell("pages", lambda: client.query_iterator("docs", batch_size=2, filter="source == 'a'").next() is None)
tell("pages of search", lambda: client.search_iterator("docs", data=[[0.5] * 384], batch_size=2).next() is None)
print(json.dumps(found))
"""


async def asked(uri: str, record: CollectionRecord) -> dict[str, Any]:
    kept = msgspec.json.encode(record).decode()
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASK, uri, kept, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    printed, _ = await asking.communicate()
    found: dict[str, Any] = json.loads(printed)
    return found


async def test_what_pymilvus_asks_of_collections_is_answered_as_by_milvus(planned: Scenario, tmp_path: Path) -> None:
    async with emulated(planned) as (_, at):
        ours = await asked(f"http://127.0.0.1:{at['search'].port}", planned.service.collections["docs"])
    real = await asked(str(tmp_path / "milvus.db"), planned.service.collections["docs"])
    alike = ("load", "state", "state of none", "indices", "index", "rows", "loaded", "indexed", "alias", "count")
    assert {name: ours[name] for name in alike} == {name: real[name] for name in alike}
    assert ours["fields"] == real["fields"][: len(ours["fields"])]
    assert (ours["collections"], ours["index of none"]) == (["docs"], None)
    for name in ("load none", "list none", "stats none", "query none"):
        assert real[name].startswith("100: ")
        assert ours[name] == "100: collection not found[collection=none]"
    assert ours["get"] == ["7", "a b"]
    assert ours["query"] == [["id", "source", "text"]] * 2
    assert ours["count ids"] == [{"count(*)": 2}]
    assert real["alias none"].startswith("100: ")
    assert ours["alias none"] == "1600: alias not found[database=default][alias=none]"
    assert ours["fine filter"] == 2
    # What is drawn has no last page.
    assert "UNIMPLEMENTED" in ours["pages"]
    assert "UNIMPLEMENTED" in ours["pages of search"]
    # Milvus Lite, which bounds no limit and goes by the index's metric, refuses two of them in words of its own.
    assert real["filter"].startswith("6: ")
    assert real["field"].startswith("6: ")
    assert real["text"].startswith("6: ")
    window = "should be in range [1, 16384], but got 20000"
    plan, why = "failed to create query plan:", "a passage has no field `nonsense`: invalid parameter"
    assert ours["many"] == f"65535: topk [20000] is invalid, it {window}"
    assert ours["many of query"] == f"65535: invalid max query result window, (offset+limit) {window}"
    assert ours["filter"] == f"1100: {plan} cannot parse expression: ((( nonsense, error: {why}"
    types = "field vector - type VECTOR_FLOAT, search info type VARCHAR"
    assert ours["text"] == f"65535: vector type must be the same, {types}"
    assert ours["metric"] == "1100: metric type not match: invalid parameter[expected=COSINE][actual=L2]"
    assert ours["field"] == (
        f"1100: {plan} failed to get field schema by name: fieldName(none) not found: invalid parameter"
    )


@pytest.mark.parametrize(
    ("field", "metric", "why"),
    [
        ("vector", "IP", ""),
        ("words", "BM25", ""),
        ("words", "", ""),
        ("words", "IP", "metric type not match: invalid parameter[expected=BM25][actual=IP]"),
        ("", "IP", "multiple anns_fields exist, please specify a anns_field in search_params"),
    ],
)
def test_each_field_of_a_hybrid_collection_is_searched_by_its_own_metric(field: str, metric: str, why: str) -> None:
    record = CollectionRecord("embedder", "1", 2, "IP", "whole", hybrid=True)
    data: Any = ["why"] if field == "words" else [[0.5, 0.5]]
    search = Prepare.search_requests_with_expr("docs", field, {"metric_type": metric}, 2, data=data)
    wrong = wrong_search(record, search)
    assert ("" if wrong is None else wrong.reason) == why
    assert [one.index_name for one in indices(record, "FLAT", "").index_descriptions] == ["vector", "words"]
