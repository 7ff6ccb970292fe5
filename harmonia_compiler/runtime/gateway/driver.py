"""Executes one request's Program: the stepper decides, this makes the calls and keeps the time.

Each call is a task; what it gives, the stepper is told at once, and what the stepper says is done before anything else
happens, so that it sees one thing after another. A piece of the answer leaves only once the stepper knows that it does,
since nothing can take its place from then on. Whatever ends the request (an answer, a failure, the deadline, a client
that left, the gateway's end) cancels every call that still runs, which closes its connection.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any

from harmonia_compiler.contract.launch import Reply, Usage
from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import Value
from harmonia_compiler.policy.events import (
    Answer,
    Begun,
    Cancel,
    Command,
    Elapsed,
    Event,
    Fail,
    Failed,
    Finished,
    Send,
    Started,
    StartTimer,
    StopTimer,
)
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.heading import answering_call, given_to_answer
from harmonia_compiler.policy.journey import Journey, Leg
from harmonia_compiler.policy.schedule import Ending
from harmonia_compiler.policy.stepper import advance, pursue
from harmonia_compiler.runtime.gateway.body import ClientGone
from harmonia_compiler.runtime.gateway.caller import Caller
from harmonia_compiler.runtime.gateway.dispatch import Emit
from harmonia_compiler.runtime.gateway.logs import log_bug
from harmonia_compiler.runtime.gateway.portion import Portions
from harmonia_compiler.runtime.gateway.problem import INVALID_REQUEST, TIMEOUT, Problem, internal
from harmonia_compiler.runtime.gateway.returned import passages_used
from harmonia_compiler.runtime.gateway.stage import Stage

#: The code of a request whose time has passed.
DEADLINE_EXCEEDED = "deadline_exceeded"
#: How many places of a Program are brought further in one turn of the event loop.
PLACES = 512


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was answered: the value, what it stands on, and what it took. Times in milliseconds.

    `ttft_ms` is until the first piece of its text left, or all of it where it left as a whole; None where nobody asked
    for pieces, or the pipeline streams none of its answers.
    """

    value: Value
    passages: list[dict[str, Any]]
    stages: list[Stage]
    usage: Usage
    finish: str
    total_ms: float
    ttft_ms: float | None


