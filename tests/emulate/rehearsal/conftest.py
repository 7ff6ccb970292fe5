"""A service that is rehearsed in a few seconds, with a model, a store, an embedder and a search elsewhere."""

import pytest

from harmonia_compiler.emulate.scenario import Scenario
from tests.emulate.planned import planned_for

SOURCE = """
class fast(deadline: 3 s)
class slow(deadline: 9 s)

component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, top_k: 3)
component web = web_search(env("SEARCH_URL"), key: secret("SEARCH_KEY"), top_k: 2, takes: 20 ms)
component grade(question: text, passages: [passage]) -> "yes" | "no" = model(
    "{passages} Answered? {question}", max_tokens: 4)
component answer(question: text, passages: [passage]) -> text ~ 25 tokens = model(
    "{passages} {question}", max_tokens: 50)

pipeline ask(question: text ~ 20 tokens, urgency: class) -> text {
    slo p95 latency <= 5 s
    load fast 4 rps, slow 4 rps
    found = search(question)
    if grade(question, found) == "no" ~ 0.3 { found = web(question) within 2 s else found }
    return stream answer(question, found)
}
"""


@pytest.fixture(scope="session")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return planned_for(tmp_path_factory.mktemp("app"), SOURCE, gpus=2, price_per_hour=3.0)
