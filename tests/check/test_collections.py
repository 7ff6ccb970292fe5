"""One collection is made in one way, whoever searches it."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files

LATER = "0123456789abcdef0123456789abcdef01234567"
SOURCE = """
component minilm = embedder("all-MiniLM-L6-v2")
component twin = embedder("all-MiniLM-L6-v2", min_replicas: 2)
component later = embedder("all-MiniLM-L6-v2", revision: "{later}")
component one = milvus("docs", embedder: minilm, chunk_overlap: 20)
component other = milvus("{collection}", embedder: {embedder}, chunk_overlap: 20{more})
pipeline p(q: text) -> [passage] {{ return one(q) + other(q) }}
"""


def found(
    folder: Path, more: str = "", embedder: str = "minilm", collection: str = "docs"
) -> list[tuple[str, str, list[str]]]:
    """Of each finding its code, its message, and what it points at."""
    text = SOURCE.format(later=LATER, more=more and f", {more}", embedder=embedder, collection=collection)
    path = folder / "app.rag"
    path.write_text(text)
    checked = check_files([path])
    assert (checked.application is None) == bool(checked.found)
    spans = [(one, [one.span, *(note.span for note in one.notes)]) for one in checked.found]
    return [(one.code, one.message, [text[at.start : at.end] for at in places if at]) for one, places in spans]


def test_those_that_agree_share_it(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    assert found(tmp_path, 'top_k: 2, filter: "source like \\"a%\\"", chunk_tokens: 180, metric: "COSINE"') == []
    assert found(tmp_path, embedder="twin") == []
    assert found(tmp_path, "chunk_tokens: 64, hybrid: true", "later", "parts") == []


@pytest.mark.parametrize("setting", ["chunk_tokens: 64", 'metric: "L2"', "hybrid: true"])
def test_those_that_differ_are_told_in_what(tmp_path: Path, setting: str) -> None:
    name, _, value = setting.partition(": ")
    message = f"`one` and `other` search `docs` and differ in `{name}`"
    assert found(tmp_path, setting) == [("E0912", message, [value])]


def test_both_places_are_shown(tmp_path: Path) -> None:
    ((code, message, places),) = found(tmp_path, "hybrid: true", "later")
    assert code == "E0912"
    assert message == "`one` and `other` search `docs` and differ in `embedder` and `hybrid`"
    assert places == ["later", "minilm", "true"]
