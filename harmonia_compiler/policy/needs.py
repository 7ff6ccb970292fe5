"""What a place waits for, and whether what waits for it leads to something that is needed."""

from collections.abc import Iterable

from harmonia_compiler.contract.program import Argument, Attempt, Each, Operation, Output, Repeat, Select, inputs
from harmonia_compiler.policy.frames import Frame, Place

#: What waits for something else than all that it reads, beside `Select`, which is asked often.
_PARTICULAR = frozenset({Argument, Attempt, Each, Output, Repeat})


def unmet(frame: Frame, at: int, operation: Operation) -> list[Place]:
    """The places whose values a place waits for now, each once."""
    values = frame.values
    if type(operation) is Select:
        need = operation.condition
        if need in values:
            need = operation.then if values[need] else operation.otherwise
        return [] if need in values else [(frame, need)]
    if type(operation) not in _PARTICULAR:
        needs = [need for need in inputs(operation) if need not in values]
        return [(frame, need) for need in dict.fromkeys(needs)] if needs else []
    wanted = _particular(frame, at, operation)
    return [place for place in dict.fromkeys(wanted) if place[1] not in place[0].values]


def _particular(frame: Frame, at: int, operation: Operation) -> Iterable[Place]:
    match operation:
        case Argument(index):
            return (frame.sources[index],)
        case Output(repeat, index):
            last: Frame | None = frame.values.get(repeat)
            return ((frame, repeat),) if last is None else ((last, last.results[1 + index]),)
        case _:
            return _of_runner(frame, at, operation)


def _of_runner(frame: Frame, at: int, operation: Operation) -> Iterable[Place]:
    """What runs a block waits for what it needs to begin, then for its frames."""
    run = frame.runs.get(at)
    match operation:
        case Each(_, (first, *_)):
            return ((frame, first),) if run is None else [(one, one.results[0]) for one in run.frames]
        case Repeat():
            return () if run is None or run.rounds == operation.limit else ((run.frames[0], run.frames[0].results[0]),)
        case Attempt():
            if run is None:
                return [(frame, each) for each in operation.awaits] if operation.within_ms is not None else ()
            if run.left:
                assert operation.otherwise is not None
                return ((frame, operation.otherwise),)
            return ((run.frames[0], run.frames[0].results[0]),)
        case _:
            raise TypeError(f"a {type(operation).__name__} runs nothing")


def way_up(start: Place, goal: Place) -> tuple[bool, list[tuple[Place, Place]]]:
    """Whether the goal waits for the start, over however many places; else the hopes on the way.

    A hope is a place and the select that had it begun without knowing whether it needs it: no way
    leads over one.
    """
    hopes: list[tuple[Place, Place]] = []
    seen = {start}
    agenda = [start]
    while agenda:
        here = agenda.pop()
        if here == goal:
            return True, []
        frame, at = here
        hopes += [(here, select) for select in frame.hopeful.get(at, ())]
        for waiter in frame.waiters.get(at, ()):
            if waiter not in seen:
                seen.add(waiter)
                agenda.append(waiter)
    return False, hopes
