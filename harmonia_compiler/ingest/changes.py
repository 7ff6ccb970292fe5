"""What differs between trees and a collection, from the store's rows alone.

Nothing else remembers what was ingested, so nothing can disagree with the store: a document is
there exactly where the rows of its present version are complete. Rows of another version are
superseded: they go once the new ones are written. A document that an interrupted run left incomplete
goes on with what it lacks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from harmonia_compiler.contract.collection import StoredChunk


@dataclass(frozen=True, slots=True)
class Version:
    """What makes the rows of a document what they are: the name it goes by, and the hash of its bytes."""

    source: str
    document: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Documents, as their places, by what is to be done about them; each in order.

    `superseded` gives, for a document that is written or kept, the ids of rows to delete after it;
    `deleted` those of a document that is gone; `begun` the rows that an incomplete document has of its present version.
    """

    added: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    superseded: Mapping[str, tuple[str, ...]]
    deleted: Mapping[str, tuple[str, ...]]
    begun: Mapping[str, frozenset[StoredChunk]]


def compare(stored: Iterable[StoredChunk], wanted: Mapping[str, Version], is_gone: Callable[[str], bool]) -> Changes:
    """Compare the rows with the version of each document that shall be there.

    `is_gone` says of the place of a stored document that is not wanted whether to delete it.
    """
    rows: dict[str, list[StoredChunk]] = defaultdict(list)
    for chunk in stored:
        rows[chunk.path].append(chunk)
    there = {place: _is_complete(rows[place], version) for place, version in wanted.items() if place in rows}
    return Changes(
        added=tuple(sorted(place for place in wanted if place not in rows)),
        updated=tuple(sorted(place for place, complete in there.items() if not complete)),
        unchanged=tuple(sorted(place for place, complete in there.items() if complete)),
        superseded={
            place: ids
            for place in sorted(there)
            if (ids := tuple(sorted(chunk.id for chunk in rows[place] if _version(chunk) != wanted[place])))
        },
        deleted={
            place: tuple(sorted(chunk.id for chunk in rows[place]))
            for place in sorted(rows)
            if place not in wanted and is_gone(place)
        },
        begun={
            place: frozenset(same)
            for place, complete in sorted(there.items())
            if not complete and (same := [chunk for chunk in rows[place] if _version(chunk) == wanted[place]])
        },
    )


def _is_complete(rows: Iterable[StoredChunk], version: Version) -> bool:
    same = [chunk for chunk in rows if _version(chunk) == version]
    return bool(same) and {chunk.position for chunk in same} == set(range(same[0].chunks))


def _version(chunk: StoredChunk) -> Version:
    return Version(chunk.source, chunk.document)
