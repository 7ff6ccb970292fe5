"""What the controller decides, by a virtual service: what it corrects, how soon, how often, and within which bounds."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.contract.readings import CallsRead, Readings, ReplicaRead, RequestsRead
from harmonia_compiler.policy.control import forecast, ratio
from harmonia_compiler.policy.control.counts import COLD_S, MOST_COLD_S, arrived, cold_s
from harmonia_compiler.policy.control.decide import begun, decide
from harmonia_compiler.policy.control.division import HOLD_S, MOST_HOLD_S, NoDivision
from harmonia_compiler.policy.control.planned import Planned
from harmonia_compiler.policy.control.state import Sizing, State
from tests.examples import examples
from tests.policy.control.virtual import CALL_S, CAPACITY_RPS, Service, by_speed, plan_of


@pytest.mark.parametrize("times", [3.0, 1 / 3])
def test_a_cost_model_that_is_wrong_by_three_times_is_corrected_within_thirty_seconds(times: float) -> None:
    rate = 2.0 * CAPACITY_RPS
    service = Service(plan_of(2, 1, 8), lambda _: rate, lambda _name, _now: times)
    service.windows(7)
    assert service.now <= 100.0 + 35.0  # the first reading is only there to be compared with
    assert service.state is not None
    learned = service.state.engines["llm"].value
    if times > 1.0:
        assert learned == pytest.approx(times, rel=0.2)
        assert service.state.sizes["llm"].count >= math.ceil(rate * times / CAPACITY_RPS * 0.8)
    else:
        # Replicas that are a third as busy as planned prove less, and never that they are slower.
        assert 1 / 3 <= learned < 0.8


def test_a_slow_replica_gets_fewer_calls_and_fewer_at_once() -> None:
    service = Service(plan_of(3, batch=8), lambda _: 60.0, lambda name, _: 10.0 if name == "llm-1" else 1.0)
    decision = service.windows(8)
    shares = decision.shares
    weights = sum(one.weight for one in shares.values())
    assert shares["llm-1"].weight / weights < 0.1
    assert shares["llm-1"].batch < shares["llm-0"].batch == 8
    assert any("`llm-1`" in one.why and "times what the plan says" in one.why for one in service.acted()[0].reasons)
    service.pace = lambda _name, _now: 1.0
    shares = service.windows(16).shares
    assert shares["llm-1"].weight == pytest.approx(shares["llm-0"].weight, rel=0.25)
    assert shares["llm-1"].batch == 8


def uneven(planned: Planned, pace: Callable[[str, int], float], rates: Mapping[str, float]) -> Service:
    """A service of 40 windows of 5 s in which each replica is routed so many calls a second, whatever its share."""
    service = Service(planned)
    calls, took = dict.fromkeys(rates, 0), dict.fromkeys(rates, 0.0)
    for window in range(40):
        service.now += 5.0
        for name, rate in rates.items():
            calls[name] += int(5.0 * rate)
            took[name] += 5.0 * rate * CALL_S * pace(name, window)
        total = sum(calls.values())
        service.look(
            Readings(
                "g",
                service.now,
                service.state.epoch if service.state else 0,
                requests=(RequestsRead("rag", "", total, total, total, {"say": total}, service.now),),
                calls=tuple(CallsRead("rag", "say", name, calls[name], 0, calls[name], took[name]) for name in rates),
                replicas=tuple(ReplicaRead(name, "llm", 0, routed=True) for name in rates),
            )
        )
    return service


def test_a_replica_that_is_given_more_is_not_taken_for_a_fast_one() -> None:
    # Planned for 64 calls a second and 6.4 at once; both are just so fast that each call takes longer by the crowd.
    service = uneven(
        plan_of(2, batch=8), lambda name, _: 1.9 if name == "llm-0" else 1.5, {"llm-0": 90.0, "llm-1": 65.0}
    )
    assert service.state is not None
    assert [service.state.replicas[name].value for name in ("llm-0", "llm-1")] == [1.0, 1.0]
    assert service.state.engines["llm"].value == 1.0
    assert service.acted() == []


def test_replicas_of_two_kinds_that_take_as_long_as_planned_are_left_alone() -> None:
    planned = plan_of(2, batch=8)
    engine = planned.engines["llm"]
    small, large = engine.replicas
    kinds = (
        replace(small, capacity_rps=30.0, share=ReplicaShare(8, 30.0), times=1.4),
        replace(large, capacity_rps=60.0, share=ReplicaShare(8, 60.0), times=0.6),
    )
    planned = replace(planned, engines={"llm": replace(engine, replicas=kinds)})
    # At half of what they carry.
    service = uneven(planned, lambda name, _: 1.4 if name == "llm-0" else 0.6, {"llm-0": 15.0, "llm-1": 30.0})
    assert service.state is not None
    assert [one.value for one in service.state.replicas.values()] == pytest.approx([1.0, 1.0])
    assert service.acted() == []


def test_chance_moves_no_share() -> None:
    lots = Random(1)
    by_chance: dict[tuple[str, int], float] = defaultdict(lambda: lots.lognormvariate(0.1, 0.12))
    names = ["llm-0", "llm-1", "llm-2"]
    service = uneven(plan_of(3, batch=8), lambda name, window: by_chance[name, window], dict.fromkeys(names, 20.0))
    assert service.acted() == []


def test_it_says_which_replica_the_gateway_leaves_out() -> None:
    service = Service(plan_of(2, batch=8), lambda _: 6.0)
    service.windows(2)
    assert not any("leaves it out" in one.why for one in service.decisions[-1].reasons)
    service.pass_time(5.0)
    read = service.readings()
    first, *others = read.replicas
    service.look(msgspec.structs.replace(read, replicas=(msgspec.structs.replace(first, left_out=True), *others)))
    (said,) = [one for one in service.decisions[-1].reasons if "leaves it out" in one.why]
    assert (said.about, said.acted) == ("llm", False)
    assert said.why.startswith(f"`{first.replica}`: ")


def test_the_parts_that_it_says_are_of_the_replicas_that_run() -> None:
    service = Service(plan_of(2, 2, 8), lambda _: 6.0, lambda name, _: 3.0 if name == "llm-1" else 1.0)
    service.windows(12)
    said = [one.why for decision in service.acted() for one in decision.reasons if one.acted]
    assert said
    assert {one.split("`")[1] for one in said} <= {"llm-0", "llm-1"}
    assert said[0].startswith("`llm-1` 50% → ")
    # Who joins later is taken to be as fast as its engine was.
    shares = service.decisions[-1].shares
    assert shares["llm-1"].weight < shares["llm-7"].weight < shares["llm-0"].weight
    assert sum(one.weight for one in shares.values()) == pytest.approx(8.0)


def test_one_that_was_taken_away_says_nothing_of_those_that_run() -> None:
    service = Service(plan_of(3, 1, 3, batch=8), lambda _: 6.0)
    service.windows(4)
    assert service.state is not None
    sizes = {"llm": replace(service.state.sizes["llm"], count=2)}
    service.state = replace(service.state, replicas={"llm-2": ratio.Ratio(0.2, 50.0)}, sizes=sizes)
    shares = service.windows(8).shares
    assert service.acted() == []
    assert shares.get("llm-0", ReplicaShare(8)).batch == 8, "the fastest is one that does not run"


def test_says_why_it_does_nothing() -> None:
    service = Service(plan_of(2, 1, 4), lambda _: 14.0)
    assert "first readings" in service.windows(1).reasons[0].why
    assert "no readings" in service.look(None).reasons[0].why
    assert "too few" not in service.windows(1).reasons[0].why
    reasons = service.decisions[-1].reasons
    assert [(one.about, one.acted) for one in reasons] == [("llm", False), ("", False)]
    assert "stays at 2: " in reasons[0].why
    assert "carry 16" in reasons[0].why
    assert service.acted() == []
    again = service.look(service.readings())
    assert "no newer" in again.reasons[0].why
    fixed = Service(plan_of(2), lambda _: 100.0)
    assert "not to be changed here" in fixed.windows(3).reasons[0].why
    for least in (1, 2):
        full = Service(plan_of(2, least, 2), lambda _: 100.0)
        assert "stays at 2, and there is no room for another: " in full.windows(3).reasons[0].why


def test_one_that_waits_for_its_turn_is_not_said_to_have_no_room() -> None:
    one = plan_of(2, 1, 4)
    expected = {"rag": {"say": one.expected["rag"]["say"], "check": one.expected["rag"]["say"]}}
    engines = {"llm": one.engines["llm"], "too": one.engines["llm"]}
    both = replace(one, engines=engines, expected=expected, engine_of={"rag": {"say": "llm", "check": "too"}})
    reasons = Service(both, lambda _: 100.0).windows(2).reasons
    assert [(reason.about, reason.acted) for reason in reasons[:2]] == [("llm", False), ("too", True)]
    assert "stays at 2 for now: another engine lacks more" in reasons[0].why


def test_goes_up_at_once_and_down_one_by_one_after_long() -> None:
    service = Service(plan_of(2, 1, 8), lambda now: 40.0 if 200.0 < now < 400.0 else 5.0)
    service.windows(20)
    assert service.now == 200.0
    before = [one.replicas["llm"] for one in service.decisions]
    service.windows(6)
    up = service.decisions[-1].replicas["llm"]
    assert 5 <= up <= 7, service.decisions[-1].reasons
    service.windows(34)
    assert service.now == 400.0
    count = len(service.decisions)
    service.windows(50)
    assert {one.replicas["llm"] for one in service.decisions[count:]} == {service.decisions[count].replicas["llm"]}
    service.windows(400)
    after = [one.replicas["llm"] for one in service.decisions[count:]]
    assert after[-1] == 1
    assert all(0 <= now - then <= 1 for then, now in zip(after[1:], after, strict=False))
    assert before[0] == 2
    assert any("have for long" in reason.why for one in service.acted() for reason in one.reasons)


@pytest.mark.slow
def test_what_comes_every_morning_is_ready_before_it_comes() -> None:
    def rate(now: float) -> float:
        return 30.0 if now % 86_400.0 > 30_600.0 else 2.0

    service = Service(plan_of(2, 1, 8), rate, cold_s=60.0, now=0.0)
    service.windows(86_400 // 60 + 60, 60.0)
    assert service.decisions[-1].replicas["llm"] == 1
    at = []
    while service.now < 86_400.0 + 30_600.0:
        service.windows(1, 60.0)
        if service.decisions[-1].replicas["llm"] >= 4:
            at.append(service.now)
    assert at, "nothing was there in the morning"
    assert at[0] < 86_400.0 + 30_600.0


def test_flapping_replicas_bring_at_most_one_change_in_each_hold() -> None:
    service = Service(
        plan_of(3, batch=4),
        lambda _: 60.0,
        lambda name, now: 8.0 if name == "llm-2" and int(now) % 8 < 4 else 1.0,
        present=lambda name, now: name != "llm-0" or int(now) % 2 == 0,
    )
    service.windows(120, 1.0)
    assert 1 <= len(service.acted()) <= 120.0 / HOLD_S + 1
    settled = len(service.acted())
    service.windows(300, 1.0)
    # What is changed again and again is held for longer each time.
    assert len(service.acted()) - settled <= 300.0 / MOST_HOLD_S + 1


def constant(value: float) -> Callable[[float], float]:
    return lambda _: value


def always(value: float) -> Callable[[str, float], float]:
    return lambda _name, _now: value


@given(
    st.lists(
        st.tuples(st.floats(0.0, 1e4), st.floats(0.01, 100.0), st.floats(0.0, 20.0), st.floats(1.0, 120.0)),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 3),
    st.integers(0, 4),
)
@examples(60)
def test_whatever_is_read_numbers_stay_between_floor_and_ceiling(
    seen: list[tuple[float, float, float, float]], least: int, more: int
) -> None:
    planned = plan_of(least + 1, least, least + 1 + more, batch=4)
    service = Service(planned)
    epoch = 0
    for rate, pace, visits, seconds in seen:
        service.rate, service.pace, service.visits = constant(rate), always(pace), visits
        before = service.state
        decision = service.windows(1, seconds)
        assert least <= decision.replicas["llm"] <= least + 1 + more
        assert epoch <= decision.epoch <= epoch + 1
        assert (decision.epoch > epoch) == any(one.acted for one in decision.reasons)
        assert all(one.why for one in decision.reasons)
        assert all(1 <= one.batch <= 4 for one in decision.shares.values())
        assert all(0.0 < one.weight <= least + more + 1.001 for one in decision.shares.values())
        if before is not None:
            _moves_little(before, service.state)
        epoch = decision.epoch


def _moves_little(before: State, after: State | None) -> None:
    """One window, however odd, moves nothing by more than a bounded step."""
    assert after is not None
    most = ratio.MOST_STEP * 1.0001
    known = [(one, after.engines[name]) for name, one in before.engines.items()]
    known += [(one, after.replicas[name]) for name, one in before.replicas.items()]
    known += [
        (one, after.visits[pipeline][name]) for pipeline, each in before.visits.items() for name, one in each.items()
    ]
    assert all(1 / most <= new.value / old.value <= most for old, new in known)
    for pipeline, old in before.forecasts.items():
        new = after.forecasts[pipeline]
        if old.level is not None:
            assert new.level is not None
            # Beyond that a window only confirms what the one before was doubted for.
            assert new.level <= max(forecast.MOST_STEP * old.level + forecast.LEAST_RPS, old.doubted)
            assert new.level >= old.level / forecast.MOST_STEP - forecast.LEAST_RPS


def test_one_odd_window_changes_no_number_that_the_next_would_change_back() -> None:
    service = Service(plan_of(3, 1, 6), lambda _: 20.0)
    service.windows(10)
    assert service.acted() == []
    service.pace = lambda _name, _now: 1e3
    service.windows(1)
    service.pace = lambda _name, _now: 1.0
    service.windows(20)
    assert max(one.replicas["llm"] for one in service.decisions) <= 5


def test_a_gateway_that_starts_anew_or_knows_a_later_epoch_is_followed() -> None:
    service = Service(plan_of(2, 1, 8), lambda _: 14.0)
    service.windows(3)
    anew = msgspec.structs.replace(service.readings(), gateway="h", at_s=1.0, epoch=7)
    decision = service.look(anew)
    assert "counts from the beginning" in decision.reasons[0].why
    assert decision.epoch == 7
    service.rate = lambda _: 100.0
    late = msgspec.structs.replace(anew, at_s=6.0, requests=(RequestsRead("rag", "", 9000, 9000, 210, {"say": 210}),))
    assert service.look(late).epoch == 8
    stale = msgspec.structs.replace(late, at_s=3.0)
    assert "no newer" in service.look(stale).reasons[0].why


def test_counts_that_go_backwards_are_not_believed() -> None:
    service = Service(plan_of(2, 1, 8), lambda _: 14.0)
    service.windows(3)
    known = service.state
    assert known is not None
    wrong = msgspec.structs.replace(service.readings(), at_s=service.now + 5.0, requests=(RequestsRead("rag"),))
    service.look(wrong)
    assert service.state is not None
    assert service.state.forecasts == known.forecasts


def test_keeps_the_shares_where_the_linear_program_finds_none() -> None:
    def none(_: object) -> dict[str, tuple[float, ...]]:
        raise NoDivision("it ended as infeasible")

    service = Service(plan_of(2), lambda _: 10.0)
    service.windows(2)
    service.pass_time(5.0)
    assert service.state is not None
    state, decision = decide(service.planned, service.state, service.readings(), service.now, 0.0, none)
    assert decision.shares == service.state.shares
    assert "it ended as infeasible" in decision.reasons[-1].why
    assert state.readings == service.readings()


def test_calls_that_wait_long_bring_another_replica_whatever_the_figures_say() -> None:
    service = Service(plan_of(2, 1, 4), lambda _: 5.0)
    service.windows(3)
    service.pass_time(5.0)
    said = service.readings()
    waits = tuple(
        CallsRead("rag", "say", one.replica, one.served, 0, one.items, one.service_s, 500.0) for one in said.calls
    )
    decision = service.look(msgspec.structs.replace(said, calls=waits, waiting={"llm": 9}))
    assert decision.replicas["llm"] == 3
    assert "calls wait for much longer than they take" in decision.reasons[0].why


def test_is_the_same_after_it_was_written_down_and_while_the_clock_begins_anew() -> None:
    service = Service(plan_of(2, 1, 8), lambda _: 30.0)
    service.windows(6)
    assert service.state is not None
    again = msgspec.json.decode(msgspec.json.encode(service.state), type=State)
    assert again == service.state
    rebooted = again.by(3.0)
    assert rebooted.at_s == 3.0
    assert rebooted.readings is None
    size, was = rebooted.sizes["llm"], service.state.sizes["llm"]
    assert size.changed_s is not None
    assert was.changed_s is not None
    assert 3.0 - size.changed_s == pytest.approx(service.now - was.changed_s)


def test_learns_how_long_a_replica_takes_to_come() -> None:
    service = Service(plan_of(2, 1, 8), lambda now: 14.0 if now < 130.0 else 40.0, cold_s=45.0)
    service.windows(40)
    assert service.state is not None
    learned = service.state.sizes["llm"].cold_s
    assert learned is not None
    assert 40.0 <= learned <= 60.0


def test_a_replica_is_taken_to_come_as_late_as_the_slowest_of_those_that_there_are() -> None:
    def read(name: str, engine: str, started_in_s: float | None) -> ReplicaRead:
        return ReplicaRead(name, engine, 0, routed=True, started_in_s=started_in_s)

    there = (read("llm-0", "llm", 40.0), read("llm-1", "llm", 90.0), read("llm-2", "llm", None), read("x", "x", 300.0))
    assert arrived(Sizing(3), "llm", there, 100.0).cold_s == 90.0
    assert arrived(Sizing(1), "x", (read("x", "x", 5000.0),), 100.0).cold_s == MOST_COLD_S
    assert cold_s(arrived(Sizing(1), "y", there, 100.0)) == COLD_S
    # What was seen of one that came later counts from then on.
    known = arrived(Sizing(3, changed_s=50.0, waits=True), "llm", there, 100.0)
    assert (known.cold_s, known.waits) == ((90.0 + 50.0) / 2.0, False)
    assert arrived(known, "llm", there, 110.0) == known
    assert arrived(known, "llm", (read("llm-3", "llm", 500.0),), 110.0) == known
    # Until then one that is ready later than the others counts too, and goes on to when it is away.
    first = arrived(Sizing(2), "llm", there[:1], 10.0)
    both = arrived(first, "llm", (*there[:1], read("llm-1", "llm", 200.0)), 20.0)
    assert (first.cold_s, both.cold_s) == (40.0, 200.0)
    assert arrived(both, "llm", there[:1], 30.0) == both


def test_a_decision_gives_shares_to_replicas_that_the_plan_does_not_have() -> None:
    service = Service(plan_of(2, 1, 4), lambda _: 14.0)
    assert service.windows(1).shares.keys() == {"llm-2", "llm-3"}


def test_a_correction_fades_where_nothing_is_heard() -> None:
    service = Service(plan_of(2), lambda _: 10.0, lambda _name, _now: 3.0)
    service.windows(10)
    assert service.state is not None
    before = service.state.engines["llm"].value
    service.rate = lambda _: 0.0
    service.windows(int(ratio.HALF_LIFE_S / 60.0) * 4, 60.0)
    after = service.state.engines["llm"].value
    assert before > 2.5
    assert 1.0 < after < 1.15
    assert replace(begun(service.planned), at_s=1.0).engines == {}


def test_readings_without_calls_divide_nothing() -> None:
    planned = plan_of(2)
    state = begun(planned)
    for at in (1.0, 6.0, 11.0):
        state, decision = decide(planned, state, Readings("g", at, 0), at, 0.0, by_speed)
        assert decision.epoch == 0
        assert decision.shares == {}
