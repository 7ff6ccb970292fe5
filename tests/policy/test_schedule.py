"""Who is let in, in which order calls go, and what is learned: one engine, or two in a row, in told time."""

import math
from contextlib import nullcontext

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint, ExpectedCalls, ExpectedRequest, ReplicaShare
from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.program import Call, Parameter, Program, RequestClass
from harmonia_compiler.contract.types import Text
from harmonia_compiler.policy.certain import certain_calls
from harmonia_compiler.policy.events import Send
from harmonia_compiler.policy.line import Line
from harmonia_compiler.policy.lookahead import START
from harmonia_compiler.policy.parts import NONE, Parts
from harmonia_compiler.policy.pipeline import UNPROMISED_S, Promise, promise_of
from harmonia_compiler.policy.schedule import LIKELY, Hopeless, Schedule, Stopped

COMPONENTS = {name: Component(name, "python", name, (Port("q", Text()),), Text()) for name in ("find", "say")}
PROGRAM = Program(
    "ask",
    (),
    Text(),
    (Parameter("q"), Call("find", ("q",), (0,)), Call("say", ("q",), (1,))),
    2,
    COMPONENTS,
    streams=True,
)
EXPECTED = {"ask": {"find": ExpectedCalls(1.0, 100.0), "say": ExpectedCalls(1.0, 900.0)}}
REQUESTS = {"ask": ExpectedRequest(1000.0, {"find": 1.0, "say": 1.0})}
FIND, SAY = Send(1, "find", {}, {}, site=1), Send(2, "say", {}, {}, site=2)


def made(places: int = 1, parts: Parts | None = None, replicas: int = 1) -> Schedule:
    lines: dict[str, Line[object]] = {}
    for name in COMPONENTS:
        lines[name] = Line(ReplicaShare(places), {})
        lines[name].set_replicas([Endpoint(f"{name}-{at}", name, "", 0) for at in range(replicas)])
    return Schedule(lines, EXPECTED, Parts() if parts is None else parts, requests=REQUESTS)


def serve(schedule: Schedule, at: float, find_s: float, say_s: float, wait_s: float = 0.0) -> None:
    """A request that nobody else hinders but that waits in front of each call."""
    journey = schedule.arrive(PROGRAM, Promise(), at)
    now = at
    for send, takes in ((FIND, find_s), (SAY, say_s)):
        leg = schedule.ask(journey, send, now)
        now += wait_s
        schedule.works(leg, now)
        now += takes
        schedule.ends(leg, now)
    schedule.end(journey, now, "answered")


def busy(schedule: Schedule, engine: str, now: float) -> None:
    """Let somebody take every place of an engine."""
    line = schedule.lines[engine]
    while line.ask(now) is not None:
        pass


def test_what_lies_ahead_is_at_first_what_the_plan_expects() -> None:
    schedule = made()
    leg = schedule.ask(schedule.arrive(PROGRAM, Promise(10.0), 5.0), SAY, 5.0)
    assert schedule.standing(leg).hopeless_at == pytest.approx(15.0 - 0.9, rel=0.01)


@pytest.mark.parametrize("wait_s", [0.0, 3.0])
def test_what_lies_ahead_is_learned_without_the_waits(wait_s: float) -> None:
    schedule = made()
    for number in range(100):
        serve(schedule, 10.0 * number, 0.2, 2.0, wait_s)
    journey = schedule.arrive(PROGRAM, Promise(10.0), 5000.0)
    before, after = (schedule.ask(journey, send, 5000.0).ahead for send in (FIND, SAY))
    assert before.whole.at(LIKELY) == pytest.approx(2.2, rel=0.1)
    assert after.whole.at(LIKELY) == pytest.approx(2.0, rel=0.1)
    assert {engine: mean.value for engine, mean in before.calls.items()} == pytest.approx({"find": 1.0, "say": 1.0})
    assert before.after_s["say"].value == pytest.approx(0.2, rel=0.1)


def test_a_call_that_was_cut_off_had_its_place_as_well() -> None:
    schedule = made()
    journey = schedule.arrive(PROGRAM, Promise(60.0), 0.0)
    before = schedule.lines["say"].seconds_for(1.0)
    for number in range(100):
        leg = schedule.ask(journey, SAY, 30.0 * number)
        schedule.works(leg, 30.0 * number)
        schedule.ends(leg, 30.0 * number + 20.0)
    schedule.end(journey, 3000.0, "late")
    assert before < 1.0
    assert schedule.lines["say"].seconds_for(1.0) == pytest.approx(20.0, rel=0.1)


