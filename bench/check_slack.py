"""What admission, shedding and slack order are worth: the same plan and the same requests, with and without each.

    python bench/check_slack.py [--seconds N] [--loads L...] [--at-once N] [--promise S] [--trace FILE]... [--parts]
        [--rehearse L...]

Corrective RAG on four A100 and four L40S, in virtual time. A request is violated where it is not answered within its
promise: late, refused, given up or failed. Unless --promise says otherwise, that is twice the mean latency at a tenth
of the planned load, as in the paper whose scheduler this one is to beat. Loads are multiples of the capacity: of the
most that the plan answers in time without any of the three parts, at whichever load that is. Of a trace the times
count, sped up to each load.

With --at-once, a replica of a language model takes only so many calls, so that they queue in front of it instead of
slowing each other down.

Expected before the first run, from a model of one queue: first come first served violates 12 % of the requests at 0.7
times the capacity, 71 % at 0.95 and all of them at 1.0 and more; slack order alone changes nothing; shedding alone
leaves 7, 18 and 21 %; admission as well lifts what is answered in time at twice the capacity from 0.70 to 0.90 of it.
What came of it is in docs/scheduling.md.

What is aimed at, of all parts together against none: at 1.0 at least 78.4 % fewer violations, at 0.7 at least 35 %
fewer, nowhere more; at 1.5 and 2 at least 85 % of the reduction that arithmetic allows, since 1 - 1/L of what comes
must fail whatever one does; beyond capacity at least 90 % of the most that is ever answered in time; and below it 98 %
of what is answered without. Prints which of these are kept.

Exits 1 where one is not kept.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_other
from pathlib import Path

import msgspec

from bench.pipelines import planned
from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.policy.line import Line
from harmonia_compiler.policy.parts import ALL, NONE, Parts, only
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
#: Multiples of the planned rate: that of low load, and those among which the capacity is looked for.
LOW, SEARCHED = 0.1, (0.4, 0.5, 0.6, 0.8, 0.95, 1.05, 1.15, 1.3)
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


def main() -> int:
    """All measurements that are asked for; 1 where an aim is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=90.0, help="for how long requests come at each load")
    parser.add_argument("--at-once", type=int, help="the most calls that a replica of a language model takes")
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS)
    parser.add_argument("--promise", type=float, help="within how many seconds an answer is promised")
    parser.add_argument("--pipeline", default="crag")
    parser.add_argument("--trace", type=Path, action="append", default=[], help="a recording, beside Poisson arrivals")
    parser.add_argument("--parts", action="store_true", help="also each part alone")
    parser.add_argument("--rehearse", type=float, nargs="*", default=[], help="loads to rehearse as well")
    given = parser.parse_args()
    scenario = planned(given.pipeline, "mixed")
    if given.at_once is not None:
        scenario = limited(scenario, given.at_once)
    scenario = promised(scenario, given.promise)
    kept = decisions()
    for name, arriving in {"Poisson": _poisson, **{path.name: _recorded(path) for path in given.trace}}.items():
        kept &= measure(name, scenario, arriving, given.loads, given.seconds, SOME if given.parts else {})
    for load in given.rehearse:
        rehearsed(scenario, load, given.seconds)
    return int(not kept)


def limited(scenario: Scenario, at_once: int) -> Scenario:
    """The same replicas, those of language models with no more than so many calls at once."""
    models = {name for name, engine in scenario.service.engines.items() if engine.kind == "llm"}
    replicas = tuple(
        msgspec.structs.replace(one, config=msgspec.structs.replace(one.config, batch=min(at_once, one.config.batch)))
        if one.engine in models
        else one
        for one in scenario.plan.replicas
    )
    shares = {
        one.id: msgspec.structs.replace(scenario.service.shares[one.id], batch=one.config.batch) for one in replicas
    }
    return with_other(
        scenario,
        plan=msgspec.structs.replace(scenario.plan, replicas=replicas),
        service=msgspec.structs.replace(scenario.service, shares=shares),
    )


def promised(scenario: Scenario, within_s: float | None) -> Scenario:
    """The scenario with a promise of so many seconds, or of twice the mean latency at low load."""
    rate_rps = LOW * _planned_rps(scenario)
    figures = _simulated(scenario, _poisson(rate_rps, 120.0), NONE, patient=True).groups[0].figures
    assert figures.latency is not None
    bound_ms = 2.0 * figures.latency.mean if within_s is None else 1000.0 * within_s
    print(f"promised: an answer within {bound_ms / 1000.0:.2f} s")
    flows = tuple(
        with_other(flow, objectives=(Objective("latency", 0.95, bound_ms),)) for flow in scenario.application.flows
    )
    programs = {
        name: msgspec.structs.replace(program, deadline_ms=bound_ms, ttft_deadline_ms=None)
        for name, program in scenario.service.programs.items()
    }
    return with_other(
        scenario,
        application=with_other(scenario.application, flows=flows),
        service=msgspec.structs.replace(scenario.service, programs=programs),
    )


