"""Puts first, in prompts that may be reordered, what several calls have in common, for the engine's prefix cache.

An engine keeps what it has computed of a prompt's beginning. Of two calls that read the same passages, which
may be one call for two items of a list or in two rounds of a loop, the second computes them anew only because
something else stands before them. Reordering paragraphs may change what a model says, so that it is done only
where the user has said `reorder: true`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.component import Insert
from harmonia_compiler.contract.program import Argument, Attempt, Call, block_of, inputs
from harmonia_compiler.flow.bodies import Rewriting, invariants, with_bodies
from harmonia_compiler.flow.graph import Body, Flow
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.likeness import may_merge, said
from harmonia_compiler.kinds.openai import loose_ports
from harmonia_compiler.kinds.paragraphs import PROMPT_ORDER, paragraphs

#: A paragraph as a call sees it: its texts, and for each insertion the position of the value.
_Paragraph = tuple[str | int, ...]
#: Whose cache a call's prompt is in, and what stands before it there: the system prompt, and the turns' values.
_Before = tuple[str, tuple[str | int, ...], tuple[int, ...]]


def order_prompts(flow: Flow, context: Context) -> Flow:
    """Number the paragraphs of reorderable prompts in the order in which most calls share them.

    Calls of one body share what they read alike, where the same stands before their prompts; and after that rounds of a
    loop and items of a list what comes from outside of it. Those that equally many share stand in one order in all of
    them. Of those that no other call has, what no request changes comes first.
    """
    same = _same(flow, context)
    return with_bodies(flow, [_ordered(body, same[index], context) for index, body in enumerate(flow.bodies)])


def _ordered(body: Body, same: "_Same", context: Context) -> Body:
    written = {at: _paragraphs(node.operation, context) for at, node in enumerate(body.nodes)}
    before = {
        at: _before(node.operation, context)
        for at, node in enumerate(body.nodes)
        if isinstance(node.operation, Call) and written[at]
    }
    shared = Counter((before[at], paragraph) for at, own in written.items() for paragraph in dict.fromkeys(own))
    first = {paragraph: number for number, paragraph in enumerate(shared)}
    new = Rewriting(body)
    for at, node in enumerate(body.nodes):
        operation = new.read(node.operation)
        if isinstance(operation, Call) and len(written[at]) > 1:
            keys = [(before[at], paragraph) for paragraph in written[at]]
            around = [min((same.around[part] for part in _read(one)), default=same.depth) for one in written[at]]
            operation = _with_order(operation, _order(written[at], [(shared[key], first[key]) for key in keys], around))
        new.moved.append(new.append(replace(node, operation=operation)))
    return new.done()


class _Same(NamedTuple):
    """How many loops and lists a body is inside of, and over how many of those each of its values stays the same.

    From the innermost outwards: what a list's items share may be another in each round of a loop around it.
    """

    depth: int
    around: list[int]


def _same(flow: Flow, context: Context) -> list[_Same]:
    """Of each body, over what its values stay the same."""
    bodies = flow.bodies
    found = [_Same(0, []) for _ in bodies]
    arguments: list[dict[int, int]] = [{} for _ in bodies]
    # A block stands before whatever runs it.
    for index in range(len(bodies) - 1, -1, -1):
        depth, around = found[index]
        for node in bodies[index].nodes:
            operation = node.operation
            if isinstance(operation, Argument):
                around.append(arguments[index].get(operation.index, 0))
            elif block_of(operation) is not None or (isinstance(operation, Call) and not may_merge(operation, context)):
                around.append(0)
            else:
                around.append(min((around[at] for at in inputs(operation)), default=depth))
            block = block_of(operation)
            if block is not None:
                inner = not isinstance(operation, Attempt)
                found[block] = _Same(depth + inner, [])
                arguments[block] = {argument: around[at] + inner for argument, at in invariants(operation)}
    return found


def _order(written: Sequence[_Paragraph], shared: Sequence[tuple[int, int]], around: Sequence[int]) -> list[int]:
    def rank(at: int) -> tuple[int, int, int, bool, int]:
        calls, first = shared[at]
        changes = bool(_read(written[at]))
        return -calls, -around[at], first if calls > 1 else 0, changes, at

    return sorted(range(len(written)), key=rank)


def _read(paragraph: _Paragraph) -> list[int]:
    """The positions of the values that a paragraph inserts."""
    return [part for part in paragraph if isinstance(part, int)]


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


def _before(call: Call, context: Context) -> _Before:
    component = context.application.components[call.component]
    values = dict(zip(call.ports, call.inputs, strict=True))
    system = [values[part.port] if isinstance(part, Insert) else part for part in component.system or ()]
    return component.engine, tuple(system), tuple(values[port.name] for port in loose_ports(component)[0])


PASS = Pass(
    "order_prompts",
    "puts first, in prompts that may be reordered, what calls have in common",
    order_prompts,
    needs=frozenset({"equal nodes are one"}),
)
