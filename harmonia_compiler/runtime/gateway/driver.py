"""Executes one request's Program: the stepper decides, this makes the calls and keeps the time.

Each call is a task; what it gives comes back as an event in one queue, so that the stepper sees
one thing after another. A piece of the answer leaves only once the stepper knows that it does, since
nothing can take its place from then on. Whatever ends the request (an answer, a failure, the deadline, a client
that left, the gateway's end) cancels every call that still runs, which closes its connection.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from harmonia_compiler.contract.launch import Usage
from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import Value
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
)
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.heading import answering_call, given_to_answer
from harmonia_compiler.policy.journey import Journey
from harmonia_compiler.policy.schedule import Ending
from harmonia_compiler.policy.stepper import advance
from harmonia_compiler.runtime.gateway.body import ClientGone
from harmonia_compiler.runtime.gateway.caller import Caller
from harmonia_compiler.runtime.gateway.dispatch import Emit
from harmonia_compiler.runtime.gateway.logs import log_bug
from harmonia_compiler.runtime.gateway.problem import INVALID_REQUEST, TIMEOUT, Problem, internal
from harmonia_compiler.runtime.gateway.returned import passages_used
from harmonia_compiler.runtime.gateway.stage import Stage

#: The code of a request whose time has passed.
DEADLINE_EXCEEDED = "deadline_exceeded"


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was answered: the value, what it stands on, and what it took. Times in milliseconds."""

    value: Value
    passages: list[dict[str, Any]]
    stages: list[Stage]
    usage: Usage
    finish: str
    total_ms: float
    ttft_ms: float | None


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The request ends for a reason that no call gave."""

    reason: Exception


@dataclass(frozen=True, slots=True)
class _Leaving:
    """The first piece of the answer is about to leave; `known` is set once the stepper has taken that in."""

    call: int
    known: asyncio.Event


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
    _events: asyncio.Queue[Finished | Failed | Elapsed | _Leaving | Interrupted] = field(default_factory=asyncio.Queue)
    _tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _timers: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    _stages: list[Stage] = field(default_factory=list)
    _problems: dict[int, Problem] = field(default_factory=dict)
    _finishes: dict[int, str] = field(default_factory=dict)
    _first_at: float | None = None

    def interrupt(self, reason: Exception) -> None:
        """End the request with this exception, unless it has ended."""
        self._events.put_nowait(Interrupted(reason))

    async def run(self) -> Served:
        """The answer. Raises Problem where there is none, or what `interrupt` was given."""
        started = self.caller.clock()
        deadline = None
        deadline_s = self.journey.group.promise.deadline_s
        if deadline_s is not None:
            loop = asyncio.get_running_loop()
            deadline = loop.call_later(deadline_s, self._expire, deadline_s * 1000)
        ending: Ending = "broken"
        try:
            value = await self._drive(started)
            ending = "answered"
        except Problem as problem:
            if problem.shed or problem.code == DEADLINE_EXCEEDED:
                ending = "late"
            raise
        finally:
            if deadline is not None:
                deadline.cancel()
            for timer in self._timers.values():
                timer.cancel()
            await self._stop_calls()
            self.caller.schedule.end(self.journey, self.caller.clock(), ending)
        return Served(
            value=value,
            passages=passages_used(self.program, given_to_answer(self.program, self._state), value),
            stages=self._stages,
            usage=self._generated(),
            finish=self._finish(),
            total_ms=(self.caller.clock() - started) * 1000,
            ttft_ms=None if self._first_at is None else (self._first_at - started) * 1000,
        )

    async def _drive(self, started: float) -> Value:
        event: Event = Started(self.arguments)
        while True:
            for command in advance(self.program, self._state, event):
                match command:
                    case Send():
                        self._tasks[command.call] = asyncio.create_task(self._call(command, started))
                    case Cancel(call):
                        self._tasks[call].cancel()
                    case StartTimer(timer, ms):
                        loop = asyncio.get_running_loop()
                        self._timers[timer] = loop.call_later(ms / 1000, self._events.put_nowait, Elapsed(timer))
                    case StopTimer(timer):
                        self._timers.pop(timer).cancel()
                    case Answer(value):
                        return value
                    case Fail():
                        raise self._problem(command)
            happened = await self._events.get()
            if isinstance(happened, Interrupted):
                raise happened.reason
            if isinstance(happened, _Leaving):
                # It may have been cancelled in the meantime; then it waits in vain, and nothing leaves.
                if happened.call in self._state.in_flight:
                    happened.known.set()
                event = Begun(happened.call)
            else:
                event = happened

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

    async def _call(self, send: Send, started: float) -> None:
        """One call as a task: whatever comes of it becomes an event.

        What the request wishes goes to every call that may give the answer: whether one does may hang on what others
        make of its value.
        """
        component = self.program.components[send.component]
        stage = Stage(component.name, (self.caller.clock() - started) * 1000, path=send.path)
        self._stages.append(stage)
        options = self.options if send.may_answer else {}

        async def forward(text: str) -> None:
            await self._forward(send.call, text)

        emit = forward if send.streams and self.emit is not None else None
        leg = self.caller.schedule.ask(self.journey, send, self.caller.clock())
        try:
            reply = await self.caller.call(component, send, options, stage, leg, emit, self.id)
        except Problem as problem:
            self._fail(send, problem)
        except ClientGone as gone:
            self.interrupt(gone)
        except Exception as bug:  # noqa: BLE001 - a request that waits for this call must end
            log_bug("call_bug", bug, component=component.name)
            self._fail(send, internal(component.name))
        else:
            self._finishes[send.call] = reply.finish
            self._events.put_nowait(Finished(send.call, reply.value))
        finally:
            self.caller.schedule.ends(leg, self.caller.clock())

    def _fail(self, send: Send, problem: Problem) -> None:
        self._problems[send.call] = problem
        self._events.put_nowait(Failed(send.call, problem.message))

    async def _forward(self, call: int, text: str) -> None:
        assert self.emit is not None
        if self._first_at is None:
            leaving = _Leaving(call, asyncio.Event())
            self._events.put_nowait(leaving)
            await leaving.known.wait()
            self._first_at = self.caller.clock()
            self.caller.schedule.first(self.journey, self._first_at)
        await self.emit(text)

    def _expire(self, deadline_ms: float) -> None:
        running = sorted({stage.component for stage in self._stages if stage.total_ms is None})
        where = " and ".join(f"`{name}`" for name in running)
        self.interrupt(
            Problem(
                HTTPStatus.GATEWAY_TIMEOUT,
                TIMEOUT,
                DEADLINE_EXCEEDED,
                f"the request's {deadline_ms:g} ms passed while {where or 'it'} ran",
                component=running[0] if running else None,
            )
        )

    async def _stop_calls(self) -> None:
        """Cancel what still runs and wait until it has let go of its replica."""
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
