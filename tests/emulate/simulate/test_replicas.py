"""How long replicas take for calls that they work on together, how busy they are, and what requests were promised."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.behaviour import text_of
from harmonia_compiler.emulate.scenario import Coming
from harmonia_compiler.emulate.simulate.request import Request
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.emulate.simulate.simulation import Simulation
from harmonia_compiler.emulate.uses import Further, Usage, engine_uses
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.policy.parts import PLAIN
from harmonia_compiler.profile.serving import Passing, Threads, serving
from harmonia_compiler.report.document import EngineUse
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until
from harmonia_compiler.workload.request import Arrival
from tests.emulate.planned import planned_for
from tests.emulate.simulate.conftest import Simulated

PYTHON = """
component f(question: text) -> text = python("code:f", takes: 20 ms, cores: 2, max_replicas: 1)
pipeline ask(question: text) -> text {
    load 1 rps
    return f(question)
}
"""


def run(simulation: Simulation, coming: Iterable[Coming]) -> dict[int, Request]:
    seen: dict[int, Request] = {}
    simulation.run(coming, lambda request, _: seen.update({request.number: request}))
    return seen


def test_engines_are_as_busy_as_their_calls_make_them_by_the_plan(tmp_path: Path) -> None:
    source = PYTHON.replace("max_replicas: 1", "max_replicas: 2").replace("load 1 rps", "load 60 rps")
    plan = planned_for(tmp_path, source).plan
    names = [one.id for one in plan.replicas]
    assert len(names) == 2
    profiles = tuple(msgspec.structs.replace(one, capacity_rps=80.0) for one in plan.profiles)
    plan = msgspec.structs.replace(plan, profiles=profiles)
    # A replica that is planned for 80 calls a second would be busy for 80 % of the time.
    done = {names[0]: Usage(500.0, 60), names[1]: Usage(100.0, 20)}
    (use,) = engine_uses(plan, done, 2000.0)
    assert use == EngineUse(use.engine, 2, calls_rps=40.0, most_rps=200.0, utilisation=0.2, working=0.15)
    # One more that was there for half of the time.
    more = Further(use.engine, ("more",), 1000.0)
    (use,) = engine_uses(plan, {**done, "more": Usage(400.0, 20)}, 2000.0, [more])
    assert use == EngineUse(use.engine, 2, calls_rps=50.0, most_rps=250.0, utilisation=0.2, working=0.2)
    (use,) = engine_uses(plan, {names[0]: Usage(9000.0, 1000)}, 2000.0)
    assert (use.utilisation, use.working) == (2.5, 1.0)
    (use,) = engine_uses(msgspec.structs.replace(plan, profiles=()), done, 2000.0)
    assert use == EngineUse(use.engine, 2, calls_rps=40.0, most_rps=None, utilisation=None, working=0.15)


def test_threads_work_for_as_long_as_they_are_busy_and_a_model_for_longer(tmp_path: Path) -> None:
    """The part of the time that the plan says, of calls as they come; only of threads is it that with any work."""
    source = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(question: text) -> text ~ 100 tokens = model("Answer: {question}", max_tokens: 300)
component f(question: text ~ 100 tokens) -> text = python("mine.py:f", takes: 40 ms, max_replicas: 1)
pipeline ask(question: text ~ 100 tokens) -> text {
    load 1 rps
    return f(answer(question))
}
"""
    planned = planned_for(tmp_path, source)
    carried = planned.plan.predicted["ask"].throughput_rps
    window = Window(10_000.0, 110_000.0)
    for part in (0.3, 0.9):
        arrivals = until(poisson(carried * part, 1), window.to_ms)
        report = simulate(planned, arrivals, window, load_cards(), {}, parts=PLAIN).report
        uses = {use.engine: use for use in report.engines}
        for engine, planned_part in planned.plan.utilisation.items():
            assert uses[engine].utilisation == pytest.approx(planned_part * part, rel=0.05)
        assert uses["f"].working == pytest.approx(uses["f"].utilisation, rel=0.05)
        # In the mean over its calls, hardly a moment is without one.
        assert uses["model"].working > 0.9


def test_a_pass_of_an_encoder_takes_as_long_as_all_that_is_in_it(simulated: Simulated) -> None:
    simulation = simulated("""
component base = embedder("BAAI/bge-base-en-v1.5", max_replicas: 1)
component search = milvus("docs", embedder: base, top_k: 2)
pipeline ask(question: text ~ 200 tokens) -> [passage] {
    load 50 rps
    return search(question)
}
""")
    replica = next(one for one in simulation.scenario.plan.replicas if one.engine == "base")
    found = serving(simulation.scenario.service.engines["base"], replica.config, simulation.cards)
    assert isinstance(found, Passing)
    assert found.batch > 2
    # Two that come while the first is worked on go together. They are so long that a pass takes longer for both.
    texts = [{"question": text_of("q", tokens)} for tokens in (400.0, 300.0, 500.0)]
    coming = [Coming(at, 1.0 if at else 0.0, "ask", given) for at, given in enumerate(texts)]
    requests = run(simulation, coming)
    first, *others = (requests[at].stages[0] for at in range(3))
    one, two, three = (Work(encoded_tokens=tokens, encoded_items=1.0) for tokens in (400.0, 300.0, 500.0))
    assert found.passes.ms([two, three]) > found.passes.ms([three]) + 0.5
    assert first.service_ms == pytest.approx(found.passes.ms([one]))
    together = first.service_ms - 1.0 + found.passes.ms([two, three])
    assert [one.service_ms for one in others] == pytest.approx([together, together])


def test_python_on_two_cores_works_on_two_calls_at_once(simulated: Simulated) -> None:
    simulation = simulated(PYTHON)
    (replica,) = simulation.scenario.plan.replicas
    found = serving(simulation.scenario.service.engines[replica.engine], replica.config, simulation.cards)
    assert isinstance(found, Threads)
    assert found.threads == 2
    alone = [run(simulation, [Coming(number, 0.0, "ask", {"question": "?"})])[number] for number in range(2)]
    together = run(simulation, [Coming(number, 0.0, "ask", {"question": "?"}) for number in range(2)])
    assert [together[number].ended_ms for number in range(2)] == [one.ended_ms for one in alone]


def test_a_request_is_held_to_its_promise_about_the_first_text(tmp_path: Path) -> None:
    planned = planned_for(
        tmp_path,
        """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(question: text) -> text ~ 40 tokens = model("Answer: {question}", max_tokens: 90)
pipeline ask(question: text ~ 30 tokens) -> text {
    slo p50 latency <= 60 s, p50 ttft <= 900 ms
    load 1 rps
    return stream answer(question)
}
""",
    )
    flow = planned.application.flows[0]
    (one,) = simulate(planned, [Arrival(0.0)], Window(0.0, 1.0), load_cards(), {}).observed
    assert (one.deadline_ms, one.ttft_deadline_ms) == (60_000.0, 900.0)
    assert len(flow.objectives) == 2
