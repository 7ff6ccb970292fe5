"""What admission, shedding and slack order are worth: the same plan and the same requests, with and without.

    python -m bench.check_slack [--seconds N] [--loads L...] [--pipeline NAME] [--promise S] [--trace FILE]... [--parts]
        [--limits N...] [--feasible RPS S] [--rehearse L...] [--seed N]

Four A100 and four L40S, in virtual time. A request is violated where it is not answered within its promise: late,
refused, given up or failed. Rules, the same with and without:

- *The promise* is what the pipeline declares, and the plan is the one that is made for it; so the concurrency of each
  replica is the plan's. With `--promise S` it is S, and the plan is made anew. Printed beside it is how many miss it
  alone on an idle system: those nobody could serve in time.
- *Capacity* is what this plan completes a second where more come than it can take, and nobody is given up: 1 - 1/L of
  what comes at L times that cannot be completed, whatever one does. It is not what can be answered in time, which is
  less: an engine completes the most with a full batch, in which long answers are late.
- *Without* is first come first served, everybody let in, however many wait, and nobody given up: an answer that is
  late is waited for all the same, and takes the engines' time, as where nobody knows of promises. *Giving up* is the
  same, but that a request ends with its promise.
- *Must fail* is the part of these very arrivals that nobody could answer who completes as many as the capacity a
  second, each at most a promise after it came: what 1 - 1/L is for an even stream, and more for bursts.
- With `--feasible RPS S`, also the part that must fail where no more than RPS a second can be in time, each of which
  may wait for S seconds.
- Of a trace the times count, sped up to each load.
- `--seed` draws other Poisson arrivals and other answers: seeds differ by about a point of what is violated.
- With `--limits`, also with so many requests under way at most, all the time, instead of a number that is learned:
  what somebody could do who knew the best one beforehand.

What is aimed at, of all parts together against none: at 1.0 at least 78.4 % fewer violations, at 0.7 at least 35 %
fewer, nowhere more; at 1.5 and 2 at least 85 % of the reduction that arithmetic allows; beyond capacity at least 90 %
of the most that is ever answered in time; and below it 98 % of what is answered without. A cell of fewer than 1,000
violations without is no judge. Prints which of these are kept; what came of it is in docs/scheduling.md.

Exits 1 where one is not kept.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

from msgspec.structs import replace

from bench.pipelines import planned
from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.policy import line as queue
from harmonia_compiler.policy.limit import Limit
from harmonia_compiler.policy.line import Line
from harmonia_compiler.policy.parts import ALL, PLAIN, Parts, only
from harmonia_compiler.policy.waiting import Standing
from harmonia_compiler.report.document import Report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import compressed, mean_rate_rps, poisson, until
from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.trace import read_trace

LOADS = (0.7, 0.95, 1.0, 1.5, 2.0, 5.0)
#: Single parts and pairs, to see what each is worth.
SOME: dict[str, Parts] = {
    "slack": only("slack"),
    "shedding": only("shedding"),
    "shedding, slack": only("shedding", "slack"),
    "admission": only("admission"),
}
#: The part of the run that is warm-up: the service starts with what the plan says, and nothing learned.
WARMUP = 0.1
#: Multiples of the planned rate: of next to no load, and of more than can be taken.
IDLE, TOO_MUCH = 0.02, 2.5
#: How long requests come to measure these, in seconds. Until the queues of all stages are full takes a while: within a
#: minute less is completed by a fiftieth, at which rate nothing queues.
IDLE_S, TOO_MUCH_S = 3000.0, 300.0
DEPTH, DECISIONS, LIMIT_US = 10_000, 20_000, 50.0

#: So many requests a second, for so many seconds.
Arriving = Callable[[float, float], list[Arrival]]


@dataclass(frozen=True)
class Cell:
    """What became of the requests at one load with some parts: shares of what came, and of the capacity."""

    requests: int
    violated: float
    goodput: float
    throughput: float
    p95_ms: float
    outcomes: str


@dataclass(frozen=True)
class Bench:
    """A plan, within how many seconds it promises answers, and how many a second it completes at most."""

    scenario: Scenario
    promise_s: float
    capacity_rps: float


def main() -> int:
    """All measurements that are asked for; 1 where an aim is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=200.0, help="for how long requests come at each load")
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS)
    parser.add_argument("--promise", type=float, help="within how many seconds an answer is promised and planned for")
    parser.add_argument("--pipeline", default="crag")
    parser.add_argument("--trace", type=Path, action="append", default=[], help="a recording, beside Poisson arrivals")
    parser.add_argument("--parts", action="store_true", help="also each part alone")
    parser.add_argument("--limits", type=int, nargs="*", default=[], help="also with so many under way at most")
    parser.add_argument("--feasible", type=float, nargs=2, metavar=("RPS", "S"), help="what else must fail")
    parser.add_argument("--rehearse", type=float, nargs="*", default=[], help="loads to rehearse as well")
    parser.add_argument("--seed", type=int, default=1, help="of Poisson arrivals and of what each request asks")
    given = parser.parse_args()
    by_chance: Arriving = partial(_poisson, seed=given.seed)
    scenario = planned(given.pipeline, "mixed", given.seed, promise_s=given.promise)
    bench = benched(scenario, given.pipeline)
    kept = decisions()
    ways = {"Poisson": by_chance, **{path.name: _recorded(path) for path in given.trace}}
    for name, arriving in ways.items():
        if given.feasible:
            rate_rps, wait_s = given.feasible
            for load in given.loads:
                failing = must_fail(arriving(load * bench.capacity_rps, given.seconds), rate_rps, wait_s)
                print(
                    f"{name}: at {load:g}, {failing:.2%} must fail if {rate_rps:g}/s is all, each within {wait_s:g} s"
                )
        kept &= measure(name, bench, arriving, given.loads, given.seconds, SOME if given.parts else {}, given.limits)
    for load in given.rehearse:
        rehearsed(bench, load, given.seconds, by_chance)
    return int(not kept)