def test_of_who_was_late_without_an_answer_it_is_learned_that_more_lay_ahead() -> None:
    schedule = made()
    for number in range(50):
        serve(schedule, 100.0 * number, 0.1, 2.0)
    before = schedule.pipeline(PROGRAM).lookahead.at(START).whole.at(0.9)
    for number in range(200):
        at = 2e5 + 100.0 * number
        journey = schedule.arrive(PROGRAM, Promise(), at)
        leg = schedule.ask(journey, SAY, at)
        schedule.works(leg, at)
        schedule.ends(leg, at + 9.0)
        schedule.end(journey, at + 9.0, "late")
    assert schedule.pipeline(PROGRAM).lookahead.at(START).whole.at(0.9) > before + 2.0


def test_all_calls_of_a_request_have_its_number_and_who_came_later_a_greater_one() -> None:
    schedule = made()
    journeys = [schedule.arrive(PROGRAM, promise, 0.0) for promise in (Promise(), Promise(60.0), Promise())]
    legs = [schedule.ask(journey, send, 1.0) for send in (SAY, FIND) for journey in journeys]
    assert [schedule.standing(leg).request for leg in legs] == [1, 2, 3, 1, 2, 3]


def test_what_is_pending_goes_back_to_nothing() -> None:
    schedule = made()
    for number in range(50):
        serve(schedule, float(number), 0.1, 0.9)
    left = schedule.arrive(PROGRAM, Promise(), 100.0)
    leg = schedule.ask(left, FIND, 100.0)
    schedule.works(leg, 100.0)
    schedule.waits(leg, 101.0)
    schedule.ends(leg, 102.0)
    schedule.ends(leg, 102.0)
    schedule.end(left, 102.0, "broken")
    (group,) = schedule.pipelines["ask"].groups.values()
    assert all(calls == pytest.approx(0.0, abs=1e-9) for calls in group.pending.values())


def test_who_would_be_late_is_refused_and_told_when_to_come_back() -> None:
    schedule = made()
    busy(schedule, "say", 0.0)
    let_in = 0
    with pytest.raises(Hopeless) as refused:  # noqa: PT012 - some one of them
        for _ in range(100):
            schedule.arrive(PROGRAM, Promise(5.0), 0.0)
            let_in += 1
    # The engine takes 0.9 s for each, one after the other, and each works for a second.
    assert let_in == 4
    assert refused.value.retry_after_s == 1
    schedule.arrive(PROGRAM, Promise(10.0), 0.0)


def test_calls_that_another_generation_has_at_the_same_replicas_count_as_well() -> None:
    schedule, other = made(), made()
    for each in (schedule, other):
        each.lines["say"].pool.occupied = schedule.lines["say"].pool.occupied
        each.lines["say"].set_replicas([Endpoint("say-0", "say", "127.0.0.1", 1)])
    schedule.end(schedule.arrive(PROGRAM, Promise(1.5), 0.0), 0.0, "broken")
    busy(other, "say", 0.0)
    with pytest.raises(Hopeless):
        schedule.arrive(PROGRAM, Promise(1.5), 0.0)


@pytest.mark.parametrize("replicas", [1, 2])
def test_calls_that_wait_in_another_generation_for_the_same_replicas_count_as_well(replicas: int) -> None:
    schedule, other = made(), made(parts=NONE)
    both = [schedule, other]
    say = [Endpoint(f"say-{at}", "say", "127.0.0.1", 1 + at) for at in range(2)]
    schedule.beside = other.beside = both
    for each in both:
        each.lines["say"].pool.occupied = schedule.lines["say"].pool.occupied
    schedule.lines["say"].set_replicas(say[:1])
    other.lines["say"].set_replicas(say[:replicas])
    for _ in range(6):
        other.ask(other.arrive(PROGRAM, Promise(5.0), 0.0), SAY, 0.0)
    busy(other, "say", 0.0)
    # Six wait there, each for most of a second; where the other one has two replicas, half of them for this one.
    with pytest.raises(Hopeless) if replicas == 1 else nullcontext():
        schedule.arrive(PROGRAM, Promise(5.0), 0.0)
    both.remove(other)
    schedule.arrive(PROGRAM, Promise(5.0), 0.0)


def test_nobody_is_refused_where_nobody_waits_however_much_was_expected() -> None:
    schedule = made(places=2)
    schedule.arrive(PROGRAM, Promise(0.1), 0.0)


def test_without_admission_everybody_is_let_in() -> None:
    schedule = made(parts=NONE)
    busy(schedule, "say", 0.0)
    for _ in range(100):
        schedule.arrive(PROGRAM, Promise(1.0), 0.0)


