"""The simulator's queues beside what queueing theory says exactly: mean waits of M/M/c and of M/G/1.

    python bench/check_closed_forms.py [--runs N] [--jobs N]

Each queue is simulated several times with other chances. What is printed as ± is by how much the mean of these runs is
off by chance alone: half of the interval that holds the true mean in 999 of 1,000 such measurements, by Student's
distribution. Exits 1 where a closed form lies outside of it.

M/M/c is Erlang's formula (1917), M/G/1 that of Pollaczek and Khinchine; service times of the latter are constant,
gamma distributed of a squared variation of 0.25, or of 4.
"""

import argparse
import math
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from harmonia_compiler.emulate.simulate.loop import Loop
from harmonia_compiler.emulate.simulate.stations import Station

SERVICE_MS = 10.0
RUNS, JOBS = 20, 15_000
#: The first part of the jobs of a run, which meet a queue that is still filling.
FILLING = 0.1
#: The two-sided 99.9 % quantiles of Student's distribution, by degrees of freedom; beyond these that of the next lower.
STUDENT = {4: 8.610, 9: 4.781, 19: 3.883, 29: 3.659, 59: 3.460}

Draw = Callable[[random.Random], float]


@dataclass(slots=True, eq=False)
class Job:
    """A job with the time that it takes, and what became of it."""

    service_ms: float
    arrived_ms: float = 0.0
    ended_ms: float | None = None


def together(jobs: Sequence[Job]) -> float:
    """How long a server takes for jobs at once."""
    return max(job.service_ms for job in jobs)


def station(loop: Loop, servers: int = 1, batch: int = 1) -> Station[Job]:
    """Servers that write down when their jobs ended."""

    def done(job: Job) -> None:
        job.ended_ms = loop.now_ms

    return Station(loop, together, done, servers=servers, batch=batch)


def mean_wait_ms(servers: int, rate: float, service: Draw, jobs: int, seed: int = 7) -> float:
    """The mean wait of Poisson arrivals, `rate` a millisecond, in front of a station that is empty at first."""
    rng, loop = random.Random(seed), Loop()
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
    counted = arrived[round(FILLING * jobs) :]
    return fmean((job.ended_ms or 0.0) - job.arrived_ms - job.service_ms for job in counted)


def erlang_c(servers: int, offered: float) -> float:
    """The probability of having to wait in an M/M/c queue."""
    block = 1.0
    for number in range(1, servers + 1):
        block = offered * block / (number + offered * block)
    busy = offered / servers
    return block / (1.0 - busy + busy * block)


def mmc_ms(servers: int, busy: float) -> float:
    """The mean wait of an M/M/c queue."""
    return erlang_c(servers, busy * servers) * SERVICE_MS / (servers * (1.0 - busy))


def mg1_ms(cv2: float, busy: float) -> float:
    """The mean wait of an M/G/1 queue of service times of this squared variation."""
    return busy / (1.0 - busy) * (1.0 + cv2) / 2.0 * SERVICE_MS


def exponential(rng: random.Random) -> float:
    """A service time of M/M/c."""
    return rng.expovariate(1.0 / SERVICE_MS)


def varied(cv2: float) -> Draw:
    """Service times of this squared variation: constant at 0, else gamma distributed."""
    return lambda rng: SERVICE_MS if cv2 == 0.0 else rng.gammavariate(1.0 / cv2, SERVICE_MS * cv2)


def main() -> int:
    """Print each queue's waits; 1 where one is off by more than chance."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--jobs", type=int, default=JOBS)
    given = parser.parse_args()
    runs = max(5, given.runs)
    student = STUDENT[max(known for known in STUDENT if known < runs)]
    queues = [
        *(
            (f"M/M/{servers} at {busy:.0%}", servers, busy, exponential, mmc_ms(servers, busy))
            for servers, busy in ((1, 0.5), (1, 0.8), (2, 0.7), (8, 0.9))
        ),
        *((f"M/G/1 at 70%, cv² {cv2:g}", 1, 0.7, varied(cv2), mg1_ms(cv2, 0.7)) for cv2 in (0.0, 0.25, 4.0)),
    ]
    print(f"mean waits of {runs} runs of {given.jobs} jobs, whose service takes {SERVICE_MS:g} ms on average")
    print(f"{'queue':24}{'simulated':>12}{'± ms':>8}{'exactly':>10}{'off by':>9}")
    kept = True
    for name, servers, busy, draw, expected in queues:
        rate = busy * servers / SERVICE_MS
        waits = [mean_wait_ms(servers, rate, draw, given.jobs, seed) for seed in range(runs)]
        found, within = fmean(waits), student * stdev(waits) / math.sqrt(runs)
        kept &= abs(found - expected) <= within
        print(f"{name:24}{found:12.3f}{within:8.3f}{expected:10.3f}{found / expected - 1.0:9.2%}", flush=True)
    print("within sampling error" if kept else "off by more than sampling error")
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
