"""What no request reaches: it is reported once and not read, but the names in it are used all the same."""

from typing import TYPE_CHECKING

from harmonia_compiler.check.scope import Scope
from harmonia_compiler.syntax import tree

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values


def report_unreached(
    values: "Values", first: tree.Node, *passed: tree.Node, scope: Scope, what: str = "", help: str = ""
) -> None:
    """Report where what is not reached begins; `passed` is everything that is not read because of it."""
    message = what or "nothing reaches this statement"
    values.findings.add("E0402", message, first.span, help=help or "delete it, or move it up")
    pass_over(values, *passed, scope=scope)


def report_never(values: "Values", test: tree.Expression, *passed: tree.Node, scope: Scope) -> None:
    """Report a test that cannot hold, by the labels that the tests around it and before it have left."""
    help = "it asks one name for two labels, or for one that the tests before have taken; change or delete it"
    report_unreached(values, test, *passed, scope=scope, what="this test never holds", help=help)


def pass_over(values: "Values", *passed: tree.Node, scope: Scope) -> None:
    """Count what stands in parts that are not read as used: what is wrong with them is said already."""
    for part in passed:
        for node, _ in tree.walk(part):
            if not isinstance(node, tree.Reference | tree.Call):
                continue
            values.unit.find(node.name.text)
            binding = scope.find(node.name.text)
            for variable in binding.variables if binding is not None else ():
                variable.used = True
