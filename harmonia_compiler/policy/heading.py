"""Where the answer will come from, as far as that is decided.

A call whose value only may become the answer must not stream as if it were. So each call that is sent is
compared with where the answer is known, by then, to come from. What is behind a `Whole` streams to nobody: the
heading stops there.
"""

from harmonia_compiler.contract.program import (
    After,
    Argument,
    Attempt,
    Call,
    MakeRecord,
    Output,
    Program,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import Value, first_text
from harmonia_compiler.policy.frames import Frame, Place, State


def heading(program: Program, state: State) -> Place:
    """The place that the answer comes from: a call, a `Whole`, or what is not decided or needs more than one value.

    Keeps how far it came, and the attempts on the way.
    """
    assert state.heading is not None
    while (further := _further(program, *state.heading)) is not None:
        frame, at = state.heading
        if at in frame.runs and not frame.runs[at].left:
            state.passed.append(frame.runs[at])
        state.heading = further
    return state.heading


def _further(program: Program, frame: Frame, at: int) -> Place | None:
    operation = frame.operations[at]
    match operation:
        case Call():
            return None
        case Select(condition, then, otherwise) if condition in frame.values:
            return frame, then if frame.values[condition] else otherwise
        case After(_, then):
            return frame, then
        case Argument(index) if index >= frame.lists:
            return frame.sources[index]
        case Output(repeat, index) if repeat in frame.values:
            last = frame.values[repeat]
            return last, last.results[1 + index]
        case Attempt() if at in frame.runs:
            run = frame.runs[at]
            if run.left:
                assert operation.otherwise is not None
                return frame, operation.otherwise
            return run.frames[0], run.frames[0].results[0]
        case MakeRecord():
            first = first_text(program.result_type)
            return None if first is None else (frame, operation.inputs[operation.names.index(first)])
        case _:
            return None


def _origin(program: Program, state: State) -> Place:
    """Where the answer comes from, whether or not it may leave in pieces."""
    frame, at = heading(program, state)
    while True:
        operation = frame.operations[at]
        further = (frame, operation.value) if isinstance(operation, Whole) else _further(program, frame, at)
        if further is None:
            return frame, at
        frame, at = further


def answering_call(program: Program, state: State) -> int | None:
    """The number of the call that the answer comes from; None where it comes from no call, or none yet.

    A call for all items of a list is not told from the calls item by item, which none of them answers alone.
    """
    if state.heading is None:
        return None
    frame, at = _origin(program, state)
    operation = frame.operations[at]
    return None if isinstance(operation, Call) and operation.over else frame.calls.get(at)


def given_to_answer(program: Program, state: State) -> tuple[str, dict[str, Value]] | None:
    """The component of the call that the answer comes from and what it was given; None where it comes from none."""
    if answering_call(program, state) is None:
        return None
    frame, at = _origin(program, state)
    call = frame.operations[at]
    assert isinstance(call, Call)
    given = {port: frame.values[read] for port, read in zip(call.ports, call.inputs, strict=True)}
    return call.component, given
