"""The search for the best set-up that a peer could be given: by simulation, bounded, and counted against.

A peer sends each call at once to a replica with few, and its engines queue. That is what the simulator does with all
parts of our scheduling off, over the peer's replicas. A set-up's rate is the highest at which 95 of a hundred requests
are answered in time; what is searched is

1. how many GPUs of which type each model has: all ways to give all of them away, in the order of what their profiles
   say that they carry, `MOST` of them at most. Where the whole pipeline is one replica, either each of its models has a
   GPU of its own, or they share one: then which part of it each has, and GPUs of which types are used.
2. how many calls an engine works on at once, `BATCHES`, with the best of these.

One that does not beat the best so far by `GAIN` at its first try is passed over. What a peer then does with what was
found is measured, and not simulated. What was found is kept in a file, by all that it depends on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import msgspec

from bench.peers.allocation import Division, allocated, models, together, types
from bench.peers.identity import SIMULATING, code, digest, subject
from bench.peers.judging import KEPT
from harmonia_compiler.contract.bundle import ReplicaShare
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.plan.build import build_problem
from harmonia_compiler.policy.parts import PLAIN, Parts
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until

#: For how long a rate is simulated, and how much of that is warm-up, in seconds; and the seed.
SECONDS, WARMUP_S, SEED = 45.0, 15.0, 1
#: How many divisions are tried, which numbers of calls at once, and which parts of a GPU models may have.
MOST, BATCHES, PARTS = 20, (256, 64, 32, 16, 8), (0.5, 0.25, 0.125)
#: By how much a set-up must beat the best one so far, and how closely its rate is then found; in which steps it is
#: approached from the rate that is likely, and which part of what profiles say is likely.
GAIN, STEP, LIKELY = 0.02, 1.25, 0.6
#: Below this part of the likely rate nothing is found, and 0 is said.
LEAST = 0.02

One = TypeVar("One")
#: Whether a set-up keeps the promise at a rate.
Keeps = Callable[[One, float], bool]


def highest(kept: Callable[[float], bool], likely: float) -> float:
    """The highest rate that keeps the promise, found to a part of `GAIN` from a likely one on; 0 where none does.

    Rates far above it are not tried: an engine that is far too busy takes longest to simulate.
    """
    low, high = 0.0, likely
    if likely <= 0.0:
        return 0.0
    if kept(likely):
        low, high = likely, likely * STEP
        while kept(high):
            low, high = high, high * STEP
    else:
        while not low and high > LEAST * likely:
            if kept(high / STEP):
                low = high / STEP
            else:
                high /= STEP
    while low and high / low > 1.0 + GAIN:
        middle = (low + high) / 2.0
        low, high = (middle, high) if kept(middle) else (low, middle)
    return low


def first_of(candidates: Iterable[One], keeps: Keeps[One], best: One, top: float, floor: float) -> tuple[One, float]:
    """The candidate with the highest rate, and its rate: `best`, which has the rate `top`, where none beats it.

    None is tried below `floor`.
    """
    for one in candidates:
        least = max(floor, top * (1.0 + GAIN))
        if keeps(one, least):
            best, top = one, highest(partial(keeps, one), least)
    return best, top


def divisions(given: Scenario) -> Iterator[Division]:
    """Every way to give all GPUs away to the models, each of which has one at least."""
    names, there = models(given), types(given)
    for rows in product(*([*_parts(count, len(names))] for count in there.values())):
        held = tuple(
            (name, tuple(zip(there, column, strict=True)))
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        )
        if all(sum(count for _, count in of) for _, of in held):
            yield Division(held)


def _parts(whole: int, count: int) -> Iterator[tuple[int, ...]]:
    if count == 1:
        yield (whole,)
        return
    for first in range(whole + 1):
        for others in _parts(whole - first, count - 1):
            yield (first, *others)


def wholes(given: Scenario) -> Iterator[Division]:
    """Every way to have the whole pipeline in each replica: with a GPU for each model, or one that they share.

    Replicas are simulated as if each could call the engines of all, which is kinder to them than what is measured.
    """
    for one in divisions(given):
        if len({one.total(model) for model in models(given)}) == 1:
            yield one
    yield from shared(given)


def shared(given: Scenario) -> Iterator[Division]:
    """Every model on every GPU, or on every GPU of some types, with parts that make no more than one."""
    names, there = models(given), sorted(types(given))
    some = [of for count in range(len(there), 0, -1) for of in combinations(there, count)]
    for parts in product((1.0, *PARTS), repeat=len(names)):
        if sum(parts) <= 1.0:
            for of in some:
                yield together(given, dict(zip(names, parts, strict=True)), of)


@dataclass(frozen=True)
class Figures:
    """What profiles say: how long a call of a component keeps a GPU of a type, or a part of one, busy, in ms.

    Of the batch that carries most. `visits` are calls of a request by component, `serves` the components of a model.
    """

    busy_ms: Mapping[tuple[str, str, float], float]
    visits: Mapping[str, float]
    serves: Mapping[str, tuple[str, ...]]

    def carries(self, division: Division) -> float:
        """Requests a second at which the first model's GPUs are all busy; 0 where a part of one does not hold it."""
        parts, found = dict(division.parts), []
        for model in self.serves:
            rate = 0.0
            for of, count in division.of(model).items():
                key = (of, parts.get(model, 1.0))
                each = [self.busy_ms.get((name, *key)) for name in self.serves[model]]
                if count and None in each:
                    return 0.0
                busy = sum((ms or 0.0) * self.visits[name] for ms, name in zip(each, self.serves[model], strict=True))
                rate += count * 1000.0 / busy if count and busy else 0.0
            found.append(rate)
        return min(found)