@dataclass(slots=True, eq=False)
class Execution:
    """One request on its way through a Program. `emit`, where given, is handed the answer's text as it comes.

    `journey` is what the schedule knows it by, and knows its deadline; `id` is what replicas are told of it.
    """

    caller: Caller
    program: Program
    arguments: Mapping[str, Value]
    options: Mapping[str, Any]
    journey: Journey
    emit: Emit | None = None
    id: str = ""
    _state: State = field(default_factory=State)
    _ended: asyncio.Future[Value] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _timers: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    _stages: list[Stage] = field(default_factory=list)
    #: The components of the calls that have not ended.
    _legs: dict[Leg, str] = field(default_factory=dict)
    _problems: dict[int, Problem] = field(default_factory=dict)
    _finishes: dict[int, str] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _portions: Portions = field(init=False)
    _going_on: asyncio.Handle | None = None
    _started: float = 0.0
    _first_at: float | None = None

    def __post_init__(self) -> None:
        self._portions = Portions(self._begin, self._tasks.__len__, self._loop)

    def interrupt(self, reason: Exception) -> None:
        """End the request with this exception, unless it has ended."""
        if not self._ended.done():
            self._ended.set_exception(reason)

    async def run(self) -> Served:
        """The answer. Raises Problem where there is none, or what `interrupt` was given."""
        # Its times, as its promise, count from when it came: it may have waited at the door.
        self._started = self.journey.arrived_s
        deadline = None
        deadline_s = self.journey.group.promise.deadline_s
        if deadline_s is not None:
            left_s = self._started + deadline_s - self.caller.clock()
            deadline = self._loop.call_later(left_s, self._expire, deadline_s * 1000)
        ending: Ending = "broken"
        try:
            self._take(Started(self.arguments))
            value = await self._ended
            ending = "answered"
        except Problem as problem:
            # Whosever time has passed: what a component may take, or a `within`, ends nearly all past the capacity.
            if problem.shed or problem.type == TIMEOUT:
                ending = "late"
            raise
        finally:
            if deadline is not None:
                deadline.cancel()
            for timer in self._timers.values():
                timer.cancel()
            await self._stop_calls()
            self.caller.schedule.end(self.journey, self.caller.clock(), ending)
        total_ms = (self.caller.clock() - self._started) * 1000
        ttft_ms = total_ms if self.emit is not None and self.program.streams else None
        if self._first_at is not None:
            ttft_ms = (self._first_at - self._started) * 1000
        return Served(
            value=value,
            passages=passages_used(self.program, given_to_answer(self.program, self._state), value),
            stages=self._stages,
            usage=self._generated(),
            finish=self._finish(),
            total_ms=total_ms,
            ttft_ms=ttft_ms,
        )

    def _take(self, event: Event) -> None:
        """Tell the stepper what happened, and do what it says."""
        if self._ended.done():
            return
        try:
            for command in advance(self.program, self._state, event, PLACES):
                self._do(command)
            self._go_on_later()
        except Exception as bug:  # noqa: BLE001 - nobody but the request itself waits for this, and it must end
            self._ended.set_exception(bug)

    def _go_on_later(self) -> None:
        if self._state.agenda and self._going_on is None and not self._ended.done():
            self._going_on = self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Do what is left of what events led to, a portion in each turn of the event loop."""
        self._going_on = None
        if self._ended.done():
            return
        try:
            for command in pursue(self.program, self._state, PLACES):
                self._do(command)
            self._go_on_later()
        except Exception as bug:  # noqa: BLE001 - as above
            self._ended.set_exception(bug)

    def _do(self, command: Command) -> None:
        match command:
            case Send(component=component):
                if not self._portions.add(command):
                    self.caller.schedule.puts_off(self.journey, component, 1)
            case Cancel(call):
                dropped = self._portions.drop(call)
                if dropped is None:
                    self._tasks[call].cancel()
                else:
                    self.caller.schedule.puts_off(self.journey, dropped.component, -1)
            case StartTimer(timer, ms):
                self._timers[timer] = self._loop.call_later(ms / 1000, self._take, Elapsed(timer))
            case StopTimer(timer):
                self._timers.pop(timer).cancel()
            case Answer(value):
                self._ended.set_result(value)
            case Fail():
                self._ended.set_exception(self._problem(command))

    def _begin(self, send: Send, *, put_off: bool) -> None:
        if put_off:
            self.caller.schedule.puts_off(self.journey, send.component, -1)
        task = self._tasks[send.call] = self._loop.create_task(self._call(send))
        task.add_done_callback(partial(self._let_go, send.call))

    def _let_go(self, call: int, _: asyncio.Task[None]) -> None:
        del self._tasks[call]
        self._portions.go_on()

    def _problem(self, fail: Fail) -> Problem:
        """What the client is told: what the failed call was told, or what no call is to blame for."""
        if fail.call is not None:
            return self._problems[fail.call]
        named = f"`{fail.component}`: " if fail.component else ""
        if fail.late:
            late = f"{named}{fail.reason}"
            return Problem(HTTPStatus.GATEWAY_TIMEOUT, TIMEOUT, "value_late", late, component=fail.component)
        refused = f"{named}{fail.reason}"
        return Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, INVALID_REQUEST, "list_refused", refused, component=fail.component
        )

    def _finish(self) -> str:
        """Why the answer's text ended."""
        returned = answering_call(self.program, self._state)
        return "stop" if returned is None else self._finishes.get(returned, "stop")

    async def _call(self, send: Send) -> None:
        """One call as a task: the stepper is told whatever comes of it."""
        try:
            reply = await self._made(send)
        except Problem as problem:
            self._fail(send, problem)
        except ClientGone as gone:
            self.interrupt(gone)
        except Exception as bug:  # noqa: BLE001 - a request that waits for this call must end
            log_bug("call_bug", bug, component=send.component)
            self._fail(send, internal(send.component))
        else:
            self._finishes[send.call] = reply.finish
            self._take(Finished(send.call, reply.value))

    async def _made(self, send: Send) -> Reply:
        """The answer of a call.

        What the request wishes goes to every call that may give its answer: whether one does may hang on what others
        make of its value.
        """
        clock, schedule = self.caller.clock, self.caller.schedule
        now = clock()
        component = self.program.components[send.component]
        stage = Stage(component.name, (now - self._started) * 1000, path=send.path)
        self._stages.append(stage)
        options = self.options if send.may_answer else {}
        emit = partial(self._forward, send.call) if send.streams and self.emit is not None else None
        leg = schedule.ask(self.journey, send, now)
        self._legs[leg] = component.name
        try:
            return await self.caller.call(component, send, options, stage, leg, emit, self.id)
        finally:
            del self._legs[leg]
            schedule.ends(leg, clock())

    def _fail(self, send: Send, problem: Problem) -> None:
        self._problems[send.call] = problem
        self._take(Failed(send.call, problem.message))

    async def _forward(self, call: int, texts: Sequence[str]) -> None:
        assert self.emit is not None
        if self._first_at is None:
            self._take(Begun(call))
            if self._ended.done():
                # It will be cancelled in a moment, and nothing of it may leave before.
                raise asyncio.CancelledError
            self._first_at = self.caller.clock()
            self.caller.schedule.first(self.journey, self._first_at)
        await self.emit(texts)

    def _expire(self, deadline_ms: float) -> None:
        running = sorted({component for leg, component in self._legs.items() if leg.works})
        waiting = sorted({*self._legs.values(), *(send.component for send in self._portions)} - {*running})
        found = ((running, "ran"), (waiting, "waited for a replica"))
        where = " and ".join(f"{_named(components)} {did}" for components, did in found if components)
        allowed = f"{deadline_ms:g} ms" if deadline_ms < 1000.0 else f"{deadline_ms / 1000.0:g} s"
        self.interrupt(
            Problem(
                HTTPStatus.GATEWAY_TIMEOUT,
                TIMEOUT,
                DEADLINE_EXCEEDED,
                f"the request's {allowed} passed while {where or 'it ran'}",
                component=next(iter((*running, *waiting)), None),
            )
        )

    async def _stop_calls(self) -> None:
        """Cancel what still runs and wait until it has let go of its replica."""
        for send in self._portions.stop():
            self.caller.schedule.puts_off(self.journey, send.component, -1)
        running = [task for task in self._tasks.values() if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.gather(*running, return_exceptions=True)

    def _generated(self) -> Usage:
        """The tokens of all calls of language models together."""
        kinds, components = self.caller.kinds, self.program.components
        usages = [stage.usage for stage in self._stages if kinds[components[stage.component].kind].has_prompt]
        return Usage(sum(usage.prompt_tokens for usage in usages), sum(usage.completion_tokens for usage in usages))


def _named(components: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in components)
