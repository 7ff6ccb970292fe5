"""How many requests may be at work: refusing where that helps somebody, and not for longer; in virtual time."""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from harmonia_compiler.policy.growing import Crowd, Growing
from harmonia_compiler.policy.limit import FEWEST, NEAR, SWING, Limit

#: How much times vary, by the deviation of their logarithm, and within how many seconds answers are promised.
SPREAD, PROMISE_S = 0.35, 1.0
#: Engines as the time that a request takes alone, and how much each one more adds to that; both in promises.
FLAT, HARDLY, GROWING, STEEP = (0.55, 0.0002), (0.6, 0.001), (0.2, 0.002), (0.1, 0.02)
SOME = (18, 25, 35, 100, 140, 200, 280)


@dataclass
class Engine:
    """Works on all requests at once, on each the slower the more there are; `slow` says by how much at some time."""

    alone: float
    each: float
    rate_rps: float
    slow: Callable[[float], float] = lambda _: 1.0
    limit: Limit = field(default_factory=Limit)
    most: float | None = None
    unlimited: bool = False
    #: When each request that was answered in time had come.
    kept: list[float] = field(default_factory=list)

    def run(self, until_s: float, seed: int = 1) -> "Engine":
        """Let requests come for so long."""
        chance = random.Random(seed)
        now = worked = 0.0
        coming = chance.expovariate(self.rate_rps)
        ends: list[tuple[float, int]] = []
        bounds: deque[tuple[float, int]] = deque()
        here: dict[int, tuple[float, Crowd]] = {}
        number = 0
        while True:
            while ends and ends[0][1] not in here:
                heapq.heappop(ends)
            while bounds and bounds[0][1] not in here:
                bounds.popleft()
            takes = (self.alone + self.each * len(here)) * self.slow(now)
            end = now + (ends[0][0] - worked) * takes if ends else math.inf
            bound = bounds[0][0] if bounds else math.inf
            # What slows the engine down is looked at twenty times a second.
            at = min(coming, end, bound, now + 0.05)
            if at > until_s:
                return self
            worked, now = worked + (at - now) / takes, at
            if at == coming:
                coming = now + chance.expovariate(self.rate_rps)
                self.limit.came(now, PROMISE_S)
                if len(here) < self._most():
                    number += 1
                    here[number] = now, self.limit.crowd(now, len(here) + 1)
                    work = PROMISE_S * math.exp(chance.gauss(0.0, SPREAD) - SPREAD**2 / 2.0)
                    heapq.heappush(ends, (worked + work, number))
                    bounds.append((now + PROMISE_S, number))
            elif at in (end, bound):
                came, met = here[ends[0][1] if at == end else bounds[0][1]]
                left = self.limit.crowd(now, len(here))
                del here[ends[0][1] if at == end else bounds[0][1]]
                part = min(1.0, (now - came) / PROMISE_S) if at == end else 1.0
                if part < 1.0:
                    self.kept.append(came)
                self.limit.ended(met, left, part, part)

    def _most(self) -> float:
        return math.inf if self.unlimited else self.limit.most if self.most is None else self.most

    def in_time_rps(self, from_s: float, to_s: float) -> float:
        """How many a second are in time of those that come between two times."""
        return sum(from_s <= at < to_s for at in self.kept) / (to_s - from_s)


def carries(alone: float, each: float) -> float:
    """How many requests a second take nine tenths of what they are promised, where as many are under way as that."""
    under_way = min(800.0, (0.9 - alone) / each)
    return under_way / (alone + each * under_way)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("engine", [FLAT, HARDLY, GROWING, STEEP])
def test_a_load_that_is_kept_is_kept_with_a_limit_as_well(engine: tuple[float, float], seed: int) -> None:
    rate_rps = 0.6 * carries(*engine)
    found, unlimited = (
        Engine(*engine, rate_rps, unlimited=free).run(30.0, seed).in_time_rps(5.0, 29.0) for free in (False, True)
    )
    assert found >= 0.97 * unlimited


@pytest.mark.parametrize("load", [1.5, 3.0])
@pytest.mark.parametrize("engine", [GROWING, STEEP, (0.3, 0.003)])
def test_under_overload_nearly_as_many_are_in_time_as_with_the_best_constant_limit(
    engine: tuple[float, float], load: float
) -> None:
    rate_rps = load * carries(*engine)
    found = Engine(*engine, rate_rps).run(40.0).in_time_rps(15.0, 39.0)
    best = max(Engine(*engine, rate_rps, most=most).run(25.0).in_time_rps(5.0, 24.0) for most in SOME)
    assert found >= 0.9 * best


@pytest.mark.parametrize("factor", [1.5, 3.0, 10.0])
@pytest.mark.parametrize("engine", [HARDLY, GROWING, STEEP])
def test_a_slowness_that_passes_leaves_nothing_behind(engine: tuple[float, float], factor: float) -> None:
    rate_rps = 0.6 * carries(*engine)
    run = Engine(*engine, rate_rps, lambda now: factor if 15.0 <= now < 35.0 else 1.0).run(60.0)
    before, after = run.in_time_rps(5.0, 14.0), run.in_time_rps(45.0, 59.0)
    assert after >= 0.9 * before


