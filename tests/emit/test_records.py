"""What a bundle records of its collections, and when it cannot."""

from pathlib import Path

import pytest

from harmonia_compiler.diagnostics.diagnostic import Rejected

from .conftest import planned

APPLICATION = """
component minilm = embedder("all-MiniLM-L6-v2")
component one = milvus("docs", embedder: minilm)
component other = milvus("docs", embedder: minilm, chunk_tokens: 64)
pipeline p(q: text) -> [passage] { return one(q) + other(q) }
"""


def test_one_collection_is_not_built_in_two_ways(tmp_path: Path) -> None:
    source = tmp_path / "app.rag"
    source.write_text(APPLICATION, encoding="utf-8")
    made = planned(source, root=tmp_path)
    with pytest.raises(Rejected) as rejected:
        made.write(tmp_path / "bundle")
    assert [item.code for item in rejected.value.found] == ["E0912"]
