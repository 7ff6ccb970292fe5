"""Whole plans in virtual time: shares, deadlines, determinism, and what can be said exactly."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import msgspec
import pytest

from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.behaviour import Ask, Behaviour, Size, text_of
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.scenario import Coming
from harmonia_compiler.emulate.simulate import simulation as of_simulation
from harmonia_compiler.emulate.simulate.request import Request
from harmonia_compiler.emulate.simulate.simulation import Simulation
from harmonia_compiler.emulate.simulate.worked import Worked
from harmonia_compiler.emulate.times import CORE_CV
from harmonia_compiler.emulate.uses import Usage
from harmonia_compiler.kinds.openai import has_turns, messages
from harmonia_compiler.policy import line
from harmonia_compiler.policy.door import Knock
from harmonia_compiler.policy.journey import Journey
from harmonia_compiler.policy.limit import Limit
from harmonia_compiler.policy.parts import ALL
from harmonia_compiler.policy.pipeline import Promise
from harmonia_compiler.policy.schedule import Ending, Schedule
from harmonia_compiler.profile.serving import Stepping, serving
from harmonia_compiler.profile.steps import StepLoad, run_ms
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.observation import Outcome
from tests.emulate.planned import Asked
from tests.emulate.simulate.conftest import Simulated

SAMPLES = sorted((Path(__file__).parents[3] / "samples").glob("*.rag"))

CORRECTIVE = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component grade(question: text) -> "yes" | "no" = model("Is this clear? {question}", max_tokens: 4)
component rewrite(question: text) -> text ~ 20 tokens = model("Say it better: {question}", max_tokens: 40)
component answer(question: text) -> text ~ 100 tokens = model("Answer: {question}", max_tokens: 300)

pipeline ask(question: text ~ 40 tokens) -> text {
    load 5 rps
    if grade(question) == "no" ~ 0.3 { question = rewrite(question) }
    return stream answer(question)
}
"""


def poisson(rate_rps: float, count: int, pipeline: str) -> Iterator[Coming]:
    rng, at_ms = random.Random(5), 0.0
    for number in range(count):
        at_ms += rng.expovariate(rate_rps / 1000.0)
        yield Coming(number, at_ms, pipeline, {"question": text_of(f"question {number}", 40.0)})


def within(ms: int) -> str:
    """The pipeline with a deadline."""
    return CORRECTIVE.replace("    load", f"    slo p95 latency <= {ms} ms\n    load", 1)


def run(simulation: Simulation, coming: Iterator[Coming]) -> list[Request]:
    seen: list[Request] = []
    simulation.run(coming, lambda request, _: seen.append(request))
    return seen


def test_branches_are_taken_as_often_as_the_user_expects(simulated: Simulated) -> None:
    simulation = simulated(CORRECTIVE)
    asked: Counter[str] = Counter()

    class Counting(Behaviour):
        def answer(self, ask: Ask) -> tuple[Value, Size]:
            asked[ask.component.name] += 1
            return super().answer(ask)

    given = simulation.scenario
    counting = Counting(given.behaviour.outcomes, given.behaviour.kinds, given.behaviour.draws)
    simulation.scenario = replace(given, behaviour=counting)
    requests = run(simulation, poisson(5.0, 2000, "ask"))
    assert {request.outcome for request in requests} == {Outcome.OK}
    assert asked["grade"] == asked["answer"] == 2000
    # Three standard deviations of 2,000 draws.
    assert asked["rewrite"] / 2000 == pytest.approx(0.3, abs=3 * math.sqrt(0.3 * 0.7 / 2000))


MIXED = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component short(question: text) -> bool = model("Is this short? {question}", max_tokens: 4)
component brief(question: text) -> text ~ 200 tokens = model("In brief: {question}", max_tokens: 600)
component answer(question: text) -> text ~ 200 tokens = model("Answer: {question}", max_tokens: 600)

