"""One request in virtual time: executed by the stepper of the gateway, its calls made through the service.

It is to the simulator what `runtime/gateway/driver.py` is to the gateway.
"""

from collections.abc import Callable, Mapping
from functools import partial

import msgspec

from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.simulate.loop import Happening
from harmonia_compiler.emulate.simulate.service import NO_REPLICA, Job, Service
from harmonia_compiler.policy.door import Knock
from harmonia_compiler.policy.events import (
    Answer,
    Begun,
    Cancel,
    Elapsed,
    Event,
    Fail,
    Failed,
    Finished,
    Send,
    Started,
    StartTimer,
    StopTimer,
    items_of,
)
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.journey import Journey
from harmonia_compiler.policy.pipeline import Promise
from harmonia_compiler.policy.schedule import Crowded, Ending, Hopeless, Stopped
from harmonia_compiler.policy.stepper import advance
from harmonia_compiler.report.observation import Outcome, StageTime

#: Why there was no answer, as whoever asks a gateway sees it.
_OVERLOADED, _DEADLINE, _VALUE_LATE = "429 overloaded", "504 deadline_exceeded", "504 value_late"
_TIMEOUT = "504 component_timeout"

#: What the schedule is told of how a request ended; else that something broke it.
_ENDINGS: dict[Outcome, Ending] = {Outcome.OK: "answered", Outcome.LATE: "late", Outcome.REFUSED: "late"}


