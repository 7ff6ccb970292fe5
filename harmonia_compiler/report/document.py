"""The report: one versioned document for a simulation, a rehearsal and a measurement.

What only one of the three knows (decisions of a controller, faults that were injected, the cost of hosts, the machine's
own part) is empty or absent in the others.
"""

from typing import Literal

import msgspec

from harmonia_compiler.contract.document import encode_document
from harmonia_compiler.report.measures import Distribution, Figures

FORMAT_VERSION = 1

#: The parts of all requests at which the curve of latencies is drawn.
CURVE_PARTS = (*(hundredth / 100.0 for hundredth in range(100)), 0.995, 0.999, 1.0)

Kind = Literal["simulation", "rehearsal", "measurement"]


class Tick(msgspec.Struct, frozen=True):
    """A stretch of the run, from `at_ms` on: how many requests arrived, were answered, in time, and were not."""

    at_ms: float
    arrived: int
    answered: int
    good: int
    refused: int
    failed: int
    p95_ms: float | None


class Group(msgspec.Struct, frozen=True):
    """A pipeline, or one class of its requests: figures, and what charts are drawn of.

    `curve` are latencies of answered requests at the parts of `curve_parts`; empty where none was answered.
    """

    pipeline: str
    request_class: str | None
    figures: Figures
    curve: tuple[float, ...]

    @property
    def name(self) -> str:
        """How it is called where all groups stand together: `desk`, `desk/urgent`."""
        return self.pipeline if self.request_class is None else f"{self.pipeline}/{self.request_class or '-'}"


class Stage(msgspec.Struct, frozen=True):
    """The calls of one component: how often a request made one, how long they waited and took."""

    pipeline: str
    component: str
    calls_per_request: float
    queue: Distribution
    service: Distribution


class EngineUse(msgspec.Struct, frozen=True):
    """How near an engine came to what it carries.

    Its replicas ended `calls_rps` calls a second, of a plan whose figures say that they carry `most_rps` when they are
    never idle. `utilisation` is the part of that, as in the plan; both are None where the plan has no figures.
    `working` is the part of the time in which they had anything to work on, or of the time of their threads: a
    language model works as long as it has a single call.
    """

    engine: str
    replicas: int
    calls_rps: float
    most_rps: float | None
    utilisation: float | None
    working: float


class Decision(msgspec.Struct, frozen=True):
    """What the controller changed, when, and why."""

    at_ms: float
    what: str
    why: str


class Injected(msgspec.Struct, frozen=True):
    """What went wrong with a replica since a rehearsal was told so; `until_ms` is None where it lasted."""

    at_ms: float
    until_ms: float | None
    replica: str
    what: str


class Machine(msgspec.Struct, frozen=True):
    """The machine that measured: how much of it that took, and how late it was.

    `factor` is by how much all times were stretched for its sake. `lateness` is of what it did at set times, in
    milliseconds; `own_cores` is how many cores the measuring process kept busy, `busy` the part of all cores that was
    busy with anything. `is_limit` says that the figures are the machine's as much as the service's.
    """

    factor: float
    lateness: Distribution | None
    own_cores: float
    busy: float
    is_limit: bool


class Report(msgspec.Struct, frozen=True):
    """What was measured and what came of it. The window is in milliseconds of the run; what is before is warm-up."""

    kind: Kind
    of: str
    settings: dict[str, str]
    window_ms: tuple[float, float]
    groups: tuple[Group, ...]
    tick_ms: float
    ticks: tuple[Tick, ...]
    stages: tuple[Stage, ...] = ()
    engines: tuple[EngineUse, ...] = ()
    cost_per_hour: float | None = None
    decisions: tuple[Decision, ...] = ()
    faults: tuple[Injected, ...] = ()
    machine: Machine | None = None
    notes: tuple[str, ...] = ()
    curve_parts: tuple[float, ...] = CURVE_PARTS
    format_version: int = FORMAT_VERSION


def encode_report(report: Report) -> bytes:
    """The report's JSON: two spaces, a newline at the end."""
    return encode_document(report)
