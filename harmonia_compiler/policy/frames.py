"""How far a request has come: what `advance` reads and changes, as data.

A frame is one run of a list of operations: of the main one, of a block in a round of a loop, for an
item of a list, in an attempt. A place is a position in a frame. What a place waits for need not be in
its frame: an argument of a block waits for a place in the frame around it or, in a loop, in the round
before; what runs a block waits for the block's result. So loops, lists and fallbacks are places that
wait for places, as everything else, and nothing is computed that no place waits for.
"""

from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.program import Operation
from harmonia_compiler.contract.types import Value
from harmonia_compiler.policy.events import Path


class Failure(msgspec.Struct, frozen=True):
    """Why a place has no value; the fields are those of `Fail`."""

    component: str | None
    reason: str
    call: int | None = None
    late: bool = False


class Frame(msgspec.Struct, eq=False):
    """One run of some operations.

    `sources` are the places of its arguments. Of those the first ones, so many as it has `lists`, are lists, of
    each of which it is given the item at `item`. `missing[p]`
    counts the values that position p waits for, `waiters[p]` are the places that wait for p. `hopeful[p]`
    are the selects that had p begun in the hope that they need it, which holds it alive, too. `calls[p]`
    is the last call that was sent for p, `runs[p]` what p runs. `failures` are those of calls that may
    not be sent again.
    """

    operations: tuple[Operation, ...]
    results: tuple[int, ...]
    run: "Run | None" = None
    sources: "tuple[Place, ...]" = ()
    path: Path = ()
    lists: int = 0
    item: int = 0
    values: dict[int, Value] = {}
    waiters: "dict[int, list[Place]]" = {}
    missing: dict[int, int] = {}
    calls: dict[int, int] = {}
    runs: "dict[int, Run]" = {}
    hopeful: "dict[int, list[Place]]" = {}
    failures: dict[int, Failure] = {}


Place = tuple[Frame, int]


class Run(msgspec.Struct, eq=False):
    """What a `Repeat`, an `Each` or an `Attempt` at a place runs.

    `frames` are those of all items of a list, the one of an attempt, the last one of a loop; `rounds`
    counts those of a loop. `timer` is an attempt's, while it runs. A run is `left` when nothing awaits
    its frames any more: it was cancelled, or an attempt turned to its fallback. It is `committed`
    once a piece of the answer that comes out of it has been handed out.
    """

    place: Place
    frames: list[Frame] = []
    rounds: int = 0
    timer: int | None = None
    left: bool = False
    committed: bool = False


class State(msgspec.Struct, eq=False):
    """How far one request has come. Owned by one driver and changed by `advance` alone.

    `heading` is the place that the answer will come from, as far as that is decided, and `passed` are
    the attempts on the way there. `held` are calls that may not be begun in mere hope, and wait until
    they are needed; `kept` those that may have lost who awaits them and may not be sent again.
    `hopes` counts the entries of all frames' `hopeful`. `agenda` and `orphans` are what is left of a turn that was
    interrupted (`turn.py`).
    """

    arguments: Mapping[str, Value] = {}
    main: Frame | None = None
    in_flight: dict[int, Place] = {}
    timers: dict[int, Run] = {}
    heading: Place | None = None
    passed: list[Run] = []
    held: dict[Place, None] = {}
    kept: dict[int, Place] = {}
    hopes: int = 0
    agenda: list[Place] = []
    orphans: list[Place] = []
    numbers: int = 0
    ended: bool = False

    def number(self) -> int:
        """A number that no other call or timer of this request has."""
        self.numbers += 1
        return self.numbers


def is_left(frame: Frame) -> bool:
    """Whether nothing can await a value of this frame any more."""
    here: Frame | None = frame
    while here is not None and here.run is not None:
        if here.run.left:
            return True
        here = here.run.place[0]
    return False
