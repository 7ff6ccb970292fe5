"""A collection that moves by way of a file: what arrives is what left, and no file does harm."""

import base64
import gzip
import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.collection import CollectionRecord, Row, physical_name, physical_names
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.ingest import archive
from harmonia_compiler.ingest.discover import discover
from harmonia_compiler.ingest.moving import export_collection, import_collection
from harmonia_compiler.ingest.run import Wanted, ingest
from harmonia_compiler.ingest.scope import Options
from harmonia_compiler.ingest.store import Store
from harmonia_compiler.runtime.milvus import Milvus, StoreFailed
from tests.ingest.bundles import parsed, write_bundle
from tests.ingest.conftest import MilvusServer
from tests.ingest.fakes import DIMENSION, RECORD, Died, DyingStore, EmbedderServer, Held, MemoryStore, embed

HANDBOOK, OTHER = Wanted("handbook", RECORD), Wanted("other", RECORD)


def fill(store: Store, docs: Path, record: CollectionRecord = RECORD, **documents: str) -> None:
    docs.mkdir(exist_ok=True)
    for name, text in documents.items():
        (docs / f"{name}.md").write_text(text)
    options = Options(reembed=True, forget_rest=True)
    ingest(store, embed, Wanted("handbook", record), discover([docs], docs.parent), options)


def rows(store: Store, collection: str) -> list[tuple[Any, ...]]:
    """What a collection holds, with the numbers of its vectors as a store keeps them."""
    serving = store.serving(collection)
    assert serving is not None
    store.load(serving)
    return [(row.chunk, row.text, struct.pack(f"<{DIMENSION}f", *row.vector)) for row in store.rows(serving)]


def refused(what: Callable[[], object]) -> tuple[str, str, str]:
    with pytest.raises(Rejected) as caught:
        what()
    (found,) = caught.value.found
    return found.code, found.message, found.help


def test_what_arrives_is_what_left(store: Store, tmp_path: Path) -> None:
    text = " ".join(f"word{at}." for at in range(3000))
    fill(store, tmp_path / "docs", one='# One\n\nüñí 漢字 \U0001f642 \\ " \x7f', two="# Two\n\n" + text)
    before = rows(store, "handbook")
    assert len(before) > 130  # which is more than are written or read at once
    first, second = tmp_path / "first", tmp_path / "second"
    seen: list[int] = []
    assert export_collection(store, "handbook", first, lambda done, _: seen.append(done)).passages == len(before)
    assert seen == [*range(len(before))]
    assert first.stat().st_mode & 0o777 == 0o600
    assert import_collection(store, OTHER, first).passages == len(before)
    assert rows(store, "other") == before
    # Equal collections are equal files, but for the name in the first line.
    export_collection(store, "other", second)
    of_first, of_second = (gzip.decompress(path.read_bytes()).splitlines() for path in (first, second))
    assert of_first[1:-1] == of_second[1:-1]
    # What was imported is known to the next ingestion, which finds nothing to do.
    report = ingest(store, embed, OTHER, discover([tmp_path / "docs"], tmp_path))
    assert (report.added, report.updated, report.deleted, report.unchanged) == (0, 0, 0, 2)
    assert len(store.physicals("other")) == 1


def test_an_import_replaces_only_what_it_may_and_as_a_whole(store: Store, tmp_path: Path) -> None:
    docs, file = tmp_path / "docs", tmp_path / "file"
    fill(store, docs, one="one", two="two")
    export_collection(store, "handbook", file)
    fill(store, docs, one="another")
    code, message, advice = refused(lambda: import_collection(store, HANDBOOK, file))
    assert (code, message) == ("E1018", f"`handbook` holds documents, which those of `{file}` would replace")
    assert advice.endswith("--replace")
    homes = []
    for _ in range(3):
        assert import_collection(store, HANDBOOK, file, replace=True).switched
        assert {row[1] for row in rows(store, "handbook")} == {"one\n\none", "two\n\ntwo"}
        homes += store.physicals("handbook")
    # It is built beside what serves each time, and nothing of either is left behind.
    assert homes == [physical_names("handbook", RECORD)[at] for at in (1, 0, 1)]
    report = ingest(store, embed, HANDBOOK, discover([docs], tmp_path))
    assert (report.updated, report.unchanged, report.switched) == (1, 1, False)
    # A changed record is built anew from an imported collection as from any.
    fill(store, docs, msgspec.structs.replace(RECORD, revision="2"))
    assert store.physicals("handbook") == [physical_name("handbook", msgspec.structs.replace(RECORD, revision="2"))]


