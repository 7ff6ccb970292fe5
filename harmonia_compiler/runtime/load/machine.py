"""Whether the machine that measures keeps up: how late it is for what it does at set times, and how busy.

A sender that is late, or has no core left, measures itself. So each run says what it took.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from harmonia_compiler.report.document import Machine
from harmonia_compiler.report.measures import distribution

_TICK_S = 0.02
#: Later than this at p99, in milliseconds and as a part of the median latency, and the figures are the machine's.
_LATE_MS = 5.0
_LATE_PART = 0.01
#: One process has one core for its events; busier than this it queues them.
_BUSY_CORES = 0.9


@dataclass(slots=True)
class Watch:
    """Follows one run from its start on. `clock` is in seconds."""

    clock: Callable[[], float]
    late_ms: list[float] = field(default_factory=list)
    _began: float = 0.0
    _own: float = 0.0
    _whole: tuple[float, float] = (0.0, 0.0)

    def start(self) -> None:
        """From here on."""
        self._began, self._own, self._whole = self.clock(), process_seconds(), machine_seconds()

    async def tick(self) -> None:
        """Note the event loop's own lateness until cancelled."""
        while True:
            due = self.clock() + _TICK_S
            await asyncio.sleep(_TICK_S)
            self.late(due)

    def late(self, due: float) -> None:
        """Note that something was due then and happens now."""
        self.late_ms.append(max(0.0, (self.clock() - due) * 1000.0))

    def found(self, median_ms: float | None, *, ran_out: bool) -> Machine:
        """What the run took of the machine; `ran_out` says that it lacked something, such as sockets."""
        lateness = distribution(self.late_ms)
        own = (process_seconds() - self._own) / max(1e-9, self.clock() - self._began)
        is_late = lateness is not None and lateness.p99 > max(_LATE_MS, _LATE_PART * (median_ms or 0.0))
        return Machine(
            factor=1.0,
            lateness=lateness,
            own_cores=own,
            busy=busy_since(self._whole),
            is_limit=ran_out or is_late or own > _BUSY_CORES,
        )


def process_seconds(process: psutil.Process | None = None) -> float:
    """Processor time of a process so far, of this one where none is named."""
    times = (process or psutil.Process()).cpu_times()
    return float(times.user + times.system)


def machine_seconds() -> tuple[float, float]:
    """Busy and all seconds of all cores since the machine was started."""
    times = psutil.cpu_times()
    whole = float(sum(times))
    return whole - float(times.idle) - float(getattr(times, "iowait", 0.0)), whole


def busy_since(before: tuple[float, float]) -> float:
    """The part of all cores that was busy since `machine_seconds` were these."""
    busy, whole = (now - then for now, then in zip(machine_seconds(), before, strict=True))
    return busy / whole if whole > 0.0 else 0.0