pipeline ask(question: text ~ 40 tokens) -> text {
    slo p50 ttft <= 900 ms
    load 2 rps
    if short(question) ~ 0.4 { return brief(question) }
    return stream answer(question)
}
"""


def test_each_return_streams_or_not_for_itself(simulated: Simulated) -> None:
    """The first piece of what leaves as a whole is all of it, in a simulation as in a plan."""
    simulation = simulated(MIXED)
    requests = run(simulation, poisson(2.0, 400, "ask"))
    took: dict[str, list[tuple[float, float]]] = {"brief": [], "answer": []}
    for request in requests:
        assert request.first_ms is not None
        assert request.ended_ms is not None
        took[request.stages[-1].component].append((request.first_ms, request.ended_ms))
    assert len(took["brief"]) == pytest.approx(0.4 * len(requests), abs=40)
    assert all(first == ended for first, ended in took["brief"])
    assert all(first < ended for first, ended in took["answer"])
    predicted = simulation.scenario.plan.predicted["ask"]
    streamed = simulated(MIXED.replace("return brief", "return stream brief")).scenario.plan.predicted["ask"]
    # Two in five answers leave as a whole, and so the slowest twentieth of first pieces are ends.
    assert predicted.ttft_ms > 0.8 * predicted.latency_ms
    assert streamed.ttft_ms < 0.2 * streamed.latency_ms


def test_the_same_seed_gives_the_same_run_and_another_one_another(simulated: Simulated) -> None:
    def times(seed: int) -> list[tuple[int, float | None, float | None]]:
        requests = run(simulated(CORRECTIVE, seed), poisson(20.0, 200, "ask"))
        return [(request.number, request.first_ms, request.ended_ms) for request in requests]

    assert times(1) == times(1)
    assert times(1) != times(2)


def test_a_request_alone_takes_its_steps_and_the_overhead_of_its_calls(simulated: Simulated) -> None:
    source = CORRECTIVE.replace('    if grade(question) == "no" ~ 0.3 { question = rewrite(question) }\n', "")
    simulation = simulated(source, overhead_ms=2.5)
    (request,) = run(simulation, poisson(1.0, 1, "ask"))
    replica = simulation.scenario.plan.replicas[0]
    found = serving(simulation.scenario.service.engines[replica.engine], replica.config, simulation.cards)
    assert isinstance(found, Stepping)
    coming = next(poisson(1.0, 1, "ask"))
    program = simulation.scenario.service.programs["ask"]
    called = program.components["answer"]
    asked = Asked(called, called.settings, [dict(coming.arguments)], many=False, request=0)
    _, size = simulation.scenario.behaviour.answer(asked)
    prompt, answer = round(size.work.prompt_tokens), round(size.work.output_tokens)
    first = 2.5 + found.steps.request_ms + found.steps.step_ms(StepLoad(prompt, prompt * prompt / 2))
    assert request.first_ms == pytest.approx(request.arrived_ms + first)
    rest = run_ms(found.steps, StepLoad(decodes=1, decode_context=prompt + 1), answer - 1)
    assert request.ended_ms == pytest.approx(request.arrived_ms + first + rest)


@pytest.mark.parametrize("rate_rps", [5.0, 60.0, 400.0])
def test_steps_taken_at_once_end_when_they_end_one_by_one(
    simulated: Simulated, rate_rps: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = run(simulated(within(900)), poisson(rate_rps, 150, "ask"))
    monkeypatch.setattr(Scheduler, "repeats", lambda *_: 0)
    one_by_one = run(simulated(within(900)), poisson(rate_rps, 150, "ask"))
    ends = [{request.number: request for request in run_} for run_ in (at_once, one_by_one)]
    for number in range(150):
        one, other = (run_[number] for run_ in ends)
        assert one.outcome == other.outcome
        assert one.ended_ms == pytest.approx(other.ended_ms, rel=1e-6)
        assert (one.first_ms or 0.0) == pytest.approx(other.first_ms or 0.0, rel=1e-6)


def test_a_deadline_ends_a_request_and_frees_its_replica(simulated: Simulated) -> None:
    simulation = simulated(within(1000))
    requests = run(simulation, poisson(2000.0, 3000, "ask"))
    counts = Counter(request.outcome for request in requests)
    assert sum(counts.values()) == 3000
    # Most of such a rush are refused; of those let in, the deadline ends some.
    assert counts[Outcome.LATE] > 10
    assert counts[Outcome.REFUSED] > 1000
    assert all(request.ended_ms - request.arrived_ms <= 1000.0 + 1e-6 for request in requests if request.ended_ms)
    # Whoever comes after the rush finds nothing left of it.
    alone = run(simulated(CORRECTIVE), poisson(0.01, 1, "ask"))[0]
    later = [*poisson(2000.0, 3000, "ask")]
    last = msgspec.structs.replace(later[0], at_ms=60_000.0)
    ended = run(simulation, iter([*later, last]))[-1]
    assert ended.outcome is Outcome.OK
    assert ended.ended_ms is not None
    assert alone.ended_ms is not None
    assert ended.ended_ms - ended.arrived_ms < 5 * (alone.ended_ms - alone.arrived_ms)


@pytest.mark.slow
def test_python_on_one_core_waits_as_pollaczek_and_khinchine_say(simulated: Simulated) -> None:
    simulation = simulated(
        'component f(question: text) -> text = python("code:f", takes: 20 ms, cores: 1, max_replicas: 1)\n'
        "pipeline ask(question: text) -> text {\n    load 1 rps\n    return f(question)\n}\n"
    )
    requests = run(simulation, poisson(35.0, 20_000, "ask"))
    spent = [(request.ended_ms or 0.0) - request.arrived_ms for request in requests]
    wait = 0.7 / 0.3 * (1.0 + CORE_CV**2) / 2.0 * 20.0
    assert fmean(spent) == pytest.approx(20.0 + wait, rel=0.1)


def test_a_burst_beyond_what_may_wait_is_refused(simulated: Simulated) -> None:
    simulation = simulated(
        'component f(question: text) -> text = python("code:f", takes: 1 s, cores: 1, max_replicas: 1)\n'
        "pipeline ask(question: text) -> text {\n    load 1 rps\n    return f(question)\n}\n"
    )
    counts = Counter(request.outcome for request in run(simulation, poisson(1e6, 100, "ask")))
    assert counts == {Outcome.OK: 65, Outcome.REFUSED: 35}


def test_a_call_takes_what_its_replica_works_on_it_and_the_wait_is_told_apart(simulated: Simulated) -> None:
    simulation = simulated(
        'component f(question: text) -> text = python("code:f", takes: 1 s, cores: 1, max_replicas: 1)\n'
        "pipeline ask(question: text) -> text {\n    load 0.1 rps\n    return f(question)\n}\n"
    )
    requests = run(simulation, (Coming(number, 0.0, "ask", {"question": "?"}) for number in range(10)))
    stages = sorted((one.stages[0] for one in requests), key=lambda stage: stage.queue_ms)
    worked_ms = [stage.service_ms for stage in stages]
    # One after the other: each waits for those before it.
    assert [stage.queue_ms for stage in stages] == pytest.approx([sum(worked_ms[:at]) for at in range(10)])
    assert sum(worked_ms) == pytest.approx(max(one.ended_ms or 0.0 for one in requests))


@pytest.mark.parametrize("each", ["f(word)", "g(f(word))"])
def test_a_long_list_at_one_replica_is_answered_and_a_burst_of_them_is_not(simulated: Simulated, each: str) -> None:
    source = f"""
