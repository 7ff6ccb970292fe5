"""What a measured cell decides, and what is measured next: pure, told what came of each cell.

A void cell, in which this machine was the limit, decides nothing. It is measured again with times stretched further,
and where that does not help either, its rate is reported as void and the search ends there.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from harmonia_compiler.emulate.rehearsal.run import LIMIT_BUSY, LIMIT_LATE_MS

#: What our own system is called.
OURS = "harmonia"
#: The part of requests that must be answered in time for a rate to count.
KEPT = 0.95
#: How often a cell is measured before it is left as void, and how much further times are stretched each time, at least
#: and at most. Beyond what is needed by reckoning, since a longer run is cheaper than another one.
ATTEMPTS, LEAST_FURTHER, MOST_FURTHER, BEYOND = 3, 1.25, 3.0, 1.1
#: How often a search goes on beyond its bounds, by how many times, and in how many steps each time.
WIDENED, WIDER, WIDER_STEPS = 3, 1.4, 2


class Load(Protocol):
    """What a cell says of this machine: parts of it all, of a core for each process, and lateness in ms."""

    @property
    def busy(self) -> float:
        """The part of this machine that was busy."""
        ...

    @property
    def fullest(self) -> Mapping[str, float]:
        """The part of a core that the busiest process of each part of the rehearsal took."""
        ...

    @property
    def late_ms(self) -> float:
        """How late the emulated engines were at p99."""
        ...


class Judged(Load, Protocol):
    """A cell as far as it decides something."""

    @property
    def violated(self) -> float:
        """The part of requests that were not answered in time."""
        ...


Cell = TypeVar("Cell", bound=Judged)


def reasons(cell: Load) -> tuple[str, ...]:
    """Why a cell is void; nothing where it counts.

    No process may be busier than all of the machine may: one that works on its events one by one queues them long
    before two cores are busy.
    """
    found = [f"this machine was {cell.busy:.0%} busy"] if cell.busy > LIMIT_BUSY else []
    full = {name: part for name, part in cell.fullest.items() if part > LIMIT_BUSY}
    found += [f"a process of {name} took {part:.0%} of a core" for name, part in sorted(full.items())]
    found += [f"engines were {cell.late_ms:.1f} ms late"] if cell.late_ms > LIMIT_LATE_MS else []
    return tuple(found)


def further(cell: Load) -> float:
    """By how much more than in a void cell times should be stretched."""
    over = max([cell.busy, *cell.fullest.values()]) / LIMIT_BUSY
    return min(MOST_FURTHER, max(LEAST_FURTHER, over * BEYOND))


@dataclass(slots=True)
class Stretch:
    """The factor of all systems that are compared: what one of them needs, the later ones get as well."""

    factor: float

    def settled(self, measure: Callable[[float, int], Cell]) -> Cell:
        """A cell that counts, or else the last of the void ones.

        `measure` is told the factor and, from 1 on, which attempt it is.
        """
        cell = measure(self.factor, 1)
        for attempt in range(2, ATTEMPTS + 1):
            if not reasons(cell):
                break
            self.factor = round(self.factor * further(cell), 2)
            cell = measure(self.factor, attempt)
        return cell


@dataclass(frozen=True, slots=True)
class Bisection:
    """A search for the highest rate with the promise kept, between `low` and `high`, in so many more `steps`.

    `kept` is the highest rate that was measured and kept it, 0 where none did, and `missed` the lowest that did not,
    infinite where all did. Where all did or none, the bounds were wrong: the search goes on beyond them, `WIDENED`
    times at most. `void` is the rate at which this machine was the limit, which ends the search: whether the promise
    is kept there is not known.
    """

    low: float
    high: float
    steps: int
    kept: float = 0.0
    missed: float = math.inf
    void: float | None = None
    widened: int = 0

    @property
    def rate(self) -> float | None:
        """What to measure next, None where the search has ended."""
        return None if self.void is not None or self.steps == 0 else round((self.low + self.high) / 2.0, 2)

    def after(self, cell: Judged) -> "Bisection":
        """The search after what `rate` said was measured."""
        rate = self.rate
        assert rate is not None
        if reasons(cell):
            return replace(self, void=rate)
        left = self.steps - 1
        if 1.0 - cell.violated >= KEPT:
            return _wider(replace(self, low=rate, kept=rate, steps=left))
        return _wider(replace(self, high=rate, missed=rate, steps=left))

    def describe(self) -> str:
        """What was found, in words."""
        found = f"{self.kept:.1f}/s within the promise" if self.kept else f"not even {self.missed:.1f}/s"
        found = f"at least {found}" if self.kept and self.missed == math.inf else found
        return found if self.void is None else f"{found}; VOID at {self.void:.1f}/s, so no more than that is known"


def _wider(search: Bisection) -> Bisection:
    """The same, or with other bounds where it ended at one that nothing was measured beyond."""
    if search.steps or search.widened == WIDENED:
        return search
    wider = replace(search, steps=WIDER_STEPS, widened=search.widened + 1)
    if search.missed == math.inf:
        return replace(wider, high=search.high * WIDER)
    return replace(wider, low=search.low / WIDER / WIDER) if not search.kept else search


def alternated(names: Sequence[str], turn: int) -> list[str]:
    """The order of a turn: every other one the other way round, so that none is always measured first."""
    return [*names] if turn % 2 == 0 else [*reversed(names)]


def searched(begun: Mapping[str, Bisection], measure: Callable[[str, float], Judged]) -> dict[str, Bisection]:
    """All searches to their ends, a step of each in turn, in an order that alternates."""
    going, turn = dict(begun), 0
    while any(one.rate is not None for one in going.values()):
        for name in alternated([*going], turn):
            if (rate := going[name].rate) is not None:
                going[name] = going[name].after(measure(name, rate))
        turn += 1
    return going


def is_other(system: str) -> bool:
    """Whether it is somebody else's, and not ours with something left out."""
    return not system.startswith(OURS)


def compared(found: Mapping[str, Bisection]) -> list[str]:
    """What is said of the searches: a line for each, and our rate by that of the best of the others.

    A ratio is said only where every search came to its end, and as a bound or not at all otherwise.
    """
    lines = [f"{name:18} {one.describe()}" for name, one in found.items()]
    others = {name: one for name, one in found.items() if is_other(name) and one.kept}
    if OURS not in found or not others:
        return lines
    void = sorted(name for name, one in found.items() if one.void is not None and (is_other(name) or name == OURS))
    top = max(others, key=lambda name: others[name].kept)
    ratio = found[OURS].kept / others[top].kept
    unbounded = sorted(name for name, one in others.items() if one.missed == math.inf and one.void is None)
    if void == [OURS]:
        return [*lines, f"{OURS} has at least {ratio:.2f} times the rate of {top}, the best of the others"]
    if unbounded:
        return [*lines, f"no ratio: {', '.join(unbounded)} kept the promise at every rate that was tried"]
    if void:
        return [*lines, f"no ratio: this machine was the limit of {', '.join(void)}"]
    return [*lines, f"{OURS} has {ratio:.2f} times the rate of {top}, the best of the others"]
