"""Lists that replicas share: how many calls each of them has, that a promise buys replicas, and beside simulation."""

from pathlib import Path

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.inventory import Gpu, Host, Inventory
from harmonia_compiler.contract.plan import Plan
from harmonia_compiler.emulate.scenario import scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.flow.graph import Application
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.plan.infeasible import Infeasible
from harmonia_compiler.plan.paces import lists, paced, share
from harmonia_compiler.plan.planner import make_plan
from harmonia_compiler.plan.problem import Pipeline, Problem, Promise, Step
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.sources import Sources
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until
from tests.plan.problems import machine, need, on_cores

SITE = Inventory((Host("a", 32, 256.0, (Gpu("l40s", 4),), 6.0),))
PROFILES = BestProfiles(sources=Sources())

LIST = """
component parts(question: text) -> [text ~ 15 tokens] ~ {items} = python("m:parts", takes: 5 ms)
component join(all: [text]) -> text ~ 20 tokens = python("m:join", takes: 2 ms)
{components}
pipeline p(question: text ~ 15 tokens) -> text {{
    slo p95 latency <= {bound} s
    load {load} rps
    found = each one in parts(question): {call}
    return join(found)
}}
"""
WORK = 'component work(q: text) -> text ~ 20 tokens = python("m:work", takes: 100 ms, cores: 1{more})'
WRITE = '''
component big = llm(model: "meta-llama/Llama-3.1-8B-Instruct", max_model_len: 8192{more})
component write(q: text) -> text ~ {tokens} tokens = big(max_tokens: 300, """
    Say it: {{q}}
    """)
'''


def application(folder: Path, items: int, components: str, call: str, load: float, bound: float = 600.0) -> Application:
    file = folder / "lists.rag"
    text = LIST.format(items=items, components=components, call=call, load=load, bound=bound)
    file.write_text(text, encoding="utf-8")
    checked = check_files([file])
    assert checked.application is not None, checked.found
    return optimise(checked.application)


def replicas(plan: Plan, engine: str) -> int:
    return sum(one.engine == engine for one in plan.replicas)


@pytest.mark.parametrize(
    ("calls", "count", "each"),
    [(0.5, 4, 0.5), (10.0, 1, 10.0), (10.0, 4, 3.0), (4.0, 4, 1.0), (3.0, 16, 1.0), (5.0, 4, 1.75)],
)
def test_each_replica_has_its_share(calls: float, count: int, each: float) -> None:
    assert share(calls, count) == pytest.approx(each)


def problem(calls: float = 8.0, **bounds: int) -> Problem:
    engine = need("work", on_cores("work", 100.0), **bounds)
    pipeline = Pipeline("p", 1.0, {"work": calls}, (Step("work", (), calls),), (), (Promise("latency", 0.95, 1e4),))
    return Problem((engine,), (pipeline,), (machine("box", 64),), "cost")


def test_lists_are_shared_by_what_there_must_be() -> None:
    assert paced(problem(), {}).pipelines == problem().pipelines
    assert paced(problem(minimum=4), {}).pipelines[0].steps[0].count == 2.5
    more = paced(problem(minimum=2), {"work": 4})
    assert (more.needs[0].minimum, more.pipelines[0].steps[0].count) == (4, 2.5)


def test_more_are_tried_where_a_promise_depends_on_them() -> None:
    assert [one.engine for one in lists(problem())] == ["work"]
    assert not lists(problem(1.0))
    assert not lists(problem(minimum=2, maximum=2))


def test_a_promise_buys_replicas(tmp_path: Path) -> None:
    """Twenty calls of a tenth of a second take two seconds on one core; for two thirds of one it takes several."""
    work = WORK.format(more="")
    free = make_plan(application(tmp_path, 20, work, "work(one)", 0.05), SITE, objective="cost", profiles=PROFILES)
    assert replicas(free, "work") == 1
    asked = application(tmp_path, 20, work, "work(one)", 0.05, bound=1.0)
    quick = make_plan(asked, SITE, objective="cost", profiles=PROFILES)
    assert replicas(quick, "work") >= 4
    assert quick.predicted["p"].latency_ms <= 1000.0
    few = application(tmp_path, 20, WORK.format(more=", max_replicas: 2"), "work(one)", 0.05, bound=1.0)
    with pytest.raises(Infeasible):
        make_plan(few, SITE, objective="cost", profiles=PROFILES)


def simulated_ms(application: Application, plan: Plan, load: float) -> float:
    """The p95 latency of some hundred requests at the load."""
    seconds = 600.0 / load
    window = Window(100.0 * seconds, 1000.0 * seconds)
    made = scenario(application, SITE, plan, 1)
    report = simulate(made, until(poisson(load, 1), window.to_ms), window, load_cards(), {}).report
    (latency,) = (one.figures.latency for one in report.groups if one.request_class is None)
    assert latency is not None
    return latency.p95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("items", "components", "call", "load"),
    [
        (10, WORK.format(more=", max_replicas: 1"), "work(one)", 0.7),
        (10, WORK.format(more=", max_replicas: 1"), "work(one)", 0.2),
        (10, WORK.format(more=", min_replicas: 3, max_replicas: 3"), "work(one)", 2.2),
        (4, WORK.format(more=", min_replicas: 4, max_replicas: 4"), "work(one)", 6.0),
        (30, WORK.format(more=", min_replicas: 2, max_replicas: 2"), "work(one)", 0.3),
        (4, WRITE.format(more="", tokens=80), "write(one)", 1.0),
        (16, WRITE.format(more="", tokens=10), "write(one)", 2.0),
        (30, WRITE.format(more="", tokens=40), "write(one)", 0.5),
        (10, WRITE.format(more=", min_replicas: 2, max_replicas: 2", tokens=100), "write(one)", 1.0),
    ],
)
def test_a_list_takes_about_as_long_as_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, items: int, components: str, call: str, load: float
) -> None:
    monkeypatch.setenv("HARMONIA_PROFILES", "roofline")
    asked = application(tmp_path, items, components, call, load)
    plan = make_plan(asked, SITE, objective="cost", profiles=PROFILES)
    assert 0.85 < plan.predicted["p"].latency_ms / simulated_ms(asked, plan, load) < 1.8
