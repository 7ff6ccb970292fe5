"""From an application to a plan: engines shared, one server of a store, promises, the document and its bytes."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.card import Cards
from harmonia_compiler.contract.component import Secret
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import FORMAT_VERSION, Plan, encode_plan, read_plan
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.flow import demand
from harmonia_compiler.flow.graph import Load
from harmonia_compiler.flow.guards import guards
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.profile.best import BestProfiles
from tests.plan.applications import corrective, quickstart

ROOT = Path(__file__).resolve().parents[2]
LAPTOP = Inventory((Host("laptop", 2, 24.0),))
SERVER = Inventory((Host("server", 16, 128.0, (Gpu("l40s", 2),), 4.0),))


def test_the_quickstart_fits_on_a_laptop() -> None:
    plan = make_plan(quickstart(), LAPTOP)
    assert [replica.id for replica in plan.replicas] == ["milvus-0", "minilm-0", "rerank-0", "small-0"]
    assert sum(replica.cores for replica in plan.replicas) <= 2
    assert plan.predicted["quickstart"].throughput_rps > 0.05
    assert plan.predicted["quickstart"].latency_ms < 60_000


def test_components_of_one_base_share_its_replicas() -> None:
    plan = make_plan(corrective(), SERVER)
    assert {replica.serves for replica in plan.replicas if replica.engine == "small"} == {
        ("answer", "grade", "rewrite")
    }
    assert plan.pipelines[0].visits == pytest.approx(
        {"answer": 1, "grade": 1, "library": 0.3, "minilm": 1, "rerank": 1, "rewrite": 0.3, "search": 1}
    )


def test_a_stateful_engine_is_one_server() -> None:
    plan = make_plan(quickstart(load=Load(100.0, 100.0)), SERVER)
    assert sum(replica.engine == "milvus" for replica in plan.replicas) == 1


def test_an_engine_has_as_many_replicas_as_its_settings_say() -> None:
    application = quickstart(load=Load(0.1, 0.1))
    engine = application.engines["rerank"]
    for settings, numbers in (
        ({"min_replicas": 3}, range(3, 100)),
        ({"max_replicas": 1}, range(1, 2)),
        ({"min_replicas": 2, "max_replicas": 2}, range(2, 3)),
    ):
        said = replace(engine, settings={**engine.settings, **settings})
        engines = {**application.engines, "rerank": said}
        plan = make_plan(replace(application, engines=engines), SERVER, objective="cost")
        assert sum(replica.engine == "rerank" for replica in plan.replicas) in numbers, settings


def test_the_cheapest_plan_takes_the_cheaper_host() -> None:
    dear, cheap = Host("dear", 8, 64.0, price_per_hour=2.0), Host("cheap", 8, 64.0, price_per_hour=1.0)
    plan = make_plan(quickstart(), Inventory((dear, cheap)), objective="cost")
    assert {replica.host for replica in plan.replicas} == {"cheap"}
    assert plan.predicted["quickstart"].cost_per_hour == 1.0


@pytest.mark.slow
def test_the_peak_is_what_counts() -> None:
    steady = make_plan(quickstart(load=Load(1.0, 1.0)), SERVER, objective="cost")
    bursty = make_plan(quickstart(load=Load(1.0, 30.0)), SERVER, objective="cost")
    assert steady.pipelines[0].load_rps == 1.0
    assert bursty.predicted["quickstart"].throughput_rps >= 30.0


def test_a_cost_without_a_load_is_refused() -> None:
    with pytest.raises(Rejected) as refused:
        make_plan(quickstart(load=None), SERVER, objective="cost")
    assert [found.code for found in refused.value.found] == ["E0710"]


def test_an_unknown_model_is_refused_before_planning() -> None:
    with pytest.raises(Rejected) as refused:
        make_plan(quickstart(), SERVER, profiles=BestProfiles(cards=Cards([])))
    assert [found.code for found in refused.value.found] == ["E0801"] * 3


def test_no_plan_is_an_error_of_its_own() -> None:
    with pytest.raises(Infeasible):
        make_plan(quickstart(), Inventory((Host("tiny", 1, 2.0),)))


def test_a_plan_says_which_visits_are_estimates(monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_plan(corrective(), SERVER, objective="cost").estimated == ()
    monkeypatch.setattr(demand, "guards", partial(guards, limit=1))
    assert make_plan(corrective(), SERVER, objective="cost").estimated == ("corrective",)


def test_a_plan_says_which_shares_it_does_not_keep_to(tmp_path: Path) -> None:
    """Each once, with its line, wherever the files lie and however many call the pipeline."""
    path = tmp_path / "ask.rag"
    path.write_text(
        """component small = llm("SmolLM2-135M-Instruct", max_tokens: 8)
