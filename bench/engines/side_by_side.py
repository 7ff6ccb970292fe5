"""A real engine and the one that is emulated from its profile, under the same calls at the same times.

The real one is measured as `harmoniac profile` does it, then gets the calls twice; the emulated one gets
them once. Tokens a second, the time to the first token and the time from token to token are compared,
the latter two in the median over calls. The emulated engine should be off from the mean of the
real runs by no more than 10 %, or than these two are apart.
"""

import asyncio
import datetime as dt
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harmonia_compiler.emulate.llm.course import Course
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence as Call
from harmonia_compiler.profile.asking import Asker, Heard, asking
from harmonia_compiler.profile.facts import facts
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import Observation
from harmonia_compiler.profile.record import MeasuredProfile, profile_of
from harmonia_compiler.profile.sweep import observe, sweep_for

LOADS = (0.33, 0.6, 0.9)
ALLOWED = 0.10
HEADER = f"{'load':>5} {'figure':16} {'real':>9} {'again':>9} {'emulated':>9} {'off by':>8} {'allowed':>8}"
_CALLS_FOR_RATE = 40


@dataclass(frozen=True)
class Arrival:
    """A call: when, with how long a prompt, for how many tokens."""

    at_s: float
    prompt: int
    answer: int


@dataclass(frozen=True)
class Figures:
    """What is compared."""

    tokens_per_s: float
    first_ms: float
    between_ms: float


@dataclass(frozen=True)
class Row:
    """One figure at one load."""

    load: float
    figure: str
    real: float
    again: float
    emulated: float

    @property
    def off(self) -> float:
        """How far the emulated engine is off from the mean of the real runs, as a part of it."""
        return self.emulated / self._mean - 1

    @property
    def allowed(self) -> float:
        """How far it may be."""
        return max(ALLOWED, abs(self.real - self.again) / self._mean)

    @property
    def fine(self) -> bool:
        """Whether it is as near as it should be."""
        return abs(self.off) <= self.allowed

    @property
    def _mean(self) -> float:
        return (self.real + self.again) / 2

    def __str__(self) -> str:
        figures = f"{self.real:9.1f} {self.again:9.1f} {self.emulated:9.1f} {self.off:+8.1%} {self.allowed:8.1%}"
        return f"{self.load:5.0%} {self.figure:16} {figures}{'' if self.fine else '  too far'}"


async def measure(
    url: str, model: str, assumed: Limits, repeats: int, tell: Callable[[str], None] = lambda _: None
) -> tuple[MeasuredProfile, list[Observation]]:
    """The profile of a running engine, and what it was fitted to."""
    found = await facts(url, model, assumed)
    async with asking(url, model) as asker:
        seen = await observe(asker, found.limits, sweep_for(found.limits, repeats), tell)
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return profile_of(seen, model=model, engine=found.engine, limits=found.limits, date=today), seen


def arrivals(profile: MeasuredProfile, load: float, least: int, seconds: float = 0.0) -> list[Arrival]:
    """Calls as in a Poisson process, at a part of what the profile says that the engine carries.

    So many at least, and as many as come in so long.
    """
    rate = load * _most_calls_per_s(profile)
    rng = random.Random(5)
    at, found = 0.0, []
    for _ in range(max(least, round(rate * seconds))):
        prompt, answer = _size(rng)
        at += rng.expovariate(rate)
        found.append(Arrival(at, prompt, answer))
    return found


def _most_calls_per_s(profile: MeasuredProfile) -> float:
    """How many calls the engine carries by the profile, where it always has as many as it takes at once."""
    rng = random.Random(5)
    count = max(_CALLS_FOR_RATE, 8 * profile.limits.sequences)
    course = Course(Scheduler(profile.limits), profile.steps, leaps=True)
    for _ in range(count):
        course.submit(Call(*_size(rng)), 0.0)
    while (due := course.next_ms) is not None:
        course.advance(due)
    return count / (course.busy_ms / 1000)


def _size(rng: random.Random) -> tuple[int, int]:
    return rng.randrange(64, 600), rng.randrange(8, 64)


async def twice(url: str, model: str, calls: Sequence[Arrival], seed: int) -> tuple[Figures, Figures]:
    """Two runs with the same calls, and other words in them."""
    return await once(url, model, calls, seed), await once(url, model, calls, seed + 1)


async def once(url: str, model: str, calls: Sequence[Arrival], seed: int) -> Figures:
    """One run: the calls go out at their times, whatever became of the ones before."""
    async with asking(url, model, seed=seed) as asker:
        return await _play(asker, calls)


async def _play(asker: Asker, calls: Sequence[Arrival]) -> Figures:
    began = time.perf_counter()

    async def one(call: Arrival) -> Heard:
        await asyncio.sleep(began + call.at_s - time.perf_counter())
        return await asker.ask(call.prompt, call.answer)

    heard = await asyncio.gather(*map(one, calls))
    span_ms = max(each.came_ms[-1] for each in heard) - min(each.sent_ms for each in heard)
    return Figures(
        1000 * sum(len(each.came_ms) for each in heard) / span_ms,
        statistics.median(each.first_ms for each in heard),
        statistics.median((each.came_ms[-1] - each.came_ms[0]) / (len(each.came_ms) - 1) for each in heard),
    )


def rows(load: float, real: tuple[Figures, Figures], emulated: Figures) -> Iterator[Row]:
    """The figures of one load."""
    for name in ("tokens_per_s", "first_ms", "between_ms"):
        yield Row(load, name, *(getattr(each, name) for each in (*real, emulated)))
