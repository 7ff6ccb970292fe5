"""Values of a pipeline: an expression becomes nodes of the flow, and its type is known."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from harmonia_compiler.check.applying import apply_function
from harmonia_compiler.check.calls import match_arguments
from harmonia_compiler.check.comparisons import comparable, report_free_text
from harmonia_compiler.check.components import Components, Made
from harmonia_compiler.check.faults import report_faults
from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.check.program import Context, Declared, Unit
from harmonia_compiler.check.regions import read_each, read_guarded
from harmonia_compiler.check.scope import Scope, Value
from harmonia_compiler.check.settings import SettingReader
from harmonia_compiler.check.types import shown
from harmonia_compiler.check.unknown import report_unknown_callee, report_unknown_value
from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import (
    Call,
    Compare,
    Concat,
    Constant,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Parameter,
)
from harmonia_compiler.contract.types import (
    Bool,
    Field,
    Labels,
    ListOf,
    Number,
    Record,
    Text,
    Type,
    field_names,
    field_type,
    fits,
    join,
)
from harmonia_compiler.diagnostics.diagnostic import Note
from harmonia_compiler.diagnostics.near import listed
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import EVEN, Flow
from harmonia_compiler.functions.registry import function_names, functions
from harmonia_compiler.kinds.kind import COMMON_SETTINGS, Setting
from harmonia_compiler.syntax import tree


class Values:
    """Lowers the expressions of one pipeline into one set of nodes.

    `flows` holds the pipelines that are checked already, `later` the places of names that are bound further down.
    A value that is reported, or rests on one, is None, so that one mistake is reported once. Where the pipeline is
    not `complete`, an unknown name may have been bound in what could not be read. `nodes` are those of the block
    that is being read, `latency_ms` the tightest latency that the pipeline promises, `impure` the pipelines that make
    calls that are not pure.
    """

    def __init__(
        self,
        context: Context,
        unit: Unit,
        components: Components,
        flows: Mapping[Declared, Flow | None],
        later: Mapping[str, Span],
        impure: set[Declared],
        *,
        complete: bool,
    ) -> None:
        self.context = context
        self.findings = context.findings
        self.unit = unit
        self.components = components
        self.flows = flows
        self.later = later
        self.impure = impure
        self.complete = complete
        self.nodes = Nodes(context.findings)
        self.latency_ms: float | None = None

    def value(self, given: tree.Expression, scope: Scope) -> Value | None:
        """The value of an expression."""
        match given:
            case tree.Group(value=inner):
                return self.value(inner, scope)
            case tree.Reference(name=name):
                return self._reference(name, scope)
            case tree.Call():
                return self._call(given, scope)
            case tree.Each():
                return read_each(self, given, scope)
            case tree.Guarded():
                return read_guarded(self, given, scope)
            case tree.Access(value=value, fields=fields):
                return self._access(self.value(value, scope), fields)
            case tree.ListValue() | tree.RecordValue() | tree.Joined():
                return self._composed(given, scope)
            case tree.Comparison() | tree.Negation() | tree.Conjunction() | tree.Disjunction():
                return self.truth(given, scope)
            case _:
                return self._literal(given)

    def _literal(self, given: tree.Expression) -> Value | None:
        match given:
            case tree.Text(value=text):
                return self._constant(text, Labels((text,)), given.span)
            case tree.Amount():
                return self._number(given)
            case tree.Truth(value=truth):
                return self._constant(truth, Bool(), given.span)
            case _:
                return None

    def _composed(self, given: tree.ListValue | tree.RecordValue | tree.Joined, scope: Scope) -> Value | None:
        match given:
            case tree.ListValue(items=items):
                return self._list(given, items, scope)
            case tree.RecordValue(parts=parts):
                return self._record(given, parts, scope)
            case tree.Joined(operands=operands):
                return self._joined(given, operands, scope)

    def _constant(self, value: Any, of: Type, span: Span) -> Value:
        return Value(self.nodes.constant(value, of, span), of)

    def _number(self, given: tree.Amount) -> Value | None:
        if given.unit is not None:
            message = f"a value has no unit, but this one has `{given.unit.text}`"
            self.findings.add("E0504", message, given.span, help="units belong to settings, sizes, `slo` and `load`")
            return None
        return None if given.value is None else self._constant(given.value, Number(), given.span)

    # --- names -------------------------------------------------------------------------------------------------

    def _reference(self, name: tree.Name, scope: Scope) -> Value | None:
        binding = scope.find(name.text)
        if binding is None:
            if name.text in self.later or self.complete:
                report_unknown_value(name, scope.names(), self.later, self.unit, self.context)
            return None
        for variable in binding.variables:
            variable.used = True
        if binding.why:
            notes = (Note(binding.at, "from here on"),) if binding.at is not None else ()
            code, _, message = binding.why.partition(" ")
            help = "bind it on every path" if code == "E0206" else "give it one type on every path"
            self.findings.add(code, message, name.span, help=help, notes=notes)
        return binding.within(self.nodes)

    def _access(self, value: Value | None, fields: tuple[tree.Name, ...]) -> Value | None:
        for name in fields:
            if value is None:
                return None
            of = field_type(value.type, name.text)
            if of is None:
                known = field_names(value.type)
                otherwise = f"it has {listed(known)}" if known else "only records, passages and messages have fields"
                help = self.context.suggestion(name.text, known, otherwise)
                self.findings.add("E0211", f"`{shown(value.type)}` has no field `{name.text}`", name.span, help=help)
                return None
            value = Value(self.nodes.add(GetField(value.position, name.text), of, name.span), of)
        return value

    # --- lists and records -------------------------------------------------------------------------------------

    def _list(self, given: tree.ListValue, items: tuple[tree.Expression, ...], scope: Scope) -> Value | None:
        values = [self.value(item, scope) for item in items]
        whole = [value for value in values if value is not None]
        if len(whole) < len(values):
            return None
        item_type: Type | None = None
        for item, value in zip(items, whole, strict=True):
            joined = value.type if item_type is None else join(item_type, value.type)
            if joined is None:
                message = (
                    f"this item is `{shown(value.type)}`, those before are `{shown(item_type)}`" if item_type else ""
                )
                help = "all items of a list have one type"
                self.findings.add("E0315", message, item.span, help=help)
                return None
            item_type = joined
        of = ListOf(item_type)
        return Value(self.nodes.add(MakeList(tuple(value.position for value in whole)), of, given.span), of)

    def _record(self, given: tree.RecordValue, parts: tuple[tree.Argument, ...], scope: Scope) -> Value | None:
        fields: dict[str, Value | None] = {}
        for part in parts:
            assert part.name is not None
            if part.name.text in fields:
                help = "delete one of the two"
                self.findings.add("E0304", f"`{part.name.text}` is given twice", part.span, help=help)
            fields[part.name.text] = self.value(part.value, scope)
        whole = {name: value for name, value in fields.items() if value is not None}
        if len(whole) < len(fields):
            return None
        of = Record(tuple(Field(name, value.type) for name, value in whole.items()))
        operation = MakeRecord(tuple(whole), tuple(value.position for value in whole.values()))
        return Value(self.nodes.add(operation, of, given.span), of)

    def _joined(self, given: tree.Joined, operands: tuple[tree.Expression, ...], scope: Scope) -> Value | None:
        values = [self.value(operand, scope) for operand in operands]
        result: Value | None = None
        whole = True
        for operand, value in zip(operands, values, strict=True):
            if value is None:
                whole = False
            elif not isinstance(value.type, ListOf):
                help = "put texts together in a prompt" if fits(value.type, Text()) else "write a list: `[…]`"
                self.findings.add(
                    "E0312", f"`+` joins lists, and this is `{shown(value.type)}`", operand.span, help=help
                )
                whole = False
            elif result is None:
                result = value
            elif whole:
                of = join(result.type, value.type)
                if of is None:
                    message = f"a list `{shown(value.type)}` cannot be joined to `{shown(result.type)}`"
                    self.findings.add("E0315", message, operand.span, help="all items of a list have one type")
                    return None
                result = Value(self.nodes.add(Concat(result.position, value.position), of, given.span), of)
        return result if whole else None

    # --- conditions --------------------------------------------------------------------------------------------

    def truth(self, given: tree.Expression, scope: Scope, share: float = EVEN) -> Value | None:
        """A condition, which must be a bool. `share` is how often it is expected to hold."""
        match given:
            case tree.Group(value=inner):
                return self.truth(inner, scope, share)
            case tree.Negation(operand=operand):
                value = self.truth(operand, scope, 1 - share)
                return value and Value(self.nodes.add(Not(value.position), Bool(), given.span), Bool())
            case tree.Conjunction(operands=operands):
                return self._chain(given.span, operands, scope, share ** (1 / len(operands)), is_and=True)
            case tree.Disjunction(operands=operands):
                each = 1 - (1 - share) ** (1 / len(operands))
                return self._chain(given.span, operands, scope, each, is_and=False)
            case tree.Comparison():
                return self._comparison(given, scope)
        value = self.value(given, scope)
        if value is None or isinstance(value.type, Bool):
            return value
        if isinstance(value.type, Labels):
            label = value.type.labels[0] if value.type.labels else ""
            help = f'compare it: `{self.source(given)} == "{label}"`'
            self.findings.add("E0306", "a condition is a bool, and this is a label", given.span, help=help)
        elif isinstance(value.type, Text):
            report_free_text(given, self.context)
        else:
            help = "compare it with something"
            self.findings.add(
                "E0306", f"a condition is a bool, and this is `{shown(value.type)}`", given.span, help=help
            )
        return None

    def _chain(
        self, span: Span, operands: tuple[tree.Expression, ...], scope: Scope, each: float, *, is_and: bool
    ) -> Value | None:
        """`and` and `or`: the next operand is asked only where those before have not decided."""
        values = [self.truth(operands[0], scope, each)]
        first = self.nodes.effect
        for operand in operands[1:]:
            effect = self.nodes.effect
            value = self.truth(operand, scope, each)
            values.append(value and replace(value, position=self.nodes.since(effect, value.position)))
        whole = [value for value in values if value is not None]
        if len(whole) < len(values):
            return None
        decided = self.nodes.constant(not is_and, Bool(), span)
        result = whole[-1].position
        for value in reversed(whole[:-1]):
            then, otherwise = (result, decided) if is_and else (decided, result)
            result = self.nodes.select(value.position, then, otherwise, Bool(), each, span)
        if self.nodes.effect != first:
            self.nodes.reached(first, result, Bool(), span)
        return Value(result, Bool())

    def _comparison(self, given: tree.Comparison, scope: Scope) -> Value | None:
        left, right = self.value(given.left, scope), self.value(given.right, scope)
        if left is None or right is None:
            return None
        if not comparable(given, left.type, right.type, self.context):
            return None
        operator: Any = given.operator
        return Value(self.nodes.add(Compare(operator, left.position, right.position), Bool(), given.span), Bool())

    # --- calls -------------------------------------------------------------------------------------------------

    def _call(self, call: tree.Call, scope: Scope) -> Value | None:
        name = call.name.text
        declared = self.unit.find(name)
        if declared is None and name in function_names() and not self.unit.is_unread(name):
            return apply_function(self, call, functions()[name], scope)
        if declared is None or isinstance(declared.node, tree.Alias | tree.Class):
            report_unknown_callee(call.name, declared, self.unit, self.context)
            self._visit(call, scope)
            return None
        if isinstance(declared.node, tree.Pipeline):
            flow = self.flows.get(declared)
            if flow is None:
                self._visit(call, scope)
                return None
            return self._call_pipeline(call, declared, flow, scope)
        made = self.components.made.get(declared)
        if made is None:
            self._visit(call, scope)
            return None
        if made.ports is None:
            help = f"make a component from it that has some: `component NAME(…) -> TYPE = {name}(…)`"
            notes = (Note(declared.node.name.span, "declared here without ports"),)
            self.findings.add(
                "E0310", f"`{name}` has no ports, so it cannot be called", call.name.span, help=help, notes=notes
            )
            self._visit(call, scope)
            return None
        return self._call_component(call, made, made.ports, scope)

    def _visit(self, call: tree.Call, scope: Scope) -> None:
        """Check the arguments of a call that cannot be made, so that their names count as used."""
        for argument in call.arguments:
            self.value(argument.value, scope)

    def _arguments(
        self, call: tree.Call, ports: tuple[Port, ...], settings: Mapping[str, Setting], scope: Scope
    ) -> tuple[dict[str, int], dict[str, tree.Argument]] | None:
        """Positions by port, defaults filled in, and the settings that the call gives."""
        matched = match_arguments(call, ports, settings, self.findings)
        positions: dict[str, int] = {}
        for port in ports:
            argument = matched.ports.get(port.name)
            if argument is None:
                if matched.whole:
                    positions[port.name] = self.nodes.constant(port.default, port.type, call.span)
                continue
            value = self.value(argument.value, scope)
            if value is None:
                continue
            if not fits(value.type, port.type):
                self._wrong_argument(call, port, argument, value)
                continue
            positions[port.name] = value.position
        for argument in matched.elsewhere:
            self.value(argument.value, scope)
        return (positions, matched.settings) if matched.whole and len(positions) == len(ports) else None

    def _wrong_argument(self, call: tree.Call, port: Port, argument: tree.Argument, value: Value) -> None:
        message = f"`{port.name}` of `{call.name.text}` takes `{shown(port.type)}`, not `{shown(value.type)}`"
        help = ""
        if isinstance(port.type, ListOf) and port.type.item is not None and fits(value.type, port.type.item):
            help = f"make it a list: `[{self.source(argument.value)}]`"
        elif isinstance(port.type, Labels) and isinstance(value.type, Labels):
            wrong = next(label for label in value.type.labels if label not in port.type.labels)
            near = self.context.nearest(wrong, port.type.labels)
            help = f'did you mean "{near}"?' if near else f'"{wrong}" is not among its labels'
        elif near := next(
            (name for name in field_names(value.type) if field_type(value.type, name) == port.type), None
        ):
            help = f"take a part of it: `{self.source(argument.value)}.{near}`"
        else:
            help = "give a value of that type, or change the port's"
        self.findings.add("E0301", message, argument.value.span, help=help)

    def _call_pipeline(self, call: tree.Call, declared: Declared, flow: Flow, scope: Scope) -> Value | None:
        given = self._arguments(call, flow.ports, {}, scope)
        if given is None:
            return None
        position = self.nodes.inline(flow, given[0], has_effect=declared in self.impure)
        return Value(position, flow.result_type)

    def _call_component(self, call: tree.Call, made: Made, ports: tuple[Port, ...], scope: Scope) -> Value | None:
        assert made.result is not None
        every = (*made.kind.settings, *COMMON_SETTINGS)
        known = {setting.name: setting for setting in every if setting.type != "prompt"}
        given = self._arguments(call, ports, known, scope)
        if given is None:
            return None
        positions, arguments = given
        settings: dict[str, Any] = {}
        reader = SettingReader(self.context, self.unit)
        for name, argument in arguments.items():
            setting = known[name]
            if setting.scope != "call":
                help = f"declare a component with another `{name}`"
                self.findings.add("E0604", f"`{name}` is fixed by `{call.name.text}`", argument.span, help=help)
                continue
            value = reader.value(setting, argument.value)
            if value is not None:
                settings[name] = value
        places = made.places | {name: argument.value.span for name, argument in arguments.items() if name in settings}
        report_faults(made.kind, made.given | settings, places, self.findings, among=settings, at_least_one=True)
        operation = Call(made.declared.id, tuple(positions), tuple(positions.values()), settings)
        if self.is_pure(operation):
            return Value(self.nodes.add(operation, made.result.type, call.span), made.result.type)
        operation = msgspec.structs.replace(operation, after=self.nodes.effect)
        position = self.nodes.effect = self.nodes.add(operation, made.result.type, call.span)
        return Value(position, made.result.type)

    # --- what calls are like -----------------------------------------------------------------------------------

    def _said(self, call: Call, name: str) -> Any:
        """What a call is given for a setting, by itself, its component or its kind's default."""
        made = self.components.by_id(call.component)
        assert made is not None
        setting = made.kind.setting(name)
        return None if setting is None else {**made.given, **call.settings}.get(name, setting.default)

    def is_pure(self, call: Call) -> bool:
        """Whether a call may be repeated, merged, or left out."""
        return self._said(call, "pure") is not False

    def is_impure(self, node: tree.Pipeline) -> bool:
        """Whether a pipeline makes calls that are not pure, itself or by those that it calls."""
        called = {part.name.text for part, _ in tree.walk(node) if isinstance(part, tree.Call)}
        for declared in (self.unit.scope.get(name) for name in called):
            made = self.components.made.get(declared) if declared is not None else None
            if declared in self.impure or (made is not None and made.given.get("pure") is False):
                return True
        return False

    def samples(self, call: Call) -> bool:
        """Whether an equal call may give something else."""
        return bool(self._said(call, "temperature"))

    def can_stream(self, position: int) -> bool:
        """Whether the text at a position is handed out while it is generated, wherever a call gives it.

        A text that is there already, such as a fallback's, leaves as one piece.
        """
        calls = 0
        for operation in self.nodes.behind(position):
            if isinstance(operation, Constant | Parameter):
                continue
            made = self.components.by_id(operation.component) if isinstance(operation, Call) else None
            if made is None or made.result is None or not made.streams or not isinstance(made.result.type, Text):
                return False
            calls += 1
        return calls > 0

    def source(self, given: tree.Expression) -> str:
        """An expression as the user wrote it, if that is short."""
        span = given.span
        text = span.source.text[span.start : span.end]
        return text if len(text) <= 40 and "\n" not in text else "…"
