"""Encoders on vLLM in a simulation and in a rehearsal: the routes, the times and the answers of our own worker's."""

import math
from pathlib import Path

import aiohttp
import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.kinds.openai import EMBEDDINGS, RERANK
from harmonia_compiler.profile.serving import Passing, serving
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.workload.arrivals import constant, until
from tests.emulate.planned import planned_for
from tests.emulate.servers.emulated import emulated

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


LONG = """
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, top_k: 6)
component best = reranker("RERANKER", top_k: 3)

pipeline find(question: text ~ QUESTION tokens) -> [passage] {
    load 0.05 rps
    return search(question)
}
pipeline sort(question: text ~ 20 tokens, given: [passage ~ PASSAGE tokens] ~ 10) -> [passage] {
    load 0.05 rps
    return best(question, given)
}
"""


def long(folder: Path, question: int = 20, passage: int = 100, reranker: str = "ms-marco-MiniLM-L6-v2") -> Scenario:
    folder.mkdir()
    source = LONG.replace("QUESTION", str(question)).replace("PASSAGE", str(passage)).replace("RERANKER", reranker)
    return planned_for(folder, source)


def times(planned: Scenario) -> list[float]:
    """The latencies that are reckoned, and the medians of those that are simulated, in ms, of `find` and of `sort`."""
    window = Window(0.0, 400_000.0)
    groups = simulate(planned, until(constant(0.1), window.to_ms), window, load_cards(), {}).report.groups
    found = {group.pipeline: group.figures.latency.p50 for group in groups if group.figures.latency}
    reckoned = planned.plan.predicted
    return [reckoned["find"].latency_ms, reckoned["sort"].latency_ms, found["find"], found["sort"]]


def test_what_is_longer_than_an_encoders_window_takes_no_time(tmp_path: Path) -> None:
    """MiniLM reads 256 tokens, and the reranker 512 of a query and a passage together."""
    at_window = times(long(tmp_path / "at", question=256, passage=492))
    assert times(long(tmp_path / "beyond", question=4_000, passage=4_000)) == pytest.approx(at_window)
    assert times(long(tmp_path / "below", question=128, passage=300))[:2] < at_window[:2]


def test_an_embedding_model_that_reranks_reads_each_sentence(tmp_path: Path) -> None:
    planned = long(tmp_path / "by", reranker="all-MiniLM-L6-v2")
    windows = {}
    for replica in planned.plan.replicas:
        found = serving(planned.service.engines[replica.engine], replica.config, load_cards())
        if isinstance(found, Passing):
            windows[replica.engine] = found.passes.window
    assert windows == {"minilm": 256.0, "best": math.inf}


async def test_an_emulated_encoder_counts_what_it_reads(tmp_path: Path) -> None:
    """And works on it for as long as on so many sequences."""
    texts = ["a" * 4 * 40, "a" * 4 * 4_000]
    planned = long(tmp_path / "long")
    async with emulated(planned) as (replicas, at), aiohttp.ClientSession() as session:
        for engine, path, ask, tokens, calls in (
            ("minilm", EMBEDDINGS, {"input": texts}, 40 + 256, 2),
            ("best", RERANK, {"query": "q" * 4 * 10, "documents": texts}, 10 + 40 + 512, 1),
        ):
            async with session.post(f"http://127.0.0.1:{at[engine].port}{path}", json=ask) as answer:
                assert (await answer.json())["usage"]["total_tokens"] == tokens
            (placed,) = [one for one in planned.plan.replicas if one.id == at[engine].replica]
            found = serving(planned.service.engines[engine], placed.config, load_cards())
            assert isinstance(found, Passing)
            read_ms = found.passes.ms([Work(encoded_tokens=tokens, encoded_items=len(texts))])
            done = replicas.tally().replicas[placed.id]
            assert done.busy_ms == pytest.approx(read_ms)
            assert done.calls == calls, "a text of a list is a call, as plans count them"


@pytest.mark.slow
def test_a_rehearsal_calls_them_as_vllm_is_called(tmp_path: Path) -> None:
    planned = planned_for(tmp_path, source(', server: "vllm"'), gpus=1)
    arrivals = until(constant(4.0), WINDOW.to_ms)
    report = rehearse(planned, arrivals, WINDOW, {"for": "a test"}, Wishes(factor=2.0), lambda _: None).report
    (group,) = report.groups
    assert group.figures.outcomes[Outcome.OK] == group.figures.requests > 0
    assert {stage.component for stage in report.stages} == {"minilm", "search", "best"}