def benched(scenario: Scenario, pipeline: str) -> Bench:
    """A plan with its promise and its capacity, and what is said of both."""
    deadline_ms = scenario.service.programs[pipeline].deadline_ms
    assert deadline_ms is not None
    idle = _simulated(scenario, _poisson(IDLE * _planned_rps(scenario), IDLE_S), PLAIN).groups[0].figures
    assert idle.attainment is not None
    with _without_bound():
        full = _simulated(scenario, _poisson(TOO_MUCH * _planned_rps(scenario), TOO_MUCH_S), PLAIN, patient=True)
    capacity = full.groups[0].figures.throughput_rps
    print(
        f"promised: an answer within {deadline_ms / 1000.0:g} s, which {1.0 - idle.attainment:.2%} of "
        f"{idle.requests} miss on an idle system; the capacity is {capacity:.1f}/s"
    )
    return Bench(scenario, deadline_ms / 1000.0, capacity)


def decisions() -> bool:
    """How long a decision takes where many wait: to let a call wait where it stands, and to say who goes next."""
    line: Line[int] = Line(ReplicaShare(1), {})
    line.set_replicas([Endpoint("one", "e", "", 0)])
    line.slots = DEPTH
    taken = line.ask(0.0)
    assert taken is not None
    for number in range(DEPTH):
        line.wait(number, Standing(float(number * 7919 % DEPTH), request=number))
    began = time.perf_counter()
    for number in range(DEPTH, DEPTH + DECISIONS):
        line.release(taken)
        assert line.next(0.0) is not None
        line.wait(number, Standing(float(number * 7919 % DEPTH), request=number))
    each_us = (time.perf_counter() - began) / DECISIONS * 1e6
    print(f"a decision where {DEPTH:,} wait: {each_us:.1f} µs (may be {LIMIT_US:g})")
    return each_us <= LIMIT_US


def measure(
    name: str,
    bench: Bench,
    arriving: Arriving,
    loads: Sequence[float],
    seconds: float,
    some: dict[str, Parts],
    limits: Sequence[int],
) -> bool:
    """All loads with and without; whether all aims are kept."""
    print(f"\n{name}: requests come for {seconds:g} s at each load")
    print(f"{'load':>5} {'with':16} {'violated':>9} {'in time':>8} {'answered':>9} {'p95':>7}  ends")
    found: dict[float, tuple[Cell, Cell]] = {}
    for load in loads:
        arrivals = arriving(load * bench.capacity_rps, seconds)
        cells: dict[str, Cell] = {}
        for label, parts in {"nothing": PLAIN, "giving up": PLAIN, **some, "everything": ALL}.items():
            with _without_bound() if parts == PLAIN else nullcontext():
                report = _simulated(bench.scenario, arrivals, parts, patient=label == "nothing")
            cells[label] = _told(load, label, report, bench)
        for limit in limits:
            with _at_most(limit):
                _told(load, f"at most {limit}", _simulated(bench.scenario, arrivals, ALL), bench)
        print(f"{load:5g} {'must fail':16} {must_fail(arrivals, bench.capacity_rps, bench.promise_s):9.2%}")
        found[load] = cells["nothing"], cells["everything"]
    return all([*judged(found)])


def _told(load: float, label: str, report: Report, bench: Bench) -> Cell:
    """What a run came to, which is printed."""
    cell = _cell(report, bench.capacity_rps)
    print(
        f"{load:5g} {label:16} {cell.violated:9.2%} {cell.goodput:8.3f} {cell.throughput:9.3f} "
        f"{cell.p95_ms / 1000.0:6.2f}s  {cell.outcomes}",
        flush=True,
    )
    return cell


def must_fail(arrivals: Sequence[Arrival], rate_rps: float, within_s: float) -> float:
    """The part that cannot be completed within a time by who completes one after the other at a rate.

    All are promised the same and take as long, so whoever takes them as they come and leaves out who would be late
    serves the most.
    """
    takes_ms, within_ms = 1000.0 / rate_rps, 1000.0 * within_s
    window = _window(arrivals)
    free_ms, failed, came = 0.0, 0, 0
    for one in arrivals:
        ends_ms = max(free_ms, one.at_ms) + takes_ms
        fails = ends_ms > one.at_ms + within_ms
        if not fails:
            free_ms = ends_ms
        if window.holds(one.at_ms):
            came, failed = came + 1, failed + fails
    return failed / came


