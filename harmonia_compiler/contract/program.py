"""The Program: what the gateway, the simulator and the reference interpreter all execute.

A list of operations in which each reads the results of earlier ones by position. Nothing says when
an operation runs: the stepper (`policy/stepper.py`) demands the result and works backwards, so
what a taken path does not need never runs, and what does not depend on each other runs at once.
A `Select` demands its condition first and then one arm alone: that is all that a branch is.

What may run several times, or may fail without ending the request, is a `Block`: operations of its
own that see the outside only as `Argument`s, by need. `Repeat`, `Each` and `Attempt` run blocks; a
block is named by its index in the Program, so that flows and Programs share their operations.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from harmonia_compiler.contract.comparison import Comparison
from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.types import Type

FORMAT_VERSION = 1


class Parameter(msgspec.Struct, frozen=True, tag="parameter"):
    """A port of the pipeline: the value that the request brings."""

    name: str


class Constant(msgspec.Struct, frozen=True, tag="constant"):
    """A literal."""

    value: Any


class Argument(msgspec.Struct, frozen=True, tag="argument"):
    """In a block, the value that the operation that runs the block hands in at this index; by need."""

    index: int


class Call(msgspec.Struct, frozen=True, tag="call", omit_defaults=True):
    """One call of a component; `ports[i]` receives the value at position `inputs[i]`.

    `settings` are call settings given at the call, over the component's own. The call is not made
    before the value at `after` is there, which it does not read: calls that are not pure keep their
    order so. Where `over` names ports, each of those is given a list, all equally long, and the
    value is the list of the results of the items: one call of the engine for all of them.

    Two are filled in when a flow is lowered. `may_answer` says that the value may be the answer or, of an
    answer that is a record, its first text: what a request wishes for its answer reaches the call. `site`
    numbers the calls of one component through all pipelines, from 0 in the order in which they stand.
    """

    component: str
    ports: tuple[str, ...]
    inputs: tuple[int, ...]
    settings: dict[str, Any] = {}
    after: int | None = None
    over: tuple[str, ...] = ()
    may_answer: bool = False
    site: int = 0


class Select(msgspec.Struct, frozen=True, tag="select", omit_defaults=True):
    """The value of `then` where the condition is true, of `otherwise` where it is not; lazily.

    The values at `early` are begun while the condition is not known yet; what is not needed once it
    is known is cancelled, and a failure of what is not needed counts for nothing.
    """

    condition: int
    then: int
    otherwise: int
    early: tuple[int, ...] = ()


class Compare(msgspec.Struct, frozen=True, tag="compare"):
    """A comparison of two values."""

    operator: Comparison
    left: int
    right: int


class Not(msgspec.Struct, frozen=True, tag="not"):
    """The other truth value."""

    operand: int


class GetField(msgspec.Struct, frozen=True, tag="field"):
    """A named part of a record, a passage or a message."""

    record: int
    name: str


class MakeList(msgspec.Struct, frozen=True, tag="list"):
    """A list of values."""

    inputs: tuple[int, ...]


class MakeRecord(msgspec.Struct, frozen=True, tag="record"):
    """A record of named values."""

    names: tuple[str, ...]
    inputs: tuple[int, ...]


class Concat(msgspec.Struct, frozen=True, tag="concat"):
    """Two lists, one after the other."""

    left: int
    right: int


class Apply(msgspec.Struct, frozen=True, tag="apply", omit_defaults=True):
    """A function of the language (`functions/`) applied to values; `settings` are its constant arguments."""

    function: str
    inputs: tuple[int, ...]
    settings: dict[str, Any] = {}


class After(msgspec.Struct, frozen=True, tag="after"):
    """The value of `then`, which is not given before that of `first` is there."""

    first: int
    then: int


class Whole(msgspec.Struct, frozen=True, tag="whole"):
    """The same value, of which no piece leaves before all of it is there.

    What a plain `return` gives, where others of its pipeline are `return stream`.
    """

    value: int


class Repeat(msgspec.Struct, frozen=True, tag="repeat"):
    """Runs a block round after round, once to `limit` times. Its own value can only be read by `Output`.

    The block's results are: whether this round is the last, then the values that the first `carried`
    arguments have in the next round, then what else is read after the loop. `inputs` are the first
    round's arguments; those beyond `carried` stay the same. What only a next round reads is
    computed only if there is one.
    """

    block: int
    inputs: tuple[int, ...]
    carried: int
    limit: int


class Output(msgspec.Struct, frozen=True, tag="output"):
    """A result of the last round of the `Repeat` at a position: the block's result number 1 + `index`."""

    repeat: int
    index: int


class Each(msgspec.Struct, frozen=True, tag="each"):
    """Runs a block once for each item of the lists, side by side; the value is the list of the results, in order.

    The block's first arguments are an item of each of the lists, which are equally long; then come
    the values at `inputs`. How many items there are the first list says, which is awaited; the others are by
    need, as the inputs are. The block has one result. More than `MOST_ITEMS` items are a failure.
    """

    block: int
    lists: tuple[int, ...]
    inputs: tuple[int, ...]


