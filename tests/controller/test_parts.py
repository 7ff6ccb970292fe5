"""The parts of the controller's process: the linear program, the journal, the plan's figures, stretched readings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.contract.decision import REMEMBERED, Reason, Said, fingerprint
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.program import RequestClass
from harmonia_compiler.plan.replan import LEAST
from harmonia_compiler.policy.control.decide import begun
from harmonia_compiler.policy.control.division import Load
from harmonia_compiler.policy.control.forecast import Forecast
from harmonia_compiler.policy.control.planned import planned
from harmonia_compiler.policy.pipeline import UNPROMISED_S
from harmonia_compiler.runtime.bundle import read_plan_of, read_service
from harmonia_compiler.runtime.controller.controller import Controller
from harmonia_compiler.runtime.controller.dividing import ByProgram
from harmonia_compiler.runtime.controller.journal import STILL_EVERY_S, Journal
from tests.controller.conftest import CAPACITY_RPS, REPLICAS, write_plan
from tests.policy.control.virtual import by_speed


@pytest.mark.parametrize("calls_rps", [0.0, 0.01, 30.0, 1e5])
def test_the_program_leaves_replicas_equally_busy(calls_rps: float) -> None:
    loads = {"llm": Load(calls_rps, [0.01, 0.02, 0.04])}
    found = ByProgram()(loads)["llm"]
    assert sum(found) == pytest.approx(1.0)
    if calls_rps:
        assert found == pytest.approx(by_speed(loads)["llm"], abs=1e-3)


def test_the_program_gives_everybody_a_little() -> None:
    found = ByProgram()({"llm": Load(30.0, [0.001, 100.0])})["llm"]
    assert found[1] == pytest.approx(LEAST / 2)


def test_the_program_is_another_where_more_or_fewer_run() -> None:
    divide = ByProgram()
    for count in (2, 4, 3, 3):
        assert divide({"llm": Load(30.0, [0.01] * count)})["llm"] == pytest.approx([1.0 / count] * count)


def test_an_engine_with_one_replica_needs_no_program() -> None:
    assert ByProgram()({}) == {}


def test_the_journal_keeps_what_was_done_and_from_time_to_time_that_nothing_was(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "logs" / "journal.jsonl")
    still, acted = (Reason("", acted=acted, why="because") for acted in (False, True))
    for now in range(0, 300, 5):
        journal.write(Said(0.0, 1, (still,)), float(now))
    journal.write(Said(0.0, 2, (acted,)), 301.0)
    journal.write(Said(0.0, 3, (still, acted)), 302.0)
    lines = [json.loads(line) for line in (tmp_path / "logs" / "journal.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1] * int(300 / STILL_EVERY_S) + [2, 3]


def test_the_journal_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for number in range(200):
        Journal(path, 2000).write(Said(0.0, number, (Reason("llm", acted=True, why="x" * 100),)), 0.0)
    assert {found.name for found in tmp_path.iterdir()} == {"journal.jsonl", "journal.jsonl.1"}
    assert all(found.stat().st_size <= 2000 for found in tmp_path.iterdir())
    assert json.loads(path.read_text().splitlines()[-1])["epoch"] == 199


def test_the_figures_are_the_plans(tmp_path: Path) -> None:
    write_plan(tmp_path)
    plan, service = read_plan_of(tmp_path), read_service(tmp_path)
    found = planned(plan, service, {})
    engine = found.engines["llm"]
    assert [(one.name, one.capacity_rps) for one in engine.replicas] == [(name, CAPACITY_RPS) for name in REPLICAS]
    assert (engine.least, engine.count, engine.most) == (2, 2, 2)
    assert [one.times for one in engine.replicas] == [1.0, 1.0]
    (one, other), (use,) = plan.replicas, plan.profiles
    slower = msgspec.structs.replace(other, config=Configuration(2.0, 1.0))
    slow_use = msgspec.structs.replace(use, config=slower.config.describe(), latency_ms=3.0 * use.latency_ms)
    of_two_kinds = msgspec.structs.replace(plan, replicas=(one, slower), profiles=(use, slow_use))
    assert [one.times for one in planned(of_two_kinds, service, {}).engines["llm"].replicas] == [0.5, 1.5]
    assert found.expected["say"]["say"].visits == 1.0
    assert found.engine_of == {"say": {"say": "llm"}}
    roomy = planned(plan, service, {"llm": ("llm-2",)}).engines["llm"]
    assert (roomy.least, roomy.count, roomy.most) == (1, 2, 3)
    assert roomy.replicas[-1].share == ReplicaShare(8, CAPACITY_RPS)
    least = msgspec.structs.replace(plan.engines["llm"], settings={"min_replicas": 2})
    floored = msgspec.structs.replace(plan, engines={"llm": least})
    assert planned(floored, service, {"llm": ("llm-2",)}).engines["llm"].least == 2
    assert planned(msgspec.structs.replace(plan, profiles=()), service, {}).engines == {}


def test_what_is_promised_is_that_of_each_class_of_the_pipeline_or_what_the_queue_takes_it_for(tmp_path: Path) -> None:
    write_plan(tmp_path)
    plan, service = read_plan_of(tmp_path), read_service(tmp_path)
    (program,) = service.programs.values()

    def promised(**changes: Any) -> dict[str, float]:
        programs = {"say": msgspec.structs.replace(program, **changes)}
        return dict(planned(plan, msgspec.structs.replace(service, programs=programs), {}).promised_s["say"])

    classes = (RequestClass("fast", 1500.0), RequestClass("usual"))
    assert promised(deadline_ms=4000.0, ttft_deadline_ms=500.0, streams=True) == {"": 4.0}
    assert promised(deadline_ms=4000.0, classes=classes) == {"fast": 1.5, "usual": 4.0}
    assert promised(deadline_ms=None, ttft_deadline_ms=500.0, streams=True) == {"": 0.5}
    assert promised(deadline_ms=None, classes=classes) == {"fast": 1.5, "usual": UNPROMISED_S}


def test_a_plan_is_known_by_what_a_decision_may_touch_and_not_by_times(tmp_path: Path) -> None:
    write_plan(tmp_path)
    service = read_service(tmp_path)
    stretched = msgspec.structs.replace(service, expected={})
    fewer = msgspec.structs.replace(service, shares={"llm-0": ReplicaShare(8)})
    assert fingerprint(stretched) == fingerprint(service) != fingerprint(fewer)


def test_the_target_is_told_the_numbers_that_may_change(tmp_path: Path) -> None:
    write_plan(tmp_path)
    (tmp_path / "run").mkdir()
    told = list[dict[str, int]]()
    for room in ({}, {"llm": ("llm-2",)}):
        facts = planned(read_plan_of(tmp_path), read_service(tmp_path), room)
        Controller(facts, tmp_path / "run", ByProgram(), lambda counts: told.append(dict(counts))).look(1.0, 0.0)
    assert told == [{}, {"llm": 2}]


@pytest.mark.parametrize("changes", [{"plan": "another"}, {"expected": {}}])
def test_it_goes_on_from_what_another_plans_controller_remembers(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_plan(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    facts = planned(read_plan_of(tmp_path), read_service(tmp_path), {"llm": ("llm-2", "llm-3")})
    known = begun(facts)
    ran = replace(known.sizes["llm"], count=4)
    known = replace(known, forecasts={"say": Forecast(17.0)}, sizes={"llm": ran}, epoch=7, **changes)
    (run / REMEMBERED).write_bytes(msgspec.json.encode(known))
    told = list[dict[str, int]]()
    controller = Controller(facts, run, ByProgram(), lambda counts: told.append(dict(counts)))
    controller.look(1.0, 0.0)
    assert told == [{"llm": 4}]
    assert controller.state.forecasts["say"].level == 17.0
    assert (controller.state.plan, controller.state.epoch) == (facts.fingerprint, 7)
    (run / REMEMBERED).write_text("{}")
    assert Controller(facts, run, ByProgram()).state == begun(facts)


def test_what_cannot_be_written_is_said_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(tmp_path)
    facts = planned(read_plan_of(tmp_path), read_service(tmp_path), {})
    run = tmp_path / "run"
    controller = Controller(facts, run, ByProgram())
    for now in (1.0, 2.0):
        controller.look(now, 0.0)
    assert not run.exists(), "a folder that was removed is not for the controller to make anew"
    run.mkdir()
    (run / "logs").write_text("a file in the way")
    controller.look(3.0, 0.0)
    (run / "logs").unlink()
    controller.look(4.0, 0.0)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[0] == f"{run} cannot be written: it has been removed"
    assert (run / "logs" / "controller.jsonl").is_file()
