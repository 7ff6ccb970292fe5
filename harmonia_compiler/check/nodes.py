"""The nodes of a flow while it is built: appended, never changed, each reading earlier ones only.

What a loop, a list or a fallback runs is built as nodes of their own inside the nodes around them. A value
from outside that is read there becomes an argument of the block, once, through as many blocks as lie between.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    After,
    Argument,
    Call,
    Constant,
    Operation,
    Parameter,
    Select,
    block_of,
    with_inputs,
)
from harmonia_compiler.contract.types import Bool, Type, Value
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.answers import Place, Source, sources
from harmonia_compiler.flow.bodies import in_pieces
from harmonia_compiler.flow.graph import MOST_THROUGH, Arm, Body, Flow, Node, Passed, Written

#: Pipelines that call pipelines are inlined and may double at every step.
MOST_NODES = 10_000
#: Operations of pipelines that are called, wherever these are called, in all pipelines together, and so the defaults
#: of ports that calls leave out.
MOST_COPIED = 100_000
#: Bodies of loops are built again where the types of their names grow from round to round.
_MOST_BUILT = 5 * MOST_NODES


class TooLarge(Exception):
    """The flow has more nodes than any pipeline that is meant."""


class _Shared(msgspec.Struct):
    """What all nodes of one pipeline share: the blocks that are done, and how many nodes there are and were.

    `has_effects` is whether any call among them is not pure.
    """

    blocks: list[Body] = msgspec.field(default_factory=list)
    kept: int = 0
    built: int = 0
    has_effects: bool = False


class Mark(msgspec.Struct, frozen=True):
    """A state of the blocks to come back to."""

    blocks: int
    kept: int


class Nodes:
    """The nodes so far of the main part or, inside of `parent`, of a block.

    A block's first `given` arguments are handed in by what runs it; `captured` are the positions in the parent
    that its further ones stand for, with the nodes that they are here. `carried` says which nodes what a loop
    hands in may be, once its block is read. `shares` holds, by condition, how often it holds, and what the user said
    first; its selects carry it where they say nothing themselves. `arms` holds the like of branches, by condition and
    place, for these alone, and `numbers` which test of the branch a condition is. `among` is where the requests were
    counted last that what is said now is of: behind a return of some of them, or in an arm, they are others. `effect`
    is what the next call that is not pure has to wait for; in the main part of a pipeline with such calls it is `start`
    at first, which stands for what whoever calls the pipeline
    has called before. There is one wherever a call may turn out not to be pure.
    """

    def __init__(self, findings: Findings, parent: "Nodes | None" = None, given: int = 0) -> None:
        self.findings = findings
        self.parent = parent
        self.given = given
        self.all: list[Node] = []
        self.captured: dict[int, int] = {}
        self.carried: dict[int, list[tuple[Nodes, int]]] = {}
        self.shares: dict[int, tuple[float, Written]] = {}
        self.arms: dict[tuple[int, Span | None], tuple[float, Written | None, Arm | None]] = {}
        self.numbers: dict[tuple[int, Span | None], int] = {}
        self.among: Span | None = None if parent is None else parent.among
        self.through: tuple[Passed, ...] = () if parent is None else parent.through
        self.effect: int | None = None
        self.start: int | None = None
        self._constants: dict[int, int] = {}
        self.shared: _Shared = _Shared() if parent is None else parent.shared
        if parent is not None and parent.effect is not None:
            self.effect = self.here(parent, parent.effect)

    def add(
        self,
        operation: Operation,
        of: Type,
        span: Span | None,
        share: float | None = None,
        *,
        guessed: bool = False,
        written: Written | None = None,
        arm: Arm | None = None,
        number: int | None = None,
    ) -> int:
        """Append a node and give its position. Raises TooLarge."""
        self.shared.kept += 1
        self.shared.built += 1
        if self.shared.kept > MOST_NODES or self.shared.built > _MOST_BUILT:
            raise TooLarge
        self.all.append(Node(operation, of, span, share, guessed, written, arm, number))
        return len(self.all) - 1

    def constant(self, value: Value, of: Type, span: Span | None) -> int:
        """Append a literal."""
        return self.add(Constant(value), of, span)

    def here(self, home: "Nodes", position: int) -> int:
        """A node of these nodes or of those around them, as a node of these: a literal again, else an argument."""
        if home is self:
            return position
        node = home.all[position]
        if isinstance(node.operation, Constant) and position != home.start:
            key = id(node)
            if key not in self._constants:
                self._constants[key] = self.add(node.operation, node.type, node.span)
            return self._constants[key]
        assert self.parent is not None
        outside = self.parent.here(home, position)
        if outside not in self.captured:
            argument = Argument(self.given + len(self.captured))
            self.captured[outside] = self.add(argument, node.type, node.span)
            if position in home.shares:
                self.shares[self.captured[outside]] = home.shares[position]
        return self.captured[outside]

    # --- blocks ------------------------------------------------------------------------------------------------

    def block(self, given: int = 0) -> "Nodes":
        """New nodes inside of these, whose first so many arguments are handed in."""
        return Nodes(self.findings, self, given)

    def close(self, results: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """End a block: its index, and the positions around it that its further arguments stand for."""
        self.shared.blocks.append(Body(tuple(self.all), results))
        return len(self.shared.blocks) - 1, tuple(self.captured)

    @property
    def blocks(self) -> tuple[Body, ...]:
        """The blocks that are done."""
        return tuple(self.shared.blocks)

    def mark(self) -> Mark:
        """Where to come back to if what is built from now on is not kept."""
        return Mark(len(self.shared.blocks), self.shared.kept)

    def drop(self, mark: Mark) -> None:
        """Forget the blocks since then. What was captured meanwhile stays: nobody reads it."""
        del self.shared.blocks[mark.blocks :]
        self.shared.kept = mark.kept

    # --- shares ------------------------------------------------------------------------------------------------

    def say(self, condition: int, branch: Span, share: float, written: Written | None, arm: Arm | None = None) -> None:
        """Note how often a condition holds in a branch, by what is `written` there, or behind a silent test before."""
        self.arms[condition, branch] = (share, written, arm)
        if written is not None and arm is None:
            self.shares.setdefault(condition, (share, written))

    def select(self, condition: int, then: int, otherwise: int, of: Type, share: float, span: Span | None) -> int:
        """The value of one of two arms; no node where both are the same."""
        if then == otherwise:
            return then
        operation, known = Select(condition, then, otherwise), self.shares.get(condition)
        number = self.numbers.get((condition, span))
        if (condition, span) in self.arms:
            share, written, arm = self.arms[condition, span]
            guessed = written is None
            return self.add(operation, of, span, share, guessed=guessed, written=written, arm=arm, number=number)
        if known is None:
            return self.add(operation, of, span, share, guessed=True, number=number)
        return self.add(operation, of, span, known[0], written=known[1], number=number)

    # --- effects -----------------------------------------------------------------------------------------------

    def since(self, effect: int | None, position: int) -> int:
        """A value whose making has called what is not pure: it is not there before those calls have ended.

        `effect` is what stood before. What demands the value then makes the calls, whether or not it needs theirs.
        """
        if self.effect is None or self.effect in (effect, position):
            return position
        node = self.all[position]
        return self.add(After(self.effect, position), node.type, node.span)

    @property
    def has_effects(self) -> bool:
        """Whether a call that is not pure is made here, in a block, or in what is around them."""
        return self.shared.has_effects

    def add_in_order(self, call: Call, of: Type, span: Span | None) -> int:
        """Append a call that is not pure: it waits for those before it, and those behind wait for it."""
        self.shared.has_effects = True
        self.effect = self.add(replace(call, after=self.effect), of, span)
        return self.effect

    def begin_effects(self, span: Span | None) -> None:
        """Let calls that are not pure wait for what stands for those before them, right behind the ports."""
        self.effect = self.start = self.constant(value=True, of=Bool(), span=span)

    def reached(self, before: int | None, position: int, of: Type, span: Span | None) -> None:
        """Calls that are not pure are made where this value is, if it is demanded; those before are made anyway."""
        self.effect = position if before is None else self.add(After(before, position), of, span)

    # --- other flows -------------------------------------------------------------------------------------------

    def inline(self, flow: Flow, arguments: dict[str, int], *, has_effect: bool) -> int:
        """Copy another pipeline's nodes, its ports being these values, and give the position of its answer.

        Where it makes calls that are not pure, they wait for those before, and those after wait for its answer. Which
        of its answers leave in pieces is for the return to say that gives them.
        """
        start = len(flow.ports) if has_effect else None
        offset = len(self.shared.blocks)
        *blocks, main = map(in_pieces, flow.bodies)
        for body in blocks:
            self.shared.kept += len(body.nodes)
            self.shared.built += len(body.nodes)
            if self.shared.kept > MOST_NODES:
                raise TooLarge
            nodes = tuple(
                replace(node, operation=_in_place(node.operation, offset), written=self._called(node.written))
                for node in body.nodes
            )
            self.shared.blocks.append(Body(nodes, body.results))
        moved: dict[int, int] = {}
        for position, node in enumerate(main.nodes):
            operation = node.operation
            if isinstance(operation, Parameter):
                moved[position] = arguments[operation.name]
            elif position == start:
                assert self.effect is not None
                moved[position] = self.effect
            else:
                copied = with_inputs(_in_place(operation, offset), moved.__getitem__)
                written = self._called(node.written)
                moved[position] = self.add(
                    copied,
                    node.type,
                    node.span,
                    node.share,
                    guessed=node.guessed,
                    written=written,
                    arm=node.arm,
                    number=node.number,
                )
        if has_effect:
            self.shared.has_effects = True
            self.effect = moved[main.results[0]]
        return moved[main.results[0]]

    def _called(self, written: Written | None) -> Written | None:
        """A share of a pipeline where that is called: of the requests that reach the call."""
        if written is None or not self.through:
            return written
        return replace(written, through=past(self.through, *written.through))

    def makes_calls(self) -> bool:
        """Whether any call is made here or in a block that is run from here."""
        pending: list[tuple[Node, ...]] = [tuple(self.all)]
        while pending:
            for node in pending.pop():
                if isinstance(node.operation, Call):
                    return True
                block = block_of(node.operation)
                if block is not None:
                    pending.append(self.shared.blocks[block].nodes)
        return False

    def sources(self, position: int) -> Iterator[Operation]:
        """The operations that make what the value at a position may be, on whatever path."""
        for place, at in sources(self._place(), position, self.shared.blocks):
            yield place.nodes[at].operation

    def _place(self) -> Place:
        return Place(self.all, self._outside)

    def _outside(self, index: int) -> Sequence[Source]:
        """Where an argument of this block comes from; nowhere, what is handed in."""
        if index in self.carried:
            return [(nodes._place(), at) for nodes, at in self.carried[index]]  # noqa: SLF001
        if self.parent is None or index < self.given:
            return ()
        return [(self.parent._place(), [*self.captured][index - self.given])]  # noqa: SLF001


def past(through: Sequence[Passed], *further: Passed) -> tuple[Passed, ...]:
    """The branches that say which requests reach a place, for one that further ones say that of.

    One more than is told says that there are too many.
    """
    return (*through, *further)[: MOST_THROUGH + 1]


def _in_place(operation: Operation, offset: int) -> Operation:
    """An operation of an inlined flow, its block being among those that are there already."""
    block = block_of(operation)
    return operation if block is None else replace(operation, block=block + offset)