def test_another_record_is_refused(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "file"
    fill(store, tmp_path / "docs", one="one")
    export_collection(store, "handbook", file)
    others: dict[str, Any] = {"embedder": "e", "revision": "2", "dimension": 9, "metric": "IP", "chunker": "c:1:2"}
    for name, value in (others | {"hybrid": True}).items():
        wanted = Wanted("other", msgspec.structs.replace(RECORD, **{name: value}))
        code, message, _ = refused(lambda wanted=wanted: import_collection(store, wanted, file))  # type: ignore[misc]
        assert code == "E1015"
        assert f"{name} is {getattr(RECORD, name)!r} there and {value!r} here" in message
    assert store.physicals("other") == []


def test_what_cannot_be_exported(tmp_path: Path) -> None:
    file, store = tmp_path / "file", MemoryStore()
    code, message, _ = refused(lambda: export_collection(store, "handbook", file))
    assert (code, "nothing was ingested" in message) == ("E1019", True)
    store.held["handbook"] = Held(None)
    assert refused(lambda: export_collection(store, "handbook", file))[0] == "E1014"
    store.held = {"handbook__00000000": Held(RECORD)}
    store.aliases = {"handbook": "handbook__00000000"}
    code, message, advice = refused(lambda: export_collection(store, "handbook", file))
    assert (code, "earlier version" in message) == ("E1019", True)
    assert "--reembed" in advice
    assert list(tmp_path.iterdir()) == []


def test_an_export_never_replaces_what_is_none_and_leaves_nothing_half_done(tmp_path: Path) -> None:
    store, file = MemoryStore(), tmp_path / "file"
    fill(store, tmp_path / "docs", one="one", two="two")
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "other.gz").write_bytes(gzip.compress(b'{"is":"collection"}\n'))
    for name in ("notes", "other.gz"):
        before = (tmp_path / name).read_bytes()
        assert refused(lambda name=name: export_collection(store, "handbook", tmp_path / name))[0] == "E1017"  # type: ignore[misc]
        assert (tmp_path / name).read_bytes() == before
    os.mkfifo(tmp_path / "pipe")
    assert refused(lambda: export_collection(store, "handbook", tmp_path / "pipe"))[0] == "E1017"
    assert refused(lambda: export_collection(store, "handbook", tmp_path / "notes" / "file"))[0] == "E1017"
    export_collection(store, "handbook", file)
    fill(store, tmp_path / "docs", three="three")
    before = file.read_bytes()

    def breaks(done: int, _total: int | None) -> None:
        if done == 2:
            raise Died

    with pytest.raises(Died):
        export_collection(store, "handbook", file, breaks)
    assert file.read_bytes() == before
    assert export_collection(store, "handbook", file).passages == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["docs", "file", "notes", "other.gz", "pipe"]


def test_an_import_that_dies_anywhere_leaves_what_served_and_the_next_one_finishes(tmp_path: Path) -> None:
    file, source = tmp_path / "file", MemoryStore()
    fill(source, tmp_path / "docs", one="one", two="two", three="three")
    export_collection(source, "handbook", file)
    new = rows(source, "handbook")
    shutil.rmtree(tmp_path / "docs")
    for dies_at in count():
        store = MemoryStore()
        fill(store, tmp_path / "docs", old="old")
        old = rows(store, "handbook")
        try:
            import_collection(DyingStore(store, dies_at), HANDBOOK, file, replace=True)
        except Died:
            assert rows(store, "handbook") in (old, new)
        else:
            break
        import_collection(store, HANDBOOK, file, replace=True)
        assert rows(store, "handbook") == new
        assert len(store.physicals("handbook")) == 1
    assert dies_at > 8


