"""A rehearsal with its processes: the same requests as a simulation sees, stretched times, nothing left behind."""

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.emulate.rehearsal import processes
from harmonia_compiler.emulate.rehearsal import run as of_run
from harmonia_compiler.emulate.rehearsal.run import Wishes, advice, rehearse
from harmonia_compiler.emulate.rehearsal.stretch import factor_for
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.policy.parts import ALL
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.workload.arrivals import constant, until
from harmonia_compiler.workload.request import Arrival
from tests.emulate.planned import planned_for

WINDOW = Window(500.0, 3000.0)


def rehearsed(planned: Scenario, wishes: Wishes) -> tuple[Report, list[float]]:
    told: list[float] = []
    arrivals = until(constant(8.0), WINDOW.to_ms)
    return rehearse(planned, arrivals, WINDOW, {"for": "a test"}, wishes, told.append).report, told


@pytest.mark.slow
def test_the_same_requests_take_the_same_branches_in_a_rehearsal_and_in_a_simulation(planned: Scenario) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    report, told = rehearsed(planned, Wishes(factor=2.0))
    simulated = simulate(planned, until(constant(8.0), WINDOW.to_ms), WINDOW, load_cards(), {}).report
    assert told == [2.0]
    assert [group.name for group in report.groups] == ["ask", "ask/fast", "ask/slow"]
    for group, other in zip(report.groups, simulated.groups, strict=True):
        assert group.figures.outcomes[Outcome.OK] == group.figures.requests == other.figures.requests > 0
        assert group.figures.latency is not None
        assert group.figures.ttft is not None
        # A token takes as long as one in both, whatever other calls of the request have made.
        assert group.figures.token is not None
        assert other.figures.token is not None
        assert group.figures.token.p50 == pytest.approx(other.figures.token.p50, rel=0.5)
        assert group.figures.tokens_out_per_s == pytest.approx(other.figures.tokens_out_per_s or 0.0, rel=0.25)
    calls = {stage.component: stage.calls_per_request for stage in report.stages}
    assert calls == {stage.component: stage.calls_per_request for stage in simulated.stages}
    assert 0.0 < calls["web"] < 1.0
    assert report.machine is not None
    assert report.machine.factor == 2.0
    assert report.machine.own_cores > 0.0
    assert report.cost_per_hour == simulated.cost_per_hour == 3.0
    assert {use.engine for use in report.engines} == {use.engine for use in simulated.engines}
    assert all(0.0 <= use.working <= 1.0 for use in report.engines)
    most_rps = [use.most_rps for use in simulated.engines]
    assert [use.most_rps for use in report.engines] == pytest.approx(most_rps)
    assert all(use.calls_rps > 0.0 for use in report.engines)
    assert any(note.startswith("The controller's last words: ") for note in report.notes)
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


@pytest.mark.slow
def test_recorded_answers_that_are_cut_are_counted_as_in_a_simulation(planned: Scenario) -> None:
    recorded = [Arrival(500.0 * number, answer_tokens=(9000, 40)[number % 2]) for number in range(6)]
    report = rehearse(planned, recorded, WINDOW, {}, Wishes(factor=1.0), lambda _: None).report
    (said,) = (note for note in report.notes if "of the trace" in note)
    assert said == "Of 6 answers of the trace, 3 are longer than `max_tokens` of `answer` allows, and were cut to that."
    assert said in simulate(planned, recorded, WINDOW, load_cards(), {}).report.notes
    later = simulate(planned, until(constant(8.0), WINDOW.to_ms), WINDOW, load_cards(), {}).report
    assert not [note for note in later.notes if "of the trace" in note]


@pytest.mark.slow
def test_faults_of_a_replica_are_what_the_gateway_makes_of_them(planned: Scenario) -> None:
    web = Fault("web", "fail")
    report, _ = rehearsed(planned, Wishes(factor=1.0, faults=(web,), parts=ALL.without(("controller",))))
    whole = report.groups[0].figures
    # Without a controller there is no process of it, and nobody who could have said anything.
    (cores,) = (note for note in report.notes if note.startswith("Cores that the rehearsal kept busy"))
    assert "gateway" in cores
    assert "controller" not in " ".join(report.notes)
    # The fallback stands in for what fails.
    assert whole.outcomes[Outcome.OK] == whole.requests
    models = [one.id for one in planned.plan.replicas if one.engine == "model"]
    assert len(models) > 1
    # Whatever one replica fails, another makes up for.
    report, _ = rehearsed(planned, Wishes(factor=1.0, faults=(Fault(models[0], "fail"),)))
    whole = report.groups[0].figures
    assert whole.outcomes[Outcome.OK] == whole.requests > 0
    report, _ = rehearsed(planned, Wishes(factor=1.0, faults=(Fault("model", "fail"),)))
    whole = report.groups[0].figures
    assert whole.outcomes[Outcome.FAILED] == whole.requests > 0