def judged(found: dict[float, tuple[Cell, Cell]]) -> Iterator[bool]:
    """Each aim, and whether it is kept."""
    peak = max(cell.goodput for _, cell in found.values())
    for load, (without, cell) in found.items():
        fewer = 1.0 - cell.violated / without.violated if without.violated else 0.0
        enough = without.violated * without.requests >= 1000
        yield _kept(load, "violations fewer by", fewer, {1.0: 0.784, 0.7: 0.35}.get(load, 0.0), judges=enough)
        if load > 1.0 and without.violated:
            allowed = 1.0 - (1.0 - 1.0 / load) / without.violated
            if load <= 2.0 and allowed > 0.0:
                yield _kept(load, "of the reduction that is possible", fewer / allowed, 0.85, judges=enough)
            yield _kept(load, "of the most that is answered in time", cell.goodput / peak, 0.9)
        if load < 1.0:
            yield _kept(load, "of what is answered without", cell.throughput / without.throughput, 0.98)


def _kept(load: float, what: str, figure: float, aim: float, *, judges: bool = True) -> bool:
    is_kept = figure >= aim
    verdict = "kept" if is_kept else "missed" if judges else "missed, but of fewer than 1,000 violations"
    print(f"{load:5g} {what}: {figure:.1%} (aim {aim:.1%}): {verdict}")
    return is_kept or not judges


def rehearsed(bench: Bench, load: float, seconds: float, arriving: Arriving) -> None:
    """The real gateway over emulated engines, without and with, at a load; its queues have their usual bounds."""
    scenario, capacity = bench.scenario, bench.capacity_rps
    print(f"\nrehearsed at {load:g} times {capacity:.1f}/s")
    for label, parts in {"nothing": PLAIN, "everything": ALL}.items():
        arrivals = arriving(load * capacity, seconds)
        window = _window(arrivals)
        report = rehearse(scenario, arrivals, window, {}, Wishes(parts=parts), lambda _: None).report
        cell, machine = _cell(report, capacity), report.machine
        assert machine is not None
        print(
            f"{load:5g} {label:16} {cell.violated:9.2%} {cell.goodput:8.3f} {cell.throughput:9.3f} "
            f"{cell.p95_ms / 1000.0:6.2f}s  {cell.outcomes}; stretched {machine.factor:.3g} times"
            f"{', the machine was the limit' if machine.is_limit else ''}",
            flush=True,
        )


def _simulated(scenario: Scenario, arrivals: Sequence[Arrival], parts: Parts, *, patient: bool = False) -> Report:
    return simulate(scenario, arrivals, _window(arrivals), load_cards(), {}, patient=patient, parts=parts).report


@contextmanager
def _without_bound() -> Iterator[None]:
    """Let as many calls wait for an engine as come: refusing those that are too many is a kind of admission."""
    with patch.object(queue, "WAITING_AT_LEAST", sys.maxsize):
        yield


@contextmanager
def _at_most(number: int) -> Iterator[None]:
    """Let that many requests be under way, whatever becomes of them."""
    with patch.object(Limit, "ended", lambda limit, *_: setattr(limit, "most", float(number))):
        yield


def _window(arrivals: Sequence[Arrival]) -> Window:
    end_ms = arrivals[-1].at_ms
    return Window(WARMUP * end_ms, end_ms)


def _cell(report: Report, capacity: float) -> Cell:
    figures = report.groups[0].figures
    assert figures.attainment is not None
    ends = ", ".join(f"{name} {count}" for name, count in figures.outcomes.items() if count)
    return Cell(
        figures.requests,
        1.0 - figures.attainment,
        figures.goodput_rps / capacity,
        figures.throughput_rps / capacity,
        figures.latency.p95 if figures.latency else 0.0,
        ends,
    )


def _planned_rps(scenario: Scenario) -> float:
    return sum(one.throughput_rps for one in scenario.plan.predicted.values())


def _poisson(rate_rps: float, seconds: float, seed: int = 1) -> list[Arrival]:
    return [*until(poisson(rate_rps, seed), 1000.0 * seconds)]


def _recorded(path: Path) -> Arriving:
    recorded = [Arrival(one.at_ms) for one in read_trace(path).arrivals]

    def arriving(rate_rps: float, seconds: float) -> list[Arrival]:
        requests = round(rate_rps * seconds)
        # A recording that is too short is played again.
        span_ms = recorded[-1].at_ms + (recorded[-1].at_ms - recorded[0].at_ms) / len(recorded)
        often = -(-requests // len(recorded))
        whole = [replace(one, at_ms=one.at_ms + time * span_ms) for time in range(often) for one in recorded]
        part = whole[:requests]
        mean = mean_rate_rps(part)
        assert mean is not None
        return [*compressed(part, rate_rps / mean)]

    return arriving


if __name__ == "__main__":
    sys.exit(main())
