"""Readiness looks at whatever a request may need: also at what is called only within a block, and for whom."""

from pathlib import Path

import msgspec
import pytest

from tests.gateway.compiled import Compiled, compile_text
from tests.gateway.fakes import RECORD, FakeEngine, serving

DECLARED = """
component say(q: text) -> text ~ 9 tokens = python("m:say")
component sure(q: text) -> bool = python("m:sure")
component many(q: text) -> [text ~ 9 tokens] ~ 2 = python("m:many")
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm)
"""

#: Pipelines that call `say`, or search, nowhere but in a block.
INSIDE = {
    "repeat": "repeat up to 3 { q = %s } until sure(q)\n    return q",
    "each": "return each word in many(q): %s",
    "where": "return each word in many(q) where sure(%s): word",
    "attempt": "return %s within 1 s else q",
    "otherwise": "return sure(q) within 1 s else sure(%s)",
    "nested": "repeat up to 3 { words = each word in many(q): (%s else word) } until sure(q)\n    return words",
}
#: What each answers with where that is no text.
ANSWERS = {"each": "[text]", "where": "[text]", "otherwise": "bool", "nested": "[text]"}


@pytest.fixture
def compiled(tmp_path: Path, request: pytest.FixtureRequest) -> Compiled:
    """The programs and engines of a source text, whose blocks no pass has taken apart."""
    return compile_text(tmp_path, DECLARED + request.param)


def piped(form: str, called: str) -> str:
    """A pipeline of this form that calls this."""
    return f"pipeline p(q: text ~ 9 tokens) -> {ANSWERS.get(form, 'text')} {{\n    {INSIDE[form] % called}\n}}\n"


@pytest.mark.parametrize("compiled", [piped(form, "say(q)") for form in INSIDE], ids=[*INSIDE], indirect=True)
async def test_says_which_engine_is_missing_that_only_a_block_calls(engine: FakeEngine, compiled: Compiled) -> None:
    programs, engines = compiled
    replicas = {name: engine.port for name in engines if name != "say"}
    async with serving(programs, replicas, engines=engines) as served:
        assert (await served.client.get("/readyz"))[1]["missing"] == [
            {"engine": "say", "pipelines": ["p"], "reason": "no replica is running"}
        ]


OLD = msgspec.structs.replace(RECORD, revision="r0")
#: The first searches the collection that differs, nowhere but in blocks; the second another one of the same server.
TWO = """
component news = milvus("news", embedder: minilm)

pipeline inside(q: text ~ 9 tokens) -> [[passage]] {
    repeat up to 3 { found = each word in many(q): (search(word) else []) } until sure(q)
    return found
}

pipeline other(q: text ~ 9 tokens) -> [passage] {
    return news(q)
}
"""


@pytest.mark.parametrize("compiled", [TWO], ids=["two"], indirect=True)
async def test_says_which_collection_differs_and_who_searches_it(engine: FakeEngine, compiled: Compiled) -> None:
    programs, engines = compiled
    replicas = dict.fromkeys(engines, engine.port)
    async with serving(programs, replicas, engines=engines, read_record=lambda uri, name: OLD) as served:
        (missing,) = (await served.client.get("/readyz"))[1]["missing"]
        assert (missing["collection"], missing["pipelines"]) == ("docs", ["inside"])


@pytest.mark.parametrize("compiled", [TWO], ids=["two"], indirect=True)
async def test_a_store_that_is_gone_is_missing_once_and_none_of_its_collections(
    engine: FakeEngine, compiled: Compiled
) -> None:
    programs, engines = compiled
    store = next(name for name, made in engines.items() if made.kind == "milvus")
    replicas = {name: engine.port for name in engines if name != store}
    async with serving(programs, replicas, engines=engines, read_record=lambda uri, name: OLD) as served:
        assert (await served.client.get("/readyz"))[1]["missing"] == [
            {"engine": store, "pipelines": ["inside", "other"], "reason": "no replica is running"}
        ]
