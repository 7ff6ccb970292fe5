"""The nodes of a flow while it is built: appended, never changed, each reading earlier ones only."""

from dataclasses import replace

from harmonia_compiler.contract.program import Constant, Operation, Parameter, Select, with_inputs
from harmonia_compiler.contract.types import Type, Value
from harmonia_compiler.diagnostics.diagnostic import Findings, Note
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import EVEN, Flow, Node

#: Pipelines that call pipelines are inlined and may double at every step.
MOST_NODES = 10_000
_CLOSE = 1e-9


class TooLarge(Exception):
    """The flow has more nodes than any pipeline that is meant."""


class Nodes:
    """The nodes so far.

    `shares` holds, by condition, how often it holds, what the user said, and where; all its selects carry it.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.all: list[Node] = []
        self.shares: dict[int, tuple[float, float, Span]] = {}

    def add(self, operation: Operation, of: Type, span: Span | None, share: float | None = None) -> int:
        """Append a node and give its position."""
        if len(self.all) >= MOST_NODES:
            raise TooLarge
        self.all.append(Node(operation, of, span, share))
        return len(self.all) - 1

    def constant(self, value: Value, of: Type, span: Span | None) -> int:
        """Append a literal."""
        return self.add(Constant(value), of, span)

    def say(self, condition: int, share: float, said: float, span: Span) -> None:
        """Note a share that the user gave for a condition: `said` of the branch, so `share` of those asked."""
        known, known_said, at = self.shares.setdefault(condition, (share, said, span))
        if abs(known - share) > _CLOSE:
            asked = "" if abs(known - known_said) <= _CLOSE else f", and so {known:g} of the requests that are asked"
            notes = (Note(at, f"here it is {known_said:g}{asked}"),)
            message = "another share was given for the same condition"
            self.findings.add("W0501", message, span, help="delete this one, or make both equal", notes=notes)

    def share(self, condition: int, otherwise: float = EVEN) -> float:
        """How often a condition holds: what was said of it, or the given guess."""
        known = self.shares.get(condition)
        return known[0] if known is not None else otherwise

    def select(self, condition: int, then: int, otherwise: int, of: Type, share: float, span: Span | None) -> int:
        """The value of one of two arms; no node where both are the same."""
        if then == otherwise:
            return then
        return self.add(Select(condition, then, otherwise), of, span, self.share(condition, share))

    def inline(self, flow: Flow, arguments: dict[str, int]) -> int:
        """Copy another pipeline's nodes, its ports being these values, and give the position of its answer."""
        moved: dict[int, int] = {}
        for position, node in enumerate(flow.nodes):
            operation = node.operation
            if isinstance(operation, Parameter):
                moved[position] = arguments[operation.name]
            else:
                copied = replace(node, operation=with_inputs(operation, moved.__getitem__))
                moved[position] = self.add(copied.operation, copied.type, copied.span, copied.share)
        return moved[flow.result]

    def calls_behind(self, position: int) -> list[tuple[int, Operation]]:
        """The operations whose value a position has, on whatever path: through every select."""
        found: list[tuple[int, Operation]] = []
        seen: set[int] = set()
        pending = [position]
        while pending:
            at = pending.pop()
            if at in seen:
                continue
            seen.add(at)
            operation = self.all[at].operation
            if isinstance(operation, Select):
                pending += [operation.otherwise, operation.then]
            else:
                found.append((at, operation))
        return found