def test_nobody_is_refused_where_times_do_not_grow_however_many_are_late() -> None:
    found, unlimited = (
        Engine(0.75, 0.00001, 100.0, unlimited=free).run(40.0).in_time_rps(5.0, 39.0) for free in (False, True)
    )
    assert unlimited < 0.9 * 100.0
    assert found >= 0.97 * unlimited


def test_there_is_no_limit_while_all_are_in_time() -> None:
    limit = Limit()
    for under_way in range(1, 1000):
        limit.ended(Crowd(under_way, under_way), Crowd(under_way, under_way), 0.5, 0.5)
    assert limit.most == math.inf


def limited() -> Limit:
    """A limit that was reached and is at rest."""
    limit = Engine(*GROWING, 2.0 * carries(*GROWING)).run(30.0).limit
    assert limit.most < 400
    return limit


def between(limit: Limit) -> float:
    """The number about which a limit swings."""
    seen = set()
    few = Crowd(1, 1.0)
    for _ in range(4000):
        limit.ended(few, few, 0.3, 0.3)
        seen.add(limit.most)
    assert len(seen) == 2
    return sum(seen) / 2.0


def test_requests_that_are_in_time_among_few_move_it_no_further_than_it_swings() -> None:
    limit = limited()
    middle = between(limit)
    few = Crowd(int(NEAR * middle) - 1, middle)
    for _ in range(1000):
        limit.ended(few, few, 0.3, 0.3)
    assert between(limit) == middle


def test_it_comes_down_to_those_who_are_there_where_many_of_them_are_late() -> None:
    limit = limited()
    few = Crowd(int(0.6 * between(limit)), 1000.0)
    for number in range(1000):
        part = 1.0 if number % 3 else 0.9
        limit.ended(few, few, part, part)
    assert limit.most < few.at_work


def test_who_is_late_because_it_waited_brings_no_limit_about() -> None:
    limit = Limit()
    for number in range(2000):
        crowd = Crowd(20 + number % 10, 20.0 + number % 10)
        limit.ended(crowd, crowd, 1.0 if number % 3 else 0.9, 0.2)
    assert limit.most == math.inf


def test_it_goes_up_where_those_at_it_have_time_left() -> None:
    limit = limited()
    before = limit.most
    for _ in range(1000):
        full = Crowd(int(limit.most), limit.most)
        limit.ended(full, full, 0.3, 0.3)
    assert limit.most > 1.5 * before


def test_some_must_be_let_in_where_all_are_late() -> None:
    limit = Limit()
    for _ in range(int(FEWEST) + 10_000):
        limit.ended(Crowd(), Crowd(), 1.0, 1.0)
    assert limit.most <= 1.0 + SWING


def test_among_fewer_requests_grow_by_less_as_engines_do_that_are_not_full() -> None:
    chance = random.Random(1)
    growing = Growing()

    def end(at_work: int) -> None:
        crowd = Crowd(at_work, float(at_work))
        growing.ended(crowd, crowd, 0.2 + 0.005 * at_work, tells=True)

    for _ in range(3000):
        end(round(120 * chance.uniform(0.7, 1.4)))
    # Three quarters of the time are for the others there, and among six a tenth.
    assert growing.by(1.0) == pytest.approx(0.75, abs=0.05)
    for _ in range(200):
        end(6)
    assert growing.by(1.0) < 0.35


def test_where_half_are_cut_off_growth_is_seen_by_the_other_half() -> None:
    chance = random.Random(1)
    growing = Growing()
    for _ in range(4000):
        at_work = round(120 * chance.uniform(0.7, 1.4))
        crowd = Crowd(at_work, float(at_work))
        part = (0.2 + 0.005 * at_work) / 0.83 * math.exp(chance.gauss(0.0, SPREAD))
        growing.ended(crowd, crowd, min(1.0, part), tells=True)
    # As without a cut, three quarters of the time are for the others there.
    assert growing.by(0.5) == pytest.approx(0.75, abs=0.15)
    assert growing.by(1.0) < 0.5


def test_so_many_may_be_at_work_in_any_case_however_many_are_late() -> None:
    limit = Limit()
    for _ in range(400):
        crowd = limit.crowd(0.0, 30)
        limit.ended(crowd, crowd, 1.0, 1.0, least=12.0)
    assert limit.most == pytest.approx(12.0, rel=1.1 * SWING)
    # More replicas are there, and who is late among fewer than they can take takes none of them away.
    for _ in range(40):
        crowd = limit.crowd(0.0, 12)
        limit.ended(crowd, crowd, 1.0, 1.0, least=24.0)
    assert limit.most >= 24.0 * (1.0 - SWING)