def figures(given: Scenario) -> Figures:
    """The profiles' figures for the models of a scenario, whose components may be apart."""
    problem = build_problem(given.application, given.inventory, "throughput", BestProfiles()).problem
    busy: dict[tuple[str, str, float], float] = {}
    for need in problem.needs:
        for option in need.options:
            config = option.configuration
            if config.gpu and config.gpus <= 1.0 and config.tensor_parallel == 1:
                for component in need.components:
                    key = (component, config.gpu, config.gpus)
                    busy[key] = min(busy.get(key, float("inf")), option.busy_ms[component])
    (pipeline,) = given.plan.pipelines
    serves = {
        model: tuple(sorted(name for name, one in given.plan.components.items() if one.engine == model))
        for model in models(given)
    }
    return Figures(busy, pipeline.visits, serves)


def likeliest(candidates: Iterable[Division], known: Figures, most: int = MOST) -> list[Division]:
    """Those that carry most by their profiles, the best first."""
    carried = [(known.carries(one), one) for one in candidates]
    ranked = sorted((one for one in carried if one[0] > 0.0), key=lambda one: (-one[0], one[1].describe()))
    return [one for _, one in ranked[:most]]


def over(given: Scenario, replicas: tuple[Replica, ...]) -> Scenario:
    """The scenario with other replicas, each of which takes as many calls as its engine works on at once."""
    shares = {one.id: ReplicaShare(one.config.batch) for one in replicas}
    plan = msgspec.structs.replace(given.plan, replicas=replicas)
    return replace(given, plan=plan, service=msgspec.structs.replace(given.service, shares=shares))


class Found(msgspec.Struct, frozen=True):
    """The best set-up, the rate that it keeps the promise at in simulation, and how many were tried."""

    division: Division
    rate_rps: float
    tried: int


def best(given: Scenario, kept: Path, *, whole: bool = False) -> Found:
    """The best set-up; `whole` where each replica is the whole pipeline. Read from the folder where it is there."""
    key = digest(code((*SIMULATING, Path(__file__))).encode(), subject(given, ()).encode())
    path = kept / f"best-{'whole' if whole else 'divided'}-{key}.json"
    if path.is_file():
        return msgspec.json.decode(path.read_bytes(), type=Found)
    found = _best(given, whole=whole)
    kept.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    return found


def likely(given: Scenario, *, whole: bool) -> Found:
    """The set-up that carries most by its profiles, without a simulation and so without a rate."""
    known = figures(given)
    return Found(likeliest(wholes(given) if whole else divisions(given), known, 1)[0], 0.0, 0)


def _best(given: Scenario, *, whole: bool) -> Found:
    known = figures(given)
    candidates = likeliest(wholes(given) if whole else divisions(given), known)
    tried = 0

    def keeps(division: Division, rate_rps: float) -> bool:
        nonlocal tried
        tried += 1
        return in_time(over(given, allocated(given, division)), rate_rps, PLAIN) >= KEPT

    around = LIKELY * known.carries(candidates[0])
    rate, floor = highest(partial(keeps, candidates[0]), around), LEAST * around
    division, rate = first_of(candidates[1:], keeps, candidates[0], rate, floor)
    narrower = [replace(division, batch=batch) for batch in BATCHES if batch != division.batch]
    division, rate = first_of(narrower, keeps, division, rate, floor)
    return Found(division, rate, tried)


def rate_of(given: Scenario, parts: Parts, likely: float, seeds: Sequence[int]) -> float:
    """The highest rate at which the scenario as it is keeps the promise, the mean over seeds."""

    def keeps(seed: int, rate_rps: float) -> bool:
        return in_time(given, rate_rps, parts, seed) >= KEPT

    return fmean(highest(partial(keeps, seed), likely) for seed in seeds)


def in_time(given: Scenario, rate_rps: float, parts: Parts, seed: int = SEED) -> float:
    """The part of requests that a simulation answers in time. Numbers of replicas stay as they are."""
    window = Window(WARMUP_S * 1000.0, SECONDS * 1000.0)
    arrivals = until(poisson(rate_rps, seed), window.to_ms)
    report = simulate(given, arrivals, window, load_cards(), {}, parts=parts, resizes=False).report
    attained = report.groups[0].figures.attainment
    return 1.0 if attained is None else attained
