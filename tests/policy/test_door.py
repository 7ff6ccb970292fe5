"""Who waits at the door for a place among those that are worked on, and who gets one; in told time."""

from dataclasses import dataclass, field

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.policy import schedule as of_schedule
from harmonia_compiler.policy.door import Knock, patience_s
from harmonia_compiler.policy.journey import Journey
from harmonia_compiler.policy.limit import Limit
from harmonia_compiler.policy.lookahead import START
from harmonia_compiler.policy.pipeline import Pipeline, Promise
from harmonia_compiler.policy.quantile import Quantiles
from harmonia_compiler.policy.schedule import Crowded, Hopeless, Schedule
from harmonia_compiler.policy.vacancies import LEAST_WORTH, Vacancies
from tests.policy.test_schedule import PROGRAM, SAY, busy, made

PROMISE = Promise(10.0)


class Fixed(Limit):
    """A limit that stays as it is, and keeps what it is told."""

    told: list[tuple[float, float]]

    def ended(self, met: object, left: object, part: float, worked: float, least: float = 1.0) -> None:
        self.told.append((part, worked))


@dataclass
class Full:
    """A service in which two are worked on, and may be; a second's work each, and twenty places come free a second."""

    schedule: Schedule = field(default_factory=lambda: made(places=100))
    at_work: list[Journey] = field(default_factory=list)
    let_in: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    journeys: dict[str, Journey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.limit = Fixed(most=2.0)
        self.limit.told = []
        self.pipeline.limit = self.limit
        for at in range(2000):
            self.pipeline.vacancies.freed(at / 20.0 - 100.0, 10.0, 1.0, empty=True)
        self.at_work = [self.schedule.arrive(PROGRAM, PROMISE, 0.0) for _ in range(2)]

    @property
    def pipeline(self) -> Pipeline:
        return self.schedule.pipeline(PROGRAM)

    def knock(self, name: str, at: float, promise: Promise = PROMISE) -> Knock:
        with pytest.raises(Crowded):
            self.schedule.arrive(PROGRAM, promise, at)

        def let_in(journey: Journey) -> None:
            self.let_in.append(name)
            self.journeys[name] = journey

        return self.schedule.knock(PROGRAM, promise, at, let_in, lambda: self.refused.append(name))

    def one_ends(self, at: float) -> None:
        self.schedule.end(self.at_work.pop(), at, "broken")


def test_who_finds_no_place_is_let_in_as_one_comes_free_and_counts_only_from_then_on() -> None:
    full = Full()
    full.knock("a", 1.0)
    assert (full.schedule.at_door, full.pipeline.at_work(), full.pipeline.under_way()) == (1, 2, 2)
    full.one_ends(3.0)
    assert (full.let_in, full.refused) == (["a"], [])
    assert (full.schedule.at_door, full.pipeline.at_work(), full.pipeline.under_way()) == (0, 2, 2)
    journey = full.journeys["a"]
    leg = full.schedule.ask(journey, SAY, 3.0)
    # Its promise counts from when it came, its work from when it was let in.
    assert full.schedule.standing(leg).hopeless_at == pytest.approx(11.0 - 0.9, rel=0.01)
    full.schedule.works(leg, 3.0)
    full.schedule.ends(leg, 4.0)
    full.schedule.end(journey, 4.0, "answered")
    assert journey.worked_s == pytest.approx(1.0)
    ((part, worked),) = full.limit.told
    assert part == pytest.approx(0.3)
    assert worked == pytest.approx(0.1)


def test_who_came_last_has_the_most_time_left_and_goes_first() -> None:
    full = Full()
    for at, name in enumerate("abc"):
        full.knock(name, 0.1 * at)
    full.one_ends(1.0)
    full.one_ends(1.1)
    assert full.let_in == ["c", "b"]
    assert full.schedule.at_door == 1


def test_a_class_of_greater_weight_goes_first_and_no_more_of_others_wait_than_get_a_place_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(of_schedule, "MOST_AT_DOOR", 2)
    full = Full()
    heavy = Promise(10.0, weight=4.0)
    # Of those at least as urgent nobody is worked on, so that two are let in before these wait.
    for _ in range(2):
        full.schedule.arrive(PROGRAM, heavy, 0.0)
    full.knock("heavy", 0.1, heavy)
    full.knock("light", 0.2)
    full.knock("lighter", 0.3)
    assert full.refused == ["light"]
    full.knock("heavier", 0.4, heavy)
    with pytest.raises(Hopeless, match="more wait for a place"):
        full.knock("light again", 0.5)
    full.pipeline.limit.most = 5.0
    full.one_ends(1.0)
    assert full.let_in == ["heavier", "heavy"]
    full.one_ends(1.1)
    assert full.let_in == ["heavier", "heavy", "lighter"]


def test_who_has_waited_too_long_is_refused_and_nobody_waits_longer() -> None:
    full = Full()
    early, late = full.knock("a", 0.0), full.knock("b", 5.0)
    # A second's work has to fit into what is left of ten.
    assert early.until_s == pytest.approx(9.0, abs=0.15)
    assert late.until_s == pytest.approx(14.0, abs=0.15)
    full.one_ends(9.5)
    assert (full.let_in, full.refused) == (["b"], ["a"])
    assert full.schedule.at_door == 0


def test_no_more_wait_than_get_a_place_in_time_and_who_came_first_gives_way() -> None:
    full = Full()
    for at in range(300):
        full.knock(str(at), 0.0)
    # Nine seconds, at twenty a second.
    assert full.schedule.at_door == pytest.approx(180, rel=0.05)
    assert full.refused == [str(at) for at in range(300 - full.schedule.at_door)]


@pytest.mark.parametrize("lull_s", [5.0, 60.0, 3600.0])
def test_after_a_lull_as_many_wait_as_those_at_work_will_free_a_place_for(lull_s: float) -> None:
    full = Full()
    for _ in range(2):
        full.one_ends(0.0)
    full.limit.most = 20.0
    full.at_work = [full.schedule.arrive(PROGRAM, PROMISE, lull_s) for _ in range(20)]
    for at in range(30):
        full.knock(str(at), lull_s)
    # Twenty who work for a second.
    assert (full.schedule.at_door, full.refused) == (30, [])
    assert full.schedule.place_after_s(PROGRAM, PROMISE, lull_s) == pytest.approx(31 / 20, rel=0.05)


def test_those_at_work_free_places_as_fast_as_ever_once_one_of_them_has_ended() -> None:
    full = Full()
    for _ in range(2):
        full.one_ends(0.0)
    full.limit.most = 20.0
    full.at_work = [full.schedule.arrive(PROGRAM, PROMISE, 60.0) for _ in range(20)]
    full.limit.most = 19.0
    full.one_ends(68.0)
    for at in range(30):
        full.knock(str(at), 68.0)
    assert (full.schedule.at_door, full.refused) == (30, [])


def test_after_a_lull_nobody_waits_longer_for_those_at_work_who_never_end() -> None:
    full = Full()
    for _ in range(2):
        full.one_ends(0.0)
    full.at_work = [full.schedule.arrive(PROGRAM, PROMISE, 60.0) for _ in range(2)]
    full.knock("a", 60.0)
    # Those who were promised nothing come and go beside them.
    full.schedule.end(full.schedule.arrive(PROGRAM, Promise(), 79.0), 79.5, "answered")
    # In nine seconds none of two comes free who have worked for twenty.
    with pytest.raises(Hopeless, match="than will get one in time") as refused:
        full.knock("b", 80.0)
    assert (full.refused, refused.value.retry_after_s) == (["a"], 10)


def test_nobody_waits_where_no_place_comes_free_or_where_no_time_is_left() -> None:
    full = Full()
    full.pipeline.vacancies = Vacancies()
    full.pipeline.vacancies.freed(0.0, 10.0, 1.0, empty=True)
    with pytest.raises(Hopeless, match="than will get one in time"):
        full.knock("a", 60.0)
    full = Full()
    with pytest.raises(Hopeless, match="than will get one in time"):
        full.knock("a", 0.0, Promise(1.0, weight=0.05))
    assert full.schedule.at_door == 0


def test_who_leaves_is_told_nothing_and_leaves_its_place_to_the_next() -> None:
    full = Full()
    first, second = full.knock("a", 0.0), full.knock("b", 0.1)
    for _ in range(2):
        full.schedule.leave(second)
    assert full.schedule.at_door == 1
    full.one_ends(1.0)
    assert (full.let_in, full.refused) == (["a"], [])
    full.schedule.leave(first)
    assert full.schedule.at_door == 0


def beside(full: Full) -> Schedule:
    """Another generation of the service, which has the same replicas, of one place each that takes a second."""
    other = made(places=1)
    full.schedule.beside = other.beside = [full.schedule, other]
    for engine, line in full.schedule.lines.items():
        (load,), (theirs,) = line.replicas.values(), other.lines[engine].replicas.values()
        theirs.places = load.places
        for _ in range(60):
            line.held_s.add(1.0)
    return other


def test_who_waits_for_another_generation_is_let_in_when_that_has_ended() -> None:
    full = Full(schedule=made(places=1))
    other = beside(full)
    full.limit.most = 0.0
    full.knock("a", 0.0, Promise(1.3))
    journey = other.arrive(PROGRAM, Promise(), 0.0)
    leg, taken = other.ask(journey, SAY, 0.0), other.lines["say"].ask(0.0)
    assert taken is not None
    other.works(leg, 0.0)
    full.limit.most = 2.0
    for _ in range(2):
        full.one_ends(0.1)
    # It would be late for what the other generation has, and of its own nobody is left to end.
    assert (full.let_in, full.pipeline.under_way()) == ([], 0)
    other.lines["say"].release(taken)
    other.ends(leg, 0.1)
    assert full.let_in == ["a"]


@pytest.mark.parametrize("urgency", [1.0, 4.0])
def test_who_waits_is_let_in_where_who_comes_is_though_others_keep_the_engines_busy(urgency: float) -> None:
    full = Full(schedule=made(places=2))
    unlimited = full.schedule.arrive(PROGRAM, Promise(), 0.0)
    for _ in range(2):
        leg = full.schedule.ask(unlimited, SAY, 0.0)
        assert full.schedule.lines["say"].ask(0.0) is not None
        full.schedule.works(leg, 0.0)
    full.limit.most = 0.0
    full.knock("a", 0.1, Promise(10.0, weight=urgency))
    full.limit.most = 2.0
    full.one_ends(0.2)
    assert full.let_in == ["a"]


def test_who_waits_is_let_in_where_others_that_were_promised_nothing_wait_before_it() -> None:
    full = Full(schedule=made(places=2))
    full.limit.most = 0.0
    full.knock("a", 0.0, Promise(100.0))
    full.limit.most = 9.0
    unlimited = full.schedule.arrive(PROGRAM, Promise(), 0.0)
    for _ in range(5):
        full.schedule.ask(unlimited, SAY, 0.0)
    for _ in range(2):
        full.one_ends(0.1)
    assert full.let_in == ["a"]


def test_who_has_waited_is_not_let_in_where_it_has_no_time_left_to_wait_for_others() -> None:
    full = Full(schedule=made(places=2))
    other = full.schedule.arrive(PROGRAM, Promise(), 0.0)
    for _ in range(2):
        leg = full.schedule.ask(other, SAY, 0.0)
        assert full.schedule.lines["say"].ask(0.0) is not None
        full.schedule.works(leg, 0.0)
    full.limit.most = 0.0
    full.knock("a", 0.0, Promise(2.0))
    full.limit.most = 9.0
    # A second's work fits into what is left, and half a second's wait does not.
    full.schedule.open(0.8)
    assert full.let_in == []
    full.schedule.open(0.3)
    assert full.let_in == ["a"]


def test_who_waits_and_is_more_urgent_gets_the_place_of_one_whose_call_waits_before_anybody_who_comes() -> None:
    full = Full()
    for _ in range(2):
        full.one_ends(0.0)
    heavy = Promise(10.0, weight=2.0)
    full.at_work = [full.schedule.arrive(PROGRAM, heavy, 0.0) for _ in range(2)]
    full.knock("heavy", 0.1, heavy)
    # It is not worked on until a replica takes its call.
    full.schedule.ask(full.at_work[0], SAY, 0.2)
    full.knock("light", 0.3)
    assert (full.let_in, full.schedule.at_door) == (["heavy"], 1)


def test_of_the_same_promise_who_comes_gets_the_place_of_one_whose_call_waits() -> None:
    full = Full()
    full.knock("a", 0.1)
    full.schedule.ask(full.at_work[0], SAY, 0.2)
    # It has more time left.
    full.schedule.arrive(PROGRAM, PROMISE, 0.3)
    assert (full.let_in, full.schedule.at_door) == ([], 1)


def test_who_waits_and_is_more_urgent_is_let_in_before_who_comes_once_there_are_more_replicas() -> None:
    full = Full(schedule=made(places=1))
    heavy = Promise(1.3, weight=2.0)
    full.limit.most = 0.0
    full.knock("heavy", 0.0, heavy)
    busy(full.schedule, "say", 0.0)
    full.limit.most = 3.0
    # There is a place, and no time to wait in front of the engine.
    full.schedule.open(0.0)
    assert full.let_in == []
    full.schedule.lines["say"].set_replicas(Endpoint(f"say-{at}", "say", "", 0) for at in range(9))
    full.knock("light", 0.1)
    assert (full.let_in, full.schedule.at_door) == (["heavy"], 1)


def test_a_place_is_given_though_others_of_the_same_pipeline_wait_in_front_of_an_engine() -> None:
    full = Full(schedule=made(places=1))
    busy(full.schedule, "say", 0.0)
    full.knock("a", 0.0)
    # Two calls before it, of a second each, and ten seconds' time.
    for journey in full.at_work:
        full.schedule.ask(journey, SAY, 0.0)
    full.schedule.open(0.1)
    assert full.let_in == ["a"]


@pytest.mark.parametrize(("needed", "worth"), [(1.0, 1.0), (0.75, 0.75), (0.0, LEAST_WORTH)])
def test_a_place_goes_to_who_has_as_much_of_its_chance_left_as_others_need_places(needed: float, worth: float) -> None:
    vacancies = Vacancies()
    for at in range(4000):
        vacancies.freed(0.1 * at, 6.0, 1.0, empty=at % 4 >= 4 * needed)
    assert vacancies.worth == pytest.approx(worth, abs=0.01)
    assert vacancies.coming(400.0, 3.0, 10) == pytest.approx(30.0, rel=0.05)
    assert vacancies.coming(400.0, -1.0, 10) == 0.0
    # Those at work would free half as many again: that is no lull.
    assert vacancies.coming(400.0, 3.0, 15) == pytest.approx(30.0, rel=0.05)


@pytest.mark.parametrize(("long_s", "short_s", "every"), [(60.0, 1.0, 20), (60.0, 2.0, 2), (6.0, 30.0, 3)])
def test_how_many_places_come_free_does_not_depend_on_what_the_last_one_was_promised(
    long_s: float, short_s: float, every: int
) -> None:
    vacancies = Vacancies()
    for at in range(8000):
        vacancies.freed(at / 20.0, short_s if at % every == 0 else long_s, 1.0, empty=True)
        if at > 4000:
            assert vacancies.coming(at / 20.0, 10.0, 1) == pytest.approx(200.0, rel=0.1)


def of(*values: float) -> Quantiles:
    """As many of each."""
    found = Quantiles()
    for _ in range(100):
        for value in values:
            found.add(value)
    return found


def test_one_waits_as_long_as_its_own_chance_allows_by_the_stricter_of_its_promises() -> None:
    half = of(1.0, 100.0)
    # It has one chance in two, and nine tenths of that until a second before its promise.
    assert patience_s([(10.0, half)], 0.9) == pytest.approx(9.0, abs=0.15)
    assert patience_s([(10.0, of(1.0)), (5.0, of(2.0))], 0.9) == pytest.approx(3.0, abs=0.25)
    assert patience_s([(5.0, of(2.0)), (None, of(9.0)), (10.0, of(1.0))], 0.9) == pytest.approx(3.0, abs=0.25)
    assert patience_s([(0.5, half)], 0.9) == patience_s([(None, half)], 0.9) == 0.0


def test_who_has_no_chance_takes_no_place_at_the_door() -> None:
    full = Full()
    full.limit.most = 0.0
    with pytest.raises(Hopeless, match="than will get one in time"):
        full.knock("a", 0.0, Promise(0.5))


def test_one_may_wait_as_long_as_it_could_ever_be_let_in() -> None:
    full = Full()
    ahead = full.pipeline.lookahead.at(START)
    ahead.whole = of(1.0, 5.0)
    # With three tenths of a chance; those that take one second are half of all.
    assert full.knock("a", 0.0).until_s == pytest.approx(9.0, abs=0.15)


def test_who_would_wait_in_front_of_an_engine_as_well_may_wait_the_less_at_the_door() -> None:
    full = Full(schedule=made(places=1))
    journey = full.schedule.arrive(PROGRAM, Promise(10.0, weight=100.0), 0.0)
    for _ in range(8):
        full.schedule.ask(journey, SAY, 0.0)
    for at in range(700):
        full.knock(str(at), 0.0, Promise(30.0))
    # Thirty seconds, less one of work, and less nine of waiting for those eight and the calls of two others.
    assert full.schedule.at_door == pytest.approx(20 * 20, rel=0.05)


def sparing(full: Full) -> None:
    """Let all places that come free be of use to others, and half of all requests work for five times as long."""
    full.pipeline.lookahead.at(START).whole = of(1.0, 5.0)
    for at in range(4000):
        full.pipeline.vacancies.freed(at / 20.0 - 200.0, 10.0, 1.0, empty=False)
    assert full.pipeline.vacancies.worth == pytest.approx(1.0, abs=0.02)


def test_one_may_wait_as_long_as_it_could_ever_be_let_in_however_sparing_one_is_with_places_now() -> None:
    full = Full()
    sparing(full)
    assert full.knock("a", 0.0).until_s == pytest.approx(9.0, abs=0.15)


def test_who_has_too_little_time_left_gets_no_place_though_it_had_enough_when_it_was_looked_at_last() -> None:
    full = Full()
    full.knock("a", 0.0)
    full.schedule.open(0.0)
    sparing(full)
    full.knock("b", 2.0)
    full.one_ends(6.0)
    full.one_ends(6.1)
    # Five seconds' work has to fit into what is left of ten.
    assert (full.let_in, full.refused) == (["b"], ["a"])


@pytest.mark.parametrize(("at_work", "worth"), [(10, 1.0), (8, LEAST_WORTH)])
def test_places_stay_empty_where_fewer_than_nine_tenths_are_taken(at_work: int, worth: float) -> None:
    full = Full()
    full.pipeline.vacancies = Vacancies()
    full.limit.most = 10.0
    while full.pipeline.at_work() < at_work:
        full.at_work.append(full.schedule.arrive(PROGRAM, PROMISE, 0.0))
    for _ in range(50):
        full.one_ends(1.0)
        full.at_work.append(full.schedule.arrive(PROGRAM, PROMISE, 1.0))
    assert full.pipeline.vacancies.worth == worth


@pytest.mark.parametrize(("own", "worth"), [(True, 1.0), (False, LEAST_WORTH)])
def test_no_place_stays_empty_while_somebody_waits_at_the_door_of_its_own_pipeline(own: bool, worth: float) -> None:  # noqa: FBT001
    full = Full()
    full.knock("a", 0.0, Promise(1.3, weight=0.1))
    program = PROGRAM if own else msgspec.structs.replace(PROGRAM, pipeline="other")
    if own:
        journey = full.schedule.arrive(PROGRAM, Promise(5.0, weight=100.0), 0.0)
        # There are places, and no time to wait in front of the engine.
        busy(full.schedule, "say", 0.0)
        for _ in range(120):
            full.schedule.ask(journey, SAY, 0.0)
    pipeline = full.schedule.pipeline(program)
    pipeline.limit, pipeline.vacancies = Fixed(most=100.0), Vacancies()
    pipeline.limit.told = []
    for _ in range(50):
        full.schedule.end(full.schedule.arrive(program, Promise(5.0, weight=100.0), 0.1), 0.1, "broken")
    assert (full.let_in, pipeline.vacancies.worth) == ([], worth)


def test_the_door_opens_when_a_replica_takes_a_call_that_seemed_to_wait_until_then() -> None:
    full = Full(schedule=made(places=2))
    other = full.schedule.arrive(PROGRAM, Promise(10.0, weight=100.0), 0.0)
    full.limit.most = 0.0
    full.knock("a", 0.0, Promise(1.3))
    full.limit.most = 4.0
    leg = full.schedule.ask(other, SAY, 0.0)
    assert full.schedule.lines["say"].ask(0.0) is not None
    # It has its place, and seems to wait for one as well.
    full.schedule.open(0.0)
    assert full.let_in == []
    full.schedule.works(leg, 0.0)
    assert full.let_in == ["a"]


def test_who_is_refused_is_told_when_those_who_wait_have_had_a_place() -> None:
    full = Full()
    for at in range(100):
        full.knock(str(at), 0.0)
    # Twenty a second.
    assert full.schedule.place_after_s(PROGRAM, PROMISE, 0.0) == pytest.approx(5.0, rel=0.1)
    full.pipeline.vacancies = Vacancies()
    with pytest.raises(Hopeless) as refused:
        full.knock("a", 0.0)
    assert refused.value.retry_after_s == 30


def test_who_waits_for_a_program_that_another_replaces_is_refused() -> None:
    full = Full()
    full.knock("a", 0.0)
    new = msgspec.structs.replace(PROGRAM)
    full.schedule.arrive(new, PROMISE, 0.1)
    full.schedule.place_after_s(PROGRAM, PROMISE, 0.1)
    assert full.schedule.pipelines["ask"].lookahead.program is new
    assert (full.let_in, full.refused, full.schedule.at_door) == ([], ["a"], 0)


def test_who_is_late_is_found_though_there_is_no_room_and_the_engines_are_looked_at_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = Full()
    for at in range(5):
        full.knock(str(at), float(at))
    full.schedule.open(4.0)
    with monkeypatch.context() as patched:
        patched.setattr(of_schedule, "patience_s", None)
        for _ in range(10):
            full.schedule.open(8.5)
    full.schedule.open(10.5)
    assert (full.let_in, full.refused) == ([], ["0", "1"])