class Attempt(msgspec.Struct, frozen=True, tag="attempt", omit_defaults=True):
    """The one result of a block or, where that fails or is late, the value of `otherwise`; without one, the failure.

    `within_ms` counts from when the values at `awaits` are there, which the block needs on every
    path: only then does the block begin. Once a piece of the result's text has been handed out, neither
    lateness nor failure is caught any more.
    """

    block: int
    inputs: tuple[int, ...]
    within_ms: float | None = None
    otherwise: int | None = None
    awaits: tuple[int, ...] = ()


Operation = (
    Parameter
    | Constant
    | Argument
    | Call
    | Select
    | Compare
    | Not
    | GetField
    | MakeList
    | MakeRecord
    | Concat
    | Apply
    | After
    | Whole
    | Repeat
    | Output
    | Each
    | Attempt
)

#: The most items that an `Each` runs over.
MOST_ITEMS = 256
#: The most rounds that a loop may be declared to have.
MOST_ROUNDS = 100


#: The fields of each operation that hold what it reads: a position, several, or None. Others read nothing.
_READ: dict[type, tuple[str, ...]] = {
    Call: ("inputs", "after"),
    Select: ("condition", "then", "otherwise", "early"),
    Compare: ("left", "right"),
    Not: ("operand",),
    GetField: ("record",),
    MakeList: ("inputs",),
    MakeRecord: ("inputs",),
    Concat: ("left", "right"),
    Apply: ("inputs",),
    After: ("first", "then"),
    Whole: ("value",),
    Repeat: ("inputs",),
    Output: ("repeat",),
    Each: ("lists", "inputs"),
    Attempt: ("inputs", "otherwise"),
}
#: Fields that hold positions as well, of values that the operation reads in any case.
_NAMED_TWICE: dict[type, tuple[str, ...]] = {Attempt: ("awaits",)}


def inputs(operation: Operation) -> tuple[int, ...]:
    """The positions that an operation reads, in their order."""
    if type(operation) is Call and operation.after is None:
        # What a stepper asks about again and again.
        return operation.inputs
    names = _fields(operation, _READ)
    if not names:
        return ()
    found: list[int] = []
    for name in names:
        value = getattr(operation, name)
        if type(value) is int:
            found.append(value)
        elif value is not None:
            found += value
    return tuple(found)


def block_of(operation: Operation) -> int | None:
    """The index of the block that an operation runs; None for all but `Repeat`, `Each` and `Attempt`."""
    return operation.block if isinstance(operation, Repeat | Each | Attempt) else None


def with_inputs(operation: Operation, moved: Callable[[int], int]) -> Operation:
    """The same operation reading from other positions: how passes and lowering renumber."""
    changed: dict[str, Any] = {}
    for name in (*_fields(operation, _READ), *_fields(operation, _NAMED_TWICE)):
        value = getattr(operation, name)
        if value is not None:
            changed[name] = moved(value) if type(value) is int else tuple(moved(at) for at in value)
    return msgspec.structs.replace(operation, **changed) if changed else operation


def _fields(operation: Operation, among: Mapping[type, tuple[str, ...]]) -> tuple[str, ...]:
    # A stage may make an operation of its own from one of these, and it reads as that one does.
    of: type = type(operation)
    return among[of] if of in among else next((among[base] for base in of.__mro__ if base in among), ())


class Block(msgspec.Struct, frozen=True):
    """Operations that are run by one of another list, and the positions of their results.

    What comes from outside are its `Argument`s; it reads nothing else of what is around it.
    """

    operations: tuple[Operation, ...]
    results: tuple[int, ...]


class RequestClass(msgspec.Struct, frozen=True):
    """`class NAME(deadline: …, weight: …)`: what the requests of a class are promised, and how much they count."""

    name: str
    deadline_ms: float | None = None
    weight: float = 1.0


class ProgramParameter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A port of the pipeline as a request fills it."""

    name: str
    type: Type
    default: Any = msgspec.UNSET


class Program(msgspec.Struct, frozen=True, omit_defaults=True):
    """One pipeline, ready to be executed.

    `result` is the position of the answer. `streams` says that the answer's text may be forwarded as
    it is generated, unless it comes out of a `Whole`. Durations are milliseconds and absent where the
    user promised none. A request is of one of the `classes`, the first where it does not say, and its
    class's deadline goes before the pipeline's; `class_parameter` is the parameter that holds the
    class's name, if there is one. `ttft_deadline_ms` is by when the first piece of a streamed answer is
    promised; of one that leaves as a whole, all of it.
    """

    pipeline: str
    parameters: tuple[ProgramParameter, ...]
    result_type: Type
    operations: tuple[Operation, ...]
    result: int
    components: dict[str, Component]
    blocks: tuple[Block, ...] = ()
    streams: bool = False
    deadline_ms: float | None = None
    ttft_deadline_ms: float | None = None
    classes: tuple[RequestClass, ...] = ()
    class_parameter: str | None = None
    format_version: int = FORMAT_VERSION
