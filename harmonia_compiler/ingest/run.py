"""One ingestion: compare, embed, write, remove, and where the record changed, switch.

A run may die anywhere. Within a serving collection the rows of a changed document are written
before its old ones are removed, so that it is always found; what was half done differs from the
tree and is repaired by the next run. A collection whose record differs from what serves is built
beside it and takes its place only when complete; until then the old one serves, and a later run
goes on where this one stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from harmonia_compiler.contract.collection import CollectionRecord, differences, is_physical_of, physical_name
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Rejected
from harmonia_compiler.ingest.changes import compare
from harmonia_compiler.ingest.discover import Tree
from harmonia_compiler.ingest.reading import Reader
from harmonia_compiler.ingest.store import Embed, Store
from harmonia_compiler.ingest.writing import OnProgress, Report, Writer


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a collection shall be: the name that pipelines use, its record, and its index."""

    collection: str
    record: CollectionRecord
    index: str = "HNSW"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user decides. `prune` deletes what is gone from the given paths.

    `reembed` allows to build a collection anew whose record differs from what is wanted, and
    `forget_rest` lets that leave out what the serving collection has from other paths.
    """

    prune: bool = True
    reembed: bool = False
    forget_rest: bool = False


DEFAULTS = Options()


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
    reader = Reader(wanted.record.chunker, findings)
    hashes = reader.hashes(tree.files)
    serving, target = store.serving(wanted.collection), physical_name(wanted.collection, wanted.record)
    if serving not in (None, target):
        _check_replaceable(store, serving, wanted, tree, options)
    if target not in store.physicals(wanted.collection):
        store.create(target, wanted.record)
    store.load(target, wanted.index)

    readable = set(hashes)
    unread = {file.source for file in tree.files} - readable

    def is_gone(source: str) -> bool:
        # What has never served holds what this run gives it, and nothing of earlier attempts.
        return source not in unread and (serving != target or (options.prune and tree.covers(source)))

    changes = compare(store.chunks(target), hashes, is_gone)
    report = Writer(store, embed, target, wanted.record.dimension, on_progress).write(changes, tree.files, reader)
    report.findings = findings.items
    if serving != target and (serving is None or not findings.failed):
        store.point(wanted.collection, target)
        report.switched = serving is not None
        serving = target
    if serving == target:
        _drop_all_but(store, target, store.physicals(wanted.collection))
    return report


def _drop_all_but(store: Store, target: str, physicals: Sequence[str]) -> None:
    """What served before, and builds that were begun for yet another record."""
    for physical in physicals:
        if physical != target:
            store.drop(physical)


def _check_replaceable(store: Store, serving: str | None, wanted: Wanted, tree: Tree, options: Options) -> None:
    """Refuse to replace what somebody else made, what nobody asked to, and documents that only the old one holds."""
    assert serving is not None
    collection = wanted.collection
    if not is_physical_of(serving, collection):
        message = f"the collection `{collection}` is there already and was not made by `harmoniac ingest`"
        raise Rejected([Diagnostic("E1014", message, help="give the component another collection name")])
    if not options.reembed:
        found = store.record(serving)
        reasons = "its record is missing" if found is None else ", ".join(differences(found, wanted.record))
        message = f"the collection `{collection}` was built otherwise than the running plan expects: {reasons}"
        raise Rejected(
            [Diagnostic("E1015", message, help="to build it anew and switch when it is complete: --reembed")]
        )
    if options.forget_rest:
        return
    store.load(serving)
    rest = sorted({chunk.source for chunk in store.chunks(serving) if not tree.covers(chunk.source)})
    if rest:
        named = ", ".join(f"`{source}`" for source in rest[:3]) + (", …" if len(rest) > 3 else "")
        what = f"{len(rest)} documents" if len(rest) > 1 else "a document"
        message = (
            f"`{collection}` must be built anew, since its embedder or chunking changed, and it holds {what} from "
            f"outside the given paths: {named}"
        )
        raise Rejected(
            [Diagnostic("E1011", message, help="give their paths as well, or leave them out: --forget-rest")]
        )
