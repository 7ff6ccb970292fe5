"""A flow without blocks, for planning: which nodes a request may run, and how often.

Loops are unrolled, each further round behind a `Select` on whether the one before was the last. An
`Each` runs its block for one item that stands for all: an `Item` of its list, then a `Gather` of the
results. An `Attempt` is its block's value or, in a small share of the requests, what it falls back on; how often it is
late is added where it is known how long calls take (`lateness.py`).
Nothing is executed from an expanded flow.
"""

import math
from collections.abc import Generator, Sequence

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    After,
    Apply,
    Argument,
    Attempt,
    Constant,
    Each,
    MakeList,
    Output,
    Repeat,
    Select,
    block_of,
    with_inputs,
)
from harmonia_compiler.contract.types import Bool, ListOf, Text, Type
from harmonia_compiler.flow.graph import EVEN, Flow, Node, Written

#: The share of attempts that are taken to fail or to be late.
FAILURE_SHARE = 0.01

#: Rounds that fewer than this part of the requests reach are not told apart.
NEGLIGIBLE = 1e-3

#: The most nodes to expand a flow to; one that has more without any loop unrolled is expanded to no more than it has.
MOST_NODES = 2_000

#: How many rounds of a loop may be told apart, tried in this order until the flow is small enough.
_ROUNDS = (100, 50, 20, 10, 5, 3, 2, 1, 0)


class Item(Apply, frozen=True, tag="item"):
    """The item of a list that stands for all of them."""


class Gather(Apply, frozen=True, tag="gather"):
    """The list of what a block gave for each item of the first input; the second is what it gave for one."""


class Chance(Apply, frozen=True, tag="chance"):
    """Whether an attempt succeeded, once its block has ended; its number tells attempts apart."""


class Scope(msgspec.Struct, frozen=True):
    """The items of an `Each`: of which list, gathered where, and among the items of which other scope."""

    parent: int
    list: int
    gather: int


class Limited(msgspec.Struct, frozen=True):
    """What has a time, `within_ms`, from when it begins: the nodes from `first` on, and before `end`.

    It runs as often as there are `rounds`, for each item of its `scope`. `choice` is the `Select` between its
    value and what it falls back on; None where it has nothing to fall back on.
    """

    first: int
    end: int
    within_ms: float
    rounds: float
    scope: int
    choice: int | None


class Several(msgspec.Struct, frozen=True):
    """So many rounds of a loop that are left together in one `copy`, behind those in the copies `before`.

    `test` is the node that says whether a round is the last, which `share` of them are, said or `guessed`.
    """

    copy: int
    before: tuple[int, ...]
    test: int
    rounds: int
    share: float
    guessed: bool


class Expanded(msgspec.Struct, frozen=True):
    """A flow without blocks and, for each of its nodes, what it is.

    `origins[i]` is the body and the position of the node that node i is a copy of. `rounds[i]` is how
    often it is expected to run, one time after the other, for each that it is reached. `scopes[i]` is
    the innermost scope that it is in: a position in `items`, 0 being none. `limited` is what has a time,
    what is inside of another before that. `copies[i]` is in which copy of a body node i is, and `around` says of each
    copy which one it is inside of, -1 of the first; `tests` are, for a copy that is a round of a loop, the nodes that
    ask in each round before it whether that was the last. `unasked` would ask it in rounds that are the last anyway;
    `several` are the rounds that are not told apart, what is inside of another before that.
    """

    flow: Flow
    origins: tuple[tuple[int, int], ...]
    rounds: tuple[float, ...]
    scopes: tuple[int, ...]
    items: tuple[Scope, ...]
    copies: tuple[int, ...]
    around: tuple[int, ...]
    tests: tuple[tuple[int, ...], ...]
    unasked: tuple[int, ...] = ()
    limited: tuple[Limited, ...] = ()
    several: tuple[Several, ...] = ()


def expand(flow: Flow, most: int = MOST_NODES, apart: int = _ROUNDS[0]) -> Expanded:
    """The flow without blocks; of at most so many nodes, where leaving rounds together can achieve that.

    No more rounds than `apart` are told apart.
    """
    apart = next((fewer for fewer in _ROUNDS if fewer <= apart and _size(flow, fewer) <= most), 0)
    return _Expansion(flow, apart).run()


def likely_rounds(last: float, limit: int) -> float:
    """The expected rounds of a loop of which each round is the last with this share: (1 - (1 - p)^n) / p."""
    return (1.0 - (1.0 - last) ** limit) / last if last > 0.0 else float(limit)


def last_share(flow: Flow, node: Node) -> float:
    """How often a round of a loop is the last: as its test says where that is settled, as the user said, or `EVEN`."""
    assert isinstance(node.operation, Repeat)
    body = flow.blocks[node.operation.block]
    test = body.nodes[body.results[0]].operation
    if isinstance(test, Constant):
        return 1.0 if test.value else 0.0
    return EVEN if node.share is None else node.share


