"""The stepper: the one place where a Program's meaning is executed.

`advance` is a function of (program, state, event) alone. The gateway drives it with sockets and a
clock, the simulator with a virtual clock, the tests beside a plain interpreter.

Execution is by demand. The result is demanded first; an operation demands what it reads, a
`Select` its condition and then one arm, a `Repeat` whether its round is the last one; a call is sent
once all that it reads is there. So nothing runs that the taken path does not need, and calls that do
not wait for each other run at once. What was demanded and is needed no more is left (`leaving.py`); that
alone is what fallbacks, lateness and lost speculations come to (`failing.py`).
"""

import math
from collections.abc import Mapping
from typing import Any

from harmonia_compiler.contract.program import Attempt, Call, Each, Operation, Program, Repeat, Select
from harmonia_compiler.contract.types import Value
from harmonia_compiler.policy.events import Answer, Begun, Command, Elapsed, Event, Failed, Finished, Send, Started
from harmonia_compiler.policy.failing import OUTSIDE, fail, lapse
from harmonia_compiler.policy.frames import Failure, Frame, Place, State
from harmonia_compiler.policy.heading import heading
from harmonia_compiler.policy.leaving import is_awaited, leave_orphans, unhope
from harmonia_compiler.policy.needs import unmet, way_up
from harmonia_compiler.policy.runs import Unequal, begin, come_further, items_in
from harmonia_compiler.policy.turn import Turn, is_pure
from harmonia_compiler.policy.values import evaluate

_RUNNERS = (Repeat, Each, Attempt)


def advance(program: Program, state: State, event: Event, most: float = math.inf) -> list[Command]:
    """Take one event in and say what is to be done.

    Of what follows from it, `most` places are brought further: the rest is the state's `agenda`, which `pursue` goes on
    with, be it after other events. A list within lists is tens of thousands of places, and others want their turn.

    Events about calls and timers that are no longer there (late, cancelled, stopped) are ignored, and
    so is a second start, so that a driver may deliver what it has without asking first. After `Answer`
    or `Fail` nothing follows.
    """
    if state.ended:
        return []
    turn = Turn(program, state, state.agenda, state.orphans)
    match event:
        case Finished(call, value) if call in state.in_flight:
            frame, at = _take_out(state, call)
            _record(turn, frame, at, value)
        case Failed(call, reason) if call in state.in_flight:
            _take_failure(turn, call, reason)
        case Started(arguments) if state.main is None:
            _start(turn, arguments)
        case Elapsed(timer) if timer in state.timers:
            lapse(turn, state.timers.pop(timer))
        case Begun(call) if call in state.in_flight:
            _commit(turn, call)
        case _:
            return []
    _pursue(turn, most)
    return turn.commands()


def pursue(program: Program, state: State, most: float = math.inf) -> list[Command]:
    """Go on with what is left of events that were taken in."""
    if state.ended or not state.agenda:
        return []
    turn = Turn(program, state, state.agenda, state.orphans)
    _pursue(turn, most)
    return turn.commands()


def _start(turn: Turn, arguments: Mapping[str, Value]) -> None:
    program, state = turn.program, turn.state
    main = Frame(program.operations, (program.result,))
    main.waiters[program.result] = [(main, OUTSIDE)]
    main.missing[OUTSIDE] = 1
    state.arguments, state.main, state.heading = arguments, main, (main, program.result)
    turn.agenda.append(state.heading)


def _take_out(state: State, call: int) -> Place:
    """A call in flight has ended."""
    state.kept.pop(call, None)
    return state.in_flight.pop(call)


def _take_failure(turn: Turn, call: int, reason: str) -> None:
    frame, at = _take_out(turn.state, call)
    operation = frame.operations[at]
    assert isinstance(operation, Call)
    failure = Failure(operation.component, reason, call)
    if not is_pure(turn.program, operation):
        frame.failures[at] = failure
    fail(turn, (frame, at), failure)


def _commit(turn: Turn, call: int) -> None:
    """A piece of the answer leaves: the attempts that it comes out of can take nothing back."""
    state = turn.state
    if heading(turn.program, state) == state.in_flight[call]:
        for run in state.passed:
            run.committed = True
            turn.stop_timer(run)


