"""Calls: of components, of pipelines, which stand at the place of the call, and of functions."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harmonia_compiler.check.applying import apply_function
from harmonia_compiler.check.calls import Matched, match_arguments, report_missing, report_needless, warn_of_swapped
from harmonia_compiler.check.faults import report_faults
from harmonia_compiler.check.made import Made
from harmonia_compiler.check.nodes import MOST_COPIED
from harmonia_compiler.check.program import Declared
from harmonia_compiler.check.prompts import warn_of_inserted
from harmonia_compiler.check.scope import Scope, Value
from harmonia_compiler.check.settings import SettingReader
from harmonia_compiler.check.soundness import check_call
from harmonia_compiler.check.types import in_order, shown_apart
from harmonia_compiler.check.unknown import report_unknown_callee
from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Call
from harmonia_compiler.contract.types import Labels, ListOf, Type, field_names, field_type, fits, quoted
from harmonia_compiler.diagnostics.diagnostic import Note
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Flow
from harmonia_compiler.functions.function import Function
from harmonia_compiler.functions.registry import function_names, functions
from harmonia_compiler.kinds.kind import Setting
from harmonia_compiler.syntax import tree

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values

#: What calls bring with them beyond what is written, however short they are, and how there would be less of it.
_CALLED, _LEFT_OUT = "pipelines that are called", "the ports that calls leave out"
_FEWER = {
    _CALLED: "a pipeline that is called stands there with all that it calls itself; call fewer, or let fewer call it",
    _LEFT_OUT: "each stands there as its default; make components with fewer ports, or call them less often",
}

#: A call beyond this is not written out in a finding.
_LONGEST_CALL = 40


def read_call(values: "Values", call: tree.Call, scope: Scope) -> Value | None:
    """What a call of a component, a pipeline or a function gives."""
    name = call.name.text
    declared = values.unit.find(name)
    if declared is None and name in function_names() and not values.unit.is_unread(name):
        return apply_function(values, call, functions()[name], scope)
    if declared is None or isinstance(declared.node, tree.Alias | tree.Class):
        bases = values.components.bases
        report_unknown_callee(call.name, declared, values.unit, values.at, bases, values.context)
        values.rests_elsewhere = values.rests_elsewhere or values.unit.is_unread(name)
        _visit(values, call.arguments, scope)
        return None
    if isinstance(declared.node, tree.Pipeline):
        flow = values.flows.get(declared)
        if flow is None:
            values.rests_elsewhere = True
            _visit(values, call.arguments, scope)
            return None
        return _call_pipeline(values, call, declared, flow, scope)
    made = values.components.made.get(declared)
    if made is None:
        values.rests_elsewhere = True
        _visit(values, call.arguments, scope)
        return None
    if made.ports is None:
        values.rests_elsewhere = True
        _report_no_ports(values, call, declared, made)
        _visit(values, call.arguments, scope)
        return None
    return _call_component(values, call, made, made.ports, scope)


def _report_no_ports(values: "Values", call: tree.Call, declared: Declared, made: Made) -> None:
    """Report what a component lacks that is called: a module that would give it ports, or ports of its own."""
    name = call.name.text
    help = f"make a component from it that has some: `component NAME(…) -> TYPE = {name}(…)`"
    if made.function is not None:
        if values.components.modules.report_absent(*made.function, made.root.name):
            return
        help = f"declare the ports: `component {made.root.name}(…) -> … = …`"
    notes = (Note(declared.node.name.span, "declared here without ports"),)
    message = f"`{name}` has no ports, so it cannot be called"
    values.findings.add("E0310", message, call.name.span, help=help, notes=notes)


def _visit(values: "Values", arguments: Sequence[tree.Argument], scope: Scope) -> None:
    """Check arguments that go nowhere, so that their names count as used.

    What is an amount or a text there may be right for the setting that was meant.
    """
    for argument in arguments:
        if not isinstance(argument.value, tree.Amount | tree.Text):
            values.value(argument.value, scope)


def _arguments(
    values: "Values", call: tree.Call, ports: tuple[Port, ...], settings: Mapping[str, Setting], scope: Scope
) -> tuple[dict[str, int], dict[str, tree.Argument]] | None:
    """Positions by port, defaults filled in, and the settings that the call gives."""
    if _is_too_much(values, call, _LEFT_OUT, max(0, len(ports) - len(call.arguments))):
        _visit(values, call.arguments, scope)
        return None
    matched = match_arguments(call, ports, settings, values.context)
    report_needless(call, ports, matched.needless, values.findings)
    positions: dict[str, int] = {}
    given: list[_Given] = []
    wrong: list[_Given] = []
    whole = True
    for port in ports:
        argument = matched.ports.get(port.name)
        if argument is None:
            if matched.whole:
                positions[port.name] = values.nodes.constant(port.default, port.type, call.span)
            continue
        value = values.value(argument.value, scope)
        if value is None:
            whole = False
            continue
        positions[port.name] = value.position
        given.append(_Given(port, argument, value))
        if _has_unknown_label(argument.value, value.type, scope):
            # A test says what is wrong. What the call gives is known all the same: in a loop, a name may grow by it.
            whole = False
        elif not fits(value.type, port.type):
            if _may_be_narrower(values, argument.value, value.type) and isinstance(port.type, Labels):
                whole = False
            else:
                wrong.append(given[-1])
    _visit(values, matched.elsewhere, scope)
    meant = _meant(ports, matched, given) if wrong and matched.missing else None
    if meant is None:
        report_missing(call, ports, matched.missing, values.findings)
        _report_wrong(values, call, wrong)
    else:
        _report_skipped(values, call, ports, matched, meant)
        _report_wrong(values, call, [one for one in wrong if one.argument.name is not None])
    if whole and not wrong:
        warn_of_swapped(call, ports, matched, values.findings)
    return (positions, matched.settings) if matched.whole and not wrong and len(positions) == len(ports) else None


def _may_be_narrower(values: "Values", given: tree.Expression, of: Type) -> bool:
    """Whether a label may be fewer than is known, by a test that could not be read; what is written out is not."""
    is_literal = isinstance(tree.bare(given), tree.Text)
    return isinstance(of, Labels) and not is_literal and (values.doubtful or not values.complete)


def _has_unknown_label(given: tree.Expression, of: Type, scope: Scope) -> bool:
    """Whether a test that is reported has narrowed a name to a label that it does not have."""
    name = tree.bare(given)
    if not isinstance(name, tree.Reference) or not isinstance(of, Labels):
        return False
    return not set(of.labels) <= set(scope.labels(name.name.text))


class _Given(msgspec.Struct, frozen=True):
    """What a port is given."""

    port: Port
    argument: tree.Argument
    value: Value


def _meant(ports: Sequence[Port], matched: Matched, given: Sequence[_Given]) -> dict[str, _Given] | None:
    """By the later ports that their types fit, in order, the arguments without names; None where not all fit one."""
    named = {name for name, argument in matched.ports.items() if argument.name is not None}
    free = iter([port for port in ports if port.name not in named])
    meant = {}
    for one in given:
        if one.argument.name is None:
            port = next((port for port in free if fits(one.value.type, port.type)), None)
            if port is None:
                return None
            meant[port.name] = one
    return meant


def _report_skipped(
    values: "Values", call: tree.Call, ports: Sequence[Port], matched: Matched, meant: Mapping[str, _Given]
) -> None:
    """Report the ports that were left out before others; what stands behind those with a default needs a name."""
    given = [name for name, argument in matched.ports.items() if argument.name is None]
    lacking = {*given, *(port.name for port in matched.missing)} - meant.keys()
    missing = [port for port in ports if port.name in lacking and port.default is msgspec.UNSET]
    report_missing(call, ports, missing, values.findings)
    if not missing:
        name, one = next((name, one) for name, one in meant.items() if one.port.name != name)
        help = f"give it its name: `{name}: {values.source(one.argument.value)}`"
        values.findings.add("E0301", _mismatch(call, one.port, one.value), one.argument.value.span, help=help)


def _report_wrong(values: "Values", call: tree.Call, wrong: Sequence[_Given]) -> None:
    """Report arguments of wrong types; two that fit if they are swapped are one mistake."""
    left = list(wrong)
    if values.findings.is_full:
        # What each was swapped with takes a look at all others.
        for one in left:
            values.findings.add("E0301", "", one.argument.value.span)
        return
    while left:
        one = left.pop(0)
        other = next((o for o in left if fits(one.value.type, o.port.type) and fits(o.value.type, one.port.type)), None)
        if other is None:
            _wrong_argument(values, call, one.port, one.argument, one.value)
            continue
        left.remove(other)
        message = _mismatch(call, one.port, one.value)
        help = f"swap the values of `{one.port.name}` and `{other.port.name}`: each fits the other"
        values.findings.add("E0301", message, one.argument.value.span, help=help)


def _mismatch(call: tree.Call, port: Port, value: Value) -> str:
    given, wanted = shown_apart(value.type, port.type, fits)
    return f"`{port.name}` of `{call.name.text}` takes {wanted}, not {given}"


def _wrong_argument(values: "Values", call: tree.Call, port: Port, argument: tree.Argument, value: Value) -> None:
    message = _mismatch(call, port, value)
    help = ""
    if isinstance(port.type, ListOf) and port.type.item is not None and fits(value.type, port.type.item):
        help = f"make it a list: `[{values.source(argument.value)}]`"
    elif isinstance(port.type, Labels) and isinstance(value.type, Labels):
        wrong = next(label for label in value.type.labels if label not in port.type.labels)
        near = values.context.nearest(wrong, port.type.labels)
        help = f"did you mean {quoted(near)}?" if near else f"{quoted(wrong)} is not among its labels"
    elif parts := [name for name in field_names(value.type) if field_type(value.type, name) == port.type]:
        near = "text" if "text" in parts else parts[0]
        help = f"take a part of it: `{values.source(argument.value)}.{near}`"
    elif made := [name for name, each in functions().items() if _gives(each, value.type, port.type)]:
        help = "call " + " or ".join(f"`{name}({values.source(argument.value)})`" for name in made)
    elif isinstance(value.type, ListOf) and value.type.item is not None and fits(value.type.item, port.type):
        written = values.source(argument.value)
        written = f"({written})" if isinstance(argument.value, tree.Each | tree.Guarded) else written
        help = f"call it with each item: `each item in {written}: {_for_each(call, argument.value.span)}`"
    else:
        help = in_order(value.type, port.type) or "give a value of that type, or change the port's"
    values.findings.add("E0301", message, argument.value.span, help=help)


def _for_each(call: tree.Call, given: Span) -> str:
    """A call that is given a list in the place of an item as it is made with an item, if that is short."""
    text, whole = given.source.text, call.span
    written = f"{text[whole.start : given.start]}item{text[given.end : whole.end]}"
    return written if len(written) <= _LONGEST_CALL and "\n" not in written else f"{call.name.text}(…)"


def _gives(function: Function, given: Type, wanted: Type) -> bool:
    """Whether a function makes what is wanted of a value of this type."""
    made = function.result_type([given])
    return made is not None and fits(made, wanted)


def _call_pipeline(values: "Values", call: tree.Call, declared: Declared, flow: Flow, scope: Scope) -> Value | None:
    given = _arguments(values, call, flow.ports, {}, scope)
    if given is None or _is_too_much(values, call, _CALLED, sum(len(body.nodes) for body in flow.bodies)):
        return None
    position = values.nodes.inline(flow, given[0], has_effect=declared in values.impure)
    return Value(position, flow.result_type)


def _is_too_much(values: "Values", call: tree.Call, brought: str, more: int) -> bool:
    """Whether calls have brought too much with them in all, `more` of it now, which is reported once."""
    counted = values.context.brought
    before = counted[brought]
    counted[brought] += more
    if before <= MOST_COPIED < counted[brought]:
        message = f"with this call, {brought} come to more than {MOST_COPIED:,} operations in all"
        values.findings.add("E0406", message, call.name.span, help=_FEWER[brought])
    return counted[brought] > MOST_COPIED


def _call_component(
    values: "Values", call: tree.Call, made: Made, ports: tuple[Port, ...], scope: Scope
) -> Value | None:
    assert made.result is not None
    known = values.components.call_settings(made.kind)
    given = _arguments(values, call, ports, known, scope)
    if given is None:
        return None
    positions, arguments = given
    settings: dict[str, Any] = {}

    def is_bound(word: str) -> bool:
        return scope.find(word) is not None

    def may_be_meant(word: str) -> bool:
        return word in positions or is_bound(word)

    reader = SettingReader(values.context, values.unit, is_bound)
    for name, argument in arguments.items():
        setting = known[name]
        if setting.scope != "call":
            help = f"declare a component with another `{name}`"
            values.findings.add("E0604", f"`{name}` is fixed by `{call.name.text}`", argument.span, help=help)
            continue
        value = reader.value(setting, argument.value)
        if value is not None:
            settings[name] = value
        if isinstance(value, str):
            warn_of_inserted(value, may_be_meant, argument.value.span, values.findings)
    if settings:
        places = made.places | {name: argument.value.span for name, argument in arguments.items() if name in settings}
        report_faults(made.kind, made.given | settings, places, values.findings, among=settings, at_least_one=True)
        check_call(made, settings, places, values.findings)
    operation = Call(made.declared.id, tuple(positions), tuple(positions.values()), settings)
    if values.is_pure(operation):
        return Value(values.nodes.add(operation, made.result.type, call.span), made.result.type)
    return Value(values.nodes.add_in_order(operation, made.result.type, call.span), made.result.type)