component words(question: text) -> [text ~ 9 tokens] ~ 100 = python("code:words", takes: 1 ms, max_replicas: 1)
component f(question: text) -> text ~ 9 tokens = python("code:f", takes: 10 ms, cores: 1, max_replicas: 1)
component g(question: text) -> text ~ 9 tokens = python("code:g", takes: 10 ms, cores: 1, max_replicas: 1)

pipeline ask(question: text) -> [text] {{
    load 0.1 rps
    return each word in words(question): {each}
}}
"""
    simulation = simulated(source)
    assert {request.outcome for request in run(simulation, poisson(0.1, 20, "ask"))} == {Outcome.OK}
    counts = Counter(request.outcome for request in run(simulation, poisson(1e6, 100, "ask")))
    assert counts == {Outcome.OK: 64, Outcome.REFUSED: 36}


def test_who_came_first_is_not_refused_in_its_middle_for_who_came_later(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "WAITING_AT_LEAST", 4)
    monkeypatch.setattr(line, "WAITING_PER_SLOT", 1)
    simulation = simulated("""
component f(question: text) -> text = python("code:f", takes: 1 s, cores: 1, max_replicas: 1)
component g(question: text) -> text = python("code:g", takes: 9 s, cores: 1, max_replicas: 1)

pipeline ask(question: text) -> text {
    load 0.01 rps
    repeat up to 2 { question = g(f(question)) }
    return question
}

