"""One ingestion: compare, embed, write, remove, and where the record changed, switch.

A run may die anywhere. Within a serving collection the rows of a changed document are written
before its old ones are removed, so that it is always found; what was half done differs from the
tree and is repaired by the next run. A collection whose record differs from what serves is built
beside it and takes its place only when complete; until then the old one serves, and a later run
goes on where this one stopped.
"""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

from harmonia_compiler.contract.collection import (
    CollectionRecord,
    StoredChunk,
    differences,
    is_physical_of,
    physical_names,
)
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Rejected
from harmonia_compiler.ingest.changes import Version, compare
from harmonia_compiler.ingest.discover import Tree
from harmonia_compiler.ingest.names import name_all
from harmonia_compiler.ingest.reading import Reader
from harmonia_compiler.ingest.scope import DEFAULTS, Options, Scope, report_lost, report_unforgotten
from harmonia_compiler.ingest.store import Embed, Store
from harmonia_compiler.ingest.writing import OnProgress, Report, Writer


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a collection shall be: the name that pipelines use, its record, and its index."""

    collection: str
    record: CollectionRecord
    index: str = "HNSW"


def ingest(
    store: Store,
    embed: Embed,
    wanted: Wanted,
    tree: Tree,
    options: Options = DEFAULTS,
    on_progress: OnProgress = lambda _done, _total, _chunks: None,
) -> Report:
    """Make the collection hold the tree's documents as its record says.

    What could not be read is in the report's findings; the rest goes on, and what the collection
    had of it stays. Raises `Rejected` where nothing can be done, and `runtime.milvus.StoreFailed`.
    """
    findings = Findings(list(tree.findings))
    serving, homes = store.serving(wanted.collection), physical_names(wanted.collection, wanted.record)
    target = serving if serving in homes else homes[0]
    if serving is None and not tree.files:
        report_unforgotten(Scope(tree, options), (), wanted.collection, findings)
        return Report(findings=findings.items)
    replaced = _replaced(store, serving, wanted, Scope(tree, options)) if serving not in (None, target) else ()
    reader = Reader(wanted.record.chunker, findings)
    hashes = reader.hashes(tree.files)
    scope = Scope(tree, options, {file.place for file in tree.files} - set(hashes), fresh=serving != target)
    if target not in store.physicals(wanted.collection):
        store.create(target, wanted.record)
    store.load(target, wanted.index)
    here = list(store.chunks(target))
    known = {chunk.path: chunk.source for chunk in (*here, *replaced) if chunk.path}
    report_unforgotten(scope, known, wanted.collection, findings)
    names = name_all(
        (file for file in tree.files if file.place in hashes),
        known,
        (name for place, name in known.items() if place not in hashes and not scope.is_gone(place)),
        anew=tree.named_anew,
    )
    versions = {place: Version(names[place], document) for place, document in hashes.items()}
    changes = compare(here, versions, scope.is_gone)
    writer = Writer(store, embed, target, wanted.record.dimension, on_progress)
    with closing(reader):
        report = writer.write(changes, tree.files, names, reader)
    report.findings = findings.items
    if serving != target and (serving is None or not findings.failed):
        store.point(wanted.collection, target)
        report.switched = serving is not None
        serving = target
    if serving == target:
        drop_all_but(store, target, wanted.collection)
        left = {chunk.path for chunk in here} - set(changes.deleted)
        report_lost(scope, left, wanted.collection, findings)
    return report


def drop_all_but(store: Store, target: str, collection: str) -> None:
    """Drop what served before, and builds that were begun for yet another record."""
    for physical in store.physicals(collection):
        if physical != target:
            store.drop(physical)


def check_is_ours(serving: str, collection: str) -> None:
    """Raises `Rejected` where what serves was not made by ingestion: nothing of ours writes to it or replaces it."""
    if not is_physical_of(serving, collection):
        message = f"the collection `{collection}` is there already and was not made by `harmoniac ingest`"
        raise Rejected([Diagnostic("E1014", message, help="give the component another collection name")])


def _replaced(store: Store, serving: str | None, wanted: Wanted, scope: Scope) -> Sequence[StoredChunk]:
    """The rows of the collection that serves and is to be replaced.

    Refuses to replace what somebody else made, what nobody asked to, and documents that only the old one holds.
    """
    assert serving is not None
    collection = wanted.collection
    check_is_ours(serving, collection)
    if not scope.options.reembed:
        found = store.record(serving)
        reasons = ["its record is missing"] if found is None else differences(found, wanted.record)
        # Records that agree have another name only where the layout of rows differs.
        reason = ", ".join(reasons) or "an earlier version made it, which did not keep where documents come from"
        message = f"the collection `{collection}` was built otherwise than the running plan expects: {reason}"
        raise Rejected(
            [Diagnostic("E1015", message, help="to build it anew and switch when it is complete: --reembed")]
        )
    store.load(serving)
    chunks = list(store.chunks(serving))
    if not scope.options.forget_rest:
        _check_nothing_is_left_out(chunks, collection, scope)
    return chunks


def _check_nothing_is_left_out(chunks: Iterable[StoredChunk], collection: str, scope: Scope) -> None:
    """Refuse where the old collection holds documents that no path of this run has to do with."""
    names = {file.name for file in scope.tree.files}
    # Rows that do not keep where they come from are told by their names.
    rest = sorted(
        {
            chunk.path or chunk.source
            for chunk in chunks
            if not (scope.covers(chunk.path) if chunk.path else chunk.source in names)
        }
    )
    if rest:
        named = ", ".join(f"`{one}`" for one in rest[:3]) + (", …" if len(rest) > 3 else "")
        what = f"{len(rest)} documents" if len(rest) > 1 else "a document"
        message = f"`{collection}` must be built anew, and it holds {what} from outside the given paths: {named}"
        raise Rejected(
            [Diagnostic("E1011", message, help="give their paths as well, or leave them out: --forget-rest")]
        )
