"""The algebra of what differs, against a model that applies it."""

from collections.abc import Iterable, Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia_compiler.contract.collection import StoredChunk
from harmonia_compiler.ingest.changes import Changes, Version, compare

NAMES = st.sampled_from(["a", "b", "c", "d"])
VERSIONS = st.sampled_from(["1", "2", "3"])
LENGTHS = {"1": 1, "2": 2, "3": 3}


def rows_of(place: str, version: str) -> set[StoredChunk]:
    count = LENGTHS[version]
    return {StoredChunk(f"{place}{version}{at}", f"n{place}", version, at, count, place) for at in range(count)}


def changes_of(stored: Iterable[StoredChunk], wanted: Mapping[str, str], *, prune: bool = True) -> Changes:
    versions = {place: Version(f"n{place}", document) for place, document in wanted.items()}
    return compare(stored, versions, lambda _: prune)


ALL_ROWS = sorted(
    (row for name in "abcd" for version in "123" for row in rows_of(name, version)), key=lambda row: row.id
)


def apply(stored: set[StoredChunk], wanted: Mapping[str, str], *, prune: bool) -> set[StoredChunk]:
    changes = changes_of(stored, wanted, prune=prune)
    rows = stored | {row for name in (*changes.added, *changes.updated) for row in rows_of(name, wanted[name])}
    dead = {key for ids in (*changes.superseded.values(), *changes.deleted.values()) for key in ids}
    return {row for row in rows if row.id not in dead}


@settings(deadline=None)
@given(st.sets(st.sampled_from(ALL_ROWS)), st.dictionaries(NAMES, VERSIONS), st.booleans())
def test_any_store_becomes_what_is_wanted(stored: set[StoredChunk], wanted: dict[str, str], prune: bool) -> None:  # noqa: FBT001
    after = apply(stored, wanted, prune=prune)
    expected = {row for name, version in wanted.items() for row in rows_of(name, version)}
    kept = set() if prune else {row for row in stored if row.path not in wanted}
    assert after == expected | kept
    again = changes_of(after, wanted, prune=prune)
    assert (again.added, again.updated, again.superseded, again.deleted) == ((), (), {}, {})
    assert set(again.unchanged) == set(wanted)


@settings(deadline=None)
@given(st.sets(st.sampled_from(ALL_ROWS)), st.dictionaries(NAMES, VERSIONS))
def test_each_wanted_document_is_in_one_group(stored: set[StoredChunk], wanted: dict[str, str]) -> None:
    changes = changes_of(stored, wanted)
    assert sorted((*changes.added, *changes.updated, *changes.unchanged)) == sorted(wanted)
    assert set(changes.deleted) == {row.path for row in stored} - set(wanted)


def test_complete_document_with_leftovers_is_unchanged_and_cleaned() -> None:
    changes = changes_of(rows_of("a", "2") | rows_of("a", "1"), {"a": "2"})
    assert (changes.unchanged, changes.superseded) == (("a",), {"a": ("a10",)})


def test_what_an_incomplete_document_has_of_its_version_is_kept() -> None:
    there = {row for row in rows_of("a", "3") if row.position != 1}
    changes = changes_of(there | rows_of("a", "2") | rows_of("b", "1"), {"a": "3", "b": "1"})
    assert (changes.updated, changes.unchanged) == (("a",), ("b",))
    assert changes.begun == {"a": frozenset(there)}
    assert changes.superseded == {"a": ("a20", "a21")}


def test_another_name_is_another_version() -> None:
    changes = compare(rows_of("a", "1"), {"a": Version("other", "1")}, lambda _: True)
    assert (changes.updated, changes.superseded) == (("a",), {"a": ("a10",)})
