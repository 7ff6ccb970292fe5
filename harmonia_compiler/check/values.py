"""Values of a pipeline: an expression becomes nodes of the flow, and its type is known."""

from collections.abc import Iterable, Mapping
from typing import Any

from harmonia_compiler.check.calling import read_call
from harmonia_compiler.check.components import Components
from harmonia_compiler.check.conditions import read_condition
from harmonia_compiler.check.narrowing import may_narrow
from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.check.program import Context, Declared, Unit
from harmonia_compiler.check.prompts import warn_of_inserted
from harmonia_compiler.check.regions import Limit, read_each, read_guarded
from harmonia_compiler.check.scope import Binding, Scope, Value
from harmonia_compiler.check.types import is_too_large, report_too_large, shown, shown_apart
from harmonia_compiler.check.unknown import report_unknown_value
from harmonia_compiler.contract.program import (
    Call,
    Concat,
    GetField,
    MakeList,
    MakeRecord,
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
from harmonia_compiler.syntax import tree


class Values:
    """Lowers the expressions of one pipeline into one set of nodes.

    `flows` holds the pipelines that are checked already, `later` the places of names that are bound further down.
    A value that is reported, or rests on one, is None, so that one mistake is reported once. Where the pipeline is
    not `complete`, an unknown name may have been bound in what could not be read. `nodes` are those of the block
    that is being read, `limit` the time that what is being read has at most, `impure` the pipelines that make
    calls that are not pure. `at` is where the pipeline is declared. It is `doubtful` once a test of names was refused:
    nobody knows then which labels it would have left, and so which paths there are. It `has_failed` where something is
    wrong that may not be among the findings just now. It `rests_elsewhere` once it names a declaration that cannot be
    used, where that is said.
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
        at: Span,
        complete: bool,
    ) -> None:
        self.context = context
        self.findings = context.findings
        self.unit = unit
        self.components = components
        self.flows = flows
        self.later = later
        self.impure = impure
        self.at = at
        self.complete = complete
        self.refused_test = False
        self.has_failed = False
        self.rests_elsewhere = False
        self.nodes = Nodes(context.findings)
        self.limit: Limit | None = None

    def value(self, given: tree.Expression, scope: Scope) -> Value | None:
        """The value of an expression."""
        match given:
            case tree.Group(value=inner):
                return self.value(inner, scope)
            case tree.Reference(name=name):
                return self._reference(name, scope)
            case tree.Call():
                return read_call(self, given, scope)
            case tree.Each():
                return self._of_bounded_type(read_each(self, given, scope), given.span)
            case tree.Guarded():
                return read_guarded(self, given, scope)
            case tree.Access(value=value, fields=fields):
                return self._access(self.value(value, scope), fields)
            case tree.ListValue() | tree.RecordValue() | tree.Joined():
                return self._of_bounded_type(self._composed(given, scope), given.span)
            case tree.Comparison() | tree.Negation() | tree.Conjunction() | tree.Disjunction():
                return self.truth(given, scope)
            case tree.Text():
                return self._text(given, scope)
            case _:
                return self._literal(given)

    def _of_bounded_type(self, value: Value | None, span: Span) -> Value | None:
        """A value that was made of others, unless these make its type too large."""
        if value is None or not is_too_large(value.type):
            return value
        report_too_large(span, self.findings)
        return None

    def _text(self, given: tree.Text, scope: Scope) -> Value:
        def is_bound(name: str) -> bool:
            return scope.find(name) is not None

        warn_of_inserted(given.value, is_bound, given.span, self.findings, is_value=True)
        return self._constant(given.value, Labels((given.value,)), given.span)

    def _literal(self, given: tree.Expression) -> Value | None:
        match given:
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
            self.rests_elsewhere = self.rests_elsewhere or self.unit.is_unread(name.text)
            if self.complete:
                about = self._about(name.text)
                report_unknown_value(name, scope, self.later, self.unit, self.context, about)
            return None
        for variable in binding.variables:
            variable.used = True
        self.report_unusable(name.text, binding, name.span)
        return binding.within(self.nodes)

    def report_unusable(self, name: str, binding: Binding, span: Span) -> None:
        """Report where a name is used that the paths before do not bind alike."""
        if binding.why and (binding.why.startswith("E0311") or (self.complete and not self.doubtful)):
            is_elsewhere = binding.at is not None and binding.at != span
            notes = (Note(binding.at, "from here on"),) if binding.at is not None and is_elsewhere else ()
            code, _, message = binding.why.partition(" ")
            help = "bind it on every path" if code == "E0206" else "give it one type on every path"
            self.findings.add(code, message, span, help=help, notes=notes, about=self._about(name))

    def _about(self, name: str) -> str:
        """A name of the pipeline, wherever it is used there: what is wrong with it is one mistake."""
        return f"{self.unit.source.name}:{self.at.start}:{name}"

    def _access(self, value: Value | None, fields: tuple[tree.Name, ...]) -> Value | None:
        for name in fields:
            if value is None:
                return None
            of = field_type(value.type, name.text)
            if of is None:
                known = field_names(value.type)
                otherwise = f"it has {listed(known)}" if known else "only records, passages and messages have fields"
                if isinstance(value.type, ListOf):
                    otherwise = "its items may: `each` goes over them, `count` and `take` are called with the list"
                help = self.context.suggestion(name.text, known, otherwise)
                message = f"`{shown(value.type)}` has no field `{name.text}`"
                about = f"{self.unit.source.name}:{message}"
                self.findings.add("E0211", message, name.span, help=help, about=about)
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
                assert item_type is not None
                this, before = shown_apart(value.type, item_type)
                message = f"this item is {this}, those before are {before}"
                help = "all items of a list have one type"
                if join(item_type, ListOf(value.type)) is not None or join(ListOf(item_type), value.type) is not None:
                    help = "`+` joins lists: `list + [value]`"
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
        for operand, value in zip(operands, values, strict=True):
            if value is not None and not isinstance(value.type, ListOf):
                help = "put texts together in a prompt" if fits(value.type, Text()) else "write a list: `[…]`"
                if isinstance(value.type, Number):
                    help = "there is no arithmetic: let a component give the number"
                if any(other is not None and join(other.type, ListOf(value.type)) is not None for other in values):
                    help = f"make it a list: `[{self.source(operand)}]`"
                message = f"`+` joins lists, and this is `{shown(value.type)}`"
                self.findings.add("E0312", message, operand.span, help=help)
                # Who joins one text joins others, too: that is one mistake.
                return None
        result, *others = values
        for operand, value in zip(operands[1:], others, strict=True):
            if result is None or value is None:
                return None
            of = join(result.type, value.type)
            if of is None:
                this, before = shown_apart(value.type, result.type)
                message = f"a list {this} cannot be joined to {before}"
                self.findings.add(
                    "E0315", message, operand.span, help=self._to_join(operands[0], result, operand, value)
                )
                return None
            result = Value(self.nodes.add(Concat(result.position, value.position), of, given.span), of)
        return result

    def _to_join(self, one: tree.Expression, its: Value, other: tree.Expression, others: Value) -> str:
        """What to do where two lists cannot be joined: an item of one may be what the other one is."""
        for outer, of_outer, inner, of_inner in ((one, its, other, others), (other, others, one, its)):
            if join(of_outer.type, ListOf(of_inner.type)) is not None:
                if isinstance(outer, tree.ListValue) and len(outer.items) == 1:
                    return f"join the list itself: write `{self.source(outer.items[0])}`, without the brackets"
                return f"make it an item of the list: `[{self.source(inner)}]`"
        return "all items of a list have one type"

    def truth(self, given: tree.Expression, scope: Scope, share: float = EVEN, taken: str = "") -> Value | None:
        """A condition, which must be a bool. `share` is how often it is expected to hold.

        Where it compares with a label that is `taken` before, that is what to do.
        """
        value = read_condition(self, given, scope, share, taken)
        self.refused_test = self.refused_test or (value is None and may_narrow(given, scope))
        return value

    @property
    def doubtful(self) -> bool:
        """Whether a test of names was refused, which a finding says: without one, nothing may be passed over."""
        return self.refused_test and (self.has_failed or self.findings.failed)

    # --- what calls are like -----------------------------------------------------------------------------------

    def _said(self, call: Call, name: str) -> Any:
        """What a call is given for a setting, by itself, its component or its kind's default."""
        made = self.components.by_id(call.component)
        assert made is not None
        for given in (call.settings, made.settings):
            if name in given:
                return given[name]
        setting = self.components.call_settings(made.kind).get(name)
        return None if setting is None else setting.default

    def is_pure(self, call: Call) -> bool:
        """Whether a call may be repeated, merged, or left out."""
        return self._said(call, "pure") is not False

    def may_be_impure(self, called: Iterable[str]) -> bool:
        """Whether calls of these are not pure where the call itself says nothing else."""
        for declared in (self.unit.scope.get(name) for name in called):
            made = self.components.made.get(declared) if declared is not None else None
            if declared in self.impure or (made is not None and made.given.get("pure") is False):
                return True
        return False

    def samples(self, call: Call) -> bool:
        """Whether an equal call may give something else."""
        return bool(self._said(call, "temperature"))

    def source(self, given: tree.Expression) -> str:
        """An expression as the user wrote it, if that is short."""
        span = given.span
        text = span.source.text[span.start : span.end]
        return text if len(text) <= 40 and "\n" not in text else "…"