pipeline other(question: text) -> text {
    load 0.1 rps
    return f(question)
}
""")
    rush = [Coming(number, 3000.0 + 10.0 * number, "other", {"question": "?"}) for number in range(1, 2000)]
    requests = run(simulation, iter([Coming(0, 0.0, "ask", {"question": "?"}), *rush]))
    outcomes = {request.number: request.outcome for request in requests}
    counts = Counter(outcomes.values())
    assert outcomes[0] is Outcome.OK
    assert counts[Outcome.REFUSED] > 1000


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_runs(sample: Path, simulated: Simulated) -> None:
    simulation = simulated(sample)
    for name, program in simulation.scenario.service.programs.items():
        given = {one.name: one.default for one in program.parameters if one.default is not msgspec.UNSET}
        given |= {"urgency": "batch"} if name == "desk" else {}
        given |= {"question": text_of("question", 15.0)}
        given |= {"history": [{"role": "user", "text": "before"}]} if name == "chat" else {}
        coming = (Coming(number, 60_000.0 * number, name, given) for number in range(20))
        assert {request.outcome for request in run(simulation, coming)} == {Outcome.OK}


def test_replicas_are_as_busy_as_they_are_within_the_window(simulated: Simulated) -> None:
    simulation = simulated(CORRECTIVE)
    coming = [*poisson(5.0, 20, "ask")]
    last_ms = coming[-1].at_ms + 60_000.0

    def worked(window: Window | None) -> Worked:
        simulation.window = window
        return simulation.run(iter(coming), lambda *_: None).worked

    whole, warm_up, later = worked(None), worked(Window(0.0, last_ms)), worked(Window(last_ms, last_ms + 1000.0))
    assert sum(use.busy_ms for use in whole.done.values()) > 0.0
    assert sum(use.calls for use in whole.done.values()) > len(coming)
    assert warm_up.done == whole.done
    assert set(later.done.values()) == {Usage(0.0, 0)}
    assert (warm_up.whole_ms, later.whole_ms) == (last_ms, 1000.0)
    half_ms = coming[-1].at_ms / 2.0
    halves = worked(Window(0.0, half_ms)), worked(Window(half_ms, last_ms))
    for name, use in whole.done.items():
        assert sum(one.done[name].busy_ms for one in halves) == pytest.approx(use.busy_ms)
        assert sum(one.done[name].calls for one in halves) == use.calls


def test_a_call_whose_prompt_and_answer_may_not_fit_is_refused_as_by_an_engine(simulated: Simulated) -> None:
    """vLLM refuses by the most tokens that are asked for, however few the answer would have."""
    source = CORRECTIVE.replace('Llama-3.2-3B-Instruct")', 'Llama-3.2-3B-Instruct", max_model_len: 360)')
    simulation = simulated(source)
    long, short = (text_of("question", tokens) for tokens in (100.0, 20.0))
    coming = [Coming(at, 10_000.0 * at, "ask", {"question": said}) for at, said in enumerate((long, short))]
    refused, answered = run(simulation, iter(coming))
    assert (refused.outcome, answered.outcome) == (Outcome.FAILED, Outcome.OK)
    assert "leaves no room for an answer of 300 in 360" in refused.reason


@pytest.mark.parametrize("system", ["", 'system: "Be brief.", '])
def test_a_conversation_without_a_turn_is_refused_as_by_an_engine(simulated: Simulated, system: str) -> None:
    simulation = simulated(f"""
