"""Calls of the language's own functions, such as `fuse(lists, top_k: 6)`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from harmonia_compiler.check.amounts import WHOLE, amount
from harmonia_compiler.check.calls import match_arguments
from harmonia_compiler.check.scope import Scope, Value
from harmonia_compiler.check.types import shown
from harmonia_compiler.check.unreached import pass_over
from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Apply
from harmonia_compiler.contract.types import Text
from harmonia_compiler.functions.function import Function, Taken
from harmonia_compiler.syntax import tree

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values


def apply_function(values: "Values", call: tree.Call, function: Function, scope: Scope) -> Value | None:
    """The function's value for these arguments; its constants become settings of the operation."""
    taken = {parameter.name: parameter for parameter in function.parameters}
    # What a parameter's type may be is for the function to say; here a port only has a name and perhaps a default.
    ports = [
        Port(name, Text(), default=msgspec.UNSET if each.default is None else each.default)
        for name, each in taken.items()
    ]
    matched = match_arguments(call, ports, {}, values.context)
    settings: dict[str, int] = {}
    given: list[tuple[Taken, tree.Argument, Value]] = []
    whole = matched.whole
    numbers = [
        name for name, each in matched.ports.items() if not taken[name].constant and isinstance(each.value, tree.Amount)
    ]
    for name, argument in matched.ports.items():
        parameter = taken[name]
        if parameter.constant:
            number = _constant(values, call, parameter, argument, numbers, scope)
            whole = whole and number is not None
            settings |= {} if number is None else {name: number}
            continue
        value = values.value(argument.value, scope)
        whole = whole and value is not None
        given += [] if value is None else [(parameter, argument, value)]
    for argument in matched.elsewhere:
        values.value(argument.value, scope)
    if not whole:
        return None
    of = function.result_type([value.type for _, _, value in given])
    if of is None:
        parameter, argument, value = given[0]
        taken_type = f"`{parameter.type}`" if parameter.type.startswith("[") else parameter.type
        message = f"`{parameter.name}` of `{function.name}` takes {taken_type}, not `{shown(value.type)}`"
        values.findings.add("E0321", message, argument.value.span, help=parameter.step)
        return None
    operation = Apply(function.name, tuple(value.position for _, _, value in given), dict(settings))
    return Value(values.nodes.add(operation, of, call.span), of)


def _constant(
    values: "Values", call: tree.Call, parameter: Taken, argument: tree.Argument, numbers: Sequence[str], scope: Scope
) -> int | None:
    """A whole number that stands in the source. It may be what another parameter, one of `numbers`, was given."""
    what = f"`{parameter.name}` of `{call.name.text}`"
    given = argument.value
    if not isinstance(given, tree.Amount):
        if not isinstance(given, tree.Broken):
            help = f"write the number itself: {parameter.doc}"
            if numbers:
                help = f"swap the values of `{numbers[0]}` and `{parameter.name}`"
            values.findings.add("E0322", f"{what} is a whole number that stands here", given.span, help=help)
            pass_over(values, given, scope=scope)
        return None
    number = amount(given, WHOLE, what, values.findings)
    if number is None:
        return None
    if not float(number).is_integer() or not parameter.minimum <= number <= parameter.maximum:
        message = f"{what} is a whole number from {parameter.minimum} to {parameter.maximum}"
        values.findings.add("E0322", message, given.span, help=f"give a value in that range ({parameter.doc})")
        return None
    return int(number)
