"""What a stepper is told, and what it says is to be done. Calls and timers go by numbers that it gives them."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from harmonia_compiler.contract.types import Value

#: Where a call stands in loops and lists, from the outside in: ("round", 2), ("item", 5). Both count from 1.
Path = tuple[tuple[Literal["round", "item"], int], ...]


def show_place(path: Path, site: int) -> str:
    """What tells a call from others of its component in a request: "2/5" in item 5 of round 2, elsewhere "2/5#1"."""
    place = "/".join([str(number) for _, number in path]) if path else ""
    return f"{place}#{site}" if site else place


def site_of(place: str) -> int:
    """Which of its component's calls stands at such a place; the first one where nothing is said of that."""
    number = place.rpartition("#")[2] if "#" in place else ""
    return int(number) if number.isascii() and number.isdigit() else 0


class Started(msgspec.Struct, frozen=True):
    """The request has come in; `arguments` holds every parameter, defaults filled in."""

    arguments: Mapping[str, Value]


class Finished(msgspec.Struct, frozen=True):
    """A call gave a value of its component's result type; one `over` lists gave a list of such values."""

    call: int
    value: Value


class Failed(msgspec.Struct, frozen=True):
    """A call gave no value; `reason` is a sentence for the client."""

    call: int
    reason: str


class Begun(msgspec.Struct, frozen=True):
    """The first piece of a streamed call's text is about to be handed out: no fallback can take its place any more."""

    call: int


class Elapsed(msgspec.Struct, frozen=True):
    """The time of a timer is up."""

    timer: int


Event = Started | Finished | Failed | Begun | Elapsed


class Send(msgspec.Struct, frozen=True):
    """Make this call.

    `over` names the ports that were given lists of equal length: one call of the engine for all their
    items. `may_answer` says that the value may become the answer, or the first text of an answer that is a
    record; `streams`, that it is known to, and that its text may be forwarded as it comes. `site` is the
    operation's.
    """

    call: int
    component: str
    inputs: dict[str, Value]
    settings: Mapping[str, Any]
    streams: bool = False
    may_answer: bool = False
    over: tuple[str, ...] = ()
    path: Path = ()
    site: int = 0


def items_of(send: Send) -> list[dict[str, Value]]:
    """The inputs of each item that a call is for: one, unless it is for lists."""
    if not send.over:
        return [send.inputs]
    return [
        {port: value[at] if port in send.over else value for port, value in send.inputs.items()}
        for at in range(len(send.inputs[send.over[0]]))
    ]


class Cancel(msgspec.Struct, frozen=True):
    """Stop a call: nothing awaits it any more."""

    call: int


class StartTimer(msgspec.Struct, frozen=True):
    """Tell with `Elapsed` when so much time is up."""

    timer: int
    ms: float


class StopTimer(msgspec.Struct, frozen=True):
    """Forget a timer."""

    timer: int


class Answer(msgspec.Struct, frozen=True):
    """The request has ended with this value."""

    value: Value


class Fail(msgspec.Struct, frozen=True):
    """The request has ended without a value.

    `component` is the one at fault, where it is one component's fault, and `call` the call of it that
    failed, where one was made. `late` says that it was no failure of the call but a `within` that passed.
    """

    component: str | None
    reason: str
    call: int | None = None
    late: bool = False


Command = Send | Cancel | StartTimer | StopTimer | Answer | Fail
