"""Puts first, in prompts that may be reordered, what several calls have in common, for the engine's prefix cache.

An engine keeps what it has computed of a prompt's beginning. Of two calls that read the same passages,
the second computes them anew only because something else stands before them. Reordering paragraphs may
change what a model says, so that it is done only where the user has said `reorder: true`.
"""

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from harmonia_compiler.contract.component import Insert
from harmonia_compiler.contract.program import Call
from harmonia_compiler.flow.bodies import Rewriting, in_each_body
from harmonia_compiler.flow.graph import Body, Flow
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.likeness import said
from harmonia_compiler.kinds.paragraphs import PROMPT_ORDER, paragraphs

#: A paragraph as a call sees it: its texts, and for each insertion the position of the value.
_Paragraph = tuple[str | int, ...]


def order_prompts(flow: Flow, context: Context) -> Flow:
    """Number the paragraphs of reorderable prompts in the order in which most calls of the body share them.

    Those that equally many share stand in one order in all of them. Of those that no other call has, what no
    request changes comes first.
    """

    def rewrite(body: Body) -> Body:
        written = {at: _paragraphs(node.operation, context) for at, node in enumerate(body.nodes)}
        shared = Counter(
            (_engine(body, at, context), paragraph) for at, own in written.items() for paragraph in dict.fromkeys(own)
        )
        first = {paragraph: number for number, paragraph in enumerate(shared)}
        new = Rewriting(body)
        for at, node in enumerate(body.nodes):
            operation = new.read(node.operation)
            if isinstance(operation, Call) and len(written[at]) > 1:
                keys = [(_engine(body, at, context), paragraph) for paragraph in written[at]]
                operation = _with_order(operation, _order(written[at], [(shared[key], first[key]) for key in keys]))
            new.moved.append(new.append(replace(node, operation=operation)))
        return new.done()

    return in_each_body(flow, rewrite)


def _order(written: Sequence[_Paragraph], shared: Sequence[tuple[int, int]]) -> list[int]:
    def rank(at: int) -> tuple[int, int, bool, int]:
        calls, first = shared[at]
        changes = any(isinstance(part, int) for part in written[at])
        return -calls, first if calls > 1 else 0, changes, at

    return sorted(range(len(written)), key=rank)


def _with_order(call: Call, order: list[int]) -> Call:
    settings = {name: value for name, value in call.settings.items() if name != PROMPT_ORDER}
    if order != sorted(order):
        settings[PROMPT_ORDER] = order
    return replace(call, settings=settings)


def _paragraphs(operation: object, context: Context) -> list[_Paragraph]:
    """What a call's prompt consists of, where it may be reordered; nothing for anything else."""
    if not isinstance(operation, Call) or not said(operation, "reorder", context):
        return []
    prompt = context.application.components[operation.component].prompt
    if prompt is None:
        return []
    values = dict(zip(operation.ports, operation.inputs, strict=True))
    return [
        tuple(values[part.port] if isinstance(part, Insert) else part for part in paragraph)
        for paragraph in paragraphs(prompt)
    ]


def _engine(body: Body, at: int, context: Context) -> str:
    operation = body.nodes[at].operation
    return context.application.components[operation.component].engine if isinstance(operation, Call) else ""


PASS = Pass(
    "order_prompts",
    "puts first, in prompts that may be reordered, what calls have in common",
    order_prompts,
    needs=frozenset({"equal nodes are one"}),
)
