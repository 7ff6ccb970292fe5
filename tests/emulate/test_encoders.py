"""Encoders on vLLM in a simulation and in a rehearsal: the routes, the times and the answers of our own worker's."""

from pathlib import Path

import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.workload.arrivals import constant, until
from tests.emulate.planned import planned_for

SOURCE = """
component minilm = embedder("all-MiniLM-L6-v2"{server})
component search = milvus("docs", embedder: minilm, top_k: 8)
component best = reranker("ms-marco-MiniLM-L6-v2"{server}, top_k: 3)

pipeline find(question: text ~ 20 tokens) -> [passage] {{
    load 4 rps
    return best(question, search(question))
}}
"""
WINDOW = Window(500.0, 3000.0)


def source(server: str) -> str:
    return SOURCE.format(server=server)


def test_a_simulation_is_the_same_whoever_serves_the_encoders(tmp_path: Path) -> None:
    reports = []
    for name, server in (("worker", ""), ("vllm", ', server: "vllm"')):
        (tmp_path / name).mkdir()
        planned = planned_for(tmp_path / name, source(server), gpus=1)
        reports.append(simulate(planned, until(constant(4.0), WINDOW.to_ms), WINDOW, load_cards(), {}).report)
    ours, theirs = reports
    assert ours.groups == theirs.groups
    assert ours.stages == theirs.stages
    assert theirs.groups[0].figures.outcomes[Outcome.OK] == theirs.groups[0].figures.requests > 0


@pytest.mark.slow
def test_a_rehearsal_calls_them_as_vllm_is_called(tmp_path: Path) -> None:
    planned = planned_for(tmp_path, source(', server: "vllm"'), gpus=1)
    arrivals = until(constant(4.0), WINDOW.to_ms)
    report = rehearse(planned, arrivals, WINDOW, {"for": "a test"}, Wishes(factor=2.0), lambda _: None).report
    (group,) = report.groups
    assert group.figures.outcomes[Outcome.OK] == group.figures.requests > 0
    assert {stage.component for stage in report.stages} == {"minilm", "search", "best"}
