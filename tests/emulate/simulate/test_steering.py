"""The controller in virtual time: what it changes, when, and what comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.decision import Decision
from harmonia_compiler.contract.inventory import Host, Inventory
from harmonia_compiler.contract.plan import Replica as Placed
from harmonia_compiler.emulate.scenario import Scenario, scenario
from harmonia_compiler.emulate.simulate import steering
from harmonia_compiler.emulate.simulate.loop import Loop
from harmonia_compiler.emulate.simulate.room import further
from harmonia_compiler.emulate.simulate.run import Simulated, simulate
from harmonia_compiler.emulate.simulate.service import Job, Service
from harmonia_compiler.emulate.simulate.simulation import Simulation
from harmonia_compiler.emulate.simulate.stations import Replica, Station
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.policy.control.counts import COLD_S
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.report.measures import Window
from harmonia_compiler.runtime.controller.controller import EVERY_S
from harmonia_compiler.workload.arrivals import poisson, until

SOURCE = """
component f(question: text) -> text ~ 20 tokens = python("code:f", takes: 100 ms, cores: 1 MORE)
pipeline ask(question: text) -> text {
    load LOAD rps
    return f(question)
}
"""
HOST = Inventory((Host("one", 8, 16.0),))


def planned(tmp_path: Path, load: float, more: str = "", cores: int = 1) -> Scenario:
    """The cheapest plan for a load, on a host of eight cores."""
    path = tmp_path / "ask.rag"
    source = SOURCE.replace("LOAD", f"{load:g}").replace("cores: 1", f"cores: {cores}")
    path.write_text(source.replace(" MORE", more))
    checked = check_files([path], {})
    assert checked.application is not None, checked.found
    application = optimise(checked.application)
    return scenario(application, HOST, make_plan(application, HOST, objective="cost"), seed=1)


def run(made: Scenario, rate: float, seconds: float, parts: Parts = ALL, *, resizes: bool = True) -> Simulated:
    """Let requests come in for so long."""
    window = Window(0.0, seconds * 1000.0)
    arrivals = until(poisson(rate, 1), window.to_ms)
    return simulate(made, arrivals, window, load_cards(), {}, parts=parts, resizes=resizes)


def test_where_more_comes_than_planned_replicas_are_added_and_the_report_says_why(tmp_path: Path) -> None:
    made = planned(tmp_path, 5.0)
    assert len(made.plan.replicas) == 1
    steered, left = run(made, 20.0, 200.0), run(made, 20.0, 200.0, ALL.without(("controller",)))
    first = steered.report.decisions[0]
    assert first.what == made.plan.replicas[0].engine
    assert "1 → " in first.why
    assert "replicas" in first.why
    assert first.at_ms % (EVERY_S * 1000.0) == 0.0
    assert steered.report.notes[-1].startswith("The controller's last words: ")
    assert (left.report.decisions, [note for note in left.report.notes if "controller" in note]) == ((), [])
    (with_it,), (without,) = steered.report.groups, left.report.groups
    assert with_it.figures.throughput_rps > 1.5 * without.figures.throughput_rps
    # Nothing is answered faster before the new ones work.
    until_ms = first.at_ms + COLD_S * 1000.0
    early = [[one.answered for one in each.report.ticks if one.at_ms < until_ms] for each in (steered, left)]
    assert early[0][:-1] == early[1][:-1]
    assert all(use.working <= 1.0 for use in steered.report.engines)


def test_where_less_comes_for_long_replicas_go_one_by_one(tmp_path: Path) -> None:
    made = planned(tmp_path, 25.0)
    count = len(made.plan.replicas)
    assert count > 2
    done = run(made, 2.0, 600.0)
    said = [one.why for one in done.report.decisions if "replicas: " in one.why]
    assert said[0].startswith(f"{count} → {count - 1} replicas")
    assert said[1].startswith(f"{count - 1} → {count - 2} replicas")
    (group,) = done.report.groups
    assert group.figures.outcomes["ok"] == group.figures.requests


def test_numbers_stay_where_nothing_may_be_resized(tmp_path: Path) -> None:
    done = run(planned(tmp_path, 5.0), 20.0, 100.0, resizes=False)
    assert not [one for one in done.report.decisions if "replicas: " in one.why]
    assert "whose number is not to be changed here" in done.report.notes[-1]


def test_a_replica_that_is_slower_than_planned_gets_fewer_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(tmp_path, 14.0, ", max_replicas: 2")
    slow = made.plan.replicas[0].id
    usual = Simulation._replica

    def replica(self: Simulation, loop: Loop, service: Service, placed: Placed) -> Replica[Job]:
        found = usual(self, loop, service, placed)
        if placed.id == slow:
            assert isinstance(found, Station)
            takes = found.service_ms
            found.service_ms = lambda jobs: 12.0 * takes(jobs)
        return found

    monkeypatch.setattr(Simulation, "_replica", replica)
    done = run(made, 8.0, 120.0)
    said = next(one for one in done.report.decisions if one.what == "division of calls")
    assert "times what the plan says" in said.why or "% → " in said.why
    assert said.at_ms < 60_000.0


def test_the_controller_adds_nothing_to_the_time_that_a_run_takes(tmp_path: Path) -> None:
    made = planned(tmp_path, 5.0)
    ends = {
        max(one.finished_ms for one in run(made, 3.0, 62.0, parts).observed)
        for parts in (ALL, ALL.without(("controller",)))
    }
    assert len(ends) == 1
    busy = {run(made, 3.0, 62.0, parts).report.engines for parts in (ALL, ALL.without(("controller",)))}
    assert len(busy) == 1


def test_there_is_room_for_as_many_as_a_host_and_the_settings_leave(tmp_path: Path) -> None:
    (found,) = further(planned(tmp_path, 5.0)).values()
    assert [one.id for one in found] == [f"{found[0].engine[:40]}-more-{at}" for at in range(7)]
    assert {one.host for one in found} == {"one"}
    (most,) = further(planned(tmp_path, 5.0, ", max_replicas: 3")).values()
    assert len(most) == 2


def test_replicas_of_which_nothing_was_decided_keep_what_the_plan_gives_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decision names the shares that it changes: the first one gave all others one call at a time."""
    made = planned(tmp_path, 5.0, cores=2)
    (replica,) = made.plan.replicas
    assert made.service.shares[replica.id].batch > 1
    followed: list[int] = []
    usual = Service.set_shares

    def set_shares(self: Service, shares: Mapping[str, ReplicaShare]) -> None:
        usual(self, shares)
        followed.append(self.lines[replica.engine].replicas[replica.id].share.batch)

    monkeypatch.setattr(Service, "set_shares", set_shares)
    done = run(made, 40.0, 60.0)
    assert done.report.decisions
    assert {*followed} == {made.service.shares[replica.id].batch}


def test_replicas_that_are_no_longer_wanted_when_they_are_ready_take_no_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(tmp_path, 5.0)
    engine = made.plan.replicas[0].engine
    wanted = iter([1, 4, 2])
    counts: list[int] = []
    usual = Service.set_replicas

    def decided(_: object, state: State, *__: object) -> tuple[State, Decision]:
        state = replace(state, epoch=state.epoch + 1)
        return state, Decision(state.epoch, "", replicas={engine: next(wanted, 2)})

    def set_replicas(self: Service, name: str, endpoints: Sequence[Endpoint]) -> None:
        counts.append(len(endpoints))
        usual(self, name, endpoints)

    monkeypatch.setattr(steering, "decide", decided)
    monkeypatch.setattr(Service, "set_replicas", set_replicas)
    run(made, 2.0, 3.0 * COLD_S)
    # Of the three that were to come one is still wanted; before that, one less is no less than works.
    assert counts == [1, 2]