component small = llm("meta-llama/Llama-3.2-3B-Instruct")
component talk(before: [message]) -> text ~ 5 tokens = small({system}max_tokens: 10)
pipeline ask(before: [message ~ 20 tokens] ~ 1) -> text {{
    load 1 rps
    return talk(before)
}}
""")
    said: list[list[Value]] = [[], [{"role": "user", "text": "And now?"}]]
    coming = [Coming(at, 10_000.0 * at, "ask", {"before": turns}) for at, turns in enumerate(said)]
    empty, answered = run(simulation, iter(coming))
    assert answered.outcome == Outcome.OK
    assert empty.outcome == (Outcome.OK if system else Outcome.FAILED)
    assert system or "at least one turn" in empty.reason
    component = simulation.scenario.service.programs["ask"].components["talk"]
    given: list[dict[str, Value]] = [{"before": turns} for turns in said]
    assert [has_turns(component, one) for one in given] == [bool(messages(component, one)) for one in given]


@pytest.mark.parametrize("caught", [True, False])
def test_a_call_has_the_time_that_its_component_gives_it(*, caught: bool, simulated: Simulated) -> None:
    """As in the gateway: from when it wants a replica, and then it has failed."""
    otherwise = ' else "Ask again later."' if caught else ""
    source = f"""
    component f(question: text) -> text ~ 20 tokens = python("code:f", takes: 900 ms, timeout: 400 ms)
    pipeline ask(question: text) -> text {{
        load 0.1 rps
        return f(question){otherwise}
    }}
    """
    requests = run(simulated(source), poisson(0.1, 40, "ask"))
    late = [one for one in requests if one.outcome is Outcome.LATE]
    quick = [one for one in requests if one.ended_ms is not None and one.ended_ms - one.arrived_ms < 400.0]
    assert {one.outcome for one in requests} == {Outcome.OK} if caught else len(late) + len(quick) == len(requests)
    assert len(quick) < len(requests) / 2
    assert max(one.ended_ms - one.arrived_ms for one in requests if one.ended_ms is not None) == pytest.approx(400.0)
    assert {one.reason for one in late} == (set() if caught else {"504 component_timeout"})
    # A call that is cut has kept its replica busy until then.
    assert [[stage.component for stage in one.stages] for one in requests] == [["f"]] * len(requests)


def test_a_call_that_is_given_up_counts_as_made(simulated: Simulated) -> None:
    """As in the gateway: for the report and for the controller, whose expected visits count it too."""
    source = """
    component f(question: text) -> text ~ 20 tokens = python("code:f", takes: 900 ms)
    component g(question: text) -> text ~ 20 tokens = python("code:g", takes: 5 ms)
    pipeline ask(question: text) -> text {
        load 0.1 rps
        return f(question) within 300 ms else g(question)
    }
    """
    requests = run(simulated(source), poisson(0.1, 40, "ask"))
    made = Counter(stage.component for one in requests for stage in one.stages)
    assert made["f"] == len(requests)
    assert made["g"] > len(requests) / 2
    assert max(stage.service_ms for one in requests for stage in one.stages) == pytest.approx(300.0)


@pytest.mark.parametrize(
    ("returned", "deadline_ms", "said"),
    [
        ("f(question)", 300.0, "504 deadline_exceeded"),
        ("stream answer(question)", 300.0, "deadline_exceeded, in mid-answer"),
        ("f(question) within 50 ms", None, "504 value_late"),
    ],
)
def test_who_is_late_is_told_so_in_the_gateways_words(
    simulated: Simulated, returned: str, deadline_ms: float | None, said: str
) -> None:
    simulation = simulated(f"""
    component model = llm("meta-llama/Llama-3.2-3B-Instruct")
    component f(question: text) -> text ~ 20 tokens = python("code:f", takes: 400 ms)
    component answer(question: text) -> text ~ 100 tokens = model("Answer: {{question}}", max_tokens: 300)
    pipeline ask(question: text) -> text {{
        load 0.1 rps
        return {returned}
    }}
    """)
    # A deadline that no plan would promise.
    service = simulation.scenario.service
    hasty = {name: msgspec.structs.replace(one, deadline_ms=deadline_ms) for name, one in service.programs.items()}
    simulation.scenario = replace(simulation.scenario, service=msgspec.structs.replace(service, programs=hasty))
    simulation.parts = ALL.without(("admission", "shedding"))
    late = [one for one in run(simulation, poisson(0.1, 50, "ask")) if one.outcome is not Outcome.OK]
    assert {(one.outcome, one.reason) for one in late} == {(Outcome.LATE, said)}


def test_a_call_that_its_own_time_ends_in_mid_answer_was_late_for_the_schedule(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the gateway: it has failed, and yet it tells how long requests take."""
    told: list[Ending] = []

    class Telling(Schedule):
        def end(self, journey: Journey, now: float, ending: Ending) -> None:
            told.append(ending)
            super().end(journey, now, ending)

    monkeypatch.setattr(of_simulation, "Schedule", Telling)
    requests = run(
        simulated(CORRECTIVE.replace("tokens: 300", "tokens: 300, timeout: 400 ms")), poisson(0.1, 20, "ask")
    )
    cut = [one for one in requests if one.reason == "component_timeout, in mid-answer"]
    assert len(cut) > 5
    assert {one.outcome for one in cut} == {Outcome.FAILED}
    assert told.count("late") == len(cut)


def test_requests_wait_at_the_door_for_a_place_as_in_the_gateway(
    simulated: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Schedule] = []
    waited: list[Journey] = []

    class Kept(Schedule):
        def knock(
            self,
            program: Program,
            promise: Promise,
            now: float,
            let_in: Callable[[Journey], object],
            refused: Callable[[], object],
        ) -> Knock:
            def kept(journey: Journey) -> None:
                waited.append(journey)
                let_in(journey)

            made.append(self)
            return super().knock(program, promise, now, kept, refused)

    monkeypatch.setattr(of_simulation, "Schedule", Kept)
    monkeypatch.setattr(Limit, "ended", lambda limit, *_: setattr(limit, "most", 4.0))
    requests = run(simulated(within(8000)), poisson(40.0, 800, "ask"))
    assert len({one.number for one in requests}) == len(requests) == 800
    assert len(waited) > 50
    assert all(journey.since_s > journey.arrived_s for journey in waited)
    # Its promise counts from when it came.
    assert all(one.ended_ms is not None and one.ended_ms - one.arrived_ms <= 8000.0 for one in requests)
    refused = [one for one in requests if one.outcome is Outcome.REFUSED]
    assert refused
    assert {one.reason for one in refused} == {"429 overloaded"}
    schedule, pipeline = made[0], made[0].pipelines["ask"]
    assert (schedule.at_door, pipeline.under_way(), pipeline.at_work()) == (0, 0, 0)
