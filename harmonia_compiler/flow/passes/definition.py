"""What a pass is: a rewrite of one flow that gives the same answers, with what it needs and gives."""

from collections.abc import Callable, Mapping

import msgspec

from harmonia_compiler.flow.graph import Application, Flow
from harmonia_compiler.kinds.kind import Kind


class Context(msgspec.Struct, frozen=True):
    """What a pass may look at beside the flow.

    `usual_ms` is about how long a call of each component takes, in ms, where whoever plans has found that the promised
    latency asks for more than the other passes give.
    """

    application: Application
    kinds: Mapping[str, Kind]
    usual_ms: Mapping[str, float] | None = None


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
