"""Leaving places alone that nothing awaits any more, and all that only they awaited.

The one mechanism behind a fallback, a lost speculation, an early return and a lateness: whoever stops
waiting says so, and what has nobody left is stopped and stops waiting in turn.
"""

from harmonia_compiler.contract.program import Call, Select
from harmonia_compiler.policy.frames import Frame, Place, is_left
from harmonia_compiler.policy.needs import unmet
from harmonia_compiler.policy.turn import Turn, is_pure


def unlink(turn: Turn, awaited: Place, waiter: Place) -> None:
    """The waiter waits for this place no more."""
    frame, at = awaited
    waiters = frame.waiters.get(at, [])
    if waiter in waiters:
        waiters.remove(waiter)
        turn.orphans.append(awaited)


def unhope(turn: Turn, hoped: Place, select: Place) -> None:
    """The select does not count on this place any more."""
    frame, at = hoped
    hopeful = frame.hopeful.get(at, [])
    if select in hopeful:
        hopeful.remove(select)
        turn.state.hopes -= 1
        turn.orphans.append(hoped)


def is_awaited(frame: Frame, at: int) -> bool:
    """Whether anything waits for a place, or hopes for it."""
    return bool(frame.waiters.get(at) or frame.hopeful.get(at))


def leave_orphans(turn: Turn) -> None:
    """Stop what nothing awaits any more. Iterative, since chains of what waits may be long."""
    while turn.orphans:
        frame, at = turn.orphans.pop()
        if at not in frame.values and not is_awaited(frame, at):
            _stop(turn, frame, at)
    for call, (frame, at) in list(turn.state.kept.items()):
        if is_left(frame) and not is_awaited(frame, at):
            del turn.state.kept[call]
            turn.cancel(call)


def _stop(turn: Turn, frame: Frame, at: int) -> None:
    """Make a place as if it had never been begun."""
    state = turn.state
    operation = frame.operations[at]
    call = frame.calls.get(at)
    if call is not None and call in state.in_flight:
        assert isinstance(operation, Call)
        if turn.is_unsent(call) or is_pure(turn.program, operation):
            del frame.calls[at]
            turn.cancel(call)
        else:
            # It may be needed again, and may not be made again: it goes on as long as its frame may be awaited.
            state.kept[call] = (frame, at)
        return
    place = (frame, at)
    for awaited in unmet(frame, at, operation):
        unlink(turn, awaited, place)
    frame.missing.pop(at, None)
    state.held.pop(place, None)
    if isinstance(operation, Select):
        for hoped in operation.early:
            unhope(turn, (frame, hoped), place)
    run = frame.runs.pop(at, None)
    if run is not None:
        run.left = True
        turn.stop_timer(run)
