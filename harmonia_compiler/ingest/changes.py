"""What differs between a tree and a collection, from the store's rows alone.

Nothing else remembers what was ingested, so nothing can disagree with the store: a document is
there exactly where the rows of its present hash are complete. Rows of another hash, and those that
an interrupted run left incomplete, are superseded: they go once the new ones are written.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from harmonia_compiler.contract.collection import StoredChunk


@dataclass(frozen=True, slots=True)
class Changes:
    """Documents by what is to be done about them, each in order of the names.

    `superseded` gives, for a document that is written or kept, the ids of rows to delete after it;
    `deleted` those of a document that is gone.
    """

    added: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    superseded: Mapping[str, tuple[str, ...]]
    deleted: Mapping[str, tuple[str, ...]]


def compare(stored: Iterable[StoredChunk], wanted: Mapping[str, str], is_gone: Callable[[str], bool]) -> Changes:
    """Compare the rows with the hash of each document that shall be there.

    `is_gone` says of a stored document that is not wanted whether to delete it.
    """
    rows: dict[str, list[StoredChunk]] = defaultdict(list)
    for chunk in stored:
        rows[chunk.source].append(chunk)
    there = {source: _is_complete(rows[source], document) for source, document in wanted.items() if source in rows}
    return Changes(
        added=tuple(sorted(source for source in wanted if source not in rows)),
        updated=tuple(sorted(source for source, complete in there.items() if not complete)),
        unchanged=tuple(sorted(source for source, complete in there.items() if complete)),
        superseded={
            source: ids
            for source in sorted(there)
            if (ids := tuple(sorted(chunk.id for chunk in rows[source] if chunk.document != wanted[source])))
        },
        deleted={
            source: tuple(sorted(chunk.id for chunk in rows[source]))
            for source in sorted(rows)
            if source not in wanted and is_gone(source)
        },
    )


def _is_complete(rows: Iterable[StoredChunk], document: str) -> bool:
    same = [chunk for chunk in rows if chunk.document == document]
    return bool(same) and {chunk.position for chunk in same} == set(range(same[0].chunks))