def test_a_store_that_gives_passages_twice_or_loses_some_is_not_believed(tmp_path: Path) -> None:
    class Repeating(MemoryStore):
        def rows(self, physical: str) -> Iterator[Row]:
            yield from [*super().rows(physical)] * 2

    class Losing(MemoryStore):
        def upsert(self, physical: str, rows: Any) -> None:
            super().upsert(physical, rows[1:])

    file, store = tmp_path / "file", Repeating()
    fill(store, tmp_path / "docs", one="one", two="two")
    with pytest.raises(StoreFailed, match="out of order or twice"):
        export_collection(store, "handbook", file)
    assert not file.exists()
    export_collection(MemoryStore(store.held, store.aliases), "handbook", file)
    losing = Losing()
    with pytest.raises(StoreFailed, match="holds 1 of 2 passages"):
        import_collection(losing, OTHER, file)
    assert losing.serving("other") is None


HEAD: dict[str, Any] = {
    "is": "collection",
    "collection": "handbook",
    "record": msgspec.to_builtins(RECORD),
    "layout": 2,
    "format_version": 1,
}
VECTOR = struct.pack(f"<{DIMENSION}f", *[0.5] * DIMENSION)


def passage(**changed: Any) -> dict[str, Any]:
    whole = {
        "is": "passage",
        "id": "aa",
        "source": "docs/a.md",
        "document": "bb",
        "position": 0,
        "chunks": 1,
        "path": "/docs/a.md",
        "text": "a",
        "vector": VECTOR,
    }
    return whole | changed


def packed(*lines: dict[str, Any] | bytes, passages: int = 1, **end: Any) -> bytes:
    """A file of these lines with its true checksum, as somebody makes it who means harm."""
    body = b"".join((line if isinstance(line, bytes) else msgspec.json.encode(line)) + b"\n" for line in lines)
    closing = {"is": "end", "passages": passages, "sha256": hashlib.sha256(body).hexdigest()} | end
    return gzip.compress(body + msgspec.json.encode(closing) + b"\n", mtime=0)


GOOD = packed(HEAD, passage())
DEEP = b"[" * 200_000

HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "no collection that was exported"),
    "text": (b"# A document\n", "not what gzip wrote"),
    "another archive": (gzip.compress(b"PK\x03\x04"), "no collection that was exported"),
    "other JSON": (gzip.compress(b'{"plan": 1}\n'), "no collection that was exported"),
    "nested": (gzip.compress(DEEP), "no collection that was exported"),
    "nested in a passage": (packed(HEAD, b'{"is":"passage","x":' + DEEP + b"}"), "line 2 is damaged"),
    "newer format": (packed(HEAD | {"format_version": 2, "record": 7}), "a newer release"),
    "newer layout": (packed(HEAD | {"layout": 99}, passage()), "a newer release"),
    "no such version": (packed(HEAD | {"format_version": -1}, passage()), "no release"),
    "no record": (packed(HEAD | {"record": {}}, passage()), "its first line is damaged"),
    "huge version": (packed(b'{"is":"collection","layout":2,"format_version":' + b"9" * 9000 + b"}"), "no collection"),
    "a long record": (packed(HEAD | {"record": HEAD["record"] | {"embedder": "e" * 9_000}}), "no collection"),
    "cut in the stream": (GOOD[:-30], "ends in the middle"),
    "cut in the trailer": (GOOD[:-4], "ends in the middle"),
    "cut between lines": (gzip.compress(gzip.decompress(GOOD).rsplit(b"\n", 2)[0] + b"\n"), "ends in the middle"),
    "flipped": (GOOD[:-6] + bytes([GOOD[-6] ^ 1]) + GOOD[-5:], "not what gzip wrote"),
    "changed": (gzip.compress(gzip.decompress(GOOD).replace(b"docs/a", b"docs/b")), "changed after it was exported"),
    "fewer": (packed(HEAD, passage(), passages=2), "it holds 1 passages, and says that it holds 2"),
    "more": (packed(HEAD, passage(), passages=0), "it holds 1 passages, and says that it holds 0"),
    "a huge count": (packed(HEAD, passage(), passages=10**30), "line 3 is damaged"),
    "a count that is none": (packed(HEAD, passage(), passages="1"), "line 3 is damaged"),  # type: ignore[arg-type]
    "rubbish behind it": (GOOD + b"rubbish", "not what gzip wrote"),
    "another behind it": (GOOD + GOOD, "more follows"),
    "one passage twice": (packed(HEAD, passage(), passage(), passages=2), "out of order or there twice"),
    "backwards": (packed(HEAD, passage(), passage(id="a0"), passages=2), "out of order or there twice"),
    "two heads": (packed(HEAD, HEAD, passage()), "line 2 is damaged"),
    "no JSON": (packed(HEAD, b"passage"), "line 2 is damaged"),
    "half a character": (packed(HEAD, b'{"is":"passage","id":"\\ud800"}'), "line 2 is damaged"),
    "no UTF-8": (packed(HEAD, b'{"is":"passage","id":"\xff"}'), "line 2 is damaged"),
    "a long line": (packed(HEAD, passage(text="a" * 2**21)), "longer than any passage"),
    "an endless line": (gzip.compress(msgspec.json.encode(HEAD) + b"\n" + bytes(2**26), 1), "longer than any passage"),
    "a long text": (packed(HEAD, passage(text="ä" * 40_000)), "longer than 65,535 bytes"),
    "a short vector": (packed(HEAD, passage(vector=VECTOR[4:])), "the 8 numbers"),
    "a long vector": (packed(HEAD, passage(vector=VECTOR * 2)), "the 8 numbers"),
    "no base64": (packed(HEAD, passage(vector="?")), "line 2 is damaged"),
    "NaN": (packed(HEAD, passage(vector=VECTOR[4:] + struct.pack("<f", float("nan")))), "no finite number"),
    "infinity": (packed(HEAD, passage(vector=VECTOR[4:] + struct.pack("<f", float("-inf")))), "no finite number"),
    "an id of words": (packed(HEAD, passage(id='" or id != "')), "line 2 is damaged"),
    "a long id": (packed(HEAD, passage(id="a" * 65)), "line 2 is damaged"),
    "a huge position": (packed(HEAD, passage(position=2**63, chunks=2**64)), "line 2 is damaged"),
    "a position beyond the last": (packed(HEAD, passage(position=1)), "passage 1 of a document that has 1"),
    "a negative position": (packed(HEAD, passage(position=-1)), "line 2 is damaged"),
    "a path from elsewhere": (packed(HEAD, passage(path="../../etc/passwd")), "none from the root"),
    "a path that climbs": (packed(HEAD, passage(path="/docs/../etc/passwd")), "none from the root"),
    "a path of two slashes": (packed(HEAD, passage(path="//docs/a.md")), "none from the root"),
    "no path": (packed(HEAD, passage(path="")), "none from the root"),
    "a long path": (packed(HEAD, passage(path="/a" * 2_049)), "longer than 4,096 bytes"),
    "a long name": (packed(HEAD, passage(source="a" * 4_097)), "longer than 4,096 bytes"),
}