def test_those_who_have_yet_to_come_count_as_those_who_wait() -> None:
    schedule, let_in = made(places=8), []
    with pytest.raises(Hopeless):  # noqa: PT012 - some one of them
        for _ in range(100):
            let_in += [schedule.arrive(PROGRAM, Promise(4.0), 0.0)]
    # Eight at once, each for 0.9 s, and all of it in 4 s.
    assert 20 <= len(let_in) <= 36
    for journey in let_in:
        schedule.end(journey, 0.0, "broken")
    schedule.arrive(PROGRAM, Promise(4.0), 0.0)


def test_calls_that_a_request_makes_one_after_the_other_keep_nobody_waiting_while_there_are_places() -> None:
    components = {
        name: Component(name, "python", "find", (Port("q", Text()),), Text()) for name in ("a", "b", "c", "d")
    }
    calls = [Call(name, ("q",), (at,)) for at, name in enumerate(components)]
    chain = Program("chain", (), Text(), (Parameter("q"), *calls), 4, components, streams=True)
    schedule = made(places=8)
    for number in range(100):
        journey = schedule.arrive(chain, Promise(5.0), float(number))
        for name in components:
            leg = schedule.ask(journey, Send(1, name, {}, {}), float(number))
            schedule.works(leg, float(number))
            schedule.ends(leg, number + 1.0)
        schedule.end(journey, float(number), "answered")
    # Each makes four calls of a second, one after the other: eight of them do not wait for each other.
    for _ in range(8):
        schedule.arrive(chain, Promise(5.0), 1000.0)
    # Others wait for these, longer than they may.
    with pytest.raises(Hopeless):  # noqa: PT012 - some one of them
        for _ in range(8):
            schedule.arrive(chain, Promise(5.0), 1000.0)


def test_who_waits_for_a_replica_is_not_at_work_and_makes_nobody_slower() -> None:
    schedule = made()
    (first, second) = (schedule.arrive(PROGRAM, Promise(60.0), 0.0) for _ in range(2))
    pipeline = first.pipeline
    assert (pipeline.under_way(), pipeline.at_work()) == (2, 2)
    legs = [schedule.ask(journey, SAY, 0.0) for journey in (first, second)]
    assert pipeline.at_work() == 0
    schedule.works(legs[0], 0.0)
    assert (pipeline.under_way(), pipeline.at_work()) == (2, 1)
    pipeline.limit.most = 2.0
    third = schedule.arrive(PROGRAM, Promise(60.0), 0.0)
    with pytest.raises(Hopeless, match="2 requests are being worked on"):
        schedule.arrive(PROGRAM, Promise(60.0), 0.0)
    for leg in legs:
        schedule.ends(leg, 1.0)
    for journey in (first, second, third):
        schedule.end(journey, 1.0, "broken")
    assert (pipeline.under_way(), pipeline.at_work()) == (0, 0)


def test_a_class_of_greater_weight_is_refused_last() -> None:
    schedule = made()
    busy(schedule, "say", 0.0)
    light, heavy = Promise(5.0, weight=1.0), Promise(5.0, weight=4.0)
    with pytest.raises(Hopeless):  # noqa: PT012 - some one of them
        for _ in range(100):
            schedule.arrive(PROGRAM, light, 0.0)
    schedule.arrive(PROGRAM, heavy, 0.0)
    with pytest.raises(Hopeless):  # noqa: PT012 - some one of them
        for _ in range(100):
            schedule.arrive(PROGRAM, heavy, 0.0)


def test_a_class_with_more_time_is_still_let_in_and_waits_behind_the_others() -> None:
    schedule = made()
    busy(schedule, "say", 0.0)
    hurried, patient = Promise(5.0), Promise(60.0)
    for _ in range(20):
        schedule.arrive(PROGRAM, patient, 0.0)
    schedule.arrive(PROGRAM, hurried, 0.0)


def standing_order(schedule: Schedule, promise: Promise, at: float, send: Send = SAY) -> float:
    leg = schedule.ask(schedule.arrive(PROGRAM, promise, at), send, at)
    return schedule.standing(leg).order


def test_the_least_slack_goes_first() -> None:
    schedule = made()
    assert standing_order(schedule, Promise(3.0), 0.0) < standing_order(schedule, Promise(9.0), 0.0)
    assert standing_order(schedule, Promise(9.0), 0.0) < standing_order(schedule, Promise(9.0), 1.0)
    assert standing_order(schedule, Promise(9.0, weight=3.0), 1.0) < standing_order(schedule, Promise(9.0), 0.0)
    # What is promised of the first piece may be what is short.
    assert standing_order(schedule, Promise(9.0, first_s=1.0), 0.0) < standing_order(schedule, Promise(3.0), 0.0)