class Request(msgspec.Struct, eq=False):
    """One request on its way through a Program; `ended` is called once, when its outcome is there."""

    service: Service
    program: Program
    number: int
    deadline_ms: float | None
    promise: Promise
    ended: Callable[["Request"], None]
    request_class: str = ""
    arrived_ms: float = 0.0
    first_ms: float | None = None
    ended_ms: float | None = None
    outcome: Outcome | None = None
    reason: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    answer_tokens: int | None = None
    stages: list[StageTime] = []
    _state: State = msgspec.field(default_factory=State)
    _jobs: dict[int, Job] = {}
    _timers: dict[int, Happening] = {}
    _deadline: Happening | None = None
    _refused: set[int] = set()
    #: When each call's own time is up, of those that have one, and the calls whose was.
    _limits: dict[int, Happening] = {}
    _late: set[int] = set()
    _journey: Journey | None = None

    def start(self, arguments: Mapping[str, Value]) -> None:
        """Come in, now."""
        loop = self.service.loop
        self.arrived_ms = loop.now_ms
        watch = self.service.watch
        watch.arrived(self.program.pipeline, self.request_class)
        schedule, now = self.service.schedule, self.service.now

        def let_in(journey: Journey) -> None:
            self._journey = journey
            # Later in this instant: whoever gave its place back is told of nobody else meanwhile.
            loop.after(0.0, lambda: self._begin(arguments))

        try:
            try:
                self._journey = schedule.arrive(self.program, self.promise, now)
            except Crowded:
                knock = schedule.knock(self.program, self.promise, now, let_in, lambda: loop.after(0.0, self._refuse))
                loop.at(knock.until_s * 1000.0, partial(self._tire, knock))
                return
        except Hopeless:
            self._refuse()
            return
        except Stopped:
            self._refuse(NO_REPLICA)
            return
        self._begin(arguments)

    def _begin(self, arguments: Mapping[str, Value]) -> None:
        """It is let in now."""
        loop = self.service.loop
        self.service.watch.let_in(self.program.pipeline, self.request_class)
        if self.deadline_ms is not None:
            self._deadline = loop.at(self.arrived_ms + self.deadline_ms, self._run_out)
        self._take(Started(arguments))

    def _run_out(self) -> None:
        """Its own time is up."""
        self.reason = self._said(_DEADLINE)
        self._end(Outcome.LATE)

    def _said(self, reason: str) -> str:
        """A reason, as it is told: once the answer has begun, its status was another."""
        return reason if self.first_ms is None else f"{reason.partition(' ')[2]}, in mid-answer"

    def _refuse(self, reason: str = _OVERLOADED) -> None:
        self.reason = reason
        self._end(Outcome.REFUSED)

    def _tire(self, knock: Knock) -> None:
        """It has waited at the door as long as it may, if it still does."""
        if self._journey is None and self.outcome is None:
            self.service.schedule.leave(knock)
            self._refuse()

    def _take(self, event: Event) -> None:
        if self.outcome is not None:
            return
        for command in advance(self.program, self._state, event):
            match command:
                case Send():
                    self._send(command)
                case Cancel(call):
                    if (job := self._over(call)) is not None:
                        self.service.cancel(job)
                case StartTimer(timer, ms):
                    self._timers[timer] = self.service.loop.after(ms, partial(self._take, Elapsed(timer)))
                case StopTimer(timer):
                    self._timers.pop(timer).call_off()
                case Answer():
                    self._end(Outcome.OK)
                case Fail(_, reason, call, late):
                    self.reason = self._said(_VALUE_LATE) if late else reason
                    refused = call is not None and call in self._refused
                    timed_out = call in self._late
                    # One that broke off in mid-answer has failed.
                    late = late or (timed_out and self.first_ms is None)
                    outcome = Outcome.LATE if late else Outcome.REFUSED if refused else Outcome.FAILED
                    self._end(outcome, "late" if timed_out else None)

    def _send(self, send: Send) -> None:
        number = send.call
        assert self._journey is not None
        leg = self.service.schedule.ask(self._journey, send, self.service.now)

        def done(job: Job) -> None:
            self._over(number)
            self._note(job)
            self._take(Finished(number, job.value))

        def failed(job: Job, reason: str) -> None:
            self._over(number)
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
        pipeline = self.program.pipeline
        where = self.number, send.path, send.site
        job = Job(leg, pipeline, component, send.settings, items, bool(send.over), *where, *tell)
        self._jobs[number] = job
        if (limit_ms := send.settings.get("timeout")) is not None:
            self._limits[number] = self.service.loop.after(limit_ms, partial(self._expire, number))
        if (reason := self.service.call(job)) is not None:
            self._over(number)
            self._refused.add(number)
            self.service.loop.after(0.0, lambda: self._take(Failed(number, reason)))

    def _over(self, number: int) -> Job | None:
        """A call is under way no more; the job that it was, unless it ended before."""
        if self._limits and (limit := self._limits.pop(number, None)) is not None:
            limit.call_off()
        job = self._jobs.pop(number, None)
        if job is not None:
            self._count(job)
        return job

    def _count(self, job: Job) -> None:
        """Count a call that a replica worked on, however it ended, as the gateway does."""
        if job.sent_ms is not None:
            now = self.service.loop.now_ms
            self.stages.append(StageTime(job.component.name, job.sent_ms - job.asked_ms, now - job.sent_ms))

    def _expire(self, number: int) -> None:
        """A call has had the time that its component gives it."""
        job = self._over(number)
        if job is not None:
            self.service.cancel(job)
            self._late.add(number)
            self._take(Failed(number, self._said(_TIMEOUT)))

    def _note(self, job: Job) -> None:
        work = job.size.work
        if work.prompt_tokens:
            made = max(1, round(work.output_tokens))
            self.tokens_in += round(work.prompt_tokens)
            self.tokens_out += made
            if job.begun is not None:
                self.answer_tokens = made

    def _end(self, outcome: Outcome, ending: Ending | None = None) -> None:
        """It has this outcome; the schedule is told another `ending` where one is given."""
        if self.outcome is not None:
            return
        self.outcome, self.ended_ms = outcome, self.service.loop.now_ms
        if outcome is Outcome.OK and self.program.streams and self.first_ms is None:
            # It left as a whole.
            self.first_ms = self.ended_ms
        for happening in (
            *self._timers.values(),
            *self._limits.values(),
            *((self._deadline,) if self._deadline else ()),
        ):
            happening.call_off()
        jobs, self._jobs = self._jobs, {}
        for job in jobs.values():
            self._count(job)
            self.service.cancel(job)
        if self._journey is not None:
            told = ending or _ENDINGS.get(outcome, "broken")
            self.service.schedule.end(self._journey, self.service.now, told)
        if outcome is Outcome.OK:
            made = [stage.component for stage in self.stages]
            self.service.watch.answered(self.program.pipeline, self.request_class, made)
        self.ended(self)
