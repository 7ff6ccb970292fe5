"""A real Milvus under the supervisor: its collections are checked and loaded at every start."""

import fcntl
import json
import os
import signal
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.bundle import Contents, LocalProcesses, ReplicaLaunch, ReplicaShare, Service
from harmonia_compiler.contract.collection import CollectionRecord, Row, StoredChunk, physical_name
from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.program import Call, Constant, Program
from harmonia_compiler.contract.types import ListOf, Passage, Text, Vector
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.kinds.milvus import KIND
from harmonia_compiler.runtime.actuators.local import ACTUATOR
from harmonia_compiler.runtime.milvus import Milvus

from .conftest import Hand, launch, plan_of, until

pytestmark = pytest.mark.engines

RECORD = CollectionRecord("minilm", "r1", 3, "COSINE", "markdown-v1:180:30")

EMBEDDER = Engine("minilm", "embedder", {"model": "all-MiniLM-L6-v2"})


def _write(hand: Hand, record: CollectionRecord) -> None:
    engine = Engine("search", "milvus", {})
    searching = Component(
        "search",
        "milvus",
        "search",
        (Port("query", Text()),),
        ListOf(Passage()),
        settings={"collection": "docs", "embedder": "minilm"},
    )
    minilm = Component("minilm", "embedder", "minilm", (Port("text", Text()),), Vector())
    program = Program(
        "find",
        (),
        ListOf(Passage()),
        (Constant([]), Call("search", ("query",), (0,))),
        1,
        {"search": searching, "minilm": minilm},
    )
    assert KIND.launch is not None
    started = KIND.launch(engine, None, Configuration(1.0, 1.0))
    hand.write()
    service = Service(
        {"find": program}, {"search": engine, "minilm": EMBEDDER}, {"docs": record}, {"search-0": ReplicaShare(1)}
    )
    launches = (ReplicaLaunch("search-0", "search", "here", 1.0, (), started),)
    documents: dict[str, msgspec.Struct] = {
        "service.json": service,
        "local/processes.json": LocalProcesses(launches, launch()),
        "bundle.json": Contents("local", ()),
        "plan.json": plan_of(service, launches),
    }
    for name, document in documents.items():
        (Path(hand.path) / name).write_bytes(msgspec.json.encode(document))


def _store(hand: Hand) -> Milvus:
    return Milvus(f"http://127.0.0.1:{hand.process('search-0').port}")


def _told(hand: Hand, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The collections of which `harmoniac status` says that nobody has ingested them."""
    run(["status", str(hand.path), "--format", "json"])
    (search,) = (one for one in json.loads(capsys.readouterr().out)["processes"] if one["name"] == "search-0")
    return list(search["absent"])


@pytest.mark.slow
def test_a_collection_is_loaded_again_after_a_kill_and_refused_when_it_was_made_differently(
    hand: Hand, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(hand, RECORD)
    hand.up(timeout_s=120)
    assert hand.process("search-0").absent == ("docs",)
    assert ACTUATOR.absent(hand.path) == {"docs"}
    assert _told(hand, capsys) == ["docs"]
    physical = physical_name("docs", RECORD)
    with closing(_store(hand)) as store:
        store.create(physical, RECORD)
        store.upsert(physical, [Row(StoredChunk("1", "a.md", "d", 0, 1), "tea", [1.0, 0.0, 0.0])])
        store.flush(physical)
        store.load(physical)
        store.point("docs", physical)
    assert ACTUATOR.absent(hand.path) == frozenset(), "asked now, although the state is that of the start"
    assert _told(hand, capsys) == []
    pid = hand.process("search-0").pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: hand.process("search-0").restarts == 1 and hand.status().ready, limit_s=120)
    with closing(_store(hand)) as store:
        assert [chunk.id for chunk in store.chunks(physical)] == ["1"]
    assert hand.process("search-0").absent == ()
    hand.down()
    _write(hand, msgspec.structs.replace(RECORD, revision="r2"))
    found = hand.fails(timeout_s=120).found[0]
    assert "the collection `docs` cannot serve this plan: revision is 'r1' there and 'r2' here" in found.message
    assert f"`harmoniac up {shell_word(hand.path)} --reembed` starts without it" in found.help
    hand.assert_nothing_left()
    hand.up(reembed=True, timeout_s=120)
    assert hand.process("search-0").absent == ("docs",)
    hand.down()
    hand.assert_nothing_left()


def test_a_store_whose_data_somebody_else_has_locked_is_not_started_and_says_so(
    hand: Hand, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(hand, RECORD)
    data = hand.path / "data" / "milvus"
    data.mkdir(parents=True)
    with (data / "LOCK").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run(["up", str(hand.path)]) == 1
    said = capsys.readouterr().err
    assert "error[E0909]: `search-0` did not become ready: it ended with exit code 1" in said
    assert "another process holds the lock on" in said
    hand.assert_nothing_left()
