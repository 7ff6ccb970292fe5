"""One ingestion: compare, embed, write, remove, and where the record changed, switch.

A run may die anywhere. Within a serving collection the rows of a changed document are written
before its old ones are removed, so that it is always found; what was half done differs from the
tree, and the next run goes on with what it lacks. A collection whose record differs from what serves is built
beside it and takes its place when the run comes to its end; until then the old one stays, and a later run
goes on where this one stopped. What could not be read does not keep the new one from its place: what is built
otherwise than the pipelines expect does not serve them, and one damaged file would hold up all others.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from harmonia_compiler.contract.collection import (
    CollectionRecord,
    StoredChunk,
    differences,
    is_physical_of,
    physical_names,
)
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Findings, Rejected
from harmonia_compiler.ingest.changes import Version, compare
from harmonia_compiler.ingest.discover import Tree, is_within
from harmonia_compiler.ingest.names import name_all
from harmonia_compiler.ingest.reading import Reader
from harmonia_compiler.ingest.scope import DEFAULTS, Options, Scope, report_lost, report_unforgotten
from harmonia_compiler.ingest.store import Embed, Store
from harmonia_compiler.ingest.writing import OnProgress, Progress, Report, Writer
from harmonia_compiler.kinds.milvus import GRAPHS


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a collection shall be: the name that pipelines use, its record, and its index."""

    collection: str
    record: CollectionRecord
    index: str = "FLAT"


#: Among how many repeated chunks a graph is warned of, a number and a part of all that the run wrote, as measured.
_MANY_REPEATED, _LARGE_PART = 32, 0.05


def ingest(
    store: Store,
    embed: Embed,
    wanted: Wanted,
    tree: Tree,
    options: Options = DEFAULTS,
    on_progress: OnProgress = lambda _progress: None,
    on_unswitched: Callable[[Diagnostic], None] = lambda _finding: None,
) -> Report:
    """Make the collection hold the tree's documents as its record says.

    What could not be read is in the report's findings; the rest goes on, and what the collection
    had of it stays. Where nothing at all could be read, no empty collection replaces one that holds documents.
    Raises `Rejected` where nothing can be done, and `runtime.milvus.StoreFailed`; where a collection that was to
    be replaced stays for that, or for an interrupt, `on_unswitched` is told first.
    """
    findings = Findings(list(tree.findings))
    serving, homes = store.serving(wanted.collection), physical_names(wanted.collection, wanted.record)
    target = serving if serving in homes else homes[0]
    if serving is None and not tree.files:
        report_unforgotten(Scope(tree, options), (), wanted.collection, findings)
        return Report(findings=findings.items)
    replaces = serving not in (None, target)
    replaced = _replaced(store, serving, wanted, Scope(tree, options)) if replaces else ()
    scope = Scope(tree, options, fresh=serving != target)
    with _telling(on_unswitched if replaces else None, wanted.collection):
        report, left = _fill(store, embed, wanted, target, scope, replaced, on_progress, findings)
        # What an earlier run has built may be there, and is no sign that this one could read anything.
        read = report.added + report.updated + report.unchanged + report.empty
        if replaced and findings.failed and not read:
            advice = "mend the files that are named above, then run the same command again"
            findings.extend([_unswitched(wanted.collection, advice)])
        elif serving != target:
            store.point(wanted.collection, target)
            report.switched = replaces
            serving = target
    if serving == target:
        drop_all_but(store, target, wanted.collection)
        report_lost(scope, left, wanted.collection, findings)
        _report_repeated(report, wanted, findings)
    report.findings = findings.items
    return report


def _fill(
    store: Store,
    embed: Embed,
    wanted: Wanted,
    target: str,
    scope: Scope,
    replaced: Sequence[StoredChunk],
    on_progress: OnProgress,
    findings: Findings,
) -> tuple[Report, set[str]]:
    """Bring one physical collection in line; also the places of what it held before and holds still."""
    tree = scope.tree
    reader = Reader(wanted.record.chunker, findings)
    most = len(tree.files)
    hashes = reader.hashes(
        tree.files, lambda done, file: on_progress(Progress(done, most, 0, file.name, share=None, looks=True))
    )
    scope = replace(scope, unread={file.place for file in tree.files} - set(hashes))
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
        reader.report_empty()
    return report, {chunk.path for chunk in here} - set(changes.deleted)


@contextmanager
def _telling(tell: Callable[[Diagnostic], None] | None, collection: str) -> Iterator[None]:
    """Tells, however what replaces a collection ends before its end, that the collection stays."""
    try:
        yield
    except BaseException:
        if tell is not None:
            tell(_unswitched(collection, "run the same command again: it goes on where this one stopped"))
        raise


def _unswitched(collection: str, advice: str) -> Diagnostic:
    message = f"`{collection}` was not switched: what was there before stays in its place"
    return Diagnostic("W1005", message, help=advice)


def _report_repeated(report: Report, wanted: Wanted, findings: Findings) -> None:
    """Warn where this run wrote so many equal chunks that a graph of neighbours leads no longer to the others."""
    if wanted.index in GRAPHS and report.repeated > max(_MANY_REPEATED, _LARGE_PART * report.chunks):
        message = (
            f"{report.repeated:,} of the {report.chunks:,} passages that were embedded repeat another; among so "
            f"many a search by the index `{wanted.index}` misses passages"
        )
        advice = "leave `index` out, compile the bundle again, start it and run the same command again"
        findings.add("W1006", message, help=advice)


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
    if not scope.options.prune:
        _check_nothing_is_pruned(chunks, collection, scope)
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
        message = f"`{collection}` must be built anew, and it holds {_some(rest)[0]} from outside the given paths: "
        raise _losing(message + _some(rest)[1], "give their paths as well, or leave them out: --forget-rest")


def _check_nothing_is_pruned(chunks: Iterable[StoredChunk], collection: str, scope: Scope) -> None:
    """Refuse where the old collection holds documents to be kept whose files are gone: none can be embedded again.

    Those that are to be forgotten are not to be kept.
    """
    here = {file.place for file in scope.tree.files}
    gone = sorted(
        {
            chunk.path
            for chunk in chunks
            if chunk.path
            and chunk.path not in here
            and not scope.forgets(chunk.path)
            and any(is_within(chunk.path, root) for root in scope.tree.roots)
        }
    )
    if gone:
        message = f"`{collection}` must be built anew, and it holds {_some(gone)[0]} whose files are gone: "
        step = "bring the files back, say which may go with --forget PATH, or leave --no-prune out: all of them go then"
        raise _losing(message + _some(gone)[1], step)


def _some(documents: list[str]) -> tuple[str, str]:
    """How many documents, in words, and the first of them."""
    count = f"{len(documents)} documents" if len(documents) > 1 else "a document"
    return count, ", ".join(f"`{one}`" for one in documents[:3]) + (", …" if len(documents) > 3 else "")


def _losing(message: str, advice: str) -> Rejected:
    return Rejected([Diagnostic("E1011", message, help=advice)])
