"""Begins a branch's retrieval while what decides about the branch is still at work.

A guess costs what it does in vain: the work of the calls on the paths that are not taken. So it is made only
where the latency that is promised asks for it (whoever plans hands in the usual times then, and none
otherwise), only for calls that are pure and of no language model, and only where it pays: the time that it
is expected to save, the share of the arm times what the condition would have kept it waiting, is at least
the work that it is expected to waste, the share of the other arm times the time of the calls. In a block,
nothing is begun whose argument is not at hand there: behind it may be calls that nobody has asked for yet.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from harmonia_compiler.contract.program import Argument, Call, Constant, Each, Parameter, Select, block_of, inputs
from harmonia_compiler.flow.bodies import Rewriting, invariants, with_bodies
from harmonia_compiler.flow.graph import EVEN, Body, Flow
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.likeness import is_pure


def speculate(flow: Flow, context: Context) -> Flow:
    """Let each branch begin early what is worth it; without usual times, nothing changes."""
    usual = context.usual_ms
    if usual is None:
        return flow

    at_hand = _at_hand(flow)

    def rewrite(body: Body, at_hand: frozenset[int]) -> Body:
        ready = _ready(body, usual)
        new = Rewriting(body)
        for node in body.nodes:
            operation = new.read(node.operation)
            if isinstance(operation, Select):
                assert isinstance(node.operation, Select)
                share = EVEN if node.share is None else node.share
                early = _worth_it(body, at_hand, node.operation, share, ready, usual, context)
                operation = replace(operation, early=tuple(new.moved[at] for at in early))
            new.moved.append(new.append(replace(node, operation=operation)))
        return new.done()

    return with_bodies(flow, [rewrite(*each) for each in zip(flow.bodies, at_hand, strict=True)])


def _at_hand(flow: Flow) -> list[frozenset[int]]:
    """Of each body, the positions whose values are there before it begins, whoever needs them."""
    bodies = flow.bodies
    found: list[frozenset[int]] = [frozenset()] * len(bodies)
    arguments: list[set[int]] = [set() for _ in bodies]
    # A block stands before whatever runs it.
    for index in range(len(bodies) - 1, -1, -1):
        found[index] = frozenset(
            at
            for at, node in enumerate(bodies[index].nodes)
            if isinstance(node.operation, Constant | Parameter)
            or (isinstance(node.operation, Argument) and node.operation.index in arguments[index])
        )
        for node in bodies[index].nodes:
            block = block_of(node.operation)
            if block is not None:
                arguments[block] |= {argument for argument, at in invariants(node.operation) if at in found[index]}
                if isinstance(node.operation, Each):
                    arguments[block] |= set(range(len(node.operation.lists)))
    return found


def _ready(body: Body, usual: Mapping[str, float]) -> list[float]:
    """When each value is there at the earliest, in ms from when the body begins; blocks count as no time."""
    ready: list[float] = []
    for node in body.nodes:
        begins = max((ready[at] for at in inputs(node.operation)), default=0.0)
        took = usual.get(node.operation.component, 0.0) if isinstance(node.operation, Call) else 0.0
        ready.append(begins + took)
    return ready


def _worth_it(
    body: Body,
    at_hand: frozenset[int],
    select: Select,
    share: float,
    ready: list[float],
    usual: Mapping[str, float],
    context: Context,
) -> list[int]:
    """The last calls of the chains that are worth beginning early, in their order."""
    anyway = at_hand | _closure(body, [select.condition])
    found: set[int] = set()
    for arm, taken in ((select.then, share), (select.otherwise, 1.0 - share)):
        for at, needed in sorted(_needed(body, arm).items()):
            likely = taken * needed
            if at in anyway:
                continue
            chain = _chain(body, at, anyway, context)
            if chain is None:
                continue
            begins = max(
                (ready[one] for call in chain for one in inputs(body.nodes[call].operation) if one not in chain),
                default=0.0,
            )
            saved = likely * max(0.0, min(ready[select.condition] - begins, ready[at] - begins))
            work = sum(usual.get(_component(body, call), 0.0) for call in chain)
            if saved > 0.0 and saved >= (1.0 - likely) * work:
                found.add(at)
    inner = {one for at in found for one in _closure(body, inputs(body.nodes[at].operation))}
    return sorted(found - inner)


def _needed(body: Body, arm: int) -> dict[int, float]:
    """How likely each value is needed where an arm is taken: what an inner branch reads, by that branch's share."""
    found = {arm: 1.0}
    for at in range(arm, -1, -1):
        if at not in found:
            continue
        node = body.nodes[at]
        weights = dict.fromkeys(inputs(node.operation), found[at])
        if isinstance(node.operation, Select):
            share = EVEN if node.share is None else node.share
            weights = {node.operation.condition: found[at]}
            for one, part in ((node.operation.then, share), (node.operation.otherwise, 1.0 - share)):
                weights[one] = weights.get(one, 0.0) + found[at] * part
        for one, weight in weights.items():
            found[one] = min(1.0, found.get(one, 0.0) + weight)
    return found


def _chain(body: Body, at: int, anyway: frozenset[int], context: Context) -> set[int] | None:
    """The calls that a call needs and nobody asks for anyway, its own included; None where one must not begin early."""
    calls: set[int] = set()
    pending = [at]
    if not isinstance(body.nodes[at].operation, Call):
        return None
    while pending:
        here = pending.pop()
        operation = body.nodes[here].operation
        if here in anyway:
            continue
        if isinstance(operation, Select | Argument) or block_of(operation) is not None:
            return None
        if isinstance(operation, Call):
            kind = context.kinds[context.application.components[operation.component].kind]
            if kind.has_prompt or not is_pure(operation, context):
                return None
            calls.add(here)
        pending += inputs(operation)
    return calls


def _closure(body: Body, positions: Iterable[int]) -> set[int]:
    """All that these positions read, directly or not, themselves included."""
    found: set[int] = set()
    pending = [*positions]
    while pending:
        at = pending.pop()
        if at not in found:
            found.add(at)
            pending += inputs(body.nodes[at].operation)
    return found


def _component(body: Body, at: int) -> str:
    operation = body.nodes[at].operation
    assert isinstance(operation, Call)
    return operation.component


PASS = Pass(
    "speculate",
    "begins a branch's retrieval while its condition is still being decided, where the promised latency asks for it",
    speculate,
    needs=frozenset({"equal nodes are one", "every node is read"}),
    timed=True,
)