def test_a_longer_factor_is_advised_only_where_the_rehearsal_itself_is_what_takes_the_machine() -> None:
    assert advice(0.8, 1.0, 4.0) == "Repeat it with `--factor 8`."
    assert "end those and repeat it" in advice(0.05, 1.0, 4.0)
    assert advice(0.3, 0.4, 4.0) == "Repeat it with `--factor 8`.", "late, but not busy"
    assert advice(0.01, 0.4, 4.0) == "Repeat it with `--factor 8`.", "late, and others are not what keeps it busy"
    assert advice(0.9, 1.0, 62.0) == "Repeat it with `--factor 120`."


@given(busy=st.floats(0.0, 1.0), factor=st.floats(1.0, 1000.0))
def test_the_factor_that_is_advised_is_larger_than_the_one_that_was_used(busy: float, factor: float) -> None:
    said = advice(busy, busy, factor)
    assert float(said.removeprefix("Repeat it with `--factor ").removesuffix("`.")) > factor


def test_what_is_somebody_elses_is_emulated_and_needs_no_variable(planned: Scenario) -> None:
    there = processes.redirected(planned.service, {"web": "http://127.0.0.1:9/"})
    assert there.engines["web"].settings == {"url": "http://127.0.0.1:9/"}
    assert {**there.engines, "web": planned.service.engines["web"]} == planned.service.engines
    assert there.programs == planned.service.programs


def test_more_requests_than_this_machine_carries_are_stretched_in_proportion(planned: Scenario) -> None:
    assert factor_for(planned, 0.01, 2) == 1.0
    assert factor_for(planned, 2e4, 2) == pytest.approx(2 * factor_for(planned, 1e4, 2))
    assert factor_for(planned, 1e4, 2) == pytest.approx(factor_for(planned, 1e4, 1) / 2)


def test_who_comes_in_the_mean_is_stretched_whatever_a_plan_expects_at_the_peak(tmp_path: Path) -> None:
    def factor(peak: str) -> float:
        return factor_for(planned_for(tmp_path, BESIDE.replace("PEAK", peak)), 1e4, 2)

    assert factor("peak 60 rps") == factor("")


def test_longer_answers_that_are_recorded_are_more_pieces_for_this_machine(planned: Scenario) -> None:
    expected = factor_for(planned, 1e4, 2)
    assert factor_for(planned, 1e4, 2, 25.0) == expected
    assert factor_for(planned, 1e4, 2, 12.0) < expected < factor_for(planned, 1e4, 2, 45.0)
    # `answer` may have 50 tokens.
    assert factor_for(planned, 1e4, 2, 9000.0) == factor_for(planned, 1e4, 2, 50.0)


BESIDE = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(q: text) -> text = small("{q}", max_tokens: 50)
component yes(q: text) -> bool = small("Yes? {q}", max_tokens: 2)
pipeline ask(q: text) -> text {
    load 3 rps
    return stream answer(q)
}
pipeline beside(q: text) -> text {
    load 3 rps PEAK
    if yes(q) ~ 0.5 { return "yes" }
    return "no"
}
"""
ANEW = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(q: text) -> text = small("{q}", max_tokens: DECLARED)
pipeline ask(q: text ~ 10 tokens) -> text {
    load 1 rps
    return stream answer(qCALLED)
}
"""


@pytest.mark.parametrize("recorded", [None, 9000.0])
def test_an_answer_is_as_many_pieces_as_its_call_allows(tmp_path: Path, recorded: float | None) -> None:
    anew, plain = (
        factor_for(planned_for(tmp_path, ANEW.replace("DECLARED", said).replace("CALLED", called)), 1e4, 2, recorded)
        for said, called in (("50", ", max_tokens: 800"), ("800", ""))
    )
    assert anew == pytest.approx(plain)


def test_a_rehearsal_is_stretched_by_the_answers_of_its_trace(
    planned: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):
        """Stands for the whole rehearsal."""

    def asked(*given: object) -> float:
        raise Asked(*given[3:])

    monkeypatch.setattr(of_run, "factor_for", asked)
    for tokens, mean in (((10, 40, None), 25.0), ((None, None), None)):
        came = [Arrival(500.0 * at, answer_tokens=each) for at, each in enumerate(tokens)]
        with pytest.raises(Asked) as raised:
            rehearse(planned, came, WINDOW, {}, Wishes(), lambda _: None)
        assert raised.value.args == (mean,)


def test_more_cores_than_its_processes_use_are_of_no_help(planned: Scenario) -> None:
    assert factor_for(planned, 1e4, 64) == factor_for(planned, 1e4, 3) < factor_for(planned, 1e4, 2)


def test_a_process_that_does_not_start_is_a_finding_with_its_last_words(
    planned: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ENGINES", "harmonia_compiler.nosuch")
    with pytest.raises(Rejected) as rejected:
        rehearsed(planned, Wishes(factor=1.0))
    (found,) = rejected.value.found
    assert found.code == "E1341"
    assert "No module named" in found.message
