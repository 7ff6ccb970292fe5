"""Loops that need be none: those that never go round, and those whose every round does the same."""

from harmonia_compiler.check.foregone import outcome
from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.check.rounds import Reader, Round
from harmonia_compiler.contract.program import Call, block_of
from harmonia_compiler.diagnostics.diagnostic import Found
from harmonia_compiler.flow.graph import Body
from harmonia_compiler.syntax import tree


def report_rounds(reader: Reader, statement: tree.Repeat, found: Round, *, has_effect: bool, since: Found) -> None:
    """Say so where a loop has one round, or where no round can differ from the one before; `found` is its block.

    What is read of the names that are handed on counts as used. `since` is what had been found before the block.
    """
    for name, handed in found.read.items():
        binding = found.scope.bindings.get(name)
        if binding is not None and handed.used:
            for variable in binding.variables:
                variable.used = True
    if not found.goes_on:
        message = "this loop never goes round: every path through it returns"
        help = "delete `repeat`, or return on some paths only"
        reader.findings.add("W0404", message, statement.limit.span, help=help)
    elif _ends_at_once(statement):
        # Its test is reported, with the same next step.
        return
    elif statement.limit.value == 1 and reader.values.unit.file.whole:
        message = "this loop never goes round: it has one round"
        help = "delete `repeat`, or let it have more rounds"
        reader.findings.add("W0404", message, statement.limit.span, help=help)
    elif (
        not has_effect
        and not any(handed.used for handed in found.read.values())
        and reader.whole
        and reader.values.unit.file.whole
        and not reader.findings.failed_since(since)
        and not _varies(reader, found.nodes)
    ):
        place = statement.limit.span if statement.until is None else statement.until.span
        help = "use in a round what the one before has bound, or delete `repeat`"
        reader.findings.add("W0403", "every round does the same", place, help=help)


def _ends_at_once(statement: tree.Repeat) -> bool:
    """Whether the text of its test says that there is one round."""
    return statement.until is not None and outcome(statement.until) is True


def _varies(reader: Reader, nodes: Nodes) -> bool:
    """Whether some call may give something else when it is made again."""
    pending = [Body(tuple(nodes.all), ())]
    while pending:
        for node in pending.pop().nodes:
            if isinstance(node.operation, Call) and reader.values.samples(node.operation):
                return True
            block = block_of(node.operation)
            if block is not None:
                pending.append(nodes.blocks[block])
    return False
