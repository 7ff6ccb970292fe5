"""The file in which a target says where replicas listen, and readiness, which follows from it."""

from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint, Endpoints
from harmonia_compiler.contract.collection import CollectionRecord, NotOurs
from harmonia_compiler.runtime.gateway import readiness
from harmonia_compiler.runtime.gateway.collections import Collections, Fit
from harmonia_compiler.runtime.gateway.endpoints import EndpointsFile
from tests.gateway.fakes import RECORD, RETRIEVING, FakeEngine, FakeMilvus, program, serving


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
    RETRIEVING,
)


async def test_ready_where_every_engine_answers_and_the_collection_fits(engine: FakeEngine) -> None:
    async with serving([RAG], dict.fromkeys(ENGINES, engine.port)) as served:
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


@pytest.fixture
def probing(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Every question about readiness is asked anew, and probes are given up soon."""
    monkeypatch.setattr(readiness, "FRESH_S", 0.0)
    monkeypatch.setattr(readiness, "PROBE_TIMEOUT_S", 0.05)
    return monkeypatch


SILENT = {"engine": "llm", "pipelines": ["rag"], "reason": "`llm-1`: it does not answer within 0.05 s"}
ENGINES = ("llm", "embedder", "store")


async def test_a_replica_that_answered_lately_may_be_too_busy_for_a_probe(
    engine: FakeEngine, probing: pytest.MonkeyPatch
) -> None:
    model = await FakeEngine().start()
    async with serving([RAG], {**dict.fromkeys(ENGINES, engine.port), "llm": model.port}) as served:
        assert (await served.client.get("/readyz"))[0] == 200
        model.mute = True
        assert (await served.client.get("/readyz"))[0] == 200
        probing.setattr(readiness, "BUSY_S", 0.0)
        assert await served.client.get("/readyz") == (503, {"ready": False, "missing": [SILENT]})
        probing.undo()
        await model.stop()
        assert (await served.client.get("/readyz"))[0] == 503, "a closed port is no sign of being busy"


async def test_a_replica_that_never_answered_is_missing_until_it_serves_a_call(
    engine: FakeEngine, probing: pytest.MonkeyPatch
) -> None:
    model = await FakeEngine(mute=True).start()
    replicas = {**dict.fromkeys(ENGINES, engine.port), "llm": model.port}
    async with serving([RAG], replicas) as served:
        assert await served.client.get("/readyz") == (503, {"ready": False, "missing": [SILENT]})
        assert (await served.client.post("/v1/pipelines/rag", ASK))[0] == 200
        assert (await served.client.get("/readyz"))[0] == 200
        served.gateway.set_endpoints(Endpoints((), 2))
        back = [Endpoint(f"{name}-1", name, "127.0.0.1", port) for name, port in replicas.items()]
        served.gateway.set_endpoints(Endpoints(tuple(back), 3))
        assert (await served.client.get("/readyz"))[0] == 503, "what comes back has to be heard again"
    await model.stop()


async def test_a_store_that_is_too_busy_to_tell_keeps_what_was_read(
    engine: FakeEngine, probing: pytest.MonkeyPatch
) -> None:
    store = Store(RECORD, ConnectionError(), ConnectionError(), OLD)
    async with serving([RAG], dict.fromkeys(ENGINES, engine.port), read_record=store) as served:
        assert [(await served.client.get("/readyz"))[0] for _ in range(4)] == [200, 200, 200, 503]
    assert store.reads == 4


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "nothing was ingested; `harmoniac ingest` does it"),
        (
            msgspec.structs.replace(RECORD, revision="r2"),
            "revision is 'r2' there and 'r1' here; `harmoniac ingest … --reembed` builds it anew",
        ),
    ],
)
async def test_says_which_collection_does_not_fit(
    engine: FakeEngine, record: CollectionRecord | None, reason: str
) -> None:
    replicas = dict.fromkeys(ENGINES, engine.port)
    async with serving([RAG], replicas, read_record=lambda uri, collection: record) as served:
        status, body = await served.client.get("/readyz")
        assert status == 503
        assert body["missing"] == [{"collection": "docs", "pipelines": ["rag"], "reason": reason}]


async def test_not_ready_while_stopping(engine: FakeEngine) -> None:
    async with serving([RAG], {}) as served:
        served.front.stopping = True
        assert (await served.client.get("/readyz"))[0] == 503


class Store:
    """What records a store tells, one after the other; the last one again and again."""

    def __init__(self, *records: CollectionRecord | Exception | None) -> None:
        self.records = list(records)
        self.reads = 0

    def __call__(self, uri: str, collection: str) -> CollectionRecord | None:
        self.reads += 1
        record = self.records.pop(0) if len(self.records) > 1 else self.records[0]
        if isinstance(record, Exception):
            raise record
        return record


OLD = msgspec.structs.replace(RECORD, revision="r0")
ASK = {"inputs": {"question": "x"}}


async def test_somebody_else_s_collection_is_not_called_empty(engine: FakeEngine) -> None:
    replicas = dict.fromkeys(ENGINES, engine.port)
    async with serving([RAG], replicas, read_record=Store(NotOurs("docs"))) as served:
        _, body = await served.client.get("/readyz")
        assert body["missing"][0]["reason"].startswith("it was not made by `harmoniac ingest`")


@pytest.mark.parametrize(
    ("told", "code", "says"),
    [
        (OLD, "collection_differs", "`search`: the collection `docs` does not fit this service: revision is 'r0'"),
        (NotOurs("docs"), "collection_differs", "give the component another collection name"),
        (ConnectionError(), "collection_unread", "its record cannot be read (ConnectionError)"),
    ],
)
async def test_a_collection_that_does_not_fit_is_not_searched(
    engine: FakeEngine, told: CollectionRecord | Exception, code: str, says: str
) -> None:
    milvus = FakeMilvus()
    replicas = dict.fromkeys(ENGINES, engine.port)
    async with serving([RAG], replicas, milvus=milvus, read_record=Store(told)) as served:
        status, body, headers = await served.client.post("/v1/pipelines/rag", ASK)
        assert (status, body["error"]["code"], body["error"]["component"]) == (503, code, "search")
        assert says in body["error"]["message"]
        assert headers["retry-after"] == "5"
        assert milvus.searches == []


async def test_a_collection_that_was_built_anew_is_searched_and_not_looked_at_again(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmonia_compiler.runtime.gateway.collections.RECHECK_S", 0.0)
    store, milvus = Store(OLD, RECORD), FakeMilvus()
    replicas = dict.fromkeys(ENGINES, engine.port)
    async with serving([RAG], replicas, milvus=milvus, read_record=store) as served:
        answers = [await served.client.post("/v1/pipelines/rag", ASK) for _ in range(4)]
    assert [status for status, _, _ in answers] == [503, 200, 200, 200]
    assert (store.reads, len(milvus.searches)) == (2, 3)


async def test_a_mismatch_is_looked_at_again_after_a_second_and_not_before() -> None:
    store, now = Store(OLD), [0.0]
    collections = Collections({"docs": RECORD}, store, lambda: now[0])
    endpoint = Endpoint("store-1", "store", "127.0.0.1", 1)
    for now[0], reads in ((0.0, 1), (0.9, 1), (1.0, 2)):
        assert (await collections.known(endpoint, "docs")).fit is Fit.DIFFERS
        assert store.reads == reads


async def test_a_store_that_came_back_is_looked_at_again(engine: FakeEngine) -> None:
    store = Store(RECORD, OLD)
    replicas = dict.fromkeys(ENGINES, engine.port)
    async with serving([RAG], replicas, read_record=store) as served:
        assert (await served.client.post("/v1/pipelines/rag", ASK))[0] == 200
        back = [Endpoint(f"{name}-1", name, "127.0.0.1", port) for name, port in replicas.items()]
        served.gateway.set_endpoints(Endpoints(tuple(back), 2))
        assert (await served.client.post("/v1/pipelines/rag", ASK))[0] == 503
