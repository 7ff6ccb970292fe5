"""Tests whose outcome stands in the source: those of literals alone, of a name with itself, and of what no count is.

Such a test is no mistake of the program, so that it is read like any other and a warning. One of a name that is bound
to a literal is left alone: that is a switch, which somebody means to turn. Which labels are left is told elsewhere.
"""

from collections.abc import Sequence

from harmonia_compiler.contract.comparison import COMPARISONS
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.flow.asked import Asked, settled
from harmonia_compiler.flow.graph import Node
from harmonia_compiler.syntax import tree


def warn_of_foregone(
    test: tree.Expression, nodes: Sequence[Node], condition: int, findings: Findings, *, always: str, never: str
) -> None:
    """Say so where a test, whose types are right, has the same outcome whatever is asked; the rest is what to do.

    The test is the `condition` among the nodes.
    """
    holds = outcome(test)
    if holds is None and _is_of_call(test):
        holds = settled(nodes, Asked(condition))
    if holds is not None:
        message = "this test always holds" if holds else "this test never holds"
        findings.add("W0405", message, test.span, help=always if holds else never)


def outcome(test: tree.Expression) -> bool | None:
    """What a test gives, where its text alone says so."""
    match test:
        case tree.Group(value=inner):
            return outcome(inner)
        case tree.Truth(value=truth):
            return truth
        case tree.Negation(operand=operand):
            found = outcome(operand)
            return None if found is None else not found
        case tree.Conjunction(operands=operands):
            return _decided(operands, by=False)
        case tree.Disjunction(operands=operands):
            return _decided(operands, by=True)
        case tree.Comparison():
            return _compared(test)
    return None


def _is_of_call(test: tree.Expression) -> bool:
    """Whether a test compares what a call gives with a number that stands there."""
    match test:
        case tree.Group(value=inner) | tree.Negation(operand=inner):
            return _is_of_call(inner)
        case tree.Comparison():
            return {type(tree.bare(side)) for side in (test.left, test.right)} == {tree.Call, tree.Amount}
    return False


def _decided(operands: tuple[tree.Expression, ...], *, by: bool) -> bool | None:
    """`and` is decided by one part that does not hold, `or` by one that does."""
    found = [outcome(operand) for operand in operands]
    if by in found:
        return by
    return None if None in found else not by


def _compared(test: tree.Comparison) -> bool | None:
    compare = COMPARISONS[test.operator]
    match tree.bare(test.left), tree.bare(test.right):
        case (tree.Reference(name=one), tree.Reference(name=other)) if one.text == other.text:
            return compare(0, 0)
        case (tree.Amount(value=left), tree.Amount(value=right)) if left is not None and right is not None:
            return compare(left, right)
        case (tree.Truth(value=left), tree.Truth(value=right)):
            return compare(left, right)
        case (tree.Text(value=left), tree.Text(value=right)) if left == right:
            # Those that differ are labels without one in common, which is reported as that.
            return compare(left, right)
    return None
