"""The service in virtual time: calls handed out by the lines of the gateway, and counted by its counts.

It is to the simulator what `runtime/gateway/caller.py` is to the gateway: the same decisions by the same pure code,
with happenings where that has tasks.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.behaviour import Behaviour, Size
from harmonia_compiler.emulate.simulate.loop import Loop
from harmonia_compiler.emulate.simulate.stations import Replica
from harmonia_compiler.policy.events import (
    Path,
)
from harmonia_compiler.policy.journey import Leg
from harmonia_compiler.policy.line import Line, NoReplica, QueueFull
from harmonia_compiler.policy.routing.affinity import beginning_of
from harmonia_compiler.policy.schedule import Schedule
from harmonia_compiler.runtime.gateway.watch import Watch

#: Why a call was refused, as whoever asks a gateway sees it: its status and its word for it.
NO_REPLICA, _QUEUE_FULL, _GIVEN_UP = "503 no_replica", "429 queue_full", "429 given_up"


class Job(msgspec.Struct, eq=False):
    """One call on its way. `items` are the inputs of each item that it is for: one, unless it is a call for lists.

    `value` and `size` are what it will answer and what it asks of its replica, known once it is sent;
    `begun`, where set, is called when the first piece of a streamed answer leaves the replica.
    """

    leg: Leg
    pipeline: str
    component: Component
    settings: Mapping[str, Any]
    items: list[dict[str, Value]]
    many: bool
    request: int
    path: Path
    site: int
    done: Callable[["Job"], object]
    failed: Callable[["Job", str], object]
    begun: Callable[["Job"], object] | None = None
    value: Value = None
    size: Size = Size()
    priority: int = 0
    asked_ms: float = 0.0
    sent_ms: float | None = None
    first_ms: float = math.inf
    endpoint: Endpoint | None = None
    is_hopeless: bool = False


@dataclass(slots=True)
class Service:
    """The lines and replicas of every engine. `overhead_ms` is what the gateway adds to a call.

    `watch` counts what its controller goes by.
    """

    loop: Loop
    lines: Mapping[str, Line[Job]]
    replicas: Mapping[str, Replica[Job]]
    behaviour: Behaviour
    schedule: Schedule
    overhead_ms: float = 0.0
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(lambda: self.now)

    @property
    def now(self) -> float:
        """The time in seconds, as lines and schedule are told it."""
        return self.loop.now_ms / 1000.0

    def call(self, job: Job) -> str | None:
        """Send a call or let it wait; says why where it is refused."""
        line, now = self.lines[job.component.engine], self.now
        job.asked_ms = self.loop.now_ms
        is_one_way = job.many or len(line.replicas) == 1
        beginning = 0 if is_one_way else beginning_of(job.component, job.items[0])
        standing = self.schedule.standing(job.leg, beginning)
        job.priority = standing.priority
        try:
            endpoint = line.ask(now, beginning=beginning)
            if endpoint is None:
                line.wait(job, standing)
        except (NoReplica, QueueFull) as refused:
            self.schedule.ends(job.leg, now)
            return _QUEUE_FULL if isinstance(refused, QueueFull) else NO_REPLICA
        if endpoint is not None:
            self._send(job, endpoint)
        return None

    def set_replicas(self, engine: str, endpoints: Sequence[Endpoint]) -> None:
        """Route an engine's calls to these from now on; those in flight to others go on."""
        line = self.lines[engine]
        line.set_replicas(endpoints)
        self._hand_out(line)

    def set_shares(self, shares: Mapping[str, ReplicaShare]) -> None:
        """Give replicas these shares from now on; what is in flight goes on."""
        for line in self.lines.values():
            line.set_shares(shares)
            self._hand_out(line)

    def cancel(self, job: Job) -> None:
        """Nobody awaits a call any more."""
        line = self.lines[job.component.engine]
        self.schedule.ends(job.leg, self.now)
        if job.endpoint is None:
            line.leave(job)
            return
        self.replicas[job.endpoint.replica].cancel(job)
        self._release(job, job.endpoint, None)

    def finished(self, job: Job) -> None:
        """What a replica says of a job that is done."""
        if job.endpoint is not None:
            assert job.sent_ms is not None
            component = job.component
            took_s = (self.loop.now_ms - job.sent_ms) / 1000.0
            silent_s = min(took_s, (job.first_ms - job.sent_ms) / 1000.0)
            self.lines[component.engine].pool.answered(job.endpoint, component.name, took_s, silent_s, self.now)
        if self._take_back(job, is_served=True):
            job.done(job)

    def failed(self, job: Job, reason: str) -> None:
        """What a replica says of a job that it cannot do."""
        if self._take_back(job, is_served=False):
            job.failed(job, reason)

    def _take_back(self, job: Job, *, is_served: bool) -> bool:
        """Give the job's place to the next; False where nobody awaits it any more."""
        if job.endpoint is None:
            return False
        assert job.sent_ms is not None
        self.schedule.ends(job.leg, self.now)
        self._release(job, job.endpoint, (self.loop.now_ms - job.sent_ms) / 1000.0 if is_served else None)
        return True

    def _release(self, job: Job, endpoint: Endpoint, served_s: float | None) -> None:
        """A replica has a job no more, which it served in so long, or did not."""
        name, engine, items = job.component.name, job.component.engine, len(job.items)
        self.watch.ended(job.pipeline, name, engine, endpoint.replica, served_s, items)
        line = self.lines[engine]
        line.release(endpoint)
        job.endpoint = None
        if line.waiting:
            self._hand_out(line)

    def _hand_out(self, line: Line[Job]) -> None:
        while (given := line.next(self.now)) is not None:
            job, endpoint = given
            if endpoint is not None:
                self._send(job, endpoint)
                continue
            self.schedule.ends(job.leg, self.now)
            job.is_hopeless = True
            # Later in this instant, since it may bring other calls and cancel some.
            self.loop.after(0.0, partial(job.failed, job, _GIVEN_UP))

    def _send(self, job: Job, endpoint: Endpoint) -> None:
        self.schedule.works(job.leg, self.now)
        job.endpoint, job.sent_ms = endpoint, self.loop.now_ms
        waited_s = (job.sent_ms - job.asked_ms) / 1000.0
        self.watch.taken(job.pipeline, job.component.name, job.component.engine, endpoint.replica, waited_s)
        job.value, job.size = self.behaviour.answer(job)
        self.replicas[endpoint.replica].submit(job, self.overhead_ms)
