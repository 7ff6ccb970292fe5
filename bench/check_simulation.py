"""The simulation beside the rehearsal of the same plan and the same requests, for five pipelines.

    python bench/check_simulation.py [NAME...] [--seconds N] [--load PART]... [--factor N]

Requests come as in a Poisson process at a part of what the plan carries: at half of it, and at more than all, where
throughput is what is carried and not what comes. The rehearsal runs the real gateway over emulated replicas on this
machine, stretched so far that the machine keeps up; the simulation has no process. Throughput should differ by no more
than 3 %, the median latency by 5 %, the 95th percentile by 10 %.

Both see the same requests with the same draws. Still a request may take quite another time in one than in the other,
since a few milliseconds decide which others share its batches. So each difference is printed with the interval in which
it lies by chance: the middle 95 % of what comes of drawing stretches of requests again, the same ones of both.

Expected: all within limits, medians of the rehearsal above those of the simulation by what the gateway adds to a
call, which the simulation takes for a constant. Expected of more than is carried, before its first run: throughput
within its limit, since both take in by one policy, and latencies as near as at half load.

Exits 1 where a figure is off by more than it may, also at the near end of its interval. Exits 2 where nothing was found
out: the machine was the limit, or a figure is off by more than it may and chance would explain that. Then leave the
machine more room, or measure for longer. It should have nothing else to do.
"""

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path

from bench.pipelines import NAMES, planned
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.report.document import Report, encode_report
from harmonia_compiler.report.measures import Window, percentile
from harmonia_compiler.report.observation import Observation, Outcome
from harmonia_compiler.workload.arrivals import poisson, until

LIMITS = {"throughput": 0.03, "p50": 0.05, "p95": 0.10}
PARTS = {"p50": 0.5, "p95": 0.95}
FACTOR = 4.0
LOADS = (0.5, 1.5)
#: How often requests are drawn again, and how many that follow each other are drawn together, as they meet one queue.
REPEATS, STRETCH = 1000, 10


class Found(IntEnum):
    """What one pipeline shows; as an exit code."""

    ALIKE = 0
    DIFFERS = 1
    UNKNOWN = 2


def figures(report: Report) -> dict[str, float]:
    """What is compared."""
    found = report.groups[0].figures
    assert found.latency is not None
    return {"throughput": found.throughput_rps, "p50": found.latency.p50, "p95": found.latency.p95}


def paired(one: Sequence[Observation], other: Sequence[Observation], window: Window) -> list[tuple[float, float]]:
    """The latencies of the requests that both answered, in the order of their arrival."""
    first, second = (
        {each.arrived_ms: each.latency_ms for each in some if each.outcome is Outcome.OK} for some in (one, other)
    )
    return [(first[at], second[at]) for at in sorted(first.keys() & second.keys()) if window.holds(at)]


def by_chance(pairs: Sequence[tuple[float, float]], part: float) -> tuple[float, float]:
    """The middle 95 % of what the relative difference of a percentile comes to where stretches are drawn again."""
    rng = random.Random(1)
    starts = range(max(1, len(pairs) - STRETCH + 1))
    found = []
    for _ in range(REPEATS):
        drawn = [pair for start in rng.choices(starts, k=len(pairs) // STRETCH) for pair in pairs[start:][:STRETCH]]
        one, other = (percentile(sorted(times), part) for times in zip(*drawn, strict=True))
        found.append(one / other - 1.0)
    found.sort()
    return percentile(found, 0.025), percentile(found, 0.975)


def differ(
    name: str, one: Mapping[str, float], other: Mapping[str, float], pairs: Sequence[tuple[float, float]]
) -> Found:
    """Print each figure of both; whether one of them is off by more than it may, and by more than chance explains."""
    found = Found.ALIKE
    for figure, limit in LIMITS.items():
        off = one[figure] / other[figure] - 1.0
        low, high = (off, off) if figure not in PARTS else by_chance(pairs, PARTS[figure])
        if low > limit or high < -limit:
            found = Found.DIFFERS
        elif abs(off) > limit and found is Found.ALIKE:
            found = Found.UNKNOWN
        unit = "/s" if figure == "throughput" else " ms"
        chance = f", by chance {low:+.1%} to {high:+.1%}" if figure in PARTS else ""
        print(
            f"{name:9} {figure:10} simulated {one[figure]:9.2f}{unit:3} rehearsed {other[figure]:9.2f}{unit:3} "
            f"{off:+7.1%}  (may be {limit:.0%}{chance})"
        )
    return found


def compare(name: str, seconds: float, load: float, factor: float, out: Path | None) -> Found:
    """Both for one pipeline."""
    scenario = planned(name, "mixed")
    rate = load * scenario.plan.predicted[name].throughput_rps
    window = Window(0.2 * seconds * 1000.0, seconds * 1000.0)
    # Of a rehearsal, numbers of replicas stay.
    simulated = simulate(scenario, until(poisson(rate, 1), window.to_ms), window, load_cards(), {}, resizes=False)
    rehearsed = rehearse(
        scenario, until(poisson(rate, 1), window.to_ms), window, {}, Wishes(factor), lambda _factor: None
    )
    machine = rehearsed.report.machine
    assert machine is not None
    pairs = paired(simulated.observed, rehearsed.observed, window)
    found = differ(name, figures(simulated.report), figures(rehearsed.report), pairs)
    late = machine.lateness.p99 if machine.lateness else 0.0
    print(
        f"{name:9} at {rate:.1f}/s, {load:g} of what is carried, {len(pairs)} requests, mean "
        f"{sum(one for one, _ in pairs) / sum(other for _, other in pairs) - 1.0:+.1%}, stretched "
        f"{machine.factor:g} times; machine {machine.busy:.0%} busy, {machine.own_cores:.2f} cores by the rehearsal, "
        f"late by {late:.2f} ms at p99{', which was the limit' if machine.is_limit else ''}",
        flush=True,
    )
    if out is not None:
        for kind, report in (("simulated", simulated.report), ("rehearsed", rehearsed.report)):
            (out / f"{name}-{load:g}-{kind}.json").write_bytes(encode_report(report))
    return Found.UNKNOWN if machine.is_limit else found


def main() -> int:
    """All pipelines, or those that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--load", type=float, action="append", help="a part of what the plan carries")
    parser.add_argument("--factor", type=float, default=FACTOR)
    parser.add_argument("--out", type=Path, help="a folder for the reports")
    given = parser.parse_args()
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
    found = {
        (name, load): compare(name, given.seconds, load, given.factor, given.out)
        for load in given.load or LOADS
        for name in given.names or NAMES
    }
    print(", ".join(f"{name} at {load:g}: {one.name.lower()}" for (name, load), one in found.items()))
    return Found.DIFFERS if Found.DIFFERS in found.values() else max(found.values())


if __name__ == "__main__":
    sys.exit(main())
