"""The file in which a target says where replicas listen, and readiness, which follows from it."""

from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint, Endpoints
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.program import Call, Parameter
from harmonia_compiler.runtime.gateway.endpoints import EndpointsFile
from tests.gateway.fakes import RECORD, FakeEngine, program, serving


def write(path: Path, *replicas: str, epoch: int) -> None:
    endpoints = Endpoints(tuple(Endpoint(name, "llm", "127.0.0.1", 1) for name in replicas), epoch)
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(endpoints))
    draft.replace(path)


def test_a_changed_file_is_taken_and_anything_else_is_not(tmp_path: Path) -> None:
    path, seen = tmp_path / "endpoints.json", list[list[str]]()
    follower = EndpointsFile(path, lambda given: seen.append([one.replica for one in given.replicas]))
    follower.look()
    write(path, "a", epoch=3)
    follower.look()
    follower.look()
    write(path, "a", "b", epoch=4)
    follower.look()
    assert seen == [["a"], ["a", "b"]]
    path.write_text('{"replicas": [')
    follower.look()
    write(path, "stale", epoch=2)
    follower.look()
    path.unlink()
    follower.look()
    assert seen == [["a"], ["a", "b"]]
    write(path, epoch=4)
    follower.look()
    assert seen[-1] == []


RAG = program(
    "rag",
    (
        Parameter("question"),
        Call("minilm", ("text",), (0,)),
        Call("search", ("query",), (1,)),
        Call("answer", ("question", "passages"), (0, 2)),
    ),
)


async def test_ready_where_every_engine_answers_and_the_collection_fits(engine: FakeEngine) -> None:
    async with serving([RAG], dict.fromkeys(("llm", "embedder", "store"), engine.port)) as served:
        assert await served.client.get("/readyz") == (200, {"ready": True, "missing": []})
        assert await served.client.get("/healthz") == (200, {"status": "ok"})


async def test_says_which_engine_is_missing(engine: FakeEngine) -> None:
    gone = await FakeEngine(status=500).start()
    async with serving([RAG], {"llm": gone.port, "store": engine.port}) as served:
        status, body = await served.client.get("/readyz")
        assert (status, body["ready"]) == (503, False)
        assert body["missing"] == [
            {"engine": "embedder", "pipelines": ["rag"], "reason": "no replica is running"},
            {"engine": "llm", "pipelines": ["rag"], "reason": "`llm-1`: /health answers 500"},
        ]
    await gone.stop()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "nothing was ingested; `harmoniac ingest` does it"),
        (msgspec.structs.replace(RECORD, revision="r2"), "revision is 'r2' there and 'r1' here"),
    ],
)
async def test_says_which_collection_does_not_fit(
    engine: FakeEngine, record: CollectionRecord | None, reason: str
) -> None:
    replicas = dict.fromkeys(("llm", "embedder", "store"), engine.port)
    async with serving([RAG], replicas, read_record=lambda uri, collection: record) as served:
        status, body = await served.client.get("/readyz")
        assert status == 503
        assert body["missing"] == [{"collection": "docs", "pipelines": ["rag"], "reason": reason}]


async def test_not_ready_while_stopping(engine: FakeEngine) -> None:
    async with serving([RAG], {}) as served:
        served.gateway.stopping = True
        assert (await served.client.get("/readyz"))[0] == 503
