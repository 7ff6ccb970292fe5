"""Begins a branch's retrieval while what decides about the branch is still at work.

A guess costs what it does in vain: the work of the calls on the paths that are not taken. So it is made only
where the latency that is promised asks for it (whoever plans hands in the usual times then, and none
otherwise), only for calls that are pure and of no language model, and only where it pays: the time that it
is expected to save, how likely it is needed times what the condition would have kept it waiting, is at least
the work that it is expected to waste, how likely it is not times the time of the calls. That goes by the shares that
plans reckon with. A condition keeps a branch waiting for those of its calls alone that nobody can have asked for before
the branch is reached: what a branch around it has settled is known then. In a block, nothing is begun whose argument
is not at hand there: behind it may be calls that nobody has asked for yet.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    Argument,
    Attempt,
    Call,
    Constant,
    Each,
    Output,
    Parameter,
    Repeat,
    Select,
    block_of,
    inputs,
)
from harmonia_compiler.flow.bits import bits
from harmonia_compiler.flow.bodies import invariants, needed_always, reads_always, with_bodies
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.graph import Body, Flow
from harmonia_compiler.flow.needed import Needed
from harmonia_compiler.flow.passes.definition import Context, Pass
from harmonia_compiler.flow.passes.likeness import is_pure

#: Of what delays the demand of a node: that a block asks for it, at some time or never, and that a loop is to know
#: whether its round is the last, but for one that is in any case. The other bits are conditions.
_SOME_TIME, _ROUND, _FIRST = 1, 2, 4
#: Longer than any chain of calls, in ms.
_LONG = 1e9
#: What comes of blocks, of their own or around: nobody knows when it is there.
_OF_BLOCKS = (Argument, Attempt, Each, Output, Repeat)


@dataclass(frozen=True, slots=True)
class _Delays:
    """What nodes of a body wait for before they are demanded: conditions, as bits, and blocks.

    `surely` is what each waits for on every way from a result, None where there is none; `maybe` on any, nothing where
    one way waits for nothing.
    """

    surely: list[int | None]
    maybe: list[int]


@dataclass(frozen=True, slots=True)
class _Times:
    """In ms how long each node of a body takes, and how long after its condition a branch is there at the latest.

    What comes of blocks may be there at once, or take as long.
    """

    least: list[float]
    most: list[float]
    arms: dict[int, float]


@dataclass(frozen=True, slots=True)
class _Course:
    """In ms from when a branch is reached: how soon the condition may be known, how late the values are there then."""

    ready: Mapping[int, float]
    condition: float


def speculate(flow: Flow, context: Context) -> Flow:
    """Let each branch begin early what is worth it; without usual times, nothing changes."""
    takes = context.takes
    if takes is None:
        return flow

    needed = Needed(flow, demand(context.application, flow, kinds=context.kinds, takes=takes))
    loops = {node.operation.block for body in flow.bodies for node in body.nodes if isinstance(node.operation, Repeat)}
    bodies: list[Body] = []
    for index, (body, at_hand) in enumerate(zip(flow.bodies, _at_hand(flow), strict=True)):
        guesses: dict[int, list[int]] = {}
        times = _times(body, takes.ms)
        # What one branch begins early another one may know then, and has nothing left to wait for.
        for _ in range(2):
            delays = _delays(body, guesses, is_loop=index in loops)
            guesses = {}
            # What an arm begins early itself is known before what the branch does.
            for at in _selects(body):
                guesses[at] = _worth_it(
                    body, at_hand, at, delays, times, partial(needed.behind, early=guesses), context
                )
        needed.done(guesses)
        nodes = [
            replace(node, operation=replace(node.operation, early=tuple(guesses[at])))
            if isinstance(node.operation, Select)
            else node
            for at, node in enumerate(body.nodes)
        ]
        bodies.append(replace(body, nodes=tuple(nodes)))
    return with_bodies(flow, bodies)


def _selects(body: Body) -> list[int]:
    return [at for at, node in enumerate(body.nodes) if isinstance(node.operation, Select)]


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
                    arguments[block].add(0)
    return found


def _delays(body: Body, guesses: Mapping[int, Iterable[int]], *, is_loop: bool) -> _Delays:
    """When nodes are demanded, where branches begin these early."""
    surely: list[int | None] = [None] * len(body.nodes)
    maybe = [0] * len(body.nodes)

    def demand(needed: int, surely_before: int, maybe_before: int) -> None:
        already = surely[needed]
        if already is None:
            surely[needed], maybe[needed] = surely_before, maybe_before
            return
        surely[needed] = already & surely_before
        # Of several ways one alone may be taken, but a way that waits for nothing is taken in any case.
        maybe[needed] = maybe[needed] | maybe_before if maybe[needed] and maybe_before else 0

    for number, result in enumerate(body.results):
        delay = _ROUND if number and is_loop else 0
        demand(result, delay, delay)
    for at in range(len(body.nodes) - 1, -1, -1):
        before, operation = surely[at], body.nodes[at].operation
        if before is None:
            continue
        always = reads_always(operation)
        for needed in (*always, *guesses.get(at, ())):
            demand(needed, before, maybe[at])
        if isinstance(operation, Select):
            decided = _bit(operation.condition)
            for arm in (operation.then, operation.otherwise):
                demand(arm, before | decided, maybe[at] | decided)
        else:
            for needed in {*inputs(operation)}.difference(always):
                demand(needed, before, maybe[at] | _SOME_TIME)
    return _Delays(surely, maybe)


def _bit(condition: int) -> int:
    return _FIRST << condition


def _worth_it(
    body: Body,
    at_hand: frozenset[int],
    position: int,
    delays: _Delays,
    times: _Times,
    needed: Callable[[int, Collection[int], Collection[int]], Mapping[int, float]],
    context: Context,
) -> list[int]:
    """The last calls of the chains that are worth beginning early for a branch.

    `needed` says how likely that is of which values, by what is known when the branch decides.
    """
    select, before = body.nodes[position].operation, delays.surely[position]
    assert isinstance(select, Select)
    if before is None:
        return []
    reached = at_hand | needed_always(body, bits(before // _FIRST))
    known = _at_once(body, reached | needed_always(body, [select.condition]))
    anyway = reached | needed_always(body, [select.condition, body.results[0]])
    arms = (select.then, select.otherwise)
    behind, before_it = _closure(body, arms, anyway) - anyway, _closure(body, [select.condition]) - anyway
    likely = needed(position, behind, known)
    # What the condition itself may ask for may be there without it. And no chain saves more than the time of its calls.
    chains = [
        (at, part, chain)
        for at in sorted(behind - before_it)
        if (chain := _chain(body, at, anyway, context)) is not None
        and chain.isdisjoint(before_it)
        and (part := likely.get(at, 0.0)) >= 0.5
    ]

    def is_left(at: int) -> bool:
        """Whether nobody asks for a value before the branch is reached: what may delay that delays it as well."""
        return not delays.maybe[position] & ~(delays.surely[at] or 0)

    course = _course(body, [select.condition, *(at for at, _, _ in chains)], reached, is_left, times)
    if course.condition <= 0.0:
        return []
    found: set[int] = set()
    for at, part, chain in chains:
        saved, work = part * _saved(body, at, chain, course), sum(times.least[call] for call in chain)
        if saved > 0.0 and saved >= (1.0 - part) * work:
            found.add(at)
    inner = {one for at in found for one in _closure(body, inputs(body.nodes[at].operation))}
    return sorted(found - inner)


def _at_once(body: Body, known: Iterable[int]) -> set[int]:
    """What is known, and what follows from it without a call."""
    found = {*known}
    for at, node in enumerate(body.nodes):
        if not isinstance(node.operation, (Call, *_OF_BLOCKS)) and found.issuperset(inputs(node.operation)):
            found.add(at)
    return found


def _course(
    body: Body, of: Sequence[int], reached: frozenset[int], is_left: Callable[[int], bool], times: _Times
) -> _Course:
    """How a condition, the first of these, and calls take their course once the values that are `reached` are there.

    Of the condition, what others may have begun before is done. What it needs itself is there before it by the time
    that it takes from then, however late that is.
    """
    always, known, rest = sorted(needed_always(body, of[:1])), dict[int, float](), dict.fromkeys(of[:1], 0.0)
    for at in always:
        begins = max((known[one] for one in reads_always(body.nodes[at].operation)), default=0.0)
        known[at] = begins + (times.least[at] if is_left(at) else 0.0)
    for at in reversed(always):
        for one in reads_always(body.nodes[at].operation):
            rest[one] = max(rest.get(one, 0.0), rest[at] + times.least[at])
    condition, ready = known[of[0]], _ready(body, of, reached, times)
    for at in sorted({*ready}.difference(reached)):
        if at in rest:
            ready[at] = min(ready[at], max(0.0, condition - rest[at]))
        if not isinstance(body.nodes[at].operation, Select):
            ready[at] = min(ready[at], _begins(body, at, ready) + times.most[at])
    return _Course(ready, condition)


def _begins(body: Body, at: int, ready: Mapping[int, float]) -> float:
    """When all is there that a node reads."""
    return max((ready[one] for one in inputs(body.nodes[at].operation)), default=0.0)


def _times(body: Body, usual: Mapping[str, float]) -> _Times:
    """How long what a body has takes."""
    times = _Times([], [], {})
    for at, node in enumerate(body.nodes):
        operation = node.operation
        least = usual.get(operation.component, 0.0) if isinstance(operation, Call) else 0.0
        times.least.append(least)
        times.most.append(_LONG if isinstance(operation, _OF_BLOCKS) else least)
        if isinstance(operation, Select):
            arms = (operation.then, operation.otherwise)
            ready = _ready(body, arms, needed_always(body, [operation.condition]), times)
            times.arms[at] = max(ready[arm] for arm in arms)
    return times


def _ready(body: Body, of: Iterable[int], reached: frozenset[int], times: _Times) -> dict[int, float]:
    """When these values, and what they wait for, are there at the latest, in ms from when what is `reached` is."""
    ready: dict[int, float] = {}
    for at in sorted(_closure(body, of, reached)):
        operation = body.nodes[at].operation
        if at in reached:
            ready[at] = 0.0
        elif isinstance(operation, Select):
            # Nobody may have asked for an arm before the condition is known.
            arms = max(ready[operation.then], ready[operation.otherwise])
            ready[at] = ready[operation.condition] + min(arms, times.arms[at])
        else:
            ready[at] = _begins(body, at, ready) + times.most[at]
    return ready


def _saved(body: Body, at: int, chain: Collection[int], course: _Course) -> float:
    """How much sooner a call is there where its chain does not wait for the condition; 0 where it begins no sooner."""
    ready = course.ready
    if _begins(body, at, ready) >= course.condition:
        return 0.0
    read = (one for call in chain for one in inputs(body.nodes[call].operation) if one not in chain)
    return min(course.condition, ready[at]) - max((ready[one] for one in read), default=0.0)


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


def _closure(body: Body, positions: Iterable[int], reached: Collection[int] = ()) -> set[int]:
    """All that these positions read, directly or not, themselves included; not through what is reached."""
    found: set[int] = set()
    pending = [*positions]
    while pending:
        at = pending.pop()
        if at not in found:
            found.add(at)
            if at not in reached:
                pending += inputs(body.nodes[at].operation)
    return found


PASS = Pass(
    "speculate",
    "begins a branch's retrieval while its condition is still being decided, where the promised latency asks for it",
    speculate,
    needs=frozenset({"equal nodes are one", "every node is read"}),
    timed=True,
)
