"""What a pass is: a rewrite of one flow that gives the same answers, with what it needs and gives."""

from collections.abc import Callable, Mapping

import msgspec

from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.kinds.kind import Kind


class Context(msgspec.Struct, frozen=True):
    """What a pass may look at beside the flow.

    `takes` is about how long calls take, where whoever plans has found that the promised latency asks for more than the
    other passes give.
    """

    application: Application
    kinds: Mapping[str, Kind]
    takes: Takes | None = None


class Pass(msgspec.Struct, frozen=True):
    """One rewrite. `name` equals its module's; applied twice it does no more than once.

    `needs` and `gives` are properties of flows: each need must be given by an earlier pass. One that is `timed` does
    nothing without usual times.
    """

    name: str
    doc: str
    rewrite: Callable[[Flow, Context], Flow]
    needs: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()
    timed: bool = False
