"""How long replicas take for calls that they work on together, how busy they are, and what requests were promised."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.behaviour import text_of
from harmonia_compiler.emulate.scenario import Coming
from harmonia_compiler.emulate.simulate.request import Request
from harmonia_compiler.emulate.simulate.run import engine_uses, simulate
from harmonia_compiler.emulate.simulate.simulation import Simulation
from harmonia_compiler.emulate.simulate.steering import Further
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.profile.serving import Passing, Threads, serving
from harmonia_compiler.report.measures import Window
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


def test_engines_are_as_busy_as_their_replicas_are_on_average(tmp_path: Path) -> None:
    source = PYTHON.replace("max_replicas: 1", "max_replicas: 2").replace("load 1 rps", "load 60 rps")
    planned = planned_for(tmp_path, source)
    names = [one.id for one in planned.plan.replicas]
    assert len(names) == 2
    (use,) = engine_uses(planned, dict(zip(names, (500.0, 100.0), strict=True)), 1000.0)
    assert use.replicas == 2
    assert use.busy == pytest.approx(0.3)
    # One more that was there for half of the time.
    more = Further(use.engine, ("more",), 500.0)
    busy_ms = {**dict(zip(names, (500.0, 100.0), strict=True)), "more": 400.0}
    (use,) = engine_uses(planned, busy_ms, 1000.0, [more])
    assert use.replicas == 2
    assert use.busy == pytest.approx(0.4)


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
