"""Plans on GPUs with tables: answers of a token or two, whose measured steps may get faster with the load."""

import re

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.planner import make_plan

LABELS = '''
component big = llm(model: "meta-llama/Llama-3.1-8B-Instruct", max_model_len: 8192)
component kind(q: text) -> "yes" | "no" | "maybe" = big(max_tokens: 4, """
    Is it? {q}
    """)
component write(q: text) -> text ~ 80 tokens = big(max_tokens: 200, """
    Answer {q}
    """)
pipeline p(question: text ~ 15 tokens) -> text {
    slo p95 latency <= 3 s
    load 1 rps
    one = kind(question)
    if one == "yes" ~ 0.3 { return write(question) }
    return question
}
'''


@pytest.mark.slow
@pytest.mark.parametrize("gpu", GPU_TYPES)
def test_labels_are_planned_at_any_load(gpu: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("aiconfigurator_core")
    file = tmp_path_factory.mktemp("labels") / "labels.rag"
    inventory = Inventory((Host("a", 32, 256.0, (Gpu(gpu, 8),), 10.0),))
    planned = 0
    for rate in (0.1, 1, 20, 100, 500):
        file.write_text(re.sub("load 1 rps", f"load {rate} rps", LABELS), encoding="utf-8")
        checked = check_files([file])
        assert checked.application is not None, checked.found
        try:
            plan = make_plan(optimise(checked.application), inventory, objective="cost")
        except Infeasible:
            continue
        planned += 1
        predicted = plan.predicted["p"]
        assert 0.0 < predicted.ttft_ms <= predicted.latency_ms <= 3000.0
    assert planned, "no load at all could be planned"
