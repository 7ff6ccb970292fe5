"""Whole ingestions, on a store in memory and on real Milvus: what is there afterwards is what the tree says."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.collection import CollectionRecord, Row, StoredChunk, physical_name
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.ingest import documents
from harmonia_compiler.ingest.apart import PDF
from harmonia_compiler.ingest.discover import discover
from harmonia_compiler.ingest.run import Wanted, ingest
from harmonia_compiler.ingest.scope import DEFAULTS, Options
from harmonia_compiler.ingest.store import Embed, Store
from harmonia_compiler.ingest.writing import ROWS_AT_ONCE, Progress, Report
from harmonia_compiler.runtime.milvus import StoreFailed
from tests.ingest.fakes import RECORD, Died, DyingStore, Held, MemoryStore, embed
from tests.ingest.pdfs import pdf, repeating_pdf

OTHER = msgspec.structs.replace(RECORD, revision="2")


def write(root: Path, **documents: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in documents.items():
        (root / f"{name}.md").write_text(text)


def words(count: int, of: str = "alpha") -> str:
    return " ".join(f"{of}{number}." for number in range(count))


def run(
    store: Store,
    *paths: Path,
    record: CollectionRecord = RECORD,
    options: Options = DEFAULTS,
) -> Report:
    tree = discover(paths, paths[0].parent)
    return ingest(store, embed, Wanted("handbook", record), tree, options)


def counts(report: Report) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.deleted, report.unchanged


def held(store: Store) -> set[StoredChunk]:
    serving = store.serving("handbook")
    assert serving is not None
    store.load(serving)
    return set(store.chunks(serving))


def sources(store: Store) -> set[str]:
    return {chunk.source for chunk in held(store)}


def test_first_and_second_run(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, one="# One\n\nfirst", two="# Two\n\n" + words(400))
    first = run(store, docs)
    assert counts(first) == (2, 0, 0, 0)
    assert first.chunks == len(held(store)) > 10
    again = run(store, docs)
    assert counts(again) == (0, 0, 0, 2)
    assert again.chunks == 0


def test_only_what_changed_is_touched(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, kept="# Kept\n\nsame", changed="# Changed\n\n" + words(300), gone="# Gone\n\nbye")
    run(store, docs)
    before = {chunk for chunk in held(store) if chunk.source == "docs/kept.md"}
    write(docs, changed="# Changed\n\nshort now", new="# New\n\nhello")
    (docs / "gone.md").unlink()
    report = run(store, docs)
    assert counts(report) == (1, 1, 1, 1)
    assert report.chunks == 2
    assert sources(store) == {"docs/kept.md", "docs/changed.md", "docs/new.md"}
    assert before <= held(store)


def test_deletes_are_limited_to_the_given_paths(store: Store, tmp_path: Path) -> None:
    docs, notes = tmp_path / "docs", tmp_path / "notes"
    write(docs, a="a", b="b")
    write(notes, c="c")
    run(store, docs, notes)
    (docs / "a.md").unlink()
    (notes / "c.md").unlink()
    assert counts(run(store, docs)) == (0, 0, 1, 1)
    assert sources(store) == {"docs/b.md", "notes/c.md"}


def test_no_prune_keeps_what_is_gone(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    run(store, docs)
    (docs / "a.md").unlink()
    assert counts(run(store, docs, options=Options(prune=False))) == (0, 0, 0, 1)
    assert sources(store) == {"docs/a.md", "docs/b.md"}


def test_unreadable_document_keeps_its_old_rows_and_others_go_on(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    run(store, docs)
    (docs / "a.md").write_bytes(b"\x00\x01binary")
    write(docs, b="b, but newer")
    report = run(store, docs)
    assert [finding.code for finding in report.findings] == ["E1003"]
    assert "a.md" in report.findings[0].message
    assert sources(store) == {"docs/a.md", "docs/b.md"}
    assert counts(report) == (0, 1, 0, 0)


def test_document_that_lost_its_text_leaves(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    run(store, docs)
    write(docs, a="\n")
    assert run(store, docs).empty == 1
    assert sources(store) == {"docs/b.md"}


REEMBED = Options(reembed=True)


def test_changed_record_is_refused_unless_asked_for(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    run(store, docs)
    with pytest.raises(Rejected, match="E1015"):
        run(store, docs, record=OTHER)
    assert store.physicals("handbook") == [physical_name("handbook", RECORD)]


def test_a_collection_that_somebody_else_made_is_left_alone(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a")
    theirs = MemoryStore(held={"handbook": Held(None)})
    with pytest.raises(Rejected, match="E1014: the collection `handbook` is there already"):
        run(theirs, docs, options=REEMBED)
    assert theirs.held["handbook"] == Held(None)
    assert theirs.serving("handbook") == "handbook"


def test_changed_record_is_built_beside_and_switched(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    run(store, docs)
    report = run(store, docs, record=OTHER, options=REEMBED)
    assert report.switched
    assert counts(report) == (2, 0, 0, 0)
    assert store.serving("handbook") == physical_name("handbook", OTHER)
    assert store.physicals("handbook") == [physical_name("handbook", OTHER)]
    assert store.record(physical_name("handbook", OTHER)) == OTHER


def test_rebuild_does_not_lose_documents_from_elsewhere(store: Store, tmp_path: Path) -> None:
    docs, notes = tmp_path / "docs", tmp_path / "notes"
    write(docs, a="a")
    write(notes, c="c")
    run(store, docs, notes)
    with pytest.raises(Rejected, match="E1011"):
        run(store, docs, record=OTHER, options=REEMBED)
    assert store.physicals("handbook") == [physical_name("handbook", RECORD)]
    assert run(store, docs, record=OTHER, options=Options(reembed=True, forget_rest=True)).switched
    assert sources(store) == {"docs/a.md"}


def test_rebuild_does_not_lose_documents_that_are_to_be_kept(store: Store, tmp_path: Path) -> None:
    docs, notes = tmp_path / "docs", tmp_path / "notes"
    write(docs, a="a", b="b")
    write(notes, c="c")
    run(store, docs, notes)
    (docs / "a.md").unlink()
    kept = Options(reembed=True, prune=False)
    for options in (replace(kept, forget_rest=True), replace(kept, forget=(str(notes),))):
        with pytest.raises(Rejected, match=rf"E1011: .* it holds a document whose files are gone: `{docs}/a.md`"):
            run(store, docs, record=OTHER, options=options)
    assert store.physicals("handbook") == [physical_name("handbook", RECORD)]
    assert sources(store) == {"docs/a.md", "docs/b.md", "notes/c.md"}
    # Where nothing would be lost, there is nothing to refuse, and what is to be forgotten may be gone.
    shutil.rmtree(notes)
    write(docs, a="again")
    assert run(store, docs, record=OTHER, options=replace(kept, forget=(str(notes),))).switched
    assert sources(store) == {"docs/a.md", "docs/b.md"}


def test_rebuild_that_keeps_what_is_gone_lets_go_of_what_is_to_be_forgotten(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    write(docs / "old", c="c", d="d")
    run(store, docs)
    (docs / "b.md").unlink()
    shutil.rmtree(docs / "old")
    options = Options(reembed=True, prune=False, forget=(str(docs / "b.md"),))
    with pytest.raises(
        Rejected, match=rf"E1011: .* holds 2 documents whose files are gone: `{docs}/old/c.md`"
    ) as caught:
        run(store, docs, record=OTHER, options=options)
    assert "--forget PATH" in caught.value.found[0].help
    report = run(store, docs, record=OTHER, options=replace(options, forget=(*options.forget, str(docs / "old"))))
    assert (report.switched, report.findings) == (True, [])
    assert sources(store) == {"docs/a.md"}


def test_rebuild_leaves_out_what_cannot_be_read_and_takes_it_in_later(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    run(store, docs)
    (docs / "a.md").write_bytes(b"\x00")
    report = run(store, docs, record=OTHER, options=REEMBED)
    assert report.switched
    assert [finding.code for finding in report.findings] == ["E1003"]
    assert store.physicals("handbook") == [physical_name("handbook", OTHER)]
    assert sources(store) == {"docs/b.md"}
    write(docs, a="a")
    assert counts(run(store, docs, record=OTHER)) == (1, 0, 0, 1)
    assert sources(store) == {"docs/a.md", "docs/b.md"}


def test_rebuild_that_can_read_nothing_replaces_nothing(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a")
    run(store, docs)
    (docs / "a.md").write_bytes(b"\x00")
    report = run(store, docs, record=OTHER, options=REEMBED)
    assert not report.switched
    assert [finding.code for finding in report.findings] == ["E1003", "W1005"]
    assert store.serving("handbook") == physical_name("handbook", RECORD)
    assert sources(store) == {"docs/a.md"}
    write(docs, a="a")
    assert run(store, docs, record=OTHER, options=REEMBED).switched
    assert store.physicals("handbook") == [physical_name("handbook", OTHER)]


def test_rebuild_that_goes_on_and_can_read_nothing_replaces_nothing_either(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    run(store, docs)
    (docs / "a.md").write_bytes(b"\x00")
    with monkeypatch.context() as patched:

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(store, "point", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(store, docs, record=OTHER, options=REEMBED)
    (docs / "b.md").write_bytes(b"\x00")
    report = run(store, docs, record=OTHER, options=REEMBED)
    assert not report.switched
    assert [finding.code for finding in report.findings] == ["E1003", "E1003", "W1005"]
    assert store.serving("handbook") == physical_name("handbook", RECORD)
    assert sources(store) == {"docs/a.md", "docs/b.md"}


@pytest.mark.parametrize("ends", [StoreFailed("full"), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_what_ends_a_rebuild_early_is_told_that_nothing_was_switched(
    store: Store, tmp_path: Path, ends: BaseException
) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a", b="b")
    run(store, docs)

    def failing(texts: Sequence[str]) -> list[list[float]]:
        raise ends

    told: list[Diagnostic] = []
    tree = discover([docs], tmp_path)
    for record, codes in ((OTHER, ["W1005"]), (RECORD, ["W1005"])):
        write(docs, a="newer")
        with pytest.raises(type(ends)):
            ingest(store, failing, Wanted("handbook", record), tree, REEMBED, on_unswitched=told.append)
        # Where no collection is to be replaced, there is nothing to tell.
        assert [finding.code for finding in told] == codes
    assert "stays in its place" in told[0].message
    assert sources(store) == {"docs/a.md", "docs/b.md"}


def test_vectors_of_another_length_are_refused(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, a="a")
    wide = msgspec.structs.replace(RECORD, dimension=16)
    with pytest.raises(Rejected, match="E1008"):
        run(store, docs, record=wide)
    assert store.serving("handbook") is None


def interrupted_after(batches: int) -> Embed:
    """An embedder during whose batch after so many somebody presses Ctrl-C."""
    left = batches

    def interrupted(texts: Sequence[str]) -> list[list[float]]:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return embed(texts)

    return interrupted


def test_a_document_that_was_interrupted_goes_on_with_what_it_lacks(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, big=words(5_000), small="small")
    wanted = Wanted("handbook", RECORD)
    with pytest.raises(KeyboardInterrupt):
        ingest(store, interrupted_after(2), wanted, discover([docs], tmp_path))
    first = run(store, docs)
    assert len(held(store)) == first.chunks + 2 * ROWS_AT_ONCE
    assert is_whole(held(store), "docs/big.md")
    assert counts(run(store, docs)) == (0, 0, 0, 2)

    old = {chunk for chunk in held(store) if chunk.source == "docs/big.md"}
    write(docs, big=words(6_000, "beta"))
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            ingest(store, interrupted_after(1), wanted, discover([docs], tmp_path))
        assert old <= held(store)
    last = run(store, docs)
    assert counts(last) == (0, 1, 0, 1)
    now = {chunk for chunk in held(store) if chunk.source == "docs/big.md"}
    assert not old & now
    assert len(now) == last.chunks + 2 * ROWS_AT_ONCE
    assert is_whole(now, "docs/big.md")


def test_what_is_there_of_a_document_that_was_cut_otherwise_is_written_anew(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, big=words(400))
    run(store, docs)
    whole = held(store)
    serving = physical_name("handbook", RECORD)
    longer = [msgspec.structs.replace(chunk, chunks=chunk.chunks + 9) for chunk in whole]
    beyond = msgspec.structs.replace(longer[0], id="ff", position=len(whole))
    store.upsert(serving, [Row(chunk, "other", embed(["other"])[0]) for chunk in (*longer, beyond)])
    assert run(store, docs).chunks == len(whole)
    assert held(store) == whole


def test_progress_is_told_after_each_batch_of_a_document(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, big=words(5_000))
    told: list[Progress] = []
    tree = discover([docs], tmp_path)
    whole = ingest(MemoryStore(), embed, Wanted("handbook", RECORD), tree, on_progress=told.append).chunks
    batches = [number * ROWS_AT_ONCE for number in range(1, whole // ROWS_AT_ONCE + 1)]
    assert len(batches) > 2
    assert told == [
        Progress(0, 1, 0, "docs/big.md", share=None, looks=True),
        Progress(0, 1, 0, "docs/big.md", share=None),
        Progress(0, 1, 0, "docs/big.md"),
        *(Progress(0, 1, chunks, "docs/big.md", chunks / whole) for chunks in batches),
        Progress(1, 1, whole),
    ]


def test_it_is_told_how_many_files_were_looked_at_for_what_changed(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, one="one", two="two", three="three")
    store, told = MemoryStore(), list[Progress]()
    run(store, docs)
    ingest(store, embed, Wanted("handbook", RECORD), discover([docs], tmp_path), on_progress=told.append)
    names = sorted(f"docs/{name}.md" for name in ("one", "two", "three"))
    assert told == [
        *(Progress(done, 3, 0, name, share=None, looks=True) for done, name in enumerate(names)),
        Progress(0, 0, 0),
    ]


def test_headings_alone_are_found_and_what_holds_nothing_is_named(store: Store, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    write(docs, call="# A\n\n## Call 112\n", void="")
    report = run(store, docs)
    assert (report.added, report.empty) == (1, 1)
    assert [(item.code, item.message) for item in report.findings] == [("W1002", f"`{docs / 'void.md'}` has no text")]
    assert [row.text for row in store.rows(physical_name("handbook", RECORD))] == ["call\n\n# A\n\n## Call 112"]


OLD = {"kept": "kept " + words(30), "changed": "old " + words(40), "gone": "gone"}
NEW = {"kept": OLD["kept"], "changed": "new " + words(60, "beta"), "new": "new"}


def lay_out(docs: Path, documents: dict[str, str]) -> None:
    shutil.rmtree(docs, ignore_errors=True)
    write(docs, **documents)


def is_whole(rows: set[StoredChunk], source: str) -> bool:
    """Whether some version of a document is there with all of its chunks."""
    of_source = [chunk for chunk in rows if chunk.source == source]
    return any(
        {chunk.position for chunk in of_source if chunk.document == version.document} == set(range(version.chunks))
        for version in of_source
    )


def dies(store: Store, docs: Path, record: CollectionRecord, change: int) -> bool:
    """Whether a run that is to die before its `change`th change got that far."""
    try:
        ingest(DyingStore(store, change), embed, Wanted("handbook", record), discover([docs], docs.parent), REEMBED)
    except Died:
        return True
    return False


@pytest.mark.parametrize("record", [RECORD, OTHER], ids=["in place", "beside"])
def test_dying_anywhere_leaves_it_serving_and_the_next_run_repairs(
    store: Store, tmp_path: Path, record: CollectionRecord
) -> None:
    docs = tmp_path / "docs"
    step = 1 if isinstance(store, MemoryStore) else 5
    for change in count(0, step):
        lay_out(docs, OLD)
        run(store, docs, options=REEMBED)
        lay_out(docs, NEW)
        if not dies(store, docs, record, change):
            assert change > step
            break
        rows = held(store)
        assert is_whole(rows, "docs/kept.md")
        assert is_whole(rows, "docs/changed.md")
        run(store, docs, record=record, options=REEMBED)
        rows = held(store)
        assert {chunk.source for chunk in rows} == {f"docs/{name}.md" for name in NEW}
        assert len(rows) == len({(chunk.source, chunk.position) for chunk in rows})
        assert store.physicals("handbook") == [physical_name("handbook", record)]
        assert counts(run(store, docs, record=record, options=REEMBED)) == (0, 0, 0, 3)


@pytest.mark.slow
def test_a_pdf_that_takes_too_long_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PDF", replace(PDF, seconds=1, seconds_per_mib=0))
    docs = tmp_path / "docs"
    write(docs, a="first", z="last")
    for name, content in {"b": pdf("honest"), "c": repeating_pdf(1_000, 20_000), "d": pdf("honest too")}.items():
        (docs / f"{name}.pdf").write_bytes(content)
    store = MemoryStore()
    report = run(store, docs)
    assert [(item.code, item.message.split(": ")[1]) for item in report.findings] == [
        ("E1003", "its PDF takes more than 1 s to parse; a part of it may take less")
    ]
    assert sources(store) == {"docs/a.md", "docs/b.pdf", "docs/d.pdf", "docs/z.md"}
