"""Virtual time and queueing stations, against what queueing theory says exactly."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from harmonia_compiler.emulate.simulate.loop import Loop
from harmonia_compiler.emulate.simulate.stations import Station


@dataclass(slots=True, eq=False)
class Job:
    """A job with the time that it takes, and what became of it."""

    service_ms: float
    arrived_ms: float = 0.0
    ended_ms: float | None = None


def together(jobs: Sequence[Job]) -> float:
    return max(job.service_ms for job in jobs)


def station(loop: Loop, servers: int = 1, batch: int = 1) -> Station[Job]:
    def done(job: Job) -> None:
        job.ended_ms = loop.now_ms

    return Station(loop, together, done, servers=servers, batch=batch)


def mean_wait_ms(servers: int, rate: float, service: Callable[[random.Random], float], jobs: int = 150_000) -> float:
    """The mean wait of Poisson arrivals, `rate` a millisecond, in front of a station."""
    rng, loop = random.Random(7), Loop()
    queue = station(loop, servers)
    arrived: list[Job] = []

    def arrive() -> None:
        job = Job(service(rng), loop.now_ms)
        arrived.append(job)
        queue.submit(job)
        if len(arrived) < jobs:
            loop.after(rng.expovariate(rate), arrive)

    loop.after(rng.expovariate(rate), arrive)
    loop.run()
    assert all(job.ended_ms is not None for job in arrived)
    waits = [(job.ended_ms or 0.0) - job.arrived_ms - job.service_ms for job in arrived]
    return math.fsum(waits) / len(waits)


def erlang_c(servers: int, offered: float) -> float:
    """The probability of having to wait in an M/M/c queue (Erlang 1917)."""
    block = 1.0
    for number in range(1, servers + 1):
        block = offered * block / (number + offered * block)
    busy = offered / servers
    return block / (1.0 - busy + busy * block)


@pytest.mark.parametrize(("servers", "busy"), [(1, 0.5), (1, 0.8), (2, 0.7), (8, 0.9)])
def test_waits_as_in_mmc(servers: int, busy: float) -> None:
    service = 10.0
    rate = busy * servers / service
    expected = erlang_c(servers, rate * service) * service / (servers * (1.0 - busy))
    found = mean_wait_ms(servers, rate, lambda rng: rng.expovariate(1.0 / service))
    assert found == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize("cv2", [0.0, 0.25, 4.0])
def test_waits_as_in_mg1(cv2: float) -> None:
    """Pollaczek and Khinchine: the mean wait goes with the second moment of the service time."""
    service, busy = 10.0, 0.7

    def draw(rng: random.Random) -> float:
        return service if cv2 == 0.0 else rng.gammavariate(1.0 / cv2, service * cv2)

    expected = busy / (1.0 - busy) * (1.0 + cv2) / 2.0 * service
    assert mean_wait_ms(1, busy / service, draw) == pytest.approx(expected, rel=0.06)


def test_what_is_planned_for_one_time_happens_in_the_order_of_planning() -> None:
    loop, seen = Loop(), []
    for name in "abc":
        loop.at(5.0, lambda name=name: seen.append(name))  # type: ignore[misc]
    loop.at(1.0, lambda: loop.at(0.0, lambda: seen.append(f"late at {loop.now_ms}")))
    loop.run(until_ms=4.0)
    assert (seen, loop.now_ms) == (["late at 1.0"], 1.0)
    loop.run()
    assert (seen[1:], loop.now_ms, loop.happened) == (["a", "b", "c"], 5.0, 5)


def test_what_is_called_off_does_not_happen() -> None:
    loop, seen = Loop(), []
    planned = loop.after(3.0, lambda: seen.append("no"))
    planned.call_off()
    loop.run()
    planned.call_off()
    assert (seen, loop.happened) == ([], 0)


def test_a_server_takes_all_that_wait_up_to_its_batch() -> None:
    loop = Loop()
    queue = station(loop, batch=3)
    jobs = [Job(10.0), *(Job(float(ms)) for ms in (1, 2, 3, 4))]
    for job in jobs:
        queue.submit(job)
    loop.run()
    assert [job.ended_ms for job in jobs] == [10.0, 13.0, 13.0, 13.0, 17.0]
    assert queue.busy_ms == 17.0


def test_a_job_that_nobody_awaits_does_not_begin_or_ends_for_nobody() -> None:
    loop = Loop()
    queue = station(loop)
    begun, waiting, last = jobs = [Job(10.0), Job(10.0), Job(10.0)]
    for job in jobs:
        queue.submit(job)
    queue.cancel(begun)
    queue.cancel(waiting)
    loop.run()
    assert (begun.ended_ms, waiting.ended_ms, last.ended_ms) == (None, None, 20.0)