component good(q: text ~ 8 tokens) -> bool = small("Good? {q}")
component fine(q: text ~ 8 tokens) -> bool = small("Fine? {q}")
component answer(q: text ~ 8 tokens) -> text ~ 8 tokens = small("{q}")
pipeline one(q: text ~ 8 tokens) -> text {
    g = good(q)
    f = fine(q)
    if g and f ~ 0.4 { return answer(q) } elif not g and not f ~ 0.3 { return q }
    return answer(q)
}
pipeline two(q: text ~ 8 tokens) -> text {
    load 0.01 rps
    return one(q)
}
pipeline three(q: text ~ 8 tokens) -> text {
    load 0.01 rps
    return one(q)
}
"""
    )
    application = check_files([path]).application
    assert application is not None
    (missed,) = make_plan(application, SERVER).missed
    assert (missed.source, missed.line, missed.said) == ("ask.rag", 8, 0.3)
    assert missed.found == pytest.approx(0.13509, abs=1e-5)


def test_every_call_of_the_flow_is_a_step_that_waits_for_its_inputs() -> None:
    pipeline = build_problem(corrective(), SERVER, "throughput", BestProfiles()).problem.pipelines[0]
    by_component = {step.component: step for step in pipeline.steps}
    names = [step.component for step in pipeline.steps]
    assert [names[at] for at in by_component["grade"].after] == ["rerank"]
    assert [names[at] for at in by_component["rewrite"].after] == ["grade"]
    assert [names[at] for at in pipeline.streamed] == ["answer"]


def test_the_document_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    plan = make_plan(quickstart(), LAPTOP)
    engine = msgspec.structs.replace(plan.engines["milvus"], settings={"token": Secret("TOKEN")})
    plan = msgspec.structs.replace(plan, engines=plan.engines | {"milvus": engine})
    path = tmp_path / "plan.json"
    path.write_bytes(encode_plan(plan))
    assert read_plan(path) == plan


def changed_document(plan: Plan, **changes: object) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(encode_plan(plan)) | changes)


@pytest.mark.parametrize(("version", "code"), [(FORMAT_VERSION + 1, "E0731"), (0, "E0731"), ("one", "E0730")])
def test_other_formats_are_refused(tmp_path: Path, version: object, code: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(changed_document(make_plan(quickstart(), LAPTOP), format_version=version))
    with pytest.raises(Rejected) as refused:
        read_plan(path)
    assert [found.code for found in refused.value.found] == [code]


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"format_version": 1}', b"[" * 100_000])
def test_a_damaged_plan_is_refused(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text)
    with pytest.raises(Rejected) as refused:
        read_plan(path)
    assert [found.code for found in refused.value.found] == ["E0730"]


def test_the_document_holds_no_absolute_path() -> None:
    assert b'"/' not in encode_plan(make_plan(quickstart(), LAPTOP))


_PRINT = """
import sys
from harmonia_compiler.contract.plan import encode_plan
from harmonia_compiler.plan.planner import make_plan
from tests.plan.applications import corrective
from tests.plan.test_planner import SERVER
sys.stdout.buffer.write(encode_plan(make_plan(corrective(), SERVER)))
"""


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes_in_every_process() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", _PRINT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "4711")
    }
    assert len(printed) == 1
    assert printed != {b""}
