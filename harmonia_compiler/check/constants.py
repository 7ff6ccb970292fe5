"""Values that are known while checking: literals, and lists and records of them."""

import msgspec

from harmonia_compiler.contract.types import Bool, Field, Labels, ListOf, Number, Record, Type, Value, join
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.syntax import tree


class Known(msgspec.Struct, frozen=True):
    """A value with its type; that of a text literal is the label that it spells, which is text too."""

    value: Value
    type: Type


def constant(given: tree.Expression, findings: Findings) -> Known | None:
    """The value of a literal; None, and a finding, for anything else."""
    match given:
        case tree.Broken():
            return None
        case tree.Group(value=inner):
            return constant(inner, findings)
        case tree.Text(value=text):
            return Known(text, Labels((text,)))
        case tree.Amount(value=None):
            return None
        case tree.Amount(value=number, unit=None):
            return Known(number, Number())
        case tree.Truth(value=truth):
            return Known(truth, Bool())
        case tree.ListValue(items=items):
            return _list(items, findings)
        case tree.RecordValue(parts=parts):
            fields = {part.name.text: constant(part.value, findings) for part in parts if part.name is not None}
            found = {name: value for name, value in fields.items() if value is not None}
            if len(found) < len(fields):
                return None
            types = tuple(Field(name, value.type) for name, value in found.items())
            return Known({name: value.value for name, value in found.items()}, Record(types))
    help = "write a text, a number, `true`, `false`, or a list or record of these"
    findings.add("E0317", "a default is a literal", given.span, help=help)
    return None


def _list(items: tuple[tree.Expression, ...], findings: Findings) -> Known | None:
    values: list[Value] = []
    item_type: Type | None = None
    for item in items:
        known = constant(item, findings)
        if known is None:
            return None
        joined = known.type if item_type is None else join(item_type, known.type)
        if joined is None:
            help = "all items of a list have one type"
            findings.add("E0315", "this item is of another type than those before", item.span, help=help)
            return None
        item_type = joined
        values.append(known.value)
    return Known(values, ListOf(item_type))
