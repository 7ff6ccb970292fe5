"""The service in virtual time: requests executed by the stepper, calls handed out by the lines of the gateway.

It is to the simulator what `runtime/gateway/driver.py` and `caller.py` are to the gateway: the same
decisions by the same pure code, with happenings where those have tasks.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.behaviour import Behaviour, Size
from harmonia_compiler.emulate.simulate.loop import Happening, Loop
from harmonia_compiler.emulate.simulate.stations import Replica
from harmonia_compiler.policy.events import (
    Answer,
    Begun,
    Cancel,
    Elapsed,
    Event,
    Fail,
    Failed,
    Finished,
    Path,
    Send,
    Started,
    StartTimer,
    StopTimer,
    items_of,
)
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.journey import Journey, Leg
from harmonia_compiler.policy.line import Line, NoReplica, QueueFull
from harmonia_compiler.policy.pipeline import Promise
from harmonia_compiler.policy.routing.affinity import beginning_of
from harmonia_compiler.policy.schedule import Ending, Hopeless, Schedule, Stopped
from harmonia_compiler.policy.stepper import advance
from harmonia_compiler.report.observation import Outcome, StageTime

#: What the schedule is told of how a request ended; else that something broke it.
_ENDINGS: dict[Outcome, Ending] = {Outcome.OK: "answered", Outcome.LATE: "late", Outcome.REFUSED: "late"}


@dataclass(slots=True, eq=False)
class Job:
    """One call on its way. `items` are the inputs of each item that it is for: one, unless it is a call for lists.

    `value` and `size` are what it will answer and what it asks of its replica, known once it is sent;
    `begun`, where set, is called when the first piece of a streamed answer leaves the replica.
    """

    leg: Leg
    component: Component
    settings: Mapping[str, Any]
    items: list[dict[str, Value]]
    many: bool
    request: int
    path: Path
    done: Callable[["Job"], object]
    failed: Callable[["Job", str], object]
    begun: Callable[["Job"], object] | None = None
    value: Value = None
    size: Size = field(default_factory=Size)
    priority: int = 0
    asked_ms: float = 0.0
    sent_ms: float | None = None
    first_ms: float = math.inf
    endpoint: Endpoint | None = None
    is_there: bool = False
    is_hopeless: bool = False


@dataclass(slots=True)
class Service:
    """The lines and replicas of every engine. `overhead_ms` is what the gateway adds to a call."""

    loop: Loop
    lines: Mapping[str, Line[Job]]
    replicas: Mapping[str, Replica[Job]]
    behaviour: Behaviour
    schedule: Schedule
    overhead_ms: float = 0.0

    @property
    def now(self) -> float:
        """The time in seconds, as lines and schedule are told it."""
        return self.loop.now_ms / 1000.0

    def call(self, job: Job) -> str | None:
        """Send a call or let it wait; says why where it is refused."""
        line = self.lines[job.component.engine]
        job.asked_ms = self.loop.now_ms
        is_one_way = job.many or len(line.replicas) == 1
        beginning = 0 if is_one_way else beginning_of(job.component, job.items[0])
        standing = replace(self.schedule.standing(job.leg), beginning=beginning)
        job.priority = standing.priority
        try:
            endpoint = line.ask(self.now, beginning=beginning)
            if endpoint is None:
                line.wait(job, standing)
        except (NoReplica, QueueFull) as refused:
            self.schedule.ends(job.leg, self.now)
            return str(refused) or "no replica of its engine is running"
        if endpoint is not None:
            self._send(job, endpoint)
        return None

    def cancel(self, job: Job) -> None:
        """Nobody awaits a call any more."""
        line = self.lines[job.component.engine]
        self.schedule.ends(job.leg, self.now)
        if job.endpoint is None:
            line.leave(job)
            return
        if job.is_there:
            self.replicas[job.endpoint.replica].cancel(job)
        line.release(job.endpoint)
        job.endpoint = None
        self._hand_out(line)

    def finished(self, job: Job) -> None:
        """What a replica says of a job that is done."""
        if job.endpoint is not None:
            assert job.sent_ms is not None
            took_s = (self.loop.now_ms - job.sent_ms) / 1000.0
            silent_s = min(took_s, (job.first_ms - job.sent_ms) / 1000.0)
            self.lines[job.component.engine].pool.answered(job.endpoint, job.component.name, took_s, silent_s, self.now)
        if self._take_back(job):
            job.done(job)

    def failed(self, job: Job, reason: str) -> None:
        """What a replica says of a job that it cannot do."""
        if self._take_back(job):
            job.failed(job, reason)

    def _take_back(self, job: Job) -> bool:
        """Give the job's place to the next; False where nobody awaits it any more."""
        if job.endpoint is None:
            return False
        line = self.lines[job.component.engine]
        self.schedule.ends(job.leg, self.now)
        line.release(job.endpoint)
        job.endpoint = None
        self._hand_out(line)
        return True

    def _hand_out(self, line: Line[Job]) -> None:
        while (given := line.next(self.now)) is not None:
            job, endpoint = given
            if endpoint is not None:
                self._send(job, endpoint)
                continue
            self.schedule.ends(job.leg, self.now)
            job.is_hopeless = True
            # Later in this instant, since it may bring other calls and cancel some.
            self.loop.after(0.0, partial(job.failed, job, "its request would be late"))

    def _send(self, job: Job, endpoint: Endpoint) -> None:
        self.schedule.works(job.leg, self.now)
        job.endpoint, job.sent_ms = endpoint, self.loop.now_ms
        job.value, job.size = self.behaviour.answer(job)
        replica = self.replicas[endpoint.replica]
        self.loop.after(self.overhead_ms, partial(self._arrive, job, replica))

    def _arrive(self, job: Job, replica: Replica[Job]) -> None:
        if job.endpoint is not None:
            job.is_there = True
            replica.submit(job)


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way through a Program; `ended` is called once, when its outcome is there."""

    service: Service
    program: Program
    number: int
    deadline_ms: float | None
    promise: Promise
    ended: Callable[["Request"], None]
    arrived_ms: float = 0.0
    first_ms: float | None = None
    ended_ms: float | None = None
    outcome: Outcome | None = None
    reason: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    answer_tokens: int | None = None
    stages: list[StageTime] = field(default_factory=list)
    _state: State = field(default_factory=State)
    _jobs: dict[int, Job] = field(default_factory=dict)
    _timers: dict[int, Happening] = field(default_factory=dict)
    _deadline: Happening | None = None
    _refused: set[int] = field(default_factory=set)
    _journey: Journey | None = None

    def start(self, arguments: Mapping[str, Value]) -> None:
        """Come in, now."""
        loop = self.service.loop
        self.arrived_ms = loop.now_ms
        try:
            self._journey = self.service.schedule.arrive(self.program, self.promise, self.service.now)
        except (Hopeless, Stopped) as refused:
            self.reason = type(refused).__name__.lower()
            self._end(Outcome.REFUSED)
            return
        if self.deadline_ms is not None:
            self._deadline = loop.after(self.deadline_ms, lambda: self._end(Outcome.LATE))
        self._take(Started(arguments))

    def _take(self, event: Event) -> None:
        if self.outcome is not None:
            return
        for command in advance(self.program, self._state, event):
            match command:
                case Send():
                    self._send(command)
                case Cancel(call):
                    if (job := self._jobs.pop(call, None)) is not None:
                        self.service.cancel(job)
                case StartTimer(timer, ms):
                    self._timers[timer] = self.service.loop.after(ms, partial(self._take, Elapsed(timer)))
                case StopTimer(timer):
                    self._timers.pop(timer).call_off()
                case Answer():
                    self._end(Outcome.OK)
                case Fail(_, reason, call, late):
                    self.reason = reason
                    refused = call is not None and call in self._refused
                    self._end(Outcome.LATE if late else Outcome.REFUSED if refused else Outcome.FAILED)

    def _send(self, send: Send) -> None:
        number = send.call
        assert self._journey is not None
        leg = self.service.schedule.ask(self._journey, send, self.service.now)

        def done(job: Job) -> None:
            self._jobs.pop(number, None)
            self._note(job)
            self._take(Finished(number, job.value))

        def failed(job: Job, reason: str) -> None:
            self._jobs.pop(number, None)
            if job.is_hopeless:
                self._refused.add(number)
            self._take(Failed(number, reason))

        def begun(job: Job) -> None:
            job.first_ms = self.service.loop.now_ms
            if self.first_ms is None:
                self.first_ms = self.service.loop.now_ms
                if self._journey is not None:
                    self.service.schedule.first(self._journey, self.service.now)
            self._take(Begun(number))

        component, items = self.program.components[send.component], items_of(send)
        tell = done, failed, begun if send.streams else None
        job = Job(leg, component, send.settings, items, bool(send.over), self.number, send.path, *tell)
        self._jobs[number] = job
        if (reason := self.service.call(job)) is not None:
            self._jobs.pop(number)
            self._refused.add(number)
            self.service.loop.after(0.0, lambda: self._take(Failed(number, reason)))

    def _note(self, job: Job) -> None:
        assert job.sent_ms is not None
        name, now = job.component.name, self.service.loop.now_ms
        self.stages.append(StageTime(name, job.sent_ms - job.asked_ms, now - job.sent_ms))
        work = job.size.work
        if work.prompt_tokens:
            made = max(1, round(work.output_tokens))
            self.tokens_in += round(work.prompt_tokens)
            self.tokens_out += made
            if job.begun is not None:
                self.answer_tokens = made

    def _end(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            return
        self.outcome, self.ended_ms = outcome, self.service.loop.now_ms
        for happening in (*self._timers.values(), *((self._deadline,) if self._deadline else ())):
            happening.call_off()
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            self.service.cancel(job)
        if self._journey is not None:
            self.service.schedule.end(self._journey, self.service.now, _ENDINGS.get(outcome, "broken"))
        self.ended(self)