def _told_apart(last: float, limit: int, apart: int) -> int:
    """How many rounds are unrolled: whatever may follow is one more, which stands for all of them."""
    if last >= 1.0:
        # A second one that nobody reaches, before which the test is asked.
        return min(limit, 2)
    reached = limit if last <= 0.0 else math.ceil(math.log(NEGLIGIBLE) / math.log1p(-last))
    return min(limit, apart, reached)


def _size(flow: Flow, apart: int) -> float:
    sizes: list[float] = []
    for body in flow.bodies:
        size = float(len(body.nodes))
        for node in body.nodes:
            if (block := block_of(node.operation)) is None:
                continue
            copies = 1
            if isinstance(node.operation, Repeat):
                last, limit = last_share(flow, node), node.operation.limit
                unrolled = _told_apart(last, limit, apart)
                copies = unrolled + (unrolled < limit and last < 1.0)
            size += copies * sizes[block]
        sizes.append(size)
    return sizes[-1]


class _Frame(msgspec.Struct, frozen=True):
    """One copy of a body: what its arguments are, how often it runs in a row, and among which items.

    Before it is begun `copy` is the one around it. `tests` ask in the rounds before it whether those are the last.
    """

    body: int
    arguments: tuple[int, ...]
    rounds: float
    scope: int
    copy: int
    tests: tuple[int, ...] = ()


#: Expands a frame's body and is sent back the places of the results of the frames that it asks for.
_Steps = Generator[_Frame, tuple[int, ...], tuple[int, ...]]


