"""Several trees in one collection: whose documents a run touches, what they are called, and what moved or went."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from pymilvus import DataType

from harmonia_compiler.contract.collection import Row, StoredChunk, physical_name
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.ingest.discover import Tree, discover, place_of
from harmonia_compiler.ingest.run import Wanted, ingest
from harmonia_compiler.ingest.scope import DEFAULTS, Options
from harmonia_compiler.ingest.store import Store
from harmonia_compiler.ingest.writing import Report
from harmonia_compiler.runtime.milvus import Milvus
from tests.ingest.fakes import RECORD, MemoryStore, embed

OTHER = msgspec.structs.replace(RECORD, revision="2")


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of {folder}")
    return folder


def run(store: Store, *paths: Path, base: Path | None = None, options: Options = DEFAULTS) -> Report:
    return ingest(store, embed, Wanted("handbook", RECORD), discover(paths, base), options)


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.deleted, report.unchanged


def codes(report: Report) -> list[str]:
    return [finding.code for finding in report.findings]


def names(store: Store) -> list[str]:
    serving = store.serving("handbook")
    assert serving is not None
    return sorted(chunk.source for chunk in store.chunks(serving))


def test_trees_of_one_name_never_touch_each_other(store: Store, tmp_path: Path) -> None:
    a, b = write(tmp_path / "a" / "docs", "x.md", "y.md"), write(tmp_path / "b" / "docs", "x.md", "z.md")
    assert counts(run(store, a)) == (2, 0, 0, 0)
    assert counts(run(store, b)) == (2, 0, 0, 0)
    assert names(store) == ["b/docs/x.md", "docs/x.md", "docs/y.md", "docs/z.md"]
    (a / "y.md").unlink()
    assert counts(run(store, b)) == (0, 0, 0, 2)
    assert counts(run(store, a)) == (0, 0, 1, 1)
    assert names(store) == ["b/docs/x.md", "docs/x.md", "docs/z.md"]


def test_the_current_folder_is_a_tree_like_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, notes = write(tmp_path / "docs", "x.md"), write(tmp_path / "notes", "x.md")
    monkeypatch.chdir(tmp_path)
    run(store, Path("docs"), Path("notes"))
    monkeypatch.chdir(docs)
    (notes / "x.md").unlink()
    report = run(store, Path())
    assert counts(report) == (0, 0, 0, 1)
    assert names(store) == ["docs/x.md", "notes/x.md"]


def test_names_stay_until_a_base_is_given(store: Store, tmp_path: Path) -> None:
    docs = write(tmp_path / "srv" / "docs", "x.md")
    run(store, docs)
    (docs / "x.md").write_text("changed")
    assert counts(run(store, docs)) == (0, 1, 0, 0)
    assert names(store) == ["docs/x.md"]
    assert counts(run(store, docs, base=tmp_path)) == (0, 1, 0, 0)
    assert names(store) == ["srv/docs/x.md"]
    assert counts(run(store, docs)) == (0, 0, 0, 1)
    assert names(store) == ["srv/docs/x.md"]


def test_files_of_one_name_in_one_run(store: Store, tmp_path: Path) -> None:
    for folder in "abc":
        write(tmp_path / folder, "README.md")
    run(store, *(tmp_path / folder / "README.md" for folder in "abc"))
    assert names(store) == ["README.md", "b/README.md", "c/README.md"]


def test_a_tree_that_moved_leaves_documents_that_can_be_forgotten(store: Store, tmp_path: Path) -> None:
    old, new = write(tmp_path / "old docs", "sub/x.md", "y.md"), tmp_path / "docs"
    run(store, old)
    old.rename(new)
    moved = run(store, new)
    assert counts(moved) == (2, 0, 0, 0)
    assert codes(moved) == ["W1003"]
    assert moved.findings[0].message == f"`handbook` still holds 2 documents of files that are gone from `{old}`"
    assert moved.findings[0].help == f"to delete what is left of them: --forget '{old}'"
    forgot = run(store, options=Options(forget=(place_of(old),)))
    assert counts(forgot) == (0, 0, 2, 0)
    assert codes(forgot) == []
    assert names(store) == ["docs/sub/x.md", "docs/y.md"]


def test_a_file_that_is_gone_is_named_by_itself(store: Store, tmp_path: Path) -> None:
    docs, notes = write(tmp_path / "docs", "x.md"), write(tmp_path / "notes", "y.md", "z.md")
    run(store, docs, notes)
    (notes / "y.md").unlink()
    (finding,) = run(store, docs).findings
    assert finding.message == f"`handbook` still holds a document of files that are gone from `{notes / 'y.md'}`"


def test_forgetting_spares_what_the_given_paths_hold(store: Store, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", "a/x.md", "b/y.md")
    run(store, docs)
    report = run(store, docs / "a", options=Options(forget=(place_of(docs),)))
    assert counts(report) == (0, 0, 1, 1)
    assert codes(report) == []
    assert names(store) == ["docs/a/x.md"]


def test_what_cannot_be_forgotten_is_said(store: Store, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", "x.md")
    run(store, docs)
    (slip,) = run(store, options=Options(forget=(f"{tmp_path}/dcos",))).findings
    assert (slip.code, slip.help) == ("W1004", f"it holds documents from `{docs}`")
    (same,) = run(store, docs, options=Options(forget=(place_of(docs),))).findings
    assert (same.code, same.help) == ("W1004", "the given paths hold them; leave these out")
    assert names(store) == ["docs/x.md"]


def test_forgetting_makes_no_collection(store: Store, tmp_path: Path) -> None:
    (finding,) = run(store, options=Options(forget=(str(tmp_path),))).findings
    assert (finding.code, finding.help) == ("W1004", "it is empty")
    assert store.physicals("handbook") == []


def test_the_rest_is_forgotten_without_building_anew(store: Store, tmp_path: Path) -> None:
    docs, notes = write(tmp_path / "docs", "x.md"), write(tmp_path / "notes", "y.md")
    run(store, docs, notes)
    assert counts(run(store, docs, options=Options(forget_rest=True))) == (0, 0, 1, 1)
    assert names(store) == ["docs/x.md"]


def test_a_folder_that_cannot_be_listed_keeps_its_documents(store: Store, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", "closed/x.md", "y.md")
    run(store, docs)
    (docs / "closed" / "x.md").unlink()
    tree: Tree = replace(discover([docs]), closed=(str(docs / "closed"),))
    assert counts(ingest(store, embed, Wanted("handbook", RECORD), tree)) == (0, 0, 0, 1)
    assert names(store) == ["docs/closed/x.md", "docs/y.md"]


def test_building_anew_keeps_names_and_takes_what_is_forgotten_for_settled(store: Store, tmp_path: Path) -> None:
    docs, notes = write(tmp_path / "docs", "x.md"), write(tmp_path / "notes", "y.md")
    run(store, docs, notes, base=tmp_path.parent)
    before = names(store)
    anew = Wanted("handbook", OTHER)
    with pytest.raises(Rejected, match=rf"E1011: .*`{notes}/y.md`"):
        ingest(store, embed, anew, discover([docs]), Options(reembed=True))
    report = ingest(store, embed, anew, discover([docs]), Options(reembed=True, forget=(place_of(notes),)))
    assert report.switched
    assert codes(report) == []
    assert names(store) == before[:1] == [f"{tmp_path.name}/docs/x.md"]


OLD_ROWS = [
    {"id": "1", "source": "docs/x.md", "document": "d", "position": 0, "chunks": 1},
    {"id": "2", "source": "notes/y.md", "document": "d", "position": 0, "chunks": 1},
]


def make_as_before(store: Store) -> None:
    """A collection that serves and is laid out as before documents were known by their places."""
    old = "handbook__00000000"
    zeros = [0.0] * RECORD.dimension
    if isinstance(store, MemoryStore):
        store.create(old, RECORD)
        store.upsert(old, [Row(msgspec.convert(row, StoredChunk), "text", zeros) for row in OLD_ROWS])
    else:
        assert isinstance(store, Milvus)
        schema = store._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, max_length=64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=RECORD.dimension)
        for name in ("text", "source", "document"):
            schema.add_field(name, DataType.VARCHAR, max_length=1024)
        for name in ("position", "chunks"):
            schema.add_field(name, DataType.INT64)
        record = {"harmonia.record": msgspec.json.encode(RECORD).decode()}
        store._client.create_collection(old, schema=schema, properties=record)
        store._client.upsert(old, [{**row, "text": "text", "vector": zeros} for row in OLD_ROWS])
        store.load(old, "HNSW")
    store.point("handbook", old)


def test_a_collection_that_does_not_keep_places_is_built_anew(store: Store, tmp_path: Path) -> None:
    docs = write(tmp_path / "docs", "x.md")
    make_as_before(store)
    with pytest.raises(Rejected, match=r"E1015: .* did not keep where documents come from"):
        run(store, docs)
    with pytest.raises(Rejected, match=r"E1011: .* it holds a document from outside the given paths: `notes/y.md`"):
        run(store, docs, options=Options(reembed=True))
    assert run(store, docs, options=Options(reembed=True, forget_rest=True)).switched
    assert store.physicals("handbook") == [physical_name("handbook", RECORD)]
    assert names(store) == ["docs/x.md"]
