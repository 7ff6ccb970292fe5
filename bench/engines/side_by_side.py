"""A real engine and the one that is emulated from its profile, under the same calls at the same times.

The real one is measured as `harmoniac profile` does it, and gets the calls several times; the emulated one gets
them once. Tokens a second, the time to the first token and the time from token to token are compared,
the latter two in the median over calls. The emulated engine should be off from the median of the
real runs by no more than 10 %, or than two of these are apart, in the mean over all two.
"""

import asyncio
import datetime as dt
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from msgspec.structs import replace

from harmonia_compiler.emulate.llm.course import Course
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence as Call
from harmonia_compiler.profile.asking import Asker, Heard, asking
from harmonia_compiler.profile.facts import Facts, facts
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import Observation
from harmonia_compiler.profile.record import MeasuredProfile, profile_of
from harmonia_compiler.profile.sweep import observe, sweep_for
from harmonia_compiler.workload.arrivals import poisson
from harmonia_compiler.workload.request import Arrival

LOADS = (0.33, 0.6, 0.9)
ALLOWED = 0.10
HEADER = f"{'load':>5} {'figure':16} {'real':>9} {'apart':>9} {'emulated':>9} {'off by':>8} {'allowed':>8}"
_CALLS_FOR_RATE = 40
_SEED = 5


@dataclass(frozen=True)
class Figures:
    """What is compared."""

    tokens_per_s: float
    first_ms: float
    between_ms: float


@dataclass(frozen=True)
class Row:
    """One figure at one load: of each run of the real engine, two at least, and of the emulated one."""

    load: float
    figure: str
    real: tuple[float, ...]
    emulated: float

    @property
    def off(self) -> float:
        """How far the emulated engine is off from the median of the real runs, as a part of it."""
        return self.emulated / self._median - 1

    @property
    def apart(self) -> float:
        """How far two real runs are apart, as a part of their median: the mean over all two."""
        return statistics.mean(abs(one - other) for one, other in combinations(self.real, 2)) / self._median

    @property
    def allowed(self) -> float:
        """How far it may be."""
        return max(ALLOWED, self.apart)

    @property
    def fine(self) -> bool:
        """Whether it is as near as it should be."""
        return abs(self.off) <= self.allowed

    @property
    def _median(self) -> float:
        return statistics.median(self.real)

    def __str__(self) -> str:
        figures = f"{self._median:9.1f} {self.apart:9.1%} {self.emulated:9.1f} {self.off:+8.1%} {self.allowed:8.1%}"
        return f"{self.load:5.0%} {self.figure:16} {figures}{'' if self.fine else '  too far'}"


@dataclass(frozen=True)
class Swept:
    """What was observed of a real engine."""

    model: str
    facts: Facts
    observations: list[Observation]

    @property
    def profile(self) -> MeasuredProfile:
        """The profile that follows."""
        today = dt.datetime.now(tz=dt.UTC).date().isoformat()
        limits, engine = self.facts.limits, self.facts.engine
        return profile_of(self.observations, model=self.model, engine=engine, limits=limits, date=today)


async def measure(
    url: str, model: str, assumed: Limits, repeats: int, seed: int, tell: Callable[[str], None] = lambda _: None
) -> Swept:
    """A sweep over a running engine; each over one engine has another seed, as each run has."""
    found = await facts(url, model, assumed)
    async with asking(url, model, seed) as asker:
        seen = await observe(asker, found.limits, sweep_for(found.limits, repeats), tell)
    return Swept(model, found, seen)


def arrivals(profile: MeasuredProfile, load: float, least: int, seconds: float = 0.0) -> list[Arrival]:
    """Calls as in a Poisson process, at a part of what the profile says that the engine carries.

    So many at least, and as many as come in so long.
    """
    rate = load * _most_calls_per_s(profile)
    rng = random.Random(_SEED)
    sizes = (_size(rng) for _ in range(max(least, round(rate * seconds))))
    return [
        replace(one, prompt_tokens=prompt, answer_tokens=answer)
        for (prompt, answer), one in zip(sizes, poisson(rate, _SEED), strict=False)
    ]


def _most_calls_per_s(profile: MeasuredProfile) -> float:
    """How many calls the engine carries by the profile, where it always has as many as it takes at once."""
    rng = random.Random(_SEED)
    count = max(_CALLS_FOR_RATE, 8 * profile.limits.sequences)
    course = Course(Scheduler(profile.limits), profile.steps, leaps=True)
    for _ in range(count):
        course.submit(Call(*_size(rng)), 0.0)
    while (due := course.next_ms) is not None:
        course.advance(due)
    return count / (course.busy_ms / 1000)


def _size(rng: random.Random) -> tuple[int, int]:
    return rng.randrange(64, 600), rng.randrange(8, 64)


async def once(url: str, model: str, calls: Sequence[Arrival], seed: int) -> Figures:
    """One run: the calls go out at their times, whatever became of the ones before.

    Runs that are to be alike have the same calls and other seeds, so other words: a prefix cache would know them.
    """
    async with asking(url, model, seed) as asker:
        return await _play(asker, calls)


async def _play(asker: Asker, calls: Sequence[Arrival]) -> Figures:
    began = time.perf_counter()

    async def one(call: Arrival) -> Heard:
        assert call.prompt_tokens is not None
        assert call.answer_tokens is not None
        await asyncio.sleep(began + call.at_ms / 1000.0 - time.perf_counter())
        return await asker.ask(call.prompt_tokens, call.answer_tokens)

    heard = await asyncio.gather(*map(one, calls))
    span_ms = max(each.came_ms[-1] for each in heard) - min(each.sent_ms for each in heard)
    return Figures(
        1000 * sum(len(each.came_ms) for each in heard) / span_ms,
        statistics.median(each.first_ms for each in heard),
        statistics.median((each.came_ms[-1] - each.came_ms[0]) / (len(each.came_ms) - 1) for each in heard),
    )


def rows(load: float, real: Sequence[Figures], emulated: Figures) -> Iterator[Row]:
    """The figures of one load."""
    for name in ("tokens_per_s", "first_ms", "between_ms"):
        yield Row(load, name, tuple(getattr(each, name) for each in real), getattr(emulated, name))
