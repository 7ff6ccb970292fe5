"""What second calls are worth: a pool whose replicas pause now and then, with and without."""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random

import pytest

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.routing.hedge import EARNED, KEPT, KNOWN_FROM, Hedge
from harmonia_compiler.policy.routing.pool import Pool

REPLICAS = tuple(Endpoint(name, "e", "127.0.0.1", port) for port, name in enumerate("abc", start=1))
USUAL_S, PAUSE_S, PAUSES = 0.02, 0.4, 0.02


@dataclass
class Played:
    """Calls that come at random to three replicas, each of which works on four at once; some meet with a pause."""

    rate: float
    seed: int
    hedged: bool
    now: float = 0.0
    seconds: int = 0
    took: dict[int, float] = field(default_factory=dict)
    hedge: Hedge = field(default_factory=Hedge)
    waiting: deque[tuple[float, int]] = field(default_factory=deque)
    happens: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def play(self, calls: int = 6000) -> list[float]:
        """How long calls took, sorted."""
        self.chance, self.pool = Random(self.seed), Pool(ReplicaShare(4), {}, self.seed)
        self.pool.set_replicas(REPLICAS)
        when = 0.0
        for call in range(calls):
            when += self.chance.expovariate(self.rate)
            self.at(when, partial(self.arrive, call))
        while self.happens:
            self.now, _, what = heapq.heappop(self.happens)
            what()
        return sorted(self.took.values())

    def at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.happens, (when, next(self.numbers), what))

    def arrive(self, call: int) -> None:
        self.waiting.append((self.now, call))
        self.go_on()

    def go_on(self) -> None:
        while self.waiting and (endpoint := self.pool.take(self.now)) is not None:
            asked, call = self.waiting.popleft()
            self.begin(call, asked, endpoint)
            after_s = self.hedge.after_s("c")
            if self.hedged and after_s is not None:
                self.at(self.now + after_s, partial(self.second, call, asked, endpoint))

    def begin(self, call: int, asked: float, endpoint: Endpoint) -> None:
        pause_s = PAUSE_S if self.chance.random() < PAUSES else 0.0
        works_s = self.chance.uniform(0.5, 1.5) * USUAL_S + pause_s
        self.at(self.now + works_s, partial(self.end, call, asked, endpoint, works_s))

    def end(self, call: int, asked: float, endpoint: Endpoint, works_s: float) -> None:
        self.pool.release(endpoint)
        if call not in self.took:
            self.pool.answered(endpoint, "c", works_s, works_s, self.now)
            self.hedge.answered("c", works_s)
            self.took[call] = self.now - asked
        self.go_on()

    def second(self, call: int, asked: float, first: Endpoint) -> None:
        if call in self.took or self.waiting or self.hedge.budget.left < 1.0:
            return
        other = self.pool.take(self.now, (first.replica,), others_only=True)
        if other is not None and self.hedge.budget.spend():
            self.seconds += 1
            self.begin(call, asked, other)


def quantile(times: list[float], part: float) -> float:
    return times[int(part * len(times))]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [50.0, 250.0])
def test_calls_that_met_with_a_pause_are_answered_by_another_replica(rate: float, seed: int) -> None:
    without, with_ = Played(rate, seed, hedged=False), Played(rate, seed, hedged=True)
    assert quantile(without.play(), 0.99) > PAUSE_S
    assert quantile(with_.play(), 0.99) < 0.25 * PAUSE_S
    assert with_.seconds < EARNED * len(with_.took) + KEPT


def test_past_the_capacity_nobody_is_given_more_to_do() -> None:
    full = Played(2000.0, 0, hedged=True)
    full.play()
    assert full.seconds < 60


def test_who_has_seen_little_makes_no_second_calls() -> None:
    hedge = Hedge()
    for _ in range(KNOWN_FROM - 1):
        hedge.answered("c", USUAL_S)
    assert hedge.after_s("c") is None
    hedge.answered("c", USUAL_S)
    after_s = hedge.after_s("c")
    assert after_s is not None
    assert USUAL_S < after_s < 3 * USUAL_S
    assert hedge.after_s("other") is None