class _Expansion:
    def __init__(self, flow: Flow, apart: int) -> None:
        self._flow = flow
        self._bodies = flow.bodies
        self._apart = apart
        self._nodes: list[Node] = []
        self._origins: list[tuple[int, int]] = []
        self._rounds: list[float] = []
        self._scopes: list[int] = []
        self._copies: list[int] = []
        self._around: list[int] = []
        self._tests: list[tuple[int, ...]] = []
        self._unasked: list[int] = []
        self._items: list[Scope] = [Scope(0, -1, -1)]
        self._limited: list[Limited] = []
        self._several: list[Several] = []

    def run(self) -> Expanded:
        """Bodies within bodies, without recursion, since they may be nested deeply."""
        stack = [self._body(_Frame(len(self._flow.blocks), (), 1.0, 0, -1))]
        results: tuple[int, ...] | None = None
        while stack:
            try:
                frame = next(stack[-1]) if results is None else stack[-1].send(results)
            except StopIteration as ended:
                results = ended.value
                stack.pop()
            else:
                stack.append(self._body(frame))
                results = None
        assert results is not None
        return Expanded(
            replace(self._flow, nodes=tuple(self._nodes), result=results[0], blocks=()),
            tuple(self._origins),
            tuple(self._rounds),
            tuple(self._scopes),
            tuple(self._items),
            tuple(self._copies),
            tuple(self._around),
            tuple(self._tests),
            tuple(self._unasked),
            tuple(self._limited),
            tuple(self._several),
        )

    def _append(self, node: Node, position: int, frame: _Frame) -> int:
        self._nodes.append(node)
        self._origins.append((frame.body, position))
        self._rounds.append(frame.rounds)
        self._scopes.append(frame.scope)
        self._copies.append(frame.copy)
        return len(self._nodes) - 1

    def _body(self, frame: _Frame) -> _Steps:
        self._around.append(frame.copy)
        self._tests.append(frame.tests)
        frame = replace(frame, copy=len(self._around) - 1, tests=())
        body = self._bodies[frame.body]
        places: list[int] = []
        loops: dict[int, _Loop] = {}
        for position, node in enumerate(body.nodes):
            operation = with_inputs(node.operation, places.__getitem__)
            match operation:
                case Argument(index):
                    places.append(frame.arguments[index])
                case Repeat():
                    loops[position] = yield from self._repeat(node, operation, position, frame)
                    places.append(loops[position].last)
                case Output(_, index):
                    assert isinstance(node.operation, Output)
                    places.append(self._output(loops[node.operation.repeat], index, node, position, frame))
                case Each():
                    places.append((yield from self._each(node, operation, position, frame)))
                case Attempt():
                    places.append((yield from self._attempt(node, operation, position, frame)))
                case _:
                    places.append(self._append(replace(node, operation=operation), position, frame))
        return tuple(places[at] for at in body.results)

    def _repeat(
        self, node: Node, loop: Repeat, position: int, frame: _Frame
    ) -> "Generator[_Frame, tuple[int, ...], _Loop]":
        last = last_share(self._flow, node)
        unrolled = _told_apart(last, loop.limit, self._apart)
        found = _Loop((), last, node.guessed or node.share is None, node.written)
        given, rounds, copies = loop.inputs, list[tuple[int, ...]](), list[int]()
        for number in range(unrolled + (unrolled < loop.limit and last < 1.0)):
            times = likely_rounds(last, loop.limit - unrolled) if number == unrolled else 1.0
            inside = replace(frame, body=loop.block, arguments=given, rounds=frame.rounds * times)
            inside = replace(inside, tests=tuple(each[0] for each in rounds))
            copies.append(len(self._around))
            results = yield inside
            if times > 1.0:
                *before, copy = copies
                outside = replace(frame, rounds=inside.rounds, copy=copy)
                results = self._all_read(results, found, loop.carried, position, outside)
                many = loop.limit - unrolled
                self._several.append(Several(copy, tuple(before), results[0], many, last, found.guessed))
            rounds.append(results)
            given = (*results[1 : 1 + loop.carried], *given[loop.carried :])
        if len(rounds) == loop.limit:
            self._unasked.append(rounds[-1][0])
        return replace(found, rounds=tuple(rounds))

    def _all_read(
        self, results: tuple[int, ...], loop: "_Loop", carried: int, position: int, frame: _Frame
    ) -> tuple[int, ...]:
        """Results that bring with them the test and, of rounds that go on, what a next one reads.

        Where it is the limit that ends them, that is too much of the last of them.
        """
        read = MakeList(tuple(dict.fromkeys(results[1 : 1 + carried])))
        goes_on = Select(results[0], results[0], self._append(Node(read, ListOf(None)), position, frame))
        choice = Node(goes_on, ListOf(None), None, loop.share, loop.guessed, loop.written)
        followed = self._append(choice, position, frame)
        later = (
            self._append(replace(self._nodes[at], operation=After(followed, at), share=None, arm=None), position, frame)
            for at in results[1:]
        )
        return (results[0], *later)

    def _output(self, loop: "_Loop", index: int, node: Node, position: int, frame: _Frame) -> int:
        """The value of the round that was the last: which one that was is asked even where all have the same value."""
        value = loop.rounds[-1][1 + index]
        for results in loop.rounds[-2::-1]:
            operation = Select(results[0], results[1 + index], value)
            choice = Node(operation, node.type, node.span, loop.share, loop.guessed, loop.written)
            value = self._append(choice, position, frame)
        return value

    def _each(self, node: Node, each: Each, position: int, frame: _Frame) -> Generator[_Frame, tuple[int, ...], int]:
        scope = len(self._items)
        self._items.append(Scope(frame.scope, each.lists[0], -1))
        inside = replace(frame, body=each.block, scope=scope)
        items = tuple(
            self._append(
                Node(Item("item", (at,)), _item_of(self._nodes[at].type)),
                position,
                replace(frame, scope=scope),
            )
            for at in each.lists
        )
        (result,) = yield replace(inside, arguments=(*items, *each.inputs))
        gathered = Node(Gather("gather", (each.lists[0], result, *each.lists[1:])), node.type, node.span)
        place = self._append(gathered, position, frame)
        self._items[scope] = Scope(frame.scope, each.lists[0], place)
        return place

    def _attempt(
        self, node: Node, attempt: Attempt, position: int, frame: _Frame
    ) -> Generator[_Frame, tuple[int, ...], int]:
        first = len(self._nodes)
        (value,) = yield replace(frame, body=attempt.block, arguments=attempt.inputs)
        end, choice = len(self._nodes), None
        if attempt.otherwise is not None:
            choice = value = self._fallback(node, value, attempt.otherwise, position, frame)
        if attempt.within_ms is not None:
            self._limited.append(Limited(first, end, attempt.within_ms, frame.rounds, frame.scope, choice))
        return value

    def _fallback(self, node: Node, value: int, otherwise: int, position: int, frame: _Frame) -> int:
        """The value of an attempt or, where it has failed, the other one."""
        chance = Chance("chance", (value,), {"number": len(self._nodes)})
        succeeded = self._append(Node(chance, Bool(), node.span), position, frame)
        choice = Node(Select(succeeded, value, otherwise), node.type, node.span, 1.0 - FAILURE_SHARE)
        return self._append(choice, position, frame)


class _Loop(msgspec.Struct, frozen=True):
    """The places of the results of each round that is told apart, and how often one is the last, said or `guessed`.

    `written` is what was said.
    """

    rounds: tuple[tuple[int, ...], ...]
    share: float
    guessed: bool
    written: Written | None

    @property
    def last(self) -> int:
        """A place for the loop itself, which nothing but an `Output` reads."""
        return self.rounds[0][0]


def _item_of(of: Type) -> Type:
    return of.item if isinstance(of, ListOf) and of.item is not None else Text()


def scopes_around(expanded: Expanded, scope: int) -> Sequence[int]:
    """A scope and those around it, from the innermost on."""
    found = []
    while scope:
        found.append(scope)
        scope = expanded.items[scope].parent
    return found


def in_rounds(expanded: Expanded) -> list[tuple[int, int] | None]:
    """For each node of a block between which nodes of the main part it is, as a number, and in which copy.

    All rounds of a loop of the main part have the same number. None for nodes of the main part itself.
    """
    found: list[tuple[int, int] | None] = []
    before = 0
    for copy in expanded.copies:
        before += copy == 0
        found.append((before, copy) if copy else None)
    return found