def decisions() -> bool:
    """How long a decision takes where many wait: to let a call wait where it stands, and to say who goes next."""
    line: Line[int] = Line(ReplicaShare(1), {})
    line.set_replicas([Endpoint("one", "e", "", 0)])
    line.slots = DEPTH
    taken = line.ask(0.0)
    assert taken is not None
    for number in range(DEPTH):
        line.wait(number, Standing(float(number * 7919 % DEPTH)))
    began = time.perf_counter()
    for number in range(DEPTH, DEPTH + DECISIONS):
        line.release(taken)
        assert line.next(0.0) is not None
        line.wait(number, Standing(float(number * 7919 % DEPTH)))
    each_us = (time.perf_counter() - began) / DECISIONS * 1e6
    print(f"a decision where {DEPTH:,} wait: {each_us:.1f} µs (may be {LIMIT_US:g})")
    return each_us <= LIMIT_US


def measure(
    name: str, scenario: Scenario, arriving: Arriving, loads: Sequence[float], seconds: float, some: dict[str, Parts]
) -> bool:
    """All loads with and without; whether all aims are kept."""
    capacity = capacity_rps(scenario, arriving, seconds)
    print(f"\n{name}: the capacity is {capacity:.1f}/s; requests come for {seconds:g} s at each load")
    print(f"{'load':>5} {'with':16} {'violated':>9} {'in time':>8} {'answered':>9} {'p95':>7}  ends")
    found: dict[float, tuple[Cell, Cell]] = {}
    for load in loads:
        cells: dict[str, Cell] = {}
        for label, parts in {"nothing": NONE, **some, "everything": ALL}.items():
            cell = cells[label] = tried(scenario, arriving, load * capacity, seconds, parts, capacity)
            print(
                f"{load:5g} {label:16} {cell.violated:9.2%} {cell.goodput:8.3f} {cell.throughput:9.3f} "
                f"{cell.p95_ms / 1000.0:6.2f}s  {cell.outcomes}",
                flush=True,
            )
        found[load] = cells["nothing"], cells["everything"]
    return all([*judged(found)])


def capacity_rps(scenario: Scenario, arriving: Arriving, seconds: float) -> float:
    """The most requests a second that are answered in time without any part, over some loads."""
    rates = [times * _planned_rps(scenario) for times in SEARCHED]
    reports = [_simulated(scenario, arriving(rate, seconds), NONE) for rate in rates]
    return max(report.groups[0].figures.goodput_rps for report in reports)


def tried(
    scenario: Scenario, arriving: Arriving, rate_rps: float, seconds: float, parts: Parts, capacity: float
) -> Cell:
    """One run."""
    return _cell(_simulated(scenario, arriving(rate_rps, seconds), parts), capacity)


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


def rehearsed(scenario: Scenario, load: float, seconds: float) -> None:
    """The real gateway over emulated engines, without and with, at a load."""
    capacity = capacity_rps(scenario, _poisson, seconds)
    print(f"\nrehearsed at {load:g} times {capacity:.1f}/s")
    for label, parts in {"nothing": NONE, "everything": ALL}.items():
        arrivals = _poisson(load * capacity, seconds)
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


def _poisson(rate_rps: float, seconds: float) -> list[Arrival]:
    return [*until(poisson(rate_rps, 1), 1000.0 * seconds)]


def _recorded(path: Path) -> Arriving:
    recorded = [Arrival(one.at_ms) for one in read_trace(path).arrivals]

    def arriving(rate_rps: float, seconds: float) -> list[Arrival]:
        requests = round(rate_rps * seconds)
        # A recording that is too short is played again.
        span_ms = recorded[-1].at_ms + (recorded[-1].at_ms - recorded[0].at_ms) / len(recorded)
        often = -(-requests // len(recorded))
        whole = [with_other(one, at_ms=one.at_ms + time * span_ms) for time in range(often) for one in recorded]
        part = whole[:requests]
        mean = mean_rate_rps(part)
        assert mean is not None
        return [*compressed(part, rate_rps / mean)]

    return arriving


if __name__ == "__main__":
    sys.exit(main())
