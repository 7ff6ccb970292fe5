"""One measured cell: a system at one rate for so long. Each is a file, so that a run that was cut off goes on.

A cell is taken from its file only where all that it depends on is the same (`Key`), and never where it is void: that is
measured again. Void ones stay in the folder, so that none is left out of what is reported.
"""

import math
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import msgspec
import psutil

from bench.peers.arriving import arrivals
from bench.peers.identity import digest
from bench.peers.judging import reasons
from bench.peers.search import over
from bench.peers.systems import Set
from harmonia_compiler.emulate.rehearsal.run import Wishes, rehearse
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.report.measures import Window, percentile
from harmonia_compiler.report.observation import Observation, Outcome


class Key(msgspec.Struct, frozen=True):
    """What is measured: `system` by its name, `setup` in words, and when requests come (`arriving.py`), by a seed.

    Requests come for `warmup_s` and then for `seconds`, which count, both before stretching by `factor`. `code`,
    `subject` and `versions` are digests (`identity.py`); `revision` is for people and says which commit it was.
    """

    pipeline: str
    inventory: str
    system: str
    setup: str
    arrivals: str
    rate_rps: float
    warmup_s: float
    seconds: float
    factor: float
    seed: int
    code: str
    subject: str
    versions: str

    @property
    def file(self) -> str:
        """The name of the cell's file."""
        rate, factor = f"{self.rate_rps:g}rps", f"x{self.factor:g}"
        name = "-".join((self.pipeline, self.inventory, self.system, rate, factor, str(self.seed)))
        return f"{name}-{digest(msgspec.json.encode(self))}.json"


class Cell(msgspec.Struct, frozen=True):
    """What came of it. Times in ms before stretching, rates a second; shares of what was offered.

    `violated` is the share of requests that were not answered in full within the promise. `busy` is the part of this
    machine that was used, `fullest` the part of a core of the busiest process of each part of the rehearsal, `late_ms`
    how late the emulated engines were at p99; `void` says which of them was too much. `percentiles_ms` are of all that
    were offered, from 1 to 99, as long as these were answered: by them any other promise can be judged.

    `planned_rps` is what our plan says that the hardware carries under the promise, and `bound_rps` what its linear
    relaxation says: no division of the hardware, in fractions even, carries more by these profiles. `took_s` is how
    long the cell took by the clock, from the start of its processes to their end.
    """

    key: Key
    attempt: int
    offered: int
    violated: float
    goodput_rps: float
    throughput_rps: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    mean_ms: float | None
    percentiles_ms: tuple[float, ...]
    outcomes: dict[str, int]
    cost_per_1000: float | None
    busy: float
    fullest: dict[str, float]
    late_ms: float
    void: tuple[str, ...]
    machine: str
    python: str
    harmonia: str
    peers: dict[str, str]
    revision: str
    at: str
    planned_rps: float = 0.0
    bound_rps: float = 0.0
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a cell is told of its run: versions of the peer's packages that matter, and this repository's revision.

    Beside that what the integer plan and its relaxation say the hardware carries, in requests a second.
    """

    peers: dict[str, str]
    revision: str
    planned_rps: float
    bound_rps: float


def measured(
    folder: Path,
    key: Key,
    attempt: int,
    scenario: Scenario,
    made: Callable[[float], Set],
    trace: Path | None,
    told: Told,
) -> Cell:
    """The cell as it lies in the folder, or measured now. Raises Rejected where a system does not start.

    `made` is told the factor; `trace` is what the key's arrivals are from.
    """
    path = folder / key.file
    if path.is_file():
        known = msgspec.json.decode(path.read_bytes(), type=Cell)
        if known.key == key and not known.void:
            return known
    cell = _measure(key, attempt, scenario, made(key.factor), trace, told)
    folder.mkdir(parents=True, exist_ok=True)
    if cell.void:
        path = path.with_name(f"void-{len([*folder.glob(f'void-*-{path.name}')]) + 1}-{path.name}")
    path.write_bytes(msgspec.json.format(msgspec.json.encode(cell), indent=1) + b"\n")
    return cell


def kept(folder: Path) -> Iterator[Cell]:
    """All cells of a folder, void ones too."""
    for path in sorted(folder.glob("*rps-x*.json")):
        yield msgspec.json.decode(path.read_bytes(), type=Cell)


def percentiles(observed: Sequence[Observation]) -> tuple[float, ...]:
    """Latencies in ms below which 1 to 99 of a hundred of all requests were answered, as far as so many were."""
    answered = sorted(one.latency_ms for one in observed if one.outcome is Outcome.OK)
    whole = [*answered, *[math.inf] * (len(observed) - len(answered))]
    found = [percentile(whole, part / 100.0) for part in range(1, 100)] if answered else []
    return tuple(round(ms, 1) for ms in found if math.isfinite(ms))


def _measure(
    key: Key,
    attempt: int,
    scenario: Scenario,
    system: Set,
    trace: Path | None,
    told: Told,
) -> Cell:
    from_ms, to_ms = key.warmup_s * 1000.0, (key.warmup_s + key.seconds) * 1000.0
    window = Window(from_ms, to_ms)
    coming = [*arrivals(trace, key.rate_rps, key.seed, to_ms)]
    tried = scenario if system.front is None else over(scenario, system.replicas)
    began = perf_counter()
    wishes = Wishes(factor=key.factor, parts=system.parts, front=system.front)
    done = rehearse(tried, coming, window, {}, wishes, lambda _: None)
    figures, machine = done.report.groups[0].figures, done.report.machine
    assert machine is not None
    assert machine.lateness is not None
    latency, ttft, cost = figures.latency, figures.ttft, done.report.cost_per_hour
    cell = Cell(
        key,
        attempt,
        figures.requests,
        # Nobody came whose end is known: nothing was kept.
        1.0 - (figures.attainment or 0.0),
        figures.goodput_rps,
        figures.throughput_rps,
        latency.p50 if latency else None,
        latency.p95 if latency else None,
        latency.p99 if latency else None,
        ttft.p50 if ttft else None,
        ttft.p95 if ttft else None,
        latency.mean if latency else None,
        percentiles([one for one in done.observed if window.holds(one.arrived_ms)]),
        dict(figures.outcomes),
        cost / 3.6 / figures.goodput_rps if cost and figures.goodput_rps else None,
        machine.busy,
        dict(done.fullest),
        machine.lateness.p99,
        (),
        f"{psutil.cpu_count()} cores, {math.ceil(psutil.virtual_memory().total / 2**30)} GiB, {platform.machine()}",
        platform.python_version(),
        version("harmonia-compiler"),
        told.peers,
        told.revision,
        datetime.now(UTC).isoformat(timespec="seconds"),
        told.planned_rps,
        told.bound_rps,
        perf_counter() - began,
    )
    return msgspec.structs.replace(cell, void=reasons(cell))
