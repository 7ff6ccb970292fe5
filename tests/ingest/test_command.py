"""The command as a user meets it: what it prints, how it exits, and what survives kill -9."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.collection import CollectionRecord, physical_name
from harmonia_compiler.runtime.actuators.actuator import Status
from harmonia_compiler.runtime.actuators.supervision.pids import identify
from harmonia_compiler.runtime.actuators.supervision.rundir import STATE, RunDirectory, State
from harmonia_compiler.runtime.milvus import Milvus, load, read_record, verify
from tests.ingest.bundles import parsed, write_bundle
from tests.ingest.conftest import MilvusServer
from tests.ingest.fakes import RECORD, EmbedderServer, embed


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(20):
        (folder / f"d{number:02}.md").write_text(f"# Document {number}\n\n" + f"Sentence {number} of it. " * 40)
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["docs", "--component", "serach"], "E1006", "did you mean `search`?"),
        (["docs", "--component", "minilm"], "E1006", "made from `embedder`"),
        (["dcos", "--component", "search"], "E1001", "`dcos`"),
        (["docs/d01.md", "nothing", "--component", "search"], "E1001", "`nothing`"),
        (["empty", "--component", "search"], "E1002", "no documents under `empty`"),
        (["", "--component", "search"], "E1001", "an empty path was given"),
        (["docs", "--base", "", "--component", "search"], "E1001", "an empty path was given"),
        (["--forget", "", "--component", "search"], "E1001", "an empty path was given"),
        (["docs/self.md", "--component", "search"], "E1001", "leads nowhere"),
        (["docs", "--component", "search", "--service", "no-bundle"], "E0905", "no-bundle"),
        (["docs", "--component", "search"], "E1012", "Milvus failed"),
    ],
)
def test_slips(docs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str, said: str) -> None:
    (docs.parent / "empty").mkdir()
    (docs / "self.md").symlink_to("self.md")
    write_bundle(docs.parent / "bundle")
    assert run(["ingest", *arguments]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"error[{code}]: ")
    assert said in err
    assert out == ""


@pytest.mark.parametrize(
    ("stores", "said"),
    [
        (["search"], "E1012]: Milvus failed"),
        (["search", "notes"], "E1006]: documents could go into any of `notes`, `search`"),
    ],
)
def test_the_component_need_be_named_only_where_there_are_several(
    docs: Path, capsys: pytest.CaptureFixture[str], stores: list[str], said: str
) -> None:
    file = write_bundle(docs.parent / "bundle") / "service.json"
    document = json.loads(file.read_bytes())
    components = document["programs"]["ask"]["components"]
    search = components.pop("search")
    components |= {name: {**search, "name": name} for name in stores}
    file.write_text(json.dumps(document))
    assert run(["ingest", "docs"]) == 1
    assert f"error[{said}" in capsys.readouterr().err


def test_without_any_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", "--component", "search"]) == 2
    assert "Missing argument 'PATH...'" in capsys.readouterr().err


@pytest.mark.parametrize("has_endpoints", [True, False])
def test_a_service_that_starts_is_waited_for_and_not_started(
    docs: Path, capsys: pytest.CaptureFixture[str], *, has_endpoints: bool
) -> None:
    bundle = write_bundle(docs.parent / "bundle", embedder=None)
    if not has_endpoints:
        (bundle / "run" / "endpoints.json").unlink()
    directory = RunDirectory(bundle)
    directory.prepare()
    held, me = directory.lock(), identify(os.getpid())
    assert held is not None
    assert me is not None
    directory.sign(held, me)
    state = State(me, Status("starting", ()), folder=directory.identity)
    (directory.path / STATE).write_bytes(msgspec.json.encode(state))
    assert run(["ingest", "docs", "--component", "search"]) == 1
    said = capsys.readouterr().err
    assert "error[E1007]: " in said
    assert "the service is still starting" in said
    assert "harmoniac up" not in said
    os.close(held)


def test_what_is_not_ready_is_named(docs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_bundle(docs.parent / "bundle", embedder=None)
    assert run(["ingest", "docs", "--component", "search"]) == 1
    assert "error[E1007]: no replica of `minilm` (embedder) is ready" in capsys.readouterr().err
    (bundle / "run" / "endpoints.json").unlink()
    assert run(["ingest", "docs", "--component", "search"]) == 1
    assert "error[E1007]: `bundle` is not running" in capsys.readouterr().err
    bundle.rename("a bundle")
    assert run(["ingest", "docs", "--component", "search", "--service", "a bundle"]) == 1
    assert "`harmoniac up 'a bundle'` starts it" in capsys.readouterr().err


def test_a_bundle_that_does_not_say_how_a_collection_is_embedded(
    docs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = write_bundle(docs.parent / "bundle") / "service.json"
    said = msgspec.json.decode(service.read_bytes())
    service.write_bytes(msgspec.json.encode(said | {"collections": {}}))
    assert run(["ingest", "docs", "--component", "search"]) == 1
    assert "error[E1013]: the bundle does not say how `handbook` is embedded" in capsys.readouterr().err


def write_bundle_of(
    revision: str, docs: Path, milvus_server: MilvusServer, embedder: EmbedderServer
) -> CollectionRecord:
    """A bundle beside the documents whose collection is embedded by this revision: no other test's."""
    record = msgspec.structs.replace(RECORD, revision=revision)
    write_bundle(docs.parent / "bundle", record=record, milvus=milvus_server.port, embedder=embedder.port)
    return record


