"""Whether an answer's text can be handed out while it is generated, wherever it comes from."""

from typing import TYPE_CHECKING

import msgspec

from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.check.types import shown
from harmonia_compiler.contract.program import Call, GetField
from harmonia_compiler.contract.types import Text
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Node

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
            help = f"{_why(one.nodes.all[one.position])}; delete `stream`"
            values.findings.add("E0404", "this value cannot be streamed", one.span, help=help)
    given.clear()


def _why(given: Node) -> str:
    """Why a value cannot be streamed, though a model may have made a part of it."""
    if not isinstance(given.type, Text):
        return f"only free text can, and this is `{shown(given.type)}`, which leaves as one piece"
    if isinstance(given.operation, GetField):
        return "what is taken out of another value leaves as one piece"
    return "only the text of a language model's call can, and here is none"


def _can_stream(values: "Values", given: Streamed) -> bool:
    """Whether a call that hands out its text may give the value. What comes on other paths leaves as one piece."""
    calls = (each for each in given.nodes.sources(given.position) if isinstance(each, Call))
    made = (values.components.by_id(each.component) for each in calls)
    return any(one and one.streams and one.result and isinstance(one.result.type, Text) for one in made)
