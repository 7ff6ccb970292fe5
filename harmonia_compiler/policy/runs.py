"""Running blocks: the rounds of a loop, the items of a list, the body of an attempt."""

from harmonia_compiler.contract.program import MOST_ITEMS, Attempt, Block, Each, Program, Repeat
from harmonia_compiler.contract.types import Value
from harmonia_compiler.policy.events import StartTimer
from harmonia_compiler.policy.frames import Frame, Place, Run
from harmonia_compiler.policy.turn import Turn


class Unequal(Exception):
    """Lists of different lengths, or too long ones, where items are taken one by one."""


def items_in(lists: list[Value]) -> int:
    """How many items each of the lists has. Raises Unequal."""
    lengths = {len(items) for items in lists}
    if len(lengths) > 1:
        raise Unequal(f"lists of {' and '.join(map(str, sorted(lengths)))} items were given where they must be equal")
    (number,) = lengths
    if number > MOST_ITEMS:
        raise Unequal(f"a list of {number} items was given, and {MOST_ITEMS} is the most")
    return number


def handed(frame: Frame, index: int) -> Value:
    """What a frame is given as its argument, of a list one item. Raises Unequal."""
    source, at = frame.sources[index]
    value = source.values[at]
    if index >= frame.lists:
        return value
    first, begun = frame.sources[0]
    items_in([first.values[begun], value])
    return value[frame.item]


def begin(turn: Turn, frame: Frame, at: int, operation: Repeat | Each | Attempt) -> None:
    """Begin to run a block, all that this needs being there. Raises Unequal."""
    run = Run((frame, at))
    block = turn.program.blocks[operation.block]
    sources = tuple((frame, read) for read in operation.inputs)
    match operation:
        case Each(_, lists):
            given = (*((frame, read) for read in lists), *sources)
            run.frames = [
                Frame(block.operations, block.results, run, given, (*frame.path, ("item", item + 1)), len(lists), item)
                for item in range(items_in([frame.values[lists[0]]]))
            ]
        case Attempt():
            run.frames = [Frame(block.operations, block.results, run, sources, frame.path)]
            if operation.within_ms is not None:
                run.timer = turn.state.number()
                turn.state.timers[run.timer] = run
                turn.command(StartTimer(run.timer, operation.within_ms))
        case Repeat():
            _begin_round(run, block, sources)
    frame.runs[at] = run


def come_further(turn: Turn, run: Run, operation: Repeat | Each | Attempt, program: Program) -> tuple[bool, Value]:
    """What becomes of a run when what it waited for is there: whether it has ended, and then its value.

    That of a loop is the frame of its last round. An attempt's run is kept: the heading goes through it.
    """
    frame, at = run.place
    match operation:
        case Each():
            del frame.runs[at]
            return True, [one.values[one.results[0]] for one in run.frames]
        case Attempt():
            turn.stop_timer(run)
            source, result = (frame, operation.otherwise) if run.left else (run.frames[0], run.frames[0].results[0])
            assert result is not None
            return True, source.values[result]
        case Repeat():
            (last,) = run.frames
            if run.rounds == operation.limit or last.values[last.results[0]]:
                del frame.runs[at]
                return True, last
            carried = tuple((last, result) for result in last.results[1 : 1 + operation.carried])
            _begin_round(run, program.blocks[operation.block], carried + last.sources[operation.carried :])
            return False, None


def _begin_round(run: Run, block: Block, sources: tuple[Place, ...]) -> None:
    run.rounds += 1
    run.frames = [Frame(block.operations, block.results, run, sources, (*run.place[0].path, ("round", run.rounds)))]
