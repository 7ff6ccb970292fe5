"""Which values may be compared: a branch hangs on typed values, and on comparisons that can hold."""

import re
from typing import TYPE_CHECKING

from harmonia_compiler.check.meant import with_each
from harmonia_compiler.check.program import Context
from harmonia_compiler.check.scope import Scope, Value
from harmonia_compiler.check.types import shown
from harmonia_compiler.contract.program import GetField
from harmonia_compiler.contract.types import (
    Bool,
    Labels,
    ListOf,
    Message,
    Number,
    Passage,
    Text,
    Type,
    field_names,
    field_type,
    quoted,
)
from harmonia_compiler.diagnostics.diagnostic import Note
from harmonia_compiler.syntax import tree

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values


_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]+)?")
#: What a branch may depend on where a value holds nothing that can be compared.
NO_TEST = "let a component answer a bool or a label about it, and test that"


def comparable(values: "Values", given: tree.Comparison, one: Value, other: Value) -> bool:
    """Whether two values may be compared as they are here; what is wrong with it is reported."""
    left, right = one.type, other.type
    for value, side, with_ in ((one, given.left, given.right), (other, given.right, given.left)):
        if isinstance(value.type, Text):
            report_free_text(side, values.context, _of_passage(values, value, given.operator, tree.bare(with_)))
            return False
    ordered = given.operator not in ("==", "!=")
    kinds = (Number,) if ordered else (Number, Bool, Labels)
    if type(left) is not type(right) or not isinstance(left, kinds):
        message = f"`{shown(left)}` cannot be compared with `{shown(right)}` by `{given.operator}`"
        help = "numbers have an order" if ordered else "labels, numbers and bools can be compared with their like"
        literal = tree.bare(given.right)
        if isinstance(left, Bool) and isinstance(literal, tree.Text | tree.Amount):
            it = values.source(given.left)
            help = f"it is a test by itself: `{it}`, or `not {it}`"
        if isinstance(left, Number) and isinstance(literal, tree.Text) and _NUMBER.fullmatch(literal.value):
            help = f"write `{literal.value}`"
        if isinstance(left, ListOf) and right in (ListOf(None), Number()):
            number = values.source(given.right) if isinstance(right, Number) else "0"
            help = f"compare how many it holds: `count({values.source(given.left)}) {given.operator} {number}`"
        if isinstance(literal, tree.Text) and not ordered and (field := _field_with(left, literal.value)):
            it = values.source(given.left)
            help = f"compare one of its fields: `{it}.{field} {given.operator} {values.source(literal)}`"
        if isinstance(literal, tree.ListValue) and literal.items and not ordered and isinstance(left, Labels | Number):
            texts = [item for item in map(tree.bare, literal.items) if isinstance(item, tree.Text | tree.Amount)]
            help = with_each(values, given, left, texts) if len(texts) == len(literal.items) else help
        values.findings.add("E0309", message, given.span, help=help)
        return False
    return True


def _field_with(of: Type, label: str) -> str:
    """The field of a record that may be this label; nothing where there is none."""
    fields = ((name, field_type(of, name)) for name in field_names(of))
    return next((name for name, field in fields if isinstance(field, Labels) and label in field.labels), "")


def _of_passage(values: "Values", value: Value, operator: str, other: tree.Expression) -> str:
    """What to do instead of comparing a field of a passage or message, whose type nobody declares; else nothing."""
    operation = values.nodes.all[value.position].operation
    if not isinstance(operation, GetField):
        return ""
    of = values.nodes.all[operation.record].type
    if not isinstance(of, Passage):
        return NO_TEST if isinstance(of, Message) else ""
    is_plain = isinstance(other, tree.Text) and not set(other.value) & set("'\"\\\n")
    text = other.value if isinstance(other, tree.Text) and is_plain else "a.md"
    return f"""let a search find such alone: `filter: "{operation.name} {operator} '{text}'"`; or {NO_TEST}"""


def report_free_text(given: tree.Expression, context: Context, help: str = "") -> None:
    """Report a branch on what a model may phrase as it likes."""
    help = help or 'declare labels for it, such as `-> "yes" | "no"`, and compare with one of them'
    context.findings.add("E0307", "a branch cannot depend on free text", given.span, help=help)


def report_apart(
    given: tree.Comparison, left: Type, right: Type, scope: Scope, context: Context, instead: str = ""
) -> bool:
    """Report labels that have none in common. It is known all the same what the comparison gives: a bool.

    Where the tests before have taken a label, it may be known what to do `instead` of asking for it.
    """
    if not isinstance(left, Labels) or not isinstance(right, Labels) or set(left.labels) & set(right.labels):
        return False
    one, other = tree.bare(given.left), tree.bare(given.right)
    literal, beside, others = (other, one, left) if isinstance(other, tree.Text) else (one, other, right)
    if isinstance(literal, tree.Text):
        name = beside.name.text if isinstance(beside, tree.Reference) else ""
        taken, gone = literal.value in scope.labels(name), scope.was(name, literal.value)
        near = None if taken or gone else context.nearest(literal.value, others.labels)
        help = f"did you mean {quoted(near)}?" if near else "compare with one of its labels"
        help = f"what `{name}` was before it was bound anew is gone: bind a name of its own for it" if gone else help
        delete = "the tests before have taken it: delete this one, or compare with another label"
        help = instead or delete if taken else help
        message = f"{quoted(literal.value)} is not in `{shown(others)}`"
        binding = scope.find(name) if gone and not taken else None
        notes = tuple(Note(each.span, "bound anew here") for each in binding.variables[:1]) if binding else ()
        context.findings.add("E0308", message, literal.span, help=help, notes=notes)
    else:
        message = f"`{shown(left)}` and `{shown(right)}` are never equal"
        context.findings.add("E0308", message, given.span, help="compare values that have a label in common")
    return True