@pytest.mark.parametrize("within_s", [10.0, 0.5])
def test_a_greater_weight_goes_first_also_where_no_slack_is_left(within_s: float) -> None:
    schedule = made()
    for number in range(50):
        serve(schedule, 10.0 * number, 0.1, 2.0)
    heavy, light = (standing_order(schedule, Promise(within_s, weight=weight), 1e4) for weight in (4.0, 1.0))
    assert heavy < light


def test_who_was_promised_nothing_comes_to_its_turn_with_time() -> None:
    schedule = made()
    waits = standing_order(schedule, Promise(), 0.0)
    assert standing_order(schedule, Promise(5.0), 0.0) < waits
    assert standing_order(schedule, Promise(5.0), UNPROMISED_S) > waits


def test_a_first_piece_that_has_left_is_no_promise_any_more() -> None:
    schedule = made()
    journey = schedule.arrive(PROGRAM, Promise(9.0, first_s=1.0), 0.0)
    first = schedule.standing(schedule.ask(journey, SAY, 0.0)).order
    schedule.first(journey, 0.5)
    assert schedule.standing(schedule.ask(journey, SAY, 0.5)).order > first


def test_without_shedding_no_call_is_given_up_and_without_slack_all_are_equal() -> None:
    schedule = made(parts=NONE)
    leg = schedule.ask(schedule.arrive(PROGRAM, Promise(1.0), 5.0), SAY, 5.0)
    assert (schedule.standing(leg).order, schedule.standing(leg).hopeless_at) == (0.0, math.inf)


def test_a_request_whose_component_has_no_replica_is_refused_as_it_comes() -> None:
    schedule = made()
    schedule.lines["say"].set_replicas([])
    with pytest.raises(Stopped) as stopped:
        schedule.arrive(PROGRAM, Promise(), 0.0)
    assert (stopped.value.component, str(stopped.value)) == ("say", "no replica of its engine `say` is running")


def test_a_promise_is_the_class_s_before_the_pipeline_s() -> None:
    promised = msgspec.structs.replace(PROGRAM, deadline_ms=4000.0)
    assert promise_of(promised, None, streams=True) == Promise(4.0)
    assert promise_of(promised, RequestClass("urgent", 1500.0, 3.0), streams=False) == Promise(1.5, weight=3.0)
    assert promise_of(promised, RequestClass("calm"), streams=False) == Promise(4.0)


def test_the_calls_of_every_path_are_certain() -> None:
    assert certain_calls(PROGRAM) == {"find": "find", "say": "say"}


#: What the engines carry a second by the plan.
CARRIED = {"find": 40.0, "say": 10.0}


def least(request: ExpectedRequest) -> float:
    """How many may be worked on in any case."""
    lines: dict[str, Line[object]] = {}
    for name in COMPONENTS:
        lines[name] = Line(ReplicaShare(8), {f"{name}-0": ReplicaShare(8, CARRIED[name])})
        lines[name].set_replicas([Endpoint(f"{name}-0", name, "", 0)])
    schedule = Schedule(lines, EXPECTED, requests={"ask": request})
    return schedule._least(schedule.pipeline(PROGRAM))


def test_as_many_may_be_worked_on_in_any_case_as_half_of_what_the_plan_has_at_work() -> None:
    assert least(ExpectedRequest(1000.0, {"find": 1.0, "say": 1.0})) == pytest.approx(0.5 * 10.0)
    # What carries least decides, by how often it is called for each request, for others meanwhile as well.
    assert least(ExpectedRequest(1000.0, {"find": 8.0, "say": 1.0})) == pytest.approx(0.5 * 5.0)
    # One of which the plan does not say how long it takes, as of somebody else's service, carries what it may.
    assert least(ExpectedRequest(1000.0, {"find": 8.0})) == pytest.approx(0.5 * 5.0)
    assert least(ExpectedRequest(250.0, {"say": 1.0})) == pytest.approx(0.5 * 2.5)
    # A bundle that somebody wrote may name what it does not have.
    assert least(ExpectedRequest(1000.0, {"say": 1.0, "sing": 1e9})) == pytest.approx(0.5 * 10.0)
    assert least(ExpectedRequest(1000.0, {})) == 0.0


def test_what_the_plan_has_at_work_follows_the_shares_of_the_replicas() -> None:
    schedule = made()
    pipeline = schedule.pipeline(PROGRAM)
    before = schedule._least(pipeline)
    for name, line in schedule.lines.items():
        line.set_shares({f"{name}-0": ReplicaShare(1, 3.0)})
    assert schedule._least(pipeline) == pytest.approx(3.0 * before)
