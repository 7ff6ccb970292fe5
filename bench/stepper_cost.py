"""What the stepper itself costs a request: every event of it taken in, no engine, no socket, no clock.

Each call is answered at once, in the order in which the calls were sent. Prints the fastest of several
repetitions for each program, per request and per call.
"""

import sys
import time

from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.program import (
    Argument,
    Attempt,
    Block,
    Call,
    Compare,
    Constant,
    Each,
    Operation,
    Output,
    Parameter,
    Program,
    Repeat,
    Select,
)
from harmonia_compiler.contract.types import Text
from harmonia_compiler.policy.events import Answer, Finished, Send, Started
from harmonia_compiler.policy.frames import State
from harmonia_compiler.policy.stepper import advance

REPETITIONS = 7
SECONDS = 0.25
COMPONENTS = {"f": Component("f", "python", "f", (Port("q", Text()),), Text())}
QUESTION = "a question"


def call(at: int) -> Call:
    """A call that reads one value."""
    return Call("f", ("q",), (at,))


def program(operations: tuple[Operation, ...], *blocks: Block) -> Program:
    """A program whose answer is its last operation."""
    return Program("p", (), Text(), operations, len(operations) - 1, COMPONENTS, blocks, streams=True)


ROUND = Block((Argument(0), call(0), Constant(value=False)), (2, 1))
ITEM = Block((Argument(0), call(0)), (1,))
PROGRAMS = {
    "three calls in a row": program((Parameter("question"), call(0), call(1), call(2))),
    "a branch between them": program(
        (Parameter("question"), call(0), Constant("x"), Compare("==", 1, 2), call(1), call(0), Select(3, 4, 5), call(6))
    ),
    "a fallback around one": program(
        (Parameter("question"), Constant("x"), Attempt(0, (0,), 1000.0, 1, (0,)), call(2)), ITEM
    ),
    "a loop of 4 rounds": program((Parameter("question"), Repeat(0, (0,), 1, 4), Output(1, 0)), ROUND),
    "a loop of 100 rounds": program((Parameter("question"), Repeat(0, (0,), 1, 100), Output(1, 0)), ROUND),
    "each of 8 items": program((Constant(["q"] * 8), Each(0, (0,), ())), ITEM),
    "each of 256 items": program((Constant(["q"] * 256), Each(0, (0,), ())), ITEM),
}


def serve(served: Program) -> int:
    """One request from its start to its answer; the number of calls that it took."""
    state = State()
    calls = 0
    pending = advance(served, state, Started({"question": QUESTION}))
    for command in pending:
        if isinstance(command, Send):
            calls += 1
            pending += advance(served, state, Finished(command.call, QUESTION))
    assert isinstance(pending[-1], Answer)
    return calls


def main() -> int:
    """Measure and print."""
    for name, served in PROGRAMS.items():
        best = float("inf")
        for _ in range(REPETITIONS):
            requests, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < SECONDS:
                calls = serve(served)
                requests += 1
            best = min(best, (time.perf_counter() - begin) / requests)
        print(f"{name}: {best * 1e6:.1f} µs a request, {best * 1e6 / calls:.1f} µs a call ({calls})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
