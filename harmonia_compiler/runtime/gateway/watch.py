"""Counts what the controller goes by (`contract/readings.py`): who comes, who is answered, how long calls take.

Everything happens on the gateway's one event loop and is a few additions; the document is made when somebody asks.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harmonia_compiler.contract.readings import CallsRead, Readings, ReplicaRead, RequestsRead
from harmonia_compiler.policy.line import Line


@dataclass(slots=True)
class _Requests:
    arrived: int = 0
    let_in: int = 0
    answered: int = 0
    visits: dict[str, int] = field(default_factory=dict)
    gap_s: float = 0.0
    gap_s2: float = 0.0
    last_s: float | None = None


@dataclass(slots=True)
class _Calls:
    served: int = 0
    failed: int = 0
    items: int = 0
    service_s: float = 0.0
    queue_s: float = 0.0


class Watch:
    """The counts of one gateway since its start. `clock` is monotonic and in seconds.

    `epoch` is the decision that the gateway follows, `refused` why it does not follow the last one that it was given.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.epoch = 0
        self.refused = ""
        self._name = secrets.token_hex(8)
        self._clock = clock
        self._requests: dict[tuple[str, str], _Requests] = {}
        self._calls: dict[tuple[str, str, str], _Calls] = {}
        self._in_flight: dict[tuple[str, str], int] = {}

    def arrived(self, pipeline: str, request_class: str) -> None:
        """A request has come, whatever becomes of it."""
        counts, now = self._of(pipeline, request_class), self._clock()
        counts.arrived += 1
        if counts.last_s is not None:
            gap_s = now - counts.last_s
            counts.gap_s += gap_s
            counts.gap_s2 += gap_s * gap_s
        counts.last_s = now

    def let_in(self, pipeline: str, request_class: str) -> None:
        """It was let in, as it came or after it had waited at the door."""
        self._of(pipeline, request_class).let_in += 1

    def answered(self, pipeline: str, request_class: str, components: Iterable[str]) -> None:
        """It was answered, after calls of these components."""
        counts = self._of(pipeline, request_class)
        counts.answered += 1
        visits = counts.visits
        for component in components:
            visits[component] = visits.get(component, 0) + 1

    def taken(self, pipeline: str, component: str, engine: str, replica: str, waited_s: float) -> None:
        """A replica has taken a call, which waited so long."""
        key = engine, replica
        self._in_flight[key] = self._in_flight.get(key, 0) + 1
        self._calls_of(pipeline, component, replica).queue_s += waited_s

    def ended(
        self, pipeline: str, component: str, engine: str, replica: str, service_s: float | None, items: int
    ) -> None:
        """It has ended: served in so long, or not served."""
        key = engine, replica
        left = self._in_flight.get(key, 0) - 1
        if left > 0:
            self._in_flight[key] = left
        else:
            self._in_flight.pop(key, None)
        counts = self._calls_of(pipeline, component, replica)
        counts.items += items
        if service_s is None:
            counts.failed += 1
        else:
            counts.served += 1
            counts.service_s += service_s

    @property
    def totals(self) -> tuple[int, int]:
        """How many requests came, and how many of them were answered."""
        counts = self._requests.values()
        return sum(one.arrived for one in counts), sum(one.answered for one in counts)

    def readings(self, lines: Mapping[str, Line[Any]]) -> Readings:
        """All of it; `lines` are those of every engine."""
        now = self._clock()
        routed = {
            (engine, name): load.endpoint.started_in_s
            for engine, line in lines.items()
            for name, load in line.replicas.items()
        }
        left_out = {
            (engine, name)
            for engine, line in lines.items()
            for name, load in line.replicas.items()
            if not load.health.is_in(now)
        }
        return Readings(
            self._name,
            now,
            self.epoch,
            self.refused,
            tuple(
                RequestsRead(
                    *key, one.arrived, one.let_in, one.answered, dict(sorted(one.visits.items())), one.gap_s, one.gap_s2
                )
                for key, one in sorted(self._requests.items())
            ),
            tuple(
                CallsRead(*key, one.served, one.failed, one.items, one.service_s, one.queue_s)
                for key, one in sorted(self._calls.items())
            ),
            tuple(
                ReplicaRead(
                    name,
                    engine,
                    self._in_flight.get((engine, name), 0),
                    routed=(engine, name) in routed,
                    left_out=(engine, name) in left_out,
                    started_in_s=routed.get((engine, name)),
                )
                for engine, name in sorted(routed.keys() | self._in_flight.keys())
            ),
            {engine: len(line.waiting) for engine, line in lines.items() if line.waiting},
        )

    def _of(self, pipeline: str, request_class: str) -> _Requests:
        found = self._requests.get((pipeline, request_class))
        if found is None:
            found = self._requests[pipeline, request_class] = _Requests()
        return found

    def _calls_of(self, pipeline: str, component: str, replica: str) -> _Calls:
        key = pipeline, component, replica
        found = self._calls.get(key)
        if found is None:
            found = self._calls[key] = _Calls()
        return found
