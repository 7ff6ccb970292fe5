"""Calls of the language's own functions, such as `fuse(lists, top_k: 6)`."""

from itertools import takewhile
from typing import TYPE_CHECKING

import msgspec

from harmonia_compiler.check.amounts import WHOLE, amount
from harmonia_compiler.check.calls import match_arguments, report_missing, report_needless
from harmonia_compiler.check.scope import Scope, Value
from harmonia_compiler.check.types import shown
from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Apply
from harmonia_compiler.contract.types import ListOf, Text
from harmonia_compiler.functions.function import Function, Taken
from harmonia_compiler.syntax import tree

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values


def apply_function(values: "Values", call: tree.Call, function: Function, scope: Scope) -> Value | None:
    """The function's value for these arguments; its constants become settings of the operation."""
    if (found := _no_number(call, function)) is not None:
        _report_no_number(values, call, function, *found, scope)
        return None
    taken = {parameter.name: parameter for parameter in function.parameters}
    # What a parameter's type may be is for the function to say; here a port only has a name and perhaps a default.
    ports = [
        Port(name, Text(), default=msgspec.UNSET if each.default is None else each.default)
        for name, each in taken.items()
    ]
    matched = match_arguments(call, ports, {}, values.context)
    report_missing(call, ports, matched.missing, values.findings)
    settings: dict[str, int] = {}
    given: list[tuple[Taken, tree.Argument, Value]] = []
    whole = matched.whole
    for name, argument in matched.ports.items():
        parameter = taken[name]
        if parameter.constant:
            number = _constant(values, call, parameter, argument)
            whole = whole and number is not None
            settings |= {} if number is None else {name: number}
            continue
        value = values.value(argument.value, scope)
        whole = whole and value is not None
        given += [] if value is None else [(parameter, argument, value)]
    for argument in matched.elsewhere:
        values.value(argument.value, scope)
    of = function.result_type([value.type for _, _, value in given]) if whole else None
    if whole and of is None:
        parameter, argument, value = given[0]
        taken_type = f"`{parameter.type}`" if parameter.type.startswith("[") else parameter.type
        message = f"`{parameter.name}` of `{function.name}` takes {taken_type}, not `{shown(value.type)}`"
        values.findings.add("E0321", message, argument.value.span, help=parameter.step)
    else:
        # Several lists where one list of them is taken are one mistake.
        report_needless(call, ports, matched.needless, values.findings)
    if of is None:
        return None
    operation = Apply(function.name, tuple(value.position for _, _, value in given), dict(settings))
    return Value(values.nodes.add(operation, of, call.span), of)


def _no_number(call: tree.Call, function: Function) -> tuple[Taken, tree.Argument] | None:
    """The first argument that should be a whole number which stands in the source, and is a value."""
    unnamed = takewhile(lambda argument: argument.name is None, call.arguments)
    given = [*zip(function.parameters, unnamed, strict=False)]
    for argument in call.arguments:
        parameter = None if argument.name is None else function.parameter(argument.name.text)
        given += [] if parameter is None else [(parameter, argument)]
    numbers = (tree.Amount, tree.Broken)
    return next((each for each in given if each[0].constant and not isinstance(each[1].value, numbers)), None)


def _report_no_number(
    values: "Values", call: tree.Call, function: Function, parameter: Taken, wrong: tree.Argument, scope: Scope
) -> None:
    """Report a value in a number's place. A list there may belong to what the function is given before."""
    first, value = function.parameters[0], None
    for argument in call.arguments:
        read = None if isinstance(argument.value, tree.Amount) else values.value(argument.value, scope)
        value = read if argument is wrong else value
    if value is None:
        return
    help = f"write the number itself: {parameter.doc}"
    if isinstance(call.arguments[0].value, tree.Amount) and call.arguments[0].name is None:
        help = f"swap the values of `{first.name}` and `{parameter.name}`"
    elif isinstance(value.type, ListOf):
        help = first.step
    message = f"`{parameter.name}` of `{function.name}` is a whole number that stands here"
    values.findings.add("E0322", message, wrong.value.span, help=help)


def _constant(values: "Values", call: tree.Call, parameter: Taken, argument: tree.Argument) -> int | None:
    """A whole number that stands in the source."""
    what = f"`{parameter.name}` of `{call.name.text}`"
    if not isinstance(argument.value, tree.Amount):
        return None
    number = amount(argument.value, WHOLE, what, values.findings)
    if number is None:
        return None
    if not float(number).is_integer() or not parameter.minimum <= number <= parameter.maximum:
        message = f"{what} is a whole number from {parameter.minimum} to {parameter.maximum}"
        help = f"give a value in that range ({parameter.doc})"
        values.findings.add("E0322", message, argument.value.span, help=help)
        return None
    return int(number)
