"""Makes replicas that stand on hosts carry what they should: adds what is short, and takes away what is spare.

For models so large that nobody waits for the exact answer: what comes out is compared with the bound of the relaxation.
Only choices that an engine is in already are added, so that mixtures hold as they did. Where a promise depends on an
engine, each of its choices is made to carry what it carries in the solution, so that calls take no longer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from harmonia_compiler.plan.choices import Choice
from harmonia_compiler.plan.problem import admits, room, worth
from harmonia_compiler.plan.solve import INFINITY
from harmonia_compiler.plan.variables import MOST_REPLICAS, Key, Model
from harmonia_compiler.profile.queueing import HEADROOM

#: How far sums of what is taken, and of what is carried, may be from what they stand for.
_EPSILON = 1e-7
_NEAR = 1e-9

#: How many rates are tried below one that does not fit, and how much lower the first is.
STEPS = 6
FIRST = 0.01


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What an engine's replicas would have to carry if never idle, and `each` of its options, where promises ask it."""

    whole: float
    each: Mapping[int, float]

    def times(self, part: float) -> "_Wanted":
        """A part of it."""
        return _Wanted(self.whole * part, {at: one * part for at, one in self.each.items()})


class _Floor:
    """What is free on each host while replicas come and go."""

    def __init__(self, model: Model, counts: dict[Key, int]) -> None:
        problem = model.problem
        self.model = model
        self.choices = {(e, one.at): one for e, choices in enumerate(model.choices) for one in choices}
        self.resources = sorted({name for one in self.choices.values() for name in one.takes})
        self.free = np.array([[room(host).get(name, 0.0) for name in self.resources] for host in problem.hosts])
        self.price = np.array([host.price_per_hour for host in problem.hosts])
        self.used = np.zeros(len(problem.hosts), bool)
        self.use = {
            at: np.array([one.takes.get(name, 0.0) for name in self.resources]) for at, one in self.choices.items()
        }
        self.carries = [0.0] * len(problem.needs)
        self.each = dict.fromkeys(self.choices, 0.0)
        self.replicas = [0] * len(problem.needs)
        self.on: list[dict[int, int]] = [{} for _ in problem.needs]
        self.admitted = np.zeros((len(problem.needs), len(problem.hosts)), bool)
        for pool in model.division.pools:
            hosts = list(pool.hosts)
            for e, need in enumerate(problem.needs):
                self.admitted[e, hosts] = pool.kinds[0].admits(need.hosts)
        self.counts: dict[Key, int] = {}
        for key, count in counts.items():
            self.add(key, count)

    def part(self, e: int, wanted: "_Wanted") -> float:
        """The part of what an engine should carry that it carries."""
        return self.carries[e] / wanted.whole if wanted.whole > 0 else INFINITY

    def enough(self, e: int, wanted: "_Wanted") -> bool:
        """Whether it carries that, in as many replicas and on as many hosts as it must have."""
        need = self.model.problem.needs[e]
        carries = self.carries[e] >= wanted.whole * (1 - _NEAR)
        return carries and self.replicas[e] >= need.minimum and len(self.on[e]) >= need.min_hosts

    def lacks(self, e: int, wanted: "_Wanted", choice: Choice) -> float:
        """The part of what a choice should carry that it does not."""
        most = wanted.each.get(choice.at, 0.0)
        return max(0.0, 1.0 - self.each[e, choice.at] / most) if most > 0 else 0.0

    def add(self, key: Key, count: int) -> None:
        """Put replicas on a host, or take them away."""
        e, c, h = key
        if not count:
            return
        self.counts[key] = self.counts.get(key, 0) + count
        if not self.counts[key]:
            del self.counts[key]
        self.free[h] -= count * self.use[e, c]
        self.used[h] |= count > 0
        self.carries[e] += count * self.choices[e, c].capacity
        self.each[e, c] += count * self.choices[e, c].capacity
        self.replicas[e] += count
        self.on[e][h] = self.on[e].get(h, 0) + count
        if not self.on[e][h]:
            del self.on[e][h]

    def spare(self, key: Key) -> int:
        """How many replicas on a host their engine can be without, whatever they carry."""
        e, _, h = key
        need = self.model.problem.needs[e]
        count = min(self.counts[key], self.replicas[e] - need.minimum)
        last = self.on[e][h] == self.counts[key] and len(self.on[e]) <= need.min_hosts
        return max(0, min(count, self.counts[key] - 1) if last else count)

    def room(self, e: int, c: int, h: int) -> int:
        """How many replicas more a host has room for."""
        taken = self.use[e, c] > 0
        fits = (self.free[h, taken] + _EPSILON) / self.use[e, c][taken]
        return int(fits.min(initial=MOST_REPLICAS))

    def place(self, e: int, choices: Sequence[Choice]) -> tuple[int, int] | None:
        """An option and a host for one more replica: on one in use if there is any such, or else on the cheapest."""
        need = self.model.problem.needs[e]
        admitted = self.admitted[e].copy()
        if len(self.on[e]) < need.min_hosts:
            admitted[list(self.on[e])] = False
        for used in (True, False):
            for choice in choices:
                fits = (self.free + _EPSILON >= self.use[e, choice.at]).all(axis=1)
                here = np.flatnonzero(fits & admitted & (self.used == used))
                if len(here):
                    return choice.at, int(here[0 if used else self.price[here].argmin()])
        return None


