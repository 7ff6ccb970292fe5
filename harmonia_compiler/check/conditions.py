"""Conditions: `and`, `or` and `not` are branches, and a test is a bool."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from harmonia_compiler.check.comparisons import NO_TEST, comparable, report_apart, report_free_text
from harmonia_compiler.check.meant import (
    ALWAYS_ONE,
    NEVER_BOTH,
    AskedFor,
    Compared,
    asked_for,
    compare_each,
    fitting,
    last_compared,
    literal_in,
    test_with,
    with_each,
)
from harmonia_compiler.check.narrowing import is_impossible, may_narrow, narrow
from harmonia_compiler.check.scope import Scope, Value
from harmonia_compiler.check.types import shown
from harmonia_compiler.check.unreached import report_unreached
from harmonia_compiler.contract.program import Compare, Not
from harmonia_compiler.contract.types import (
    Bool,
    Labels,
    ListOf,
    Number,
    Text,
    Type,
    field_names,
    field_type,
    quoted,
)
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.syntax import tree

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values

#: What gives a value that may be of any type.
_VALUES = (
    tree.Access,
    tree.Amount,
    tree.Call,
    tree.Each,
    tree.ListValue,
    tree.RecordValue,
    tree.Reference,
    tree.Text,
)


def read_condition(
    values: "Values", given: tree.Expression, scope: Scope, share: float, taken: str = ""
) -> Value | None:
    """A condition, which must be a bool. `share` is how often it is expected to hold.

    Where it compares with a label that is `taken` before, that is what to do.
    """
    match given:
        case tree.Group(value=inner):
            return values.truth(inner, scope, share, taken)
        case tree.Negation(operand=operand):
            value = values.truth(operand, scope, 1 - share, taken)
            return value and Value(values.nodes.add(Not(value.position), Bool(), given.span), Bool())
        case tree.Conjunction(operands=operands):
            return _chain(values, given.span, operands, scope, share ** (1 / len(operands)), is_and=True)
        case tree.Disjunction(operands=operands):
            each = 1 - (1 - share) ** (1 / len(operands))
            return _chain(values, given.span, operands, scope, each, is_and=False)
        case tree.Comparison():
            return _comparison(values, given, scope, taken)
    value = values.value(given, scope)
    if value is not None and not isinstance(value.type, Bool):
        _report_value(values, given, value)
        return None
    return value


def _report_value(values: "Values", given: tree.Expression, value: Value) -> None:
    """Report a value that is no bool where a test is wanted."""
    written = values.source(given)
    if isinstance(given, tree.Guarded):
        written = f"({written})"
    if isinstance(value.type, Text):
        report_free_text(given, values.context)
    elif isinstance(given, tree.Text | tree.Amount):
        _report_no_bool(values, given, value.type, f"compare a value with it: `name == {written}`")
    else:
        _report_no_bool(values, given, value.type, _test_of(value.type, written))


def _report_no_bool(values: "Values", given: tree.Expression, of: Type, help: str) -> None:
    values.findings.add("E0306", f"a condition is a bool, and this is {_named(of)}", given.span, help=help)


def _named(of: Type) -> str:
    return "a label" if isinstance(of, Labels) else f"`{shown(of)}`"


def _chain(
    values: "Values", span: Span, operands: tuple[tree.Expression, ...], scope: Scope, each: float, *, is_and: bool
) -> Value | None:
    """`and` and `or`: the next operand is asked only where those before have not decided, and so have left labels."""
    no_tests: list[tuple[tree.Expression, Value]] = []
    asked: dict[str, AskedFor] = {}

    def read(operand: tree.Expression, scope: Scope) -> Value | None:
        if not isinstance(tree.bare(operand), _VALUES):
            return _operand(values, operand, scope, each, asked, is_and=is_and)
        value = values.value(operand, scope)
        if value is None or isinstance(value.type, Bool):
            return value
        no_tests.append((operand, value))
        return None

    found = [read(operands[0], scope)]
    first = values.nodes.effect
    known: dict[str, Type] = {}
    compared: Compared | None = None
    for at, (before, operand) in enumerate(pairwise(operands), 1):
        holds, fails = narrow(before, Scope(scope, narrowed=dict(known)))
        known |= holds if is_and else fails
        if is_impossible(known):
            help = "the tests before take every label; delete this one"
            what = "nothing reaches this test"
            report_unreached(values, operand, *operands[at:], scope=scope, what=what, help=help)
            break
        compared = last_compared(before) or compared
        if compared is not None and (literal := literal_in(operand)) is not None:
            _report_literal(values, compared, literal, operand, scope, is_and=is_and)
            found.append(None)
            continue
        effect, among = values.nodes.effect, values.nodes.among
        values.nodes.among = operand.span
        value = read(operand, Scope(scope, narrowed=dict(known)))
        values.nodes.among = among
        found.append(value and replace(value, position=values.nodes.since(effect, value.position)))
    whole = [value for value in found if value is not None]
    # Beside what could not be read, values may be meant as what is taken instead of it.
    if len(no_tests) == len(operands) and not is_and:
        _report_alternatives(values, operands, no_tests[0][1].type)
    else:
        for operand, value in no_tests if whole or is_and else ():
            _report_value(values, operand, value)
    if len(whole) < len(found):
        return None
    result = _decided(values, span, [value.position for value in whole], each, is_and=is_and)
    if values.nodes.effect != first:
        values.nodes.reached(first, result, Bool(), span)
    return Value(result, Bool())


def _operand(
    values: "Values", given: tree.Expression, scope: Scope, share: float, asked: dict[str, AskedFor], *, is_and: bool
) -> Value | None:
    """A test beside others, by which names and fields are `asked` for literals; two that exclude each other decide."""
    this = asked_for(given, is_and=is_and)
    other = None if this is None else asked.get(this.name)
    is_decided = this is not None and other is not None and this.literal != other.literal
    help, mark = NEVER_BOTH if is_and else ALWAYS_ONE, values.findings.mark()
    value = values.truth(given, scope, share, help if is_decided else "")
    if this is not None and not values.findings.failed_since(mark):
        if other is not None and is_decided:
            message = "this test never holds" if is_and else "this test always holds"
            values.findings.add("W0405", message, other.span.to(given.span), help=help)
        asked.setdefault(this.name, this)
    return value


def _decided(values: "Values", span: Span, truths: list[int], share: float, *, is_and: bool) -> int:
    """What some truths come to, of which each is asked only where those before it have not decided."""
    decided = values.nodes.constant(not is_and, Bool(), span)
    *before, result = truths
    for truth in reversed(before):
        then, otherwise = (result, decided) if is_and else (decided, result)
        result = values.nodes.select(truth, then, otherwise, Bool(), share, span)
    return result


def _report_alternatives(values: "Values", operands: tuple[tree.Expression, ...], of: Type) -> None:
    """Report values with `or` between them, which elsewhere takes the second one where the first one is empty."""
    first, *_ = written = [values.source(operand) for operand in operands]
    help = "no value is ever missing: leave out `or` and what stands behind it"
    if isinstance(tree.bare(operands[0]), tree.Call):
        help = f"what is taken where a call fails stands behind `else`: `{' else '.join(written)}`"
    if isinstance(of, ListOf):
        help = f"{help}; whether a list is empty is a test, `count({first}) == 0`"
    message = f"`or` stands between conditions, and this is {_named(of)}"
    values.findings.add("E0306", message, operands[0].span, help=help)


def _report_literal(
    values: "Values",
    before: Compared,
    literal: tree.Text | tree.Amount,
    operand: tree.Expression,
    scope: Scope,
    *,
    is_and: bool,
) -> None:
    """Report a literal alone behind a comparison, unless that could not be read itself."""
    if values.findings.is_full:
        # What may be meant takes a look at all labels.
        values.findings.add("E0306", "", literal.span)
        return
    compared = values.value(before.of, scope)
    if compared is None or not isinstance(compared.type, Bool | Labels | Number):
        return
    of = Labels((literal.value,)) if isinstance(literal, tree.Text) else Number()
    others = () if before.literal is None else (before.literal,)
    meant = fitting(values, compared.type, literal, *others)
    test = test_with(values, before, meant, literal, operand, is_and=is_and)
    _report_no_bool(values, literal, of, compare_each(values, compared.type, test, literal))


def _comparison(values: "Values", given: tree.Comparison, scope: Scope, taken: str = "") -> Value | None:
    left = values.value(given.left, scope)
    right = None if _has_several(values, given, left, scope) else values.value(given.right, scope)
    if left is None or right is None:
        return None
    if not comparable(values, given, left, right):
        return None
    if report_apart(given, left.type, right.type, scope, values.context, taken) and may_narrow(given, scope):
        values.refused_test = True
    operator: Any = given.operator
    return Value(values.nodes.add(Compare(operator, left.position, right.position), Bool(), given.span), Bool())


def _has_several(values: "Values", given: tree.Comparison, left: Value | None, scope: Scope) -> bool:
    """Whether a value is compared with one of several literals at once, which is reported unless it is unknown."""
    among = tree.bare(given.right)
    if not isinstance(among, tree.Conjunction | tree.Disjunction) or given.operator not in ("==", "!="):
        return False
    literals = [each for each in map(literal_in, among.operands) if each is not None]
    if len(literals) < len(among.operands):
        return False
    first = values.value(literals[0], scope)
    if left is not None and first is not None and isinstance(left.type, Labels | Number):
        _report_no_bool(values, literals[0], first.type, with_each(values, given, left.type, literals))
    elif left is not None and first is not None:
        comparable(values, given, left, first)
    return True


def _test_of(of: Type, given: str, what: str = "it") -> str:
    """How to test a value of a type that is no bool, as it was `given`; `what` says what of it is tested."""
    match of:
        case Number():
            return f"compare {what} with a number: `{given} > 0`"
        case Labels((label, *_)):
            return f"compare {what}: `{given} == {quoted(label)}`"
        case ListOf():
            return f"compare how many it holds: `count({given}) > 0`"
    for name in field_names(of):
        field = field_type(of, name)
        if isinstance(field, Bool):
            return f"test one of its fields: `{given}.{name}`"
        if isinstance(field, Number | Labels):
            return _test_of(field, f"{given}.{name}", "one of its fields")
    return NO_TEST
