"""A service that is rehearsed in a few seconds, with a model, a store, an embedder and a search elsewhere."""

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan

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
    path = tmp_path_factory.mktemp("app") / "ask.rag"
    path.write_text(SOURCE)
    checked = check_files([path], {})
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    inventory = Inventory((Host("one", 16, 64.0, (Gpu("l40s", 2),), price_per_hour=3.0),))
    return scenario(application, inventory, make_plan(application, inventory), seed=3)