def test_the_good_file_is_good(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(GOOD)
    store = MemoryStore()
    assert import_collection(store, HANDBOOK, tmp_path / "file").passages == 1


@pytest.mark.parametrize(("content", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_none_of_ours_changes_nothing(tmp_path: Path, content: bytes, said: str) -> None:
    file, store = tmp_path / "file", MemoryStore()
    file.write_bytes(content)
    fill(store, tmp_path / "docs", one="one")
    before = rows(store, "handbook")
    code, message, advice = refused(lambda: import_collection(store, HANDBOOK, file, replace=True))
    assert code == "E1016"
    assert said in message
    assert advice
    assert rows(store, "handbook") == before
    assert len(store.held) == 1


def test_any_flipped_byte_is_noticed_or_does_not_matter(tmp_path: Path) -> None:
    """Every byte of a file, one after the other; the only ones that say nothing are the time and system of gzip."""
    file = tmp_path / "file"
    codes, silent = set[str](), set[int]()
    for at in range(len(GOOD)):
        file.write_bytes(GOOD[:at] + bytes([GOOD[at] ^ 0xFF]) + GOOD[at + 1 :])
        try:
            import_collection(MemoryStore(), HANDBOOK, file)
        except Rejected as problem:
            codes |= {found.code for found in problem.found}
        else:
            silent.add(at)
    assert codes == {"E1015", "E1016"}  # where what it records reads otherwise, that is said
    assert silent == {*range(4, 10)}


def test_a_file_that_is_changed_while_it_is_read(tmp_path: Path) -> None:
    """It was found to be good, and is another by the time that it is written."""
    file = tmp_path / "file"
    file.write_bytes(GOOD)

    class Swapping(MemoryStore):
        def create(self, physical: str, record: CollectionRecord) -> None:
            super().create(physical, record)
            file.write_bytes(packed(HEAD | {"collection": "swapped"}, passage()))

    store = Swapping()
    code, message, _ = refused(lambda: import_collection(store, HANDBOOK, file))
    assert (code, "changed while it was read" in message) == ("E1016", True)
    assert store.serving("handbook") is None


def test_a_path_of_many_folders_is_reported_as_lost(tmp_path: Path) -> None:
    """Whoever wrote the file decides how deep a path is."""
    file, store = tmp_path / "file", MemoryStore()
    file.write_bytes(packed(HEAD, passage(path="/nowhere" + "/a" * 2_000)))
    import_collection(store, HANDBOOK, file)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "new.md").write_text("new")
    report = ingest(store, embed, HANDBOOK, discover([tmp_path / "docs"], tmp_path))
    assert [finding.code for finding in report.findings] == ["W1003"]
    assert "`/nowhere`" in report.findings[0].message


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Reading gives one row after the other, and has read no more of the file than a little ahead."""
    file = tmp_path / "file"
    shake = hashlib.shake_128(b"").hexdigest(1_000_000)  # so that it does not shrink
    body = [HEAD, *(passage(id=f"{at:08x}", text=shake[1_000 * at : 1_000 * at + 1_000]) for at in range(2_000))]
    file.write_bytes(packed(*body, passages=2_000))
    assert file.stat().st_size > 2**20
    with archive.opened(file) as opened:
        taken = opened.rows()
        assert next(taken).chunk.id == "00000000"
        assert opened.file.tell() <= 2**18
        assert sum(1 for _ in taken) == 1_999


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--export", "f", "--import", "f"], "two runs"),
        (["docs", "--export", "f"], "no PATH"),
        (["--import", "f", "--reembed"], "no PATH"),
        (["--replace", "docs"], "--replace is for --import"),
        (["--milvus", "http://127.0.0.1:1", "docs"], "--milvus is for"),
        (["--export", "f", "--milvus", "milvus.db"], "no address"),
        (["--export", "f", "--milvus", "http://127.0.0.1:99999"], "no address"),
        (["--export", "f", "--milvus", "http://me:secret@127.0.0.1:1"], "no address"),
        (["--export", "."], "is a directory"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert run(["ingest", "--component", "search", *words]) == 2
    assert said in capsys.readouterr().err


def test_slips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = write_bundle(tmp_path / "bundle")
    for words, code in (
        (["--export", "f"], "E1012"),
        (["--import", "f", "--component", "serach"], "E1006"),
    ):
        assert run(["ingest", "--component", "search", *words]) == 1
        assert f"error[{code}]" in capsys.readouterr().err
    (bundle / "run" / "endpoints.json").unlink()
    assert run(["ingest", "--component", "search", "--export", "f"]) == 1
    assert "error[E1007]: `bundle` is not running" in capsys.readouterr().err
    assert not (tmp_path / "f").exists()


@pytest.mark.slow
@pytest.mark.engines
def test_from_one_service_to_another(
    tmp_path: Path,
    milvus_server: MilvusServer,
    embedder: EmbedderServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    record = msgspec.structs.replace(RECORD, revision="moving", hybrid=True)
    write_bundle(tmp_path / "here", record=record, milvus=milvus_server.port, embedder=embedder.port)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\nA text.")
    command = ["ingest", "--component", "search", "--service", "here"]
    assert run([*command, "docs", "--reembed", "--forget-rest"]) == 0
    capsys.readouterr()
    assert run([*command, "--export", "a.jsonl.gz"]) == 0
    assert capsys.readouterr().out == "handbook: 1 passages exported to a.jsonl.gz\n"
    (tmp_path / "data").mkdir()
    server = MilvusServer(tmp_path / "data")
    server.start()
    try:
        # The other has its own Milvus and no embedder: nothing is embedded.
        write_bundle(tmp_path / "there", record=record, milvus=server.port, embedder=None)
        command = ["ingest", "--component", "search", "--service", "there"]
        assert run([*command, "--import", "a.jsonl.gz", "--format", "json"]) == 0
        report = parsed(capsys.readouterr().out)
        assert (report["collection"], report["passages"], report["switched"]) == ("handbook", 1, False)
        assert run([*command, "--import", "a.jsonl.gz"]) == 1
        assert "error[E1018]" in capsys.readouterr().err
        (tmp_path / "a.jsonl.gz").write_bytes(b"rubbish")
        assert run([*command, "--import", "a.jsonl.gz", "--replace"]) == 1
        assert "error[E1016]" in capsys.readouterr().err
        # A Milvus that stands by itself is asked by its address, and the bundle need not run.
        write_bundle(tmp_path / "still", record=record)
        shutil.rmtree(tmp_path / "still" / "run")
        command = ["ingest", "--component", "search", "--service", "still", "--milvus", server.uri]
        assert run([*command, "--export", "b.jsonl.gz"]) == 0
        assert run([*command, "--import", "b.jsonl.gz", "--replace"]) == 0
        assert capsys.readouterr().out.endswith("imported from b.jsonl.gz; built anew and switched\n")
    finally:
        server.kill()
    head = gzip.decompress((tmp_path / "b.jsonl.gz").read_bytes()).splitlines()[0]
    assert json.loads(head)["record"]["revision"] == "moving"


class Guard(grpc.GenericRpcHandler):
    """Passes every call on to a Milvus, from whoever says the password."""

    def __init__(self, server: MilvusServer) -> None:
        self._there = grpc.insecure_channel(f"127.0.0.1:{server.port}")

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            said = {name: str(value) for name, value in context.invocation_metadata()}
            if base64.b64decode(said.get("authorization", "")) != b"root:swordfish":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check username and password")
            onward: Any = self._there.unary_unary(handler_call_details.method)
            try:
                answer: bytes = onward(request, timeout=60)
            except grpc.RpcError as refused:
                context.abort(refused.code(), refused.details() or "")
            return answer

        return grpc.unary_unary_rpc_method_handler(call)


@pytest.mark.engines
def test_a_milvus_behind_a_password_takes_it_from_the_environment(
    milvus_server: MilvusServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    with closing(Milvus(milvus_server.uri)) as store:
        fill(store, tmp_path / "docs", one="# One\n\nwords")
    guarded = grpc.server(ThreadPoolExecutor(4))
    guarded.add_generic_rpc_handlers((Guard(milvus_server),))
    port = guarded.add_insecure_port("127.0.0.1:0")
    guarded.start()
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "still", record=RECORD)
    shutil.rmtree(tmp_path / "still" / "run")
    command = ["ingest", "--component", "search", "--service", "still", "--milvus", f"http://127.0.0.1:{port}"]
    try:
        for token in ("", "root:wrong"):
            monkeypatch.setenv("MILVUS_TOKEN", token)
            assert run([*command, "--export", "a.jsonl.gz"]) == 1
            said = capsys.readouterr().err
            assert "error[E1012]" in said
            assert "MILVUS_TOKEN" in said
            assert "wrong" not in said
        monkeypatch.setenv("MILVUS_TOKEN", "root:swordfish")
        assert run([*command, "--export", "a.jsonl.gz"]) == 0
        assert run([*command, "--import", "a.jsonl.gz", "--replace"]) == 0
        assert capsys.readouterr().out.endswith("1 passages imported from a.jsonl.gz; built anew and switched\n")
    finally:
        guarded.stop(None)
