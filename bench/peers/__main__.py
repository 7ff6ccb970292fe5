"""Harmonia beside what people use today, over the same emulated devices: `make bench-peers`.

    python -m bench.peers --python PEERS/bin/python [--pipeline crag] [--inventory mixed] [--seconds N] [--factor F]
        [--rates R...] [--bisect N] [--out DIR]

The same arrivals, requests, engines and promise for all; each system on all GPUs of the inventory. Measured are

- Harmonia, with its own plan;
- Ray Serve, a deployment per component: with GPUs divided evenly and Serve's autoscaler, with them divided evenly, and
  with the best division (`dividing.py`);
- LangGraph behind uvicorn, a pool per model: with GPUs divided evenly, and with the best division.

At each rate, or by bisection the highest rate at which 95 of a hundred requests are answered within the promise. Times
are stretched by one factor for all systems, so that none is held up by this machine: a cell in which the machine was
more than 60 % busy, or an engine more than 5 ms late, is void and says so. Every cell is a file under `--out`; a
second run measures what is missing.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.peers.allocation import apart, uniform
from bench.peers.cells import Cell, Key, measured
from bench.peers.dividing import best, written
from bench.peers.systems import Set, harmonia, langgraph, ray_fixed, ray_scaled
from bench.pipelines import planned
from harmonia_compiler.emulate.scenario import Scenario

#: The part of requests that must be answered in time for a rate to count.
KEPT = 0.95
#: At which part of the planned rate divisions are compared, and between which the highest rate is looked for.
COMPARED, LEAST, MOST = 1.0, 0.1, 2.0


@dataclass(frozen=True)
class System:
    """One that is measured: its name, how its GPUs are divided, what it is tried on, and how it is set up."""

    name: str
    division: str
    scenario: Scenario
    made: Callable[[], Set]


def main() -> int:
    """All cells that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers")
    parser.add_argument("--python", type=Path, required=True, help="an interpreter that has the peers' packages")
    parser.add_argument("--pipeline", default="crag")
    parser.add_argument("--inventory", default="mixed")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each cell, before stretching")
    parser.add_argument("--factor", type=float, default=6.0, help="by how much all times are stretched")
    parser.add_argument("--rates", type=float, nargs="*", default=[], help="requests a second")
    parser.add_argument(
        "--bisect", type=int, default=0, help="in so many steps, the highest rate with the promise kept"
    )
    parser.add_argument("--systems", nargs="*", default=[], help="only those whose name begins so")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(".bench/peers"))
    given = parser.parse_args()
    scenario = planned(given.pipeline, given.inventory)
    (predicted,) = scenario.plan.predicted.values()
    print(f"{given.pipeline} on {given.inventory}: planned for {predicted.throughput_rps:.1f}/s", flush=True)
    wanted = [
        one
        for one in systems(scenario, given, COMPARED * predicted.throughput_rps)
        if not given.systems or one.name.startswith(tuple(given.systems))
    ]

    def cell(system: System, rate_rps: float) -> Cell:
        key = Key(
            given.pipeline,
            given.inventory,
            system.name,
            system.division,
            rate_rps,
            given.seconds,
            given.factor,
            given.seed,
        )
        found = measured(given.out, key, system.scenario, system.made)
        print(told(found), flush=True)
        return found

    for rate in given.rates:
        for system in wanted:
            cell(system, rate)
    if given.bisect:
        bounds = (LEAST * predicted.throughput_rps, MOST * predicted.throughput_rps)
        highest = {one.name: bisected(partial(cell, one), bounds, given.bisect) for one in wanted}
        print_highest(highest)
    return 0


def systems(scenario: Scenario, given: argparse.Namespace, rate_rps: float) -> list[System]:
    """All of them; the best divisions are looked for at this rate."""
    python, factor = given.python, given.factor
    parted = apart(scenario)
    even, even_apart = uniform(scenario), uniform(parted)
    name = f"{given.pipeline}-{given.inventory}-{rate_rps:g}rps.json"
    pooled = best(scenario, rate_rps, given.out / f"divisions-pooled-{name}")
    deployed = best(parted, rate_rps, given.out / f"divisions-apart-{name}")
    return [
        System("harmonia", "plan", scenario, lambda: harmonia(scenario)),
        System(
            "ray-scaled", written(parted, even_apart), parted, lambda: ray_scaled(parted, even_apart, python, factor)
        ),
        System("ray-even", written(parted, even_apart), parted, lambda: ray_fixed(parted, even_apart, python)),
        System("ray-best", written(parted, deployed), parted, lambda: ray_fixed(parted, deployed, python)),
        System("langgraph-even", written(scenario, even), scenario, lambda: langgraph(scenario, even, python)),
        System("langgraph-best", written(scenario, pooled), scenario, lambda: langgraph(scenario, pooled, python)),
    ]


def bisected(cell: Callable[[float], Cell], bounds: Sequence[float], steps: int) -> float:
    """The highest rate found at which the promise was kept, between two bounds; 0 where none did."""
    low, high = bounds
    kept = 0.0
    for _ in range(steps):
        rate = round((low + high) / 2.0, 2)
        if 1.0 - cell(rate).violated >= KEPT:
            low = kept = rate
        else:
            high = rate
    return kept


def print_highest(highest: dict[str, float]) -> None:
    """The rates, and Harmonia's by the best of the others."""
    for name, rate in highest.items():
        print(f"{name:16} {rate:6.1f}/s within the promise")
    others = {name: rate for name, rate in highest.items() if name != "harmonia" and rate > 0.0}
    if others and "harmonia" in highest:
        top = max(others, key=lambda name: others[name])
        print(f"harmonia has {highest['harmonia'] / others[top]:.2f} times the rate of {top}, the best of the others")


def told(cell: Cell) -> str:
    """A cell in one line."""
    void = " VOID" if cell.is_void else ""
    return (
        f"{cell.key.system:15} {cell.key.division:28} {cell.key.rate_rps:6.1f}/s: {cell.violated:6.1%} of "
        f"{cell.offered} violated, {cell.goodput_rps:.1f}/s in time, p50 {cell.p50_ms:.0f}, p95 {cell.p95_ms:.0f} ms, "
        f"first text p95 {cell.ttft_p95_ms:.0f} ms; "
        f"machine {cell.busy:.0%} busy, engines {cell.late_ms:.1f} ms late{void}"
    )


if __name__ == "__main__":
    sys.exit(main())
