"""The stepper: the one place where a Program's meaning is executed.

`advance` is a function of (program, state, event) alone. The gateway drives it with sockets and a
clock, the simulator with a virtual clock, the tests' reference interpreter with nothing.

Execution is by demand. The result is demanded first; an operation demands what it reads, a
`Select` its condition and then one arm; a call is sent once all that it reads is there. So nothing
runs that the taken path does not need, and calls that do not wait for each other run at once.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harmonia_compiler.contract.program import (
    Call,
    Compare,
    Concat,
    Constant,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Operation,
    Parameter,
    Program,
    Select,
    inputs,
)
from harmonia_compiler.contract.types import Value

COMPARISONS: dict[str, Callable[[Value, Value], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Started:
    """The request has come in; `arguments` holds every parameter, defaults filled in."""

    arguments: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Finished:
    """The call at a position gave a value of its component's result type."""

    position: int
    value: Value


@dataclass(frozen=True, slots=True)
class Failed:
    """The call at a position gave no value; `reason` is a sentence for the client."""

    position: int
    reason: str


Event = Started | Finished | Failed


@dataclass(frozen=True, slots=True)
class Send:
    """Make this call. `streams` says that its text is the answer and may be forwarded as it comes."""

    position: int
    component: str
    inputs: dict[str, Value]
    settings: Mapping[str, Any]
    streams: bool


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the call at a position: nothing awaits it any more."""

    position: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The request has ended with this value."""

    value: Value


@dataclass(frozen=True, slots=True)
class Fail:
    """The request has ended without a value, because of this component."""

    component: str
    reason: str


Command = Send | Cancel | Answer | Fail


@dataclass(slots=True)
class State:
    """How far one request has come. Owned by one driver and changed by `advance` alone.

    `missing[p]` counts the values that position p still waits for, `waiters` says who waits for a
    value. `heading` is where the answer will come from, as far as branches are decided.
    """

    values: dict[int, Value] = field(default_factory=dict)
    arguments: Mapping[str, Value] = field(default_factory=dict)
    waiters: dict[int, list[int]] = field(default_factory=dict)
    missing: dict[int, int] = field(default_factory=dict)
    in_flight: set[int] = field(default_factory=set)
    heading: int | None = None
    ended: bool = False


def advance(program: Program, state: State, event: Event) -> list[Command]:
    """Take one event in and say what is to be done.

    Events about calls that are no longer in flight (late or cancelled) are ignored, and so is a
    second start, so that a driver may deliver what it has without asking first. After `Answer` or
    `Fail` nothing follows.
    """
    if state.ended:
        return []
    match event:
        case Started(arguments) if state.heading is None:
            state.arguments = arguments
            state.heading = program.result
            commands = _pursue(program, state, [program.result])
        case Finished(position, value) if position in state.in_flight:
            state.in_flight.discard(position)
            commands = _pursue(program, state, _record(state, position, value))
        case Failed(position, reason) if position in state.in_flight:
            state.in_flight.discard(position)
            state.ended = True
            call = program.operations[position]
            assert isinstance(call, Call)
            return [*_cancel_rest(state), Fail(call.component, reason)]
        case _:
            return []
    if program.result in state.values:
        state.ended = True
        commands += [*_cancel_rest(state), Answer(state.values[program.result])]
    return commands


def _cancel_rest(state: State) -> list[Command]:
    cancelled: list[Command] = [Cancel(position) for position in sorted(state.in_flight)]
    state.in_flight.clear()
    return cancelled


def _pursue(program: Program, state: State, wanted: list[int]) -> list[Command]:
    """Bring these positions as far as they go. Iterative, since a flow may be deep."""
    commands: list[Command] = []
    agenda = wanted[::-1]
    while agenda:
        position = agenda.pop()
        if position in state.values or position in state.missing or position in state.in_flight:
            continue
        operation = program.operations[position]
        missing = [at for at in dict.fromkeys(_needs(operation, state.values)) if at not in state.values]
        for needed in missing:
            state.waiters.setdefault(needed, []).append(position)
        if missing:
            state.missing[position] = len(missing)
            agenda += missing[::-1]
        elif isinstance(operation, Call):
            state.in_flight.add(position)
            commands.append(_send(program, state, position, operation))
        else:
            agenda += _record(state, position, _evaluate(operation, state))[::-1]
    return commands


def _record(state: State, position: int, value: Value) -> list[int]:
    """Keep a value and give the positions that now wait for nothing more."""
    state.values[position] = value
    ready: list[int] = []
    for waiter in state.waiters.pop(position, ()):
        state.missing[waiter] -= 1
        if not state.missing[waiter]:
            del state.missing[waiter]
            ready.append(waiter)
    return ready


def _needs(operation: Operation, values: Mapping[int, Value]) -> tuple[int, ...]:
    """What an operation waits for now: a select for its condition, then for the arm that it takes."""
    if not isinstance(operation, Select):
        return inputs(operation)
    if operation.condition not in values:
        return (operation.condition,)
    return (operation.then if values[operation.condition] else operation.otherwise,)


def _send(program: Program, state: State, position: int, call: Call) -> Send:
    component = program.components[call.component]
    given = {port: state.values[at] for port, at in zip(call.ports, call.inputs, strict=True)}
    streams = program.streams and position == _heading(program, state)
    return Send(position, call.component, given, {**component.settings, **call.settings}, streams)


def _heading(program: Program, state: State) -> int | None:
    """Where the answer will come from: a call that only may become the answer must not stream as if it were."""
    while state.heading is not None:
        operation = program.operations[state.heading]
        if not isinstance(operation, Select) or operation.condition not in state.values:
            break
        state.heading = operation.then if state.values[operation.condition] else operation.otherwise
    return state.heading


def _evaluate(operation: Operation, state: State) -> Value:
    """The value of an operation that calls nobody, all that it reads being there."""
    values = state.values
    match operation:
        case Constant(value):
            return value
        case Parameter(name):
            return state.arguments[name]
        case Select(condition, then, otherwise):
            return values[then if values[condition] else otherwise]
        case Compare(operator, left, right):
            return COMPARISONS[operator](values[left], values[right])
        case Not(operand):
            return not values[operand]
        case GetField(record, name):
            return values[record][name]
        case MakeList(items):
            return [values[at] for at in items]
        case MakeRecord(names, parts):
            return {name: values[at] for name, at in zip(names, parts, strict=True)}
        case Concat(left, right):
            return values[left] + values[right]
        case _:
            raise TypeError(f"a {type(operation).__name__} has no value of its own")
