"""Planning on from a plan that runs: what stays, what it is called, and what is said to change."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from harmonia_compiler.cli.exits import DIAGNOSTICS, FINE, USAGE
from harmonia_compiler.cli.main import run
from harmonia_compiler.contract.inventory import Gpu, Host
from harmonia_compiler.contract.plan import FORMAT_VERSION, Plan
from harmonia_compiler.plan import search
from harmonia_compiler.plan.build import GIVE_UP, Demanded
from harmonia_compiler.plan.optimise import Allocation, optimise
from harmonia_compiler.plan.place import place
from harmonia_compiler.plan.planner import write_down
from harmonia_compiler.plan.problem import Problem, fits
from harmonia_compiler.plan.running import Change, changes, staying, with_running
from harmonia_compiler.plan.variables import Key
from tests.examples import examples
from tests.plan.problems import _allocations, application, chain, machine, need, on_cores, on_gpu, score_of
from tests.plan.random_problems import problems

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
WRITE = need("write", on_cores("write", 100.0), on_cores("write", 60.0, cores=2.0))
LAPTOP = ["--inventory", str(SAMPLES / "inventories" / "laptop.toml")]
QUICKSTART = ["plan", str(SAMPLES / "quickstart.rag"), *LAPTOP]


def plan_of(problem: Problem, counts: dict[Key, int]) -> Plan:
    return write_down(application(problem), Demanded(problem, ()), Allocation(counts, 1.0, proven=True, gap=0.0))


def moved(running: dict[Key, int], counts: dict[Key, int]) -> int:
    return sum(max(0, count - running.get(key, 0)) for key, count in counts.items())


def test_what_runs_on_one_of_two_equal_hosts_stays_there() -> None:
    problem = Problem(
        (WRITE,), (chain("write"),), tuple(machine(f"h{at}", 4, price=1.0) for at in range(4)), "cost", give_up=GIVE_UP
    )
    fresh = optimise(problem)
    assert fresh is not None
    assert set(fresh.counts) == {(0, 0, 0)}
    for h in range(4):
        found = optimise(replace(problem, running={(0, 0, h): 1}))
        assert found is not None
        assert found.counts == {(0, 0, h): 1}


def test_what_runs_is_no_reason_for_a_worse_plan() -> None:
    """The dearer host is left, and two replicas of it are started anew on the cheaper."""
    hosts = (machine("dear", 4, price=2.0), machine("cheap", 4, price=1.0))
    problem = Problem((WRITE,), (chain("write", load_rps=15.0),), hosts, "cost", running={(0, 0, 0): 2})
    found = optimise(problem)
    assert found is not None
    assert {h for _, _, h in found.counts} == {1}


@examples(60)
@given(problems(), st.data())
def test_of_the_best_plans_the_one_that_keeps_most_is_found(problem: Problem, data: st.DataObject) -> None:
    keys = [
        (e, c, h)
        for e, each in enumerate(problem.needs)
        for c, option in enumerate(each.options)
        for h, host in enumerate(problem.hosts)
        if fits(option.configuration, host)
    ]
    running = {key: data.draw(st.integers(0, 2)) for key in keys}
    problem = replace(problem, running={key: count for key, count in running.items() if count})
    allowed = [(score, counts) for counts in _allocations(problem) if (score := score_of(problem, counts))]
    found = optimise(problem)
    if not allowed:
        assert found is None
        return
    assert found is not None
    best = max((*score[:-1], -moved(running, counts), score[-1]) for score, counts in allowed)
    score = score_of(problem, found.counts)
    assert score is not None
    assert (*score[:-1], -moved(running, found.counts), score[-1]) == pytest.approx(best, rel=1e-5)


def test_large_problems_keep_what_runs_where_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LARGE", 0)
    hosts = tuple(machine(f"h{at}", 4, price=1.0) for at in range(6))
    running = {(0, 0, 4): 4, (0, 0, 5): 4}
    problem = Problem((WRITE,), (chain("write", load_rps=60.0),), hosts, "cost", give_up=GIVE_UP, running=running)
    found = optimise(problem)
    assert found is not None
    assert found.rate >= 1.0
    assert moved(running, found.counts) == 0


def test_what_stays_keeps_its_name_and_its_devices() -> None:
    problem = Problem((need("write", on_gpu("write", 100.0)),), (chain("write"),), (machine("one", 1, 4),))
    former = plan_of(problem, {(0, 0, 0): 4}).replicas[2:]
    assert [(one.id, one.devices) for one in former] == [("write-2", (2,)), ("write-3", (3,))]
    now = place(problem, {(0, 0, 0): 3}, former)
    assert [(one.id, one.devices) for one in now] == [("write-2", (2,)), ("write-3", (3,)), ("write-0", (0,))]


def test_devices_are_given_out_anew_where_what_stays_is_in_the_way() -> None:
    """Halves of two devices run; a whole one needs one of them."""
    problem = Problem(
        (need("half", on_gpu("half", 100.0, gpus=0.5)), need("whole", on_gpu("whole", 100.0))),
        (chain("half", "whole"),),
        (machine("one", 1, 2),),
    )
    halves = [changed(one, devices=(at,)) for at, one in enumerate(place(problem, {(0, 0, 0): 2}))]
    now = {one.id: one.devices for one in place(problem, {(0, 0, 0): 2, (1, 0, 0): 1}, halves)}
    assert now == {"half-0": (1,), "half-1": (1,), "whole-0": (0,)}


def test_what_has_other_settings_or_no_host_any_more_does_not_stay() -> None:
    problem = Problem((WRITE,), (chain("write"),), (machine("one", 4), machine("two", 4)))
    plan = plan_of(problem, {(0, 0, 0): 1, (0, 1, 1): 2})
    assert with_running(problem, staying(plan, application(problem))).running == {(0, 0, 0): 1, (0, 1, 1): 2}
    assert with_running(replace(problem, hosts=problem.hosts[1:]), plan.replicas).running == {(0, 1, 0): 2}
    cut = replace(problem, needs=(replace(WRITE, options=WRITE.options[:1]),))
    assert with_running(cut, plan.replicas).running == {(0, 0, 0): 1}
    other = changed(plan, engines={"write": changed(plan.engines["write"], settings={"model": "another"})})
    assert staying(other, application(problem)) == ()


def test_changes_are_counted() -> None:
    problem = Problem((WRITE,), (chain("write"),), (machine("one", 4), machine("two", 4)))
    before, after = plan_of(problem, {(0, 0, 0): 2}), plan_of(problem, {(0, 0, 0): 1, (0, 1, 1): 2})
    found = changes(before, changed(after, sources={"app.rag": "sha256:1"}))
    assert found.replicas == (Change("one", "write", "1 core", 2, 1, 1), Change("two", "write", "2 cores", 0, 2, 0))
    assert (found.stay, found.started, found.stopped) == (1, 2, 1)
    assert found.sources == ("app.rag",)
    assert found.pipelines == (("p", before.predicted["p"], after.predicted["p"]),)
    same = changes(after, after)
    assert (same.replicas, same.stay, same.started, same.stopped, same.sources) == ((), 3, 0, 0, ())
    other = changed(before, engines={"write": changed(before.engines["write"], settings={"model": "another"})})
    assert changes(before, other).replicas == (Change("one", "write", "1 core", 2, 2, 0),)


def test_a_command_plans_on_and_says_what_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "old.json"
    assert run([*QUICKSTART, "--out", str(old)]) == FINE
    capsys.readouterr()
    assert run([*QUICKSTART, "--from", str(old), "--diff", str(old)]) == FINE
    out = capsys.readouterr().out
    assert "4 stay, 0 are started, 0 are stopped." in out
    assert "What changes" not in out
    plan = msgspec.json.decode(old.read_bytes())
    gone, *plan["replicas"] = plan["replicas"]
    plan["predicted"]["quickstart"]["throughput_rps"] = 99.0
    old.write_bytes(msgspec.json.encode(plan))
    assert run([*QUICKSTART, "--diff", str(old)]) == FINE
    out = " ".join(capsys.readouterr().out.split())
    assert "3 stay, 1 are started, 0 are stopped." in out
    assert "99 rps →" in out
    assert "Figures by data sheet or for a modest core" in out, "what is said of the plan alone is said here too"
    assert f"laptop {gone['engine']}" in out


def test_a_plan_that_is_stale_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By what is in its files, wherever they lie, and by the hosts that are gone."""
    source, hosts, old = tmp_path / "quickstart.rag", tmp_path / "hosts.toml", tmp_path / "old.json"
    text, inventory = Path(QUICKSTART[1]).read_text(), Path(LAPTOP[1]).read_text()
    assert run([*QUICKSTART, "--out", str(old)]) == FINE

    def said(program: str, machines: str) -> str:
        source.write_text(program)
        hosts.write_text(machines)
        capsys.readouterr()
        assert run(["plan", str(source), "--inventory", str(hosts), "--from", str(old)]) == FINE
        return capsys.readouterr().err

    changed, gone = "was planned before these changed: quickstart.rag", "hosts that the inventory lacks: laptop"
    fresh = said(text, inventory)
    assert changed not in fresh
    assert gone not in fresh
    assert changed in said(text.replace("0.02 rps", "0.01 rps"), inventory)
    assert gone in said(text, inventory.replace('"laptop"', '"desk"'))


@pytest.mark.parametrize("option", ["--from", "--diff"])
def test_a_plan_that_cannot_be_read_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    path = tmp_path / "old.json"
    for text, code in ((None, "E0730"), ("{}", "E0730"), (f'{{"format_version": {FORMAT_VERSION + 1}}}', "E0731")):
        if text is not None:
            path.write_text(text)
        assert run([*QUICKSTART, option, str(path)]) == DIAGNOSTICS
        assert code in capsys.readouterr().err


def test_a_comparison_is_no_document(tmp_path: Path) -> None:
    assert run([*QUICKSTART, "--diff", str(tmp_path / "old.json"), "--format", "json"]) == USAGE


def test_a_host_that_has_less_than_it_had_is_no_place_for_all_that_ran() -> None:
    """Two ran on two cores; the host has one now, and the other host takes the second."""
    hosts = (Host("less", 1, 64.0), Host("same", 1, 64.0, (Gpu("l4", 1),)))
    problem = Problem((WRITE,), (chain("write", load_rps=12.0),), hosts, "cost", running={(0, 0, 0): 2})
    found = optimise(problem)
    assert found is not None
    assert found.counts == {(0, 0, 0): 1, (0, 0, 1): 1}
