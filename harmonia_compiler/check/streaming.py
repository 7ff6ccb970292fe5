"""Whether an answer's text can be handed out while it is generated, wherever it comes from."""

from typing import TYPE_CHECKING

import msgspec

from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.contract.program import Call, Constant, Parameter
from harmonia_compiler.contract.types import Text
from harmonia_compiler.diagnostics.source import Span

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values


class Streamed(msgspec.Struct, frozen=True):
    """What a `return stream` gives: a node, and where the user wrote it."""

    nodes: Nodes
    position: int
    span: Span


def report_unstreamed(values: "Values", given: list[Streamed]) -> None:
    """Report what cannot be streamed, and clear the list.

    Outside of all loops, since what a loop hands in is known once its block is read.
    """
    for one in given:
        if not _can_stream(values, one):
            help = "only the text of a language model's call can; delete `stream`"
            values.findings.add("E0404", "this value cannot be streamed", one.span, help=help)
    given.clear()


def _can_stream(values: "Values", given: Streamed) -> bool:
    """Whether each call that may give the value hands out its text. What is there already leaves as one piece."""
    calls = 0
    for operation in given.nodes.sources(given.position):
        if isinstance(operation, Constant | Parameter):
            continue
        made = values.components.by_id(operation.component) if isinstance(operation, Call) else None
        if made is None or made.result is None or not made.streams or not isinstance(made.result.type, Text):
            return False
        calls += 1
    return calls > 0
