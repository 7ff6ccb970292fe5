"""Moves a collection from one store to another by way of a file.

What arrives is built beside what serves, as what is embedded anew is, and takes its place when it is complete. A
file is read through before anything is written, so that one that is damaged costs nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harmonia_compiler.contract.collection import Row, differences, physical_names
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.ingest import archive
from harmonia_compiler.ingest.archive import Archive, Damaged, Head
from harmonia_compiler.ingest.run import Wanted, check_is_ours, drop_all_but
from harmonia_compiler.ingest.store import Store
from harmonia_compiler.ingest.writing import ROWS_AT_ONCE
from harmonia_compiler.runtime.milvus import StoreFailed

#: Called with the passages that were moved, and with how many there are, where that is known.
OnMoved = Callable[[int, int | None], None]


def _silent(_done: int, _total: int | None) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Moved:
    """How many passages a file holds that were exported or imported, and whether something served before."""

    passages: int
    switched: bool = False


def export_collection(store: Store, collection: str, path: Path, on_moved: OnMoved = _silent) -> Moved:
    """Write what serves to a file, as a whole or not at all.

    Raises `Rejected` where there is nothing to export or the file cannot be written, and `StoreFailed`.
    """
    serving = store.serving(collection)
    if serving is None:
        message = f"there is no collection `{collection}`: nothing was ingested into it so far"
        raise Rejected(
            [Diagnostic("E1019", message, help="ingest documents first: `harmoniac ingest PATH... --service DIR`")]
        )
    check_is_ours(serving, collection)
    record = store.record(serving)
    if record is None or serving not in physical_names(collection, record):
        message = f"an earlier version made `{collection}`, which did not keep where documents come from"
        advice = "build it anew, then export it: `harmoniac ingest PATH... --service DIR --reembed`"
        raise Rejected([Diagnostic("E1019", message, help=advice)])
    try:
        if path.exists() and not archive.is_export(path):
            message = f"`{path}` is there already and is no collection that was exported"
            raise Rejected([Diagnostic("E1017", message, help="name another file, or remove that one")])
        store.load(serving)
        count = archive.write(path, Head(collection, record), _counted(store.rows(serving), None, on_moved))
    except OSError as problem:
        message = f"`{path}` cannot be written: {problem.strerror or problem}"
        raise Rejected([Diagnostic("E1017", message, help="name a file where there is room for it")]) from problem
    return Moved(count)


def import_collection(
    store: Store, wanted: Wanted, path: Path, *, replace: bool = False, on_moved: OnMoved = _silent
) -> Moved:
    """Let the collection be what the file holds; with `replace` also where it holds documents.

    Raises `Rejected` where the file cannot be used or does not fit, and `StoreFailed`; what serves then goes on.
    """
    try:
        with archive.opened(path) as opened:
            return _import(store, wanted, opened, path, on_moved, replace=replace)
    except Damaged as reason:
        advice = "import it with that release" if reason.newer else "export the collection again: `--export FILE`"
        raise Rejected([Diagnostic("E1016", f"`{path}` cannot be imported: {reason}", help=advice)]) from reason
    except OSError as problem:
        message = f"`{path}` cannot be read: {problem.strerror or problem}"
        advice = "give the file that `harmoniac ingest --export` wrote"
        raise Rejected([Diagnostic("E1017", message, help=advice)]) from problem


def _import(store: Store, wanted: Wanted, opened: Archive, path: Path, on_moved: OnMoved, *, replace: bool) -> Moved:
    collection = wanted.collection
    if reasons := differences(opened.head.record, wanted.record):
        message = f"`{path}` was built otherwise than the running plan expects: {', '.join(reasons)}"
        advice = "compile with what it was built with, or ingest its documents instead"
        raise Rejected([Diagnostic("E1015", message, help=advice)])
    serving = store.serving(collection)
    if serving is not None:
        check_is_ours(serving, collection)
        store.load(serving)
        if not replace and next(store.chunks(serving), None) is not None:
            message = f"`{collection}` holds documents, which those of `{path}` would replace"
            raise Rejected(
                [Diagnostic("E1018", message, help="to replace them when the import is complete: --replace")]
            )
    total = sum(1 for _ in opened.rows())
    # What a re-embedding has built so far, under the first name, stays while this one may still fail.
    first, beside = physical_names(collection, wanted.record)
    target = first if serving == beside else beside
    if target in store.physicals(collection):
        store.drop(target)
    store.create(target, wanted.record)
    store.load(target, wanted.index)
    rows = _counted(opened.rows(), total, on_moved)
    while batch := list(islice(rows, ROWS_AT_ONCE)):
        store.upsert(target, batch)
    store.flush(target)
    there = sum(1 for _ in store.chunks(target))
    if there != total:
        raise StoreFailed(f"it holds {there:,} of {total:,} passages after they were written")
    store.point(collection, target)
    drop_all_but(store, target, collection)
    return Moved(total, switched=serving is not None)


def _counted(rows: Iterator[Row], total: int | None, on_moved: OnMoved) -> Iterator[Row]:
    for done, row in enumerate(rows):
        on_moved(done, total)
        yield row
