"""One measured cell: a system at one rate for so long. Each is a file, so that a run that was cut off goes on."""

import math
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import msgspec
import psutil

from bench.peers.dividing import over
from bench.peers.systems import Set
from harmonia_compiler.emulate.rehearsal.run import LIMIT_BUSY, LIMIT_LATE_MS, Wishes, rehearse
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import poisson, until

#: The part of a cell that is warm-up, whose requests do not count.
WARMUP = 0.25


class Key(msgspec.Struct, frozen=True):
    """What is measured: `system` by its name, `division` of GPUs in words, arrivals by Poisson of a seed.

    Times are in seconds before stretching by `factor`.
    """

    pipeline: str
    inventory: str
    system: str
    division: str
    rate_rps: float
    seconds: float
    factor: float
    seed: int

    @property
    def file(self) -> str:
        """The name of the cell's file."""
        parts = (self.pipeline, self.inventory, self.system, self.division.replace(" ", "_"))
        return "-".join(
            (*parts, f"{self.rate_rps:g}rps", f"{self.seconds:g}s", f"x{self.factor:g}", f"{self.seed}.json")
        )


class Cell(msgspec.Struct, frozen=True):
    """What came of it. Times in ms before stretching, rates a second; shares of what was offered.

    `violated` is the share of requests that were not answered in full within the promise. `busy` is the part of this
    machine that was used, `late_ms` how late the emulated engines were at p99; `is_void` where one is above its bound.
    """

    key: Key
    offered: int
    violated: float
    goodput_rps: float
    throughput_rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    ttft_p50_ms: float
    ttft_p95_ms: float
    outcomes: dict[str, int]
    cost_per_1000: float | None
    busy: float
    late_ms: float
    is_void: bool
    machine: str
    python: str
    harmonia: str


def measured(folder: Path, key: Key, scenario: Scenario, made: Callable[[], Set]) -> Cell:
    """The cell as it lies in the folder, or measured now. Raises Rejected where a system does not start."""
    path = folder / key.file
    if path.is_file():
        return msgspec.json.decode(path.read_bytes(), type=Cell)
    cell = _measure(key, scenario, made())
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(cell), indent=1) + b"\n")
    return cell


def _measure(key: Key, scenario: Scenario, system: Set) -> Cell:
    window = Window(WARMUP * key.seconds * 1000.0, key.seconds * 1000.0)
    arrivals = until(poisson(key.rate_rps, key.seed), key.seconds * 1000.0)
    tried = scenario if system.front is None else over(scenario, system.replicas)
    wishes = Wishes(factor=key.factor, front=system.front)
    report = rehearse(tried, arrivals, window, {}, wishes, lambda _: None).report
    figures, machine = report.groups[0].figures, report.machine
    assert machine is not None
    assert machine.lateness is not None
    assert figures.attainment is not None
    latency, ttft, cost = figures.latency, figures.ttft, report.cost_per_hour
    return Cell(
        key,
        figures.requests,
        1.0 - figures.attainment,
        figures.goodput_rps,
        figures.throughput_rps,
        latency.p50 if latency else math.inf,
        latency.p95 if latency else math.inf,
        latency.p99 if latency else math.inf,
        ttft.p50 if ttft else math.inf,
        ttft.p95 if ttft else math.inf,
        dict(figures.outcomes),
        cost / 3.6 / figures.goodput_rps if cost and figures.goodput_rps else None,
        machine.busy,
        machine.lateness.p99,
        machine.busy > LIMIT_BUSY or machine.lateness.p99 > LIMIT_LATE_MS,
        f"{psutil.cpu_count()} cores, {platform.machine()}",
        platform.python_version(),
        version("harmonia-compiler"),
    )
