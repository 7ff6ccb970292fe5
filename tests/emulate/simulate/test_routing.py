"""The simulator routes as the gateway does: told the same of calls and answers, by the same code."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec

from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.behaviour import Ask, Behaviour, Size
from harmonia_compiler.emulate.scenario import Coming
from harmonia_compiler.emulate.simulate.service import Job
from harmonia_compiler.emulate.simulate.simulation import Simulation
from harmonia_compiler.report.observation import Outcome
from tests.emulate.simulate.conftest import Simulated

CONVERSING = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(before: text, question: text) -> text ~ 20 tokens = model("{before} {question}", max_tokens: 40)

pipeline ask(before: text ~ 40 tokens, question: text ~ 40 tokens) -> text {
    load 1 rps
    return answer(before, question)
}
"""
WALKING = """
component walk(question: text) -> text ~ 20 tokens = python("code:walk", takes: 40 ms)

pipeline ask(question: text ~ 20 tokens) -> text {
    load 1 rps
    return walk(question)
}
"""


def with_replicas(simulation: Simulation, *configs: Configuration) -> Simulation:
    """The simulation with one replica for each of these configurations, none of which the plan prefers."""
    given = simulation.scenario
    (usual, *_) = given.plan.replicas
    made = tuple(msgspec.structs.replace(usual, id=f"replica-{at}", config=config) for at, config in enumerate(configs))
    plan = msgspec.structs.replace(given.plan, replicas=made)
    service = msgspec.structs.replace(given.service, shares={one.id: ReplicaShare(8) for one in made})
    simulation.scenario = replace(given, plan=plan, service=service)
    return simulation


def taken(simulation: Simulation, arguments: Callable[[int], Mapping[str, Value]]) -> list[tuple[int, str]]:
    """The numbers of requests that come one after the other, with the replica that took the call of each."""
    found = list[tuple[int, str]]()

    class Watched(Behaviour):
        def answer(self, ask: Ask) -> tuple[Value, Size]:
            assert isinstance(ask, Job)
            assert ask.endpoint is not None
            found.append((ask.request, ask.endpoint.replica))
            return super().answer(ask)

    given = simulation.scenario
    usual = given.behaviour
    simulation.scenario = replace(given, behaviour=Watched(usual.outcomes, usual.kinds, usual.draws))
    coming = (Coming(number, 1000.0 * number, "ask", arguments(number)) for number in range(200))
    outcomes = set[Outcome | None]()
    simulation.run(coming, lambda request, _: outcomes.add(request.outcome))
    assert outcomes == {Outcome.OK}
    return found


def test_calls_that_begin_alike_go_to_the_same_replica(simulated: Simulated) -> None:
    simulation = simulated(CONVERSING)
    (usual, *_) = simulation.scenario.plan.replicas
    by_beginning: dict[int, Counter[str]] = defaultdict(Counter)
    for number, replica in taken(
        with_replicas(simulation, *[usual.config] * 4),
        lambda number: {"before": f"beginning {number % 10} ", "question": f"and {number}"},
    ):
        by_beginning[number % 10][replica] += 1
    # But for a few, whose replica has just been much slower than another.
    own = [replicas.most_common(1)[0] for replicas in by_beginning.values()]
    assert sum(count for _, count in own) > 0.9 * 200, by_beginning
    assert len({replica for replica, _ in own}) > 1


def test_a_replica_whose_answers_take_much_longer_gets_fewer_calls(simulated: Simulated) -> None:
    simulation = simulated(WALKING)
    (usual, *_) = simulation.scenario.plan.replicas
    fast, slow = (msgspec.structs.replace(usual.config, cores=cores) for cores in (1.0, 0.25))
    found = Counter(
        replica
        for _, replica in taken(
            with_replicas(simulation, fast, slow), lambda number: {"question": f"question {number}"}
        )
    )
    assert found["replica-1"] < 0.2 * found.total()