def mend(model: Model, values: Sequence[float], counts: dict[Key, int]) -> dict[Key, int] | None:
    """Replicas on hosts that carry the rate of a solution, or about the highest where the model looks for that.

    What stands on hosts already is kept but for what is spare at that rate. None where there is no room for it.
    """
    whole = _carrying(model, values, counts, 1.0)
    if whole is not None or model.rate is None:
        return whole
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        part = (low + high) / 2 if low else 1.0 - 2 * (1.0 - high) - FIRST
        if part <= 0.0:
            return None
        found = _carrying(model, values, counts, part)
        low, high, whole = (low, part, whole) if found is None else (part, high, found)
    return whole


def _carrying(model: Model, values: Sequence[float], counts: dict[Key, int], part: float) -> dict[Key, int] | None:
    """What carries a part of a solution's rate: without what is spare then, and with what is short."""
    floor = _Floor(model, counts)
    wanted = [one.times(part) for one in _wanted(model, values)]
    if part < 1.0:
        _trim(floor, wanted)
    candidates = [_candidates(model, values, e) for e in range(len(model.problem.needs))]
    while short := [(floor.part(e, one), e) for e, one in enumerate(wanted) if not floor.enough(e, one)]:
        _, e = min(short)
        most = model.problem.needs[e].maximum
        full = most is not None and floor.replicas[e] >= most
        lacking = partial(floor.lacks, e, wanted[e])
        place = None if full else floor.place(e, sorted(candidates[e], key=lacking, reverse=True))
        if place is None:
            return None
        floor.add((e, *place), 1)
    return floor.counts


def _candidates(model: Model, values: Sequence[float], e: int) -> list[Choice]:
    """The choices that an engine may be in as well as in those of a solution, the best for their hardware first."""
    used = {c for (engine, c, _), column in model.n.items() if engine == e and round(values[column])}
    choices = model.choices[e]
    together = frozenset.intersection(*(choices[c].mixtures for c in used)) if used else frozenset()
    timed = any(engine == e for engine, _ in model.busy)
    found = [one for c, one in enumerate(choices) if c in used or (not timed and one.mixtures & together)]
    return sorted(found, key=lambda one: (_dearness(one), one.at))


def resumed(model: Model, values: Sequence[float]) -> dict[Key, int] | None:
    """What runs already and may stay beside a solution's choices, with what is short then; None without room for it."""
    floor = _Floor(model, {})
    for (e, c, h), count in sorted(model.problem.running.items()):
        need = model.problem.needs[e]
        if c in {one.at for one in _candidates(model, values, e)} and admits(model.problem.hosts[h], need.hosts):
            most = count if need.maximum is None else min(count, need.maximum - floor.replicas[e])
            floor.add((e, c, h), max(0, min(most, floor.room(e, c, h))))
    return mend(model, values, floor.counts)


def trim(model: Model, values: Sequence[float], counts: dict[Key, int]) -> dict[Key, int]:
    """The same replicas without those that a solution's rate does not need, the dearest for what they carry first."""
    floor = _Floor(model, counts)
    _trim(floor, _wanted(model, values))
    return floor.counts


def _trim(floor: _Floor, wanted: Sequence[_Wanted]) -> None:
    for key in sorted(floor.counts, key=lambda key: (key[0], -_dearness(floor.choices[key[0], key[1]]), -key[2], key)):
        e, c, _ = key
        spare = floor.carries[e] - wanted[e].whole * (1 - _NEAR)
        if wanted[e].each:
            spare = min(spare, floor.each[e, c] - wanted[e].each.get(c, 0.0) * (1 - _NEAR))
        spare /= floor.choices[e, c].capacity
        if (count := int(min(spare, floor.spare(key)))) > 0:
            floor.add(key, -count)


def _wanted(model: Model, values: Sequence[float]) -> list[_Wanted]:
    """What the replicas of each engine would have to carry if never idle, for the rate and the parts of a solution."""
    rate = model.scale * (1.0 if model.rate is None else values[model.rate])
    rate = 0.0 if model.goal_rate == 0 else rate
    each: list[dict[int, float]] = [{} for _ in model.problem.needs]
    for (e, c), parts in model.busy.items():
        busy = max(sum(per * values[column] for column, per in one.items()) for one in parts)
        each[e][model.choices[e][c].at] = busy * model.scale
    return [_Wanted(max(rate / HEADROOM, sum(own.values())), own) for own in each]


def _dearness(choice: Choice) -> float:
    return worth(choice.option.configuration) / choice.capacity
