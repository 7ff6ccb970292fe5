"""Planning by what a running service measured: what changes, that it adds up, and what is said where nothing was."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE
from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.decision import INSIDE, REMEMBERED, fingerprint
from harmonia_compiler.contract.plan import Plan, read_plan
from harmonia_compiler.plan.corrected import Measured, corrected, measured_by
from harmonia_compiler.plan.optimise import optimise
from harmonia_compiler.plan.problem import Problem
from harmonia_compiler.policy.control.learning import visits_of
from harmonia_compiler.policy.control.ratio import Ratio
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.runtime.actuators.compose import preparing
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.bundle import read_plan_of, read_service
from tests.plan.problems import chain, machine, need, on_cores

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
QUICKSTART = str(SAMPLES / "quickstart.rag")
LAPTOP = str(SAMPLES / "inventories" / "laptop.toml")
WRITE = need("write", on_cores("write", 100.0))
PROBLEM = Problem((WRITE,), (chain("write"),), (machine("box", 4),))


def rate(problem: Problem) -> float:
    found = optimise(problem)
    assert found is not None
    return found.rate


def test_calls_that_take_twice_as_long_are_carried_half_as_often() -> None:
    slower = corrected(PROBLEM, Measured({"write": 2.0}, {}))
    assert rate(slower) == pytest.approx(rate(PROBLEM) / 2)
    option, before = slower.needs[0].options[0], WRITE.options[0]
    assert option.corrected == 2.0
    assert option.latency_ms["write"] == tuple(2 * ms for ms in before.latency_ms["write"])
    assert option.first_ms["write"] == tuple(2 * ms for ms in before.first_ms["write"])


def test_visits_stand_in_place_of_those_that_were_expected() -> None:
    often = corrected(PROBLEM, Measured({}, {"p": {"write": 4.0, "gone": 9.0}, "other": {"write": 2.0}}))
    assert often.pipelines[0].visits == {"write": 4.0}
    assert rate(often) == pytest.approx(rate(PROBLEM) / 4)


def test_what_is_not_measured_stays() -> None:
    assert corrected(PROBLEM, Measured({}, {})) == PROBLEM
    assert corrected(PROBLEM, Measured({"other": 3.0}, {"other": {"write": 2.0}})) == PROBLEM


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("readings") / "bundle"
    assert run(["compile", QUICKSTART, "--inventory", LAPTOP, "--target", "local", "--out", str(bundle)]) == FINE
    return bundle


def remember(bundle: Path, state: State) -> None:
    (bundle / "run").mkdir(exist_ok=True)
    (bundle / "run" / REMEMBERED).write_bytes(msgspec.json.encode(state))


def state_of(bundle: Path, times: dict[str, Ratio], visits: dict[str, dict[str, Ratio]] | None = None) -> State:
    return replace(State(fingerprint(read_service(bundle))), engines=times, visits=visits or {})


def planned(bundle: Path, out: Path) -> Plan:
    arguments = ["plan", QUICKSTART, "--inventory", LAPTOP, "--readings", str(bundle), "--out", str(out)]
    assert run(arguments) == FINE
    return read_plan(out)


def test_a_plan_goes_by_what_its_service_measured(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_plan_of(compiled)
    slow = {"small": Ratio(2.0, 100.0), "rerank": Ratio(3.0, 0.0)}
    remember(compiled, state_of(compiled, slow, {"quickstart": {"rerank": Ratio(1.5, 50.0)}}))
    after = planned(compiled, tmp_path / "plan.json")
    assert {use.engine: use.corrected for use in after.profiles}["small"] == 2.0
    # What no call ended for is as planned, whatever stands beside it.
    assert {use.engine: use.corrected for use in after.profiles}["rerank"] == 1.0
    # A ratio is on visits and a hundredth, lest what is never expected be infinitely more.
    expected = before.pipelines[0].visits["rerank"]
    assert after.pipelines[0].visits["rerank"] == pytest.approx(1.5 * (expected + 0.01) - 0.01)
    assert after.predicted["quickstart"].throughput_rps < before.predicted["quickstart"].throughput_rps
    told = capsys.readouterr()
    assert "Calls of small take 2 times as long as the source of their figures says." in told.out
    assert "was planned before" not in told.err


def test_what_was_rare_is_planned_as_often_as_it_was_counted() -> None:
    """Counted forty times as often as expected, by a window in which one of five requests called it."""
    expected, counted = 0.005, 0.2
    ratio = Ratio((counted + 0.01) / (expected + 0.01), 100.0)
    assert visits_of(expected, ratio) == pytest.approx(counted)
    assert visits_of(0.0, Ratio(0.5, 100.0)) == 0.0


CHOOSES = """
component kind(q: text) -> "hard" | "easy" = python("m:kind", takes: 5 ms)
component work(q: text) -> text ~ 20 tokens = python("m:work", takes: 100 ms)
pipeline p(question: text ~ 15 tokens) -> text {{
    load 0.5 rps
    one = kind(question)
    if one == "hard" ~ {share} {{ return work(question) }}
    return question
}}
"""


def test_what_was_counted_holds_whatever_shares_are_expected_now(tmp_path: Path) -> None:
    """Four in ten requests were counted where two were expected; six are expected by now."""
    source, bundle = tmp_path / "p.rag", tmp_path / "bundle"
    (tmp_path / "m.py").write_text("def kind(q): return 'easy'\ndef work(q): return q\n", encoding="utf-8")
    source.write_text(CHOOSES.format(share=0.2), encoding="utf-8")
    assert run(["compile", str(source), "--inventory", LAPTOP, "--target", "local", "--out", str(bundle)]) == FINE
    ratio = Ratio(0.41 / 0.21, 100.0)
    remember(bundle, state_of(bundle, {}, {"p": {"work": ratio}}))
    source.write_text(CHOOSES.format(share=0.6), encoding="utf-8")
    out = tmp_path / "plan.json"
    assert run(["plan", str(source), "--inventory", LAPTOP, "--readings", str(bundle), "--out", str(out)]) == FINE
    assert read_plan(out).pipelines[0].visits["work"] == pytest.approx(0.4)


def test_readings_of_another_program_are_told(
    compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remember(compiled, state_of(compiled, {"small": Ratio(2.0, 100.0)}))
    source = tmp_path / "quickstart.rag"
    source.write_text(Path(QUICKSTART).read_text() + "\n# Another line.\n")
    assert run(["plan", str(source), "--inventory", LAPTOP, "--readings", str(compiled)]) == FINE
    assert f"`{compiled}` was planned before these changed: quickstart.rag" in capsys.readouterr().err


def test_a_correction_of_a_plan_that_is_corrected_adds_to_it(compiled: Path) -> None:
    plan = read_plan_of(compiled)
    profiles = tuple(msgspec.structs.replace(use, corrected=2.0) for use in plan.profiles)
    again = measured_by(msgspec.structs.replace(plan, profiles=profiles), {"small": 1.5, "gone": 4.0}, {})
    assert again == Measured({"small": 3.0}, {})


def test_readings_that_are_of_no_use_are_told(compiled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said() -> str:
        assert run(["plan", QUICKSTART, "--inventory", LAPTOP, "--readings", str(compiled)]) == DIAGNOSTICS
        return capsys.readouterr().err

    (compiled / "run" / REMEMBERED).unlink(missing_ok=True)
    assert "E0732" in said()
    remember(compiled, state_of(compiled, {"small": Ratio(2.0, 0.0)}))
    assert "no call has ended" in said()
    remember(compiled, replace(state_of(compiled, {"small": Ratio(2.0, 9.0)}), plan="another"))
    assert "of another plan" in said()
    (compiled / "run" / REMEMBERED).write_text("{}")
    assert "cannot be read" in said()


@pytest.mark.parametrize(
    ("what", "value"),
    [
        *((what, value) for what in ("engines", "visits") for value in ("-2.0", "0.0", "1e999", "NaN", '"2"', "100.0")),
        *(("evidence", value) for value in ("-2.0", "1e999", "NaN", "null")),
    ],
)
def test_readings_that_no_controller_writes_are_told(
    compiled: Path, capsys: pytest.CaptureFixture[str], what: str, value: str
) -> None:
    ratio = Ratio(7.0, 9.0)
    remember(compiled, state_of(compiled, {"small": ratio}, {"quickstart": {"rerank": ratio}}))
    path = compiled / "run" / REMEMBERED
    text = path.read_text()
    place, wrong = ('"evidence":9.0', f'"evidence":{value}') if what == "evidence" else ("7.0", value)
    at = text.index(place, text.index(f'"{"engines" if what == "evidence" else what}"'))
    path.write_text(text[:at] + wrong + text[at + len(place) :])
    assert run(["plan", QUICKSTART, "--inventory", LAPTOP, "--readings", str(compiled)]) == DIAGNOSTICS
    said = capsys.readouterr().err
    assert "E0732" in said
    assert "cannot be read" in said


@pytest.mark.parametrize(
    ("times", "visits", "why"),
    [
        ({"other": Ratio(2.0, 9.0)}, {}, "it tells of the engine `other`"),
        ({}, {"other": {"rerank": Ratio(2.0, 9.0)}}, "it tells of the pipeline `other`"),
        ({}, {"quickstart": {"other": Ratio(2.0, 9.0)}}, "it tells of `other` in `quickstart`"),
    ],
)
def test_readings_of_what_a_bundle_does_not_have_are_told(
    compiled: Path,
    capsys: pytest.CaptureFixture[str],
    times: dict[str, Ratio],
    visits: dict[str, dict[str, Ratio]],
    why: str,
) -> None:
    remember(compiled, state_of(compiled, times, visits))
    assert run(["plan", QUICKSTART, "--inventory", LAPTOP, "--readings", str(compiled)]) == DIAGNOSTICS
    said = capsys.readouterr().err
    assert "E0732" in said
    assert why in " ".join(said.split())


def test_what_was_measured_outlives_its_service(compiled: Path, tmp_path: Path) -> None:
    service = RunDirectory(compiled)
    remember(compiled, state_of(compiled, {"small": Ratio(2.0, 100.0)}))
    service.clear()
    assert not (compiled / "run" / REMEMBERED).exists()

    def corrected_by() -> float:
        return {use.engine: use.corrected for use in planned(compiled, tmp_path / "plan.json").profiles}["small"]

    assert corrected_by() == 2.0
    # Of one that nobody has called yet nothing is known, whether it runs or has ended.
    remember(compiled, state_of(compiled, {"small": Ratio(9.0, 0.0)}))
    assert corrected_by() == 2.0
    service.clear_state()
    assert corrected_by() == 2.0
    remember(compiled, state_of(compiled, {"small": Ratio(3.0, 5.0)}))
    assert corrected_by() == 3.0
    (compiled / "run" / REMEMBERED).unlink()
    assert corrected_by() == 2.0
    # In containers the controller writes into a folder of its own, which goes with them.
    inside = compiled / "run" / INSIDE
    inside.mkdir()
    (inside / REMEMBERED).write_bytes(msgspec.json.encode(state_of(compiled, {"small": Ratio(4.0, 5.0)})))
    assert corrected_by() == 4.0
    preparing.remove(compiled)
    assert not inside.exists()
    assert corrected_by() == 4.0
