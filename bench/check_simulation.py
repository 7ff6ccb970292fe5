"""The simulation beside the rehearsal of the same plan and the same requests, for five pipelines.

    python bench/check_simulation.py [NAME...] [--seconds N] [--load PART]

Requests come as in a Poisson process at a part of what the plan carries. The rehearsal runs the real gateway over
emulated replicas on this machine, stretched so far that the machine keeps up; the simulation has no process.
Throughput should differ by no more than 3 %, the median latency by 5 %, the 95th percentile by 10 %.

Expected: all within limits, medians of the rehearsal above those of the simulation by what the gateway adds to a
call, which the simulation takes for a constant.

Exits 1 where a figure is off by more and the machine was not the limit. The machine should have nothing else to do.
"""

import argparse
import sys
from pathlib import Path

from bench.pipelines import NAMES, planned
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.report.document import Report, encode_report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until

LIMITS = {"throughput": 0.03, "p50": 0.05, "p95": 0.10}
FACTOR = 4.0


def figures(report: Report) -> dict[str, float]:
    """What is compared."""
    found = report.groups[0].figures
    assert found.latency is not None
    return {"throughput": found.throughput_rps, "p50": found.latency.p50, "p95": found.latency.p95}


def compare(name: str, seconds: float, load: float, out: Path | None) -> bool:
    """Both for one pipeline; False where they differ by more than they may."""
    scenario = planned(name, "mixed")
    rate = load * scenario.plan.predicted[name].throughput_rps
    window = Window(0.2 * seconds * 1000.0, seconds * 1000.0)
    simulated = simulate(scenario, until(poisson(rate, 1), window.to_ms), window, load_cards(), {})
    rehearsed = rehearse(
        scenario, until(poisson(rate, 1), window.to_ms), window, {}, Wishes(FACTOR), lambda _factor: None
    )
    machine = rehearsed.machine
    assert machine is not None
    one, other = figures(simulated.report), figures(rehearsed)
    kept = True
    for figure, limit in LIMITS.items():
        off = one[figure] / other[figure] - 1.0
        kept &= abs(off) <= limit
        unit = "/s" if figure == "throughput" else " ms"
        print(
            f"{name:9} {figure:10} simulated {one[figure]:9.2f}{unit:3} rehearsed {other[figure]:9.2f}{unit:3} "
            f"{off:+7.1%}  (may be {limit:.0%})"
        )
    late = machine.lateness.p99 if machine.lateness else 0.0
    print(
        f"{name:9} at {rate:.1f}/s, {other['throughput'] * seconds * 0.8:.0f} requests, stretched "
        f"{machine.factor:g} times; machine {machine.busy:.0%} busy, late by {late:.2f} ms at p99"
        f"{', which was the limit' if machine.is_limit else ''}",
        flush=True,
    )
    if out is not None:
        for kind, report in (("simulated", simulated.report), ("rehearsed", rehearsed)):
            (out / f"{name}-{kind}.json").write_bytes(encode_report(report))
    return kept or machine.is_limit


def main() -> int:
    """All pipelines, or those that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--load", type=float, default=0.5)
    parser.add_argument("--out", type=Path, help="a folder for the reports")
    given = parser.parse_args()
    kept = [compare(name, given.seconds, given.load, given.out) for name in given.names or NAMES]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
