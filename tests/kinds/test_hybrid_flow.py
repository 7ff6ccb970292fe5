"""What checking and the passes make of a hybrid search: its text goes to the embedder and, as it is, to the search."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.text import show_flow

SOURCE = """
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm{settings})
pipeline p(q: text ~ 20 tokens) -> [passage] {{ return search(q) }}
"""


@pytest.mark.parametrize(
    ("settings", "search", "core_ms"),
    [
        ("", "search(query: %1)", 7),
        (", hybrid: false", "search(query: %1)", 7),
        (", hybrid: true", "search(query: %1, words: %0)", 50),
        (", hybrid: true, filter: \"source like 'a%'\"", "search(query: %1, words: %0)", 75),
    ],
)
def test_what_a_search_is_given(tmp_path: Path, settings: str, search: str, core_ms: float) -> None:
    path = tmp_path / "app.rag"
    path.write_text(SOURCE.format(settings=settings))
    checked = check_files([path])
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    (flow,) = application.flows
    assert search in show_flow(flow)
    assert demand(application, flow).work["search"].core_ms == core_ms
