"""What a failure brings about: an attempt around it turns to its fallback, or the request ends, or nothing happens.

A failure goes outwards from where it happened, frame by frame, to the first attempt that has a fallback
and of whose text nothing has been handed out. What only feeds an attempt from outside is not in it.
A place that is merely hoped for fails without anybody noticing: it is left, and begun again if it is
needed after all.
"""

from harmonia_compiler.contract.program import Attempt
from harmonia_compiler.policy.events import Fail
from harmonia_compiler.policy.frames import Failure, Frame, Place, Run, State
from harmonia_compiler.policy.leaving import unhope, unlink
from harmonia_compiler.policy.needs import way_up
from harmonia_compiler.policy.turn import Turn


def fail(turn: Turn, place: Place, failure: Failure) -> None:
    """The place has no value and will have none."""
    main = turn.state.main
    assert main is not None
    catcher = _catcher(place[0])
    needed, hopes = way_up(place, catcher.place if catcher is not None else (main, OUTSIDE))
    if not needed:
        for hoped, select in hopes:
            unhope(turn, hoped, select)
    elif catcher is not None:
        _fall_back(turn, catcher)
    else:
        turn.end(Fail(failure.component, failure.reason, failure.call, failure.late))


#: The position at which, beside the main operations, the request itself waits for its answer.
OUTSIDE = -1


def lapse(turn: Turn, run: Run) -> None:
    """The time that an attempt has is up."""
    run.timer = None
    attempt = _attempt(run)
    if attempt.otherwise is not None:
        _fall_back(turn, run)
        return
    reason = f"no answer within {attempt.within_ms:g} ms"
    fail(turn, run.place, Failure(_awaited_component(turn.state, run), reason, late=True))


def _catcher(frame: Frame) -> Run | None:
    """The innermost attempt around a frame that can still turn to a fallback."""
    run = frame.run
    while run is not None:
        outer, at = run.place
        operation = outer.operations[at]
        if isinstance(operation, Attempt) and operation.otherwise is not None and not (run.left or run.committed):
            return run
        run = outer.run
    return None


def _fall_back(turn: Turn, run: Run) -> None:
    """Leave what an attempt runs and take its fallback, which is no part of it."""
    state = turn.state
    outer, at = run.place
    (frame,) = run.frames
    turn.stop_timer(run)
    run.left = True
    outer.missing.pop(at, None)
    unlink(turn, (frame, frame.results[0]), run.place)
    turn.agenda.append(run.place)
    if run in state.passed:
        # The way to the answer leads through the fallback now: what was passed from here on is not on it.
        del state.passed[state.passed.index(run) :]
        state.heading = run.place


def _awaited_component(state: State, run: Run) -> str | None:
    """The component of the first call in flight that an attempt runs; None where it has none."""
    for frame, at in state.in_flight.values():
        inner = frame.run
        while inner is not None and inner is not run:
            inner = inner.place[0].run
        if inner is run:
            return getattr(frame.operations[at], "component", None)
    return None


def _attempt(run: Run) -> Attempt:
    frame, at = run.place
    operation = frame.operations[at]
    assert isinstance(operation, Attempt)
    return operation
