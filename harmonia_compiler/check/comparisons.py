"""Which values may be compared: a branch hangs on typed values, and on comparisons that can hold."""

from harmonia_compiler.check.program import Context
from harmonia_compiler.check.types import shown
from harmonia_compiler.contract.types import Bool, Labels, Number, Text, Type
from harmonia_compiler.syntax import tree


def comparable(given: tree.Comparison, left: Type, right: Type, context: Context) -> bool:
    """Whether values of these types may be compared as they are here; what is wrong with it is reported."""
    for of, side in ((left, given.left), (right, given.right)):
        if isinstance(of, Text):
            report_free_text(side, context)
            return False
    ordered = given.operator not in ("==", "!=")
    kinds = (Number,) if ordered else (Number, Bool, Labels)
    if type(left) is not type(right) or not isinstance(left, kinds):
        message = f"`{shown(left)}` cannot be compared with `{shown(right)}` by `{given.operator}`"
        help = "numbers have an order" if ordered else "labels, numbers and bools can be compared with their like"
        context.findings.add("E0309", message, given.span, help=help)
        return False
    if isinstance(left, Labels) and isinstance(right, Labels) and not set(left.labels) & set(right.labels):
        _report_apart(given, left, right, context)
        return False
    return True


def report_free_text(given: tree.Expression, context: Context) -> None:
    """Report a branch on what a model may phrase as it likes."""
    help = 'declare labels for it, such as `-> "yes" | "no"`, and compare with one of them'
    context.findings.add("E0307", "a branch cannot depend on free text", given.span, help=help)


def _report_apart(given: tree.Comparison, left: Labels, right: Labels, context: Context) -> None:
    """Report labels that have none in common."""
    literal, others = (given.right, left) if isinstance(given.right, tree.Text) else (given.left, right)
    if isinstance(literal, tree.Text):
        near = context.nearest(literal.value, others.labels)
        help = f'did you mean "{near}"?' if near else "compare with one of its labels"
        where = f"`{shown(others)}`" if others.labels else "what is left: every label has been taken"
        context.findings.add("E0308", f'"{literal.value}" is not in {where}', literal.span, help=help)
    else:
        message = f"`{shown(left)}` and `{shown(right)}` are never equal"
        context.findings.add("E0308", message, given.span, help="compare values that have a label in common")