@pytest.mark.engines
def test_counts_in_text_and_json(
    docs: Path, milvus_server: MilvusServer, embedder: EmbedderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle_of("command", docs, milvus_server, embedder)
    assert run(["ingest", "docs", "--component", "search", "--reembed", "--forget-rest"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("handbook: 20 added, 0 updated, 0 deleted, 0 unchanged; ")
    assert err.splitlines()[-1].startswith("ingest: 20 of 20 documents, ")
    (docs / "d00.md").unlink()
    (docs / "d01.md").write_bytes(b"\x00")
    (docs / "d02.md").write_text("changed")
    assert run(["ingest", "docs", "--component", "search", "--format", "json"]) == 1
    report = parsed(capsys.readouterr().out)
    assert (report["updated"], report["deleted"], report["unchanged"], report["chunks"]) == (1, 1, 17, 1)
    assert [finding["code"] for finding in report["findings"]] == ["E1003"]


@pytest.mark.engines
def test_how_far_it_is_within_a_document_is_said(
    docs: Path, milvus_server: MilvusServer, embedder: EmbedderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bundle_of("far", docs, milvus_server, embedder)
    (docs.parent / "long.txt").write_text(" ".join(f"word{number}." for number in range(20_000)))
    assert run(["ingest", "long.txt", "--component", "search", "--reembed", "--forget-rest"]) == 0
    first, *within, last = capsys.readouterr().err.splitlines()
    assert first == "ingest: 0 of 1 documents, 0 chunks; reading long.txt"
    assert len(within) == 9
    assert all(re.fullmatch(r"ingest: 0 of 1 documents, \d+ chunks; embedding long.txt", line) for line in within)
    assert re.fullmatch(r"ingest: 1 of 1 documents, \d+ chunks", last)


@pytest.mark.engines
def test_that_nothing_was_to_be_built_anew_is_said(
    docs: Path, milvus_server: MilvusServer, embedder: EmbedderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "nothing was to be built anew: `handbook` is as the running plan expects it\n"
    ends = []
    for revision, more in (
        ("before", ["--reembed", "--forget-rest"]),
        ("after", ["--reembed"]),
        ("after", ["--reembed"]),
        ("after", []),
    ):
        write_bundle_of(revision, docs, milvus_server, embedder)
        assert run(["ingest", "docs", "--component", "search", *more]) == 0
        ends.append(capsys.readouterr().out.partition("; ")[2].partition("embedded")[2])
    assert ends[1:] == ["; built anew and switched\n", f"\n{said}", "\n"]


@pytest.mark.engines
def test_records_are_read_and_verified(
    docs: Path, milvus_server: MilvusServer, embedder: EmbedderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    record = write_bundle_of("verified", docs, milvus_server, embedder)
    assert read_record(milvus_server.uri, "nobody") is None
    assert verify(milvus_server.uri, "nobody", record) == []
    assert not load(milvus_server.uri, "nobody")
    assert run(["ingest", "docs", "--component", "search", "--reembed", "--forget-rest"]) == 0
    assert capsys.readouterr().out
    assert read_record(milvus_server.uri, "handbook") == record
    assert verify(milvus_server.uri, "handbook", record) == []
    assert verify(milvus_server.uri, "handbook", RECORD) == ["revision is 'verified' there and '1' here"]


@pytest.mark.engines
def test_what_was_ingested_outlives_the_server(
    docs: Path, tmp_path: Path, embedder: EmbedderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    server = MilvusServer(data)
    server.start()
    try:
        write_bundle(docs.parent / "bundle", milvus=server.port, embedder=embedder.port)
        assert run(["ingest", "docs", "--component", "search"]) == 0
        server.kill()
        server.start()
        assert load(server.uri, "handbook")
        embedder.requests = 0
        assert run(["ingest", "docs", "--component", "search"]) == 0
        assert embedder.requests == 0
        assert "20 unchanged" in capsys.readouterr().out
        (hit,) = Milvus(server.uri)._client.search("handbook", [embed(["x"])[0]], limit=1, output_fields=["source"])[0]
        assert hit["entity"]["source"].startswith("docs/d")
    finally:
        server.kill()


@pytest.mark.engines
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_killed_command_leaves_it_serving_and_the_next_one_finishes(
    docs: Path, milvus_server: MilvusServer, embedder: EmbedderServer, capsys: pytest.CaptureFixture[str], by: int
) -> None:
    old, new = (msgspec.structs.replace(RECORD, revision=f"{name} {by}") for name in ("old", "new"))
    write_bundle(docs.parent / "bundle", record=old, milvus=milvus_server.port, embedder=embedder.port)
    assert run(["ingest", "docs", "--component", "search", "--reembed", "--forget-rest"]) == 0
    write_bundle(docs.parent / "bundle", record=new, milvus=milvus_server.port, embedder=embedder.port)
    for number in range(20):
        (docs / f"d{number:02}.md").write_text(f"# Document {number}\n\n" + f"Other sentence {number} of it. " * 120)
    embedder.requests, embedder.hold_after = 0, 4  # which is what the first batch of rows takes
    command = [str(Path(sys.executable).parent / "harmoniac"), "ingest", "docs", "--component", "search", "--reembed"]
    with subprocess.Popen(command, cwd=docs.parent, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: embedder.requests > 4)
        process.send_signal(by)
        embedder.release()
        _, said = process.communicate(timeout=60)
    assert ("warning[W1005]: `handbook` was not switched" in said) == (by == signal.SIGINT)
    assert read_record(milvus_server.uri, "handbook") == old
    assert run(["ingest", "docs", "--component", "search", "--reembed"]) == 0
    out = capsys.readouterr().out.splitlines()[-1]
    assert out.endswith("built anew and switched")
    assert "20 added" not in out
    assert read_record(milvus_server.uri, "handbook") == new
    assert Milvus(milvus_server.uri).physicals("handbook") == [physical_name("handbook", new)]


@pytest.mark.engines
def test_a_rebuild_says_what_was_left_out_and_what_was_not_switched(
    docs: Path, milvus_server: MilvusServer, embedder: EmbedderServer, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = (msgspec.structs.replace(RECORD, revision=name) for name in ("before", "after"))
    write_bundle(docs.parent / "bundle", record=old, milvus=milvus_server.port, embedder=embedder.port)
    command = ["ingest", "docs", "--component", "search", "--reembed"]
    assert run([*command, "--forget-rest"]) == 0
    write_bundle(docs.parent / "bundle", record=new, milvus=milvus_server.port, embedder=embedder.port)
    (docs / "d01.md").write_bytes(b"\x00")
    capsys.readouterr()
    embedder.statuses = [422]
    assert run(command) == 1
    err = capsys.readouterr().err
    assert "error[E1009]" in err
    assert "`harmoniac status bundle` shows whether it runs" in err
    assert "warning[W1005]: `handbook` was not switched" in err
    assert read_record(milvus_server.uri, "handbook") == old
    assert run(command) == 1
    out, err = capsys.readouterr()
    assert "error[E1003]: `docs/d01.md` cannot be read" in err
    assert "W1005" not in err
    assert out.endswith("; 1 could not be read and were left out; built anew and switched\n")
    assert read_record(milvus_server.uri, "handbook") == new


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)
