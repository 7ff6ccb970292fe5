"""Which nodes of a flow have a box of their own, and where the value of those that have none comes from.

A value that is only handed on (into a block, out of one, from one round to what follows the loop) has no
box: the picture goes to where it is made. A test has none either where only branches read it: it is
written into them.
"""

import msgspec

from harmonia_compiler.contract.program import (
    Apply,
    Argument,
    Attempt,
    Call,
    Compare,
    Constant,
    Each,
    GetField,
    Not,
    Operation,
    Output,
    Parameter,
    Repeat,
    Select,
    block_of,
    inputs,
)
from harmonia_compiler.flow.graph import Body, Flow

#: A node by the number of its body in `Flow.bodies` and its position there.
Place = tuple[int, int]

#: How far a test is written out.
_DEPTH = 4


class Shown:
    """What of a flow is drawn; everything goes by places."""

    def __init__(self, flow: Flow) -> None:
        self._bodies = flow.bodies
        self._runners: dict[int, Place] = {
            block: (body, at)
            for body, of in enumerate(self._bodies)
            for at, node in enumerate(of.nodes)
            if (block := block_of(node.operation)) is not None
        }
        self._folded = [_folded(body, self._until(index)) for index, body in enumerate(self._bodies)]

    def operation(self, place: Place) -> Operation:
        """What stands at a place."""
        body, at = place
        return self._bodies[body].nodes[at].operation

    def runner(self, body: int) -> Place | None:
        """The node that runs a body; None for the main one."""
        return self._runners.get(body)

    def result(self, block: int, index: int) -> Place:
        """Where the value of a block's result comes from."""
        return self.source((block, self._bodies[block].results[index]))

    def boxes(self, body: int) -> list[int]:
        """The positions of the body that have a box."""
        nodes = range(len(self._bodies[body].nodes))
        return [at for at in nodes if not self._folded[body][at] and self.source((body, at)) == (body, at)]

    def source(self, place: Place) -> Place:
        """The place with a box, or the test without one, that makes the value of this one."""
        while (before := self._handed_on(place)) is not None:
            place = before
        return place

    def looked_at(self, place: Place) -> list[Place]:
        """The boxes that a test reads."""
        found: dict[Place, None] = {}
        agenda = [place]
        while agenda:
            body, at = here = agenda.pop()
            if self._folded[body][at]:
                agenda += reversed([(body, read) for read in inputs(self.operation(here))])
            else:
                found[self.source(here)] = None
        return [*found]

    def wording(self, place: Place, depth: int = _DEPTH) -> str:
        """A value as one would write it, as far as that is short."""
        if depth == 0:
            return "…"
        body, _ = place = self.source(place)

        def of(at: int) -> str:
            return self.wording((body, at), depth - 1)

        match self.operation(place):
            case Parameter(name) | Call(name):
                return name
            case Constant(value):
                return as_json(value)
            case Compare(operator, left, right):
                return f"{of(left)} {operator} {of(right)}"
            case Not(operand):
                return f"not {of(operand)}"
            case Select(condition, then, otherwise) if self._settled(body, otherwise) is False:
                return f"{of(condition)} and {of(then)}"
            case Select(condition, then, otherwise) if self._settled(body, then) is True:
                return f"{of(condition)} or {of(otherwise)}"
            case GetField(record, name):
                return f"{of(record)}.{name}"
            case Apply(function, given):
                return f"{function}({', '.join(map(of, given))})"
            case _:
                return "…"

    def changes(self, argument: Place) -> bool:
        """Whether an argument is another one in each round or for each item."""
        body, _ = argument
        operation = self.operation(argument)
        assert isinstance(operation, Argument)
        match self.operation(self._runners[body]):
            case Repeat(_, _, carried):
                return operation.index < carried
            case Each(_, lists):
                return operation.index < len(lists)
            case _:
                return False

    def given(self, argument: Place) -> Place:
        """Where what is handed in for an argument comes from; of what a loop carries, in the first round."""
        body, _ = argument
        operation = self.operation(argument)
        assert isinstance(operation, Argument)
        around, at = self._runners[body]
        return self.source((around, inputs(self.operation((around, at)))[operation.index]))

    def _handed_on(self, place: Place) -> Place | None:
        """The place whose value this one only hands on."""
        body, _ = place
        match self.operation(place):
            case Argument(index) if not self.changes(place):
                around, at = self._runners[body]
                return around, inputs(self.operation((around, at)))[index]
            case Output(repeat, index):
                run = self.operation((body, repeat))
                assert isinstance(run, Repeat)
                return run.block, self._bodies[run.block].results[1 + index]
            case Each(block) | Repeat(block) | Attempt(block, otherwise=None):
                return block, self._bodies[block].results[0]
            case _:
                return None

    def _until(self, body: int) -> int | None:
        """Of a loop's block, the position of its test."""
        runner = self._runners.get(body)
        is_loop = runner is not None and isinstance(self.operation(runner), Repeat)
        return self._bodies[body].results[0] if is_loop else None

    def _settled(self, body: int, at: int) -> object:
        return _settled(self._bodies[body], at)


def _folded(body: Body, until: int | None) -> list[bool]:
    """Which nodes are read by tests alone, and so are written where the test is."""
    read_by: list[list[int]] = [[] for _ in body.nodes]
    for position, node in enumerate(body.nodes):
        for at in inputs(node.operation):
            read_by[at].append(position)
    results = body.results if until is None else body.results[1:]
    folded = [False] * len(body.nodes)
    for position in range(len(body.nodes) - 1, -1, -1):
        if _is_test(body, position) and position not in results and (read_by[position] or position == until):
            folded[position] = all(_tests(body, position, reader, folded) for reader in read_by[position])
    return folded


def _is_test(body: Body, position: int) -> bool:
    """Whether a test could hold the node: `and` and `or` are selects one of whose arms is settled."""
    operation = body.nodes[position].operation
    if isinstance(operation, Select):
        return _settled(body, operation.then) is True or _settled(body, operation.otherwise) is False
    return isinstance(operation, Compare | Not | Constant | GetField)


def _settled(body: Body, position: int) -> object:
    operation = body.nodes[position].operation
    return operation.value if isinstance(operation, Constant) else None


def _tests(body: Body, position: int, reader: int, folded: list[bool]) -> bool:
    operation = body.nodes[reader].operation
    if isinstance(operation, Select) and not folded[reader]:
        return operation.condition == position and position not in {operation.then, operation.otherwise}
    return folded[reader]


def as_json(value: object) -> str:
    """A literal as one writes it."""
    return msgspec.json.encode(value, order="deterministic").decode()