def _pursue(turn: Turn, most: float) -> None:
    """Bring so many places on the agenda as far as they go. Iterative, since a flow may be deep."""
    state, agenda = turn.state, turn.agenda
    main = state.main
    assert main is not None
    answers, result = main.values, main.results[0]
    while not state.ended:
        if result in answers:
            turn.end(Answer(answers[result]))
            return
        if not agenda:
            if turn.orphans:
                leave_orphans(turn)
            if not (state.held and _take_held(turn)):
                return
        if most <= 0:
            return
        most -= 1
        frame, at = agenda.pop()
        # Whoever demanded it may have been left since.
        if at in frame.values or at in frame.missing or not is_awaited(frame, at):
            continue
        if frame.calls.get(at) not in state.in_flight:
            _further(turn, frame, at)


def _further(turn: Turn, frame: Frame, at: int) -> None:
    """Bring one place as far as it goes."""
    operation = frame.operations[at]
    awaited = unmet(frame, at, operation)
    if type(operation) is Select and operation.early:
        _speculate(turn, frame, at, operation)
    if awaited:
        frame.missing[at] = len(awaited)
        place = (frame, at)
        for source, need in awaited:
            source.waiters.setdefault(need, []).append(place)
        turn.agenda += awaited[::-1]
    elif type(operation) is Call:
        _send(turn, frame, at, operation)
    elif isinstance(operation, _RUNNERS):
        _run(turn, frame, at, operation)
    else:
        _evaluate(turn, frame, at, operation)


def _evaluate(turn: Turn, frame: Frame, at: int, operation: Operation) -> None:
    try:
        value = evaluate(operation, frame, turn.state.arguments)
    except Unequal as problem:
        fail(turn, (frame, at), Failure(None, str(problem)))
    else:
        _record(turn, frame, at, value)


def _record(turn: Turn, frame: Frame, at: int, value: Value) -> None:
    """Keep a value, and bring further what waited for nothing else."""
    frame.values[at] = value
    if at in frame.hopeful:
        turn.state.hopes -= len(frame.hopeful.pop(at))
    ready: list[Place] = []
    for waiter in frame.waiters.pop(at, ()):
        waiting, position = waiter
        waiting.missing[position] -= 1
        if not waiting.missing[position]:
            del waiting.missing[position]
            ready.append(waiter)
    turn.agenda += ready[::-1]


def _speculate(turn: Turn, frame: Frame, at: int, select: Select) -> None:
    """Begin what a select may need while it does not know; what it did not need is left once it does."""
    place = (frame, at)
    if select.condition in frame.values:
        for hoped in select.early:
            unhope(turn, (frame, hoped), place)
        return
    for hoped in select.early:
        if hoped not in frame.values:
            frame.hopeful.setdefault(hoped, []).append(place)
            turn.state.hopes += 1
            turn.agenda.append((frame, hoped))


def _take_held(turn: Turn) -> bool:
    """Put the calls back on the agenda that were held until they are needed, and now are."""
    state = turn.state
    needed = [place for place in state.held if _is_needed(state, place)]
    for place in needed:
        del state.held[place]
    turn.agenda += needed[::-1]
    return bool(needed)


def _is_needed(state: State, place: Place) -> bool:
    assert state.main is not None
    return not state.hopes or way_up(place, (state.main, OUTSIDE))[0]


def _run(turn: Turn, frame: Frame, at: int, operation: Repeat | Each | Attempt) -> None:
    run = frame.runs.get(at)
    if run is None:
        try:
            begin(turn, frame, at, operation)
        except Unequal as problem:
            fail(turn, (frame, at), Failure(None, str(problem)))
            return
    else:
        ended, value = come_further(turn, run, operation, turn.program)
        if ended:
            _record(turn, frame, at, value)
            return
    turn.agenda.append((frame, at))


def _send(turn: Turn, frame: Frame, at: int, call: Call) -> None:
    program, state, place = turn.program, turn.state, (frame, at)
    settings: dict[str, Any] = program.components[call.component].settings
    if call.settings:
        settings = {**settings, **call.settings}
    if settings.get("pure", True) is False:
        if at in frame.failures:
            fail(turn, place, frame.failures[at])
            return
        if not _is_needed(state, place):
            state.held[place] = None
            return
    given = {port: frame.values[read] for port, read in zip(call.ports, call.inputs, strict=True)}
    if call.over:
        try:
            items = items_in([given[port] for port in call.over])
        except Unequal as problem:
            fail(turn, place, Failure(call.component, str(problem)))
            return
        if not items:
            _record(turn, frame, at, [])
            return
    number = frame.calls[at] = state.number()
    streams = program.streams and heading(program, state) == place
    sent = Send(number, call.component, given, settings, streams, call.may_answer, call.over, frame.path, call.site)
    turn.send(sent, place)
