"""What was meant by literals in tests: one alone beside a comparison, several at once, two that leave no choice."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from harmonia_compiler.check.types import shown
from harmonia_compiler.contract.types import Bool, Labels, Number, Type, quoted
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.syntax import tree

if TYPE_CHECKING:
    from harmonia_compiler.check.values import Values


class Compared(msgspec.Struct, frozen=True):
    """A comparison, and whether a `not` turns it around."""

    test: tree.Comparison
    turned: bool

    @property
    def of(self) -> tree.Expression:
        """What is compared, which may stand on either side of a literal."""
        return self.test.right if literal_in(self.test.left) is not None else self.test.left

    @property
    def literal(self) -> tree.Text | tree.Amount | None:
        """What it is compared with, if that is a literal."""
        return literal_in(self.test.left) or literal_in(self.test.right)

    @property
    def is_equality(self) -> bool | None:
        """Whether it holds of one value alone, or of all but one; None for an order."""
        return None if self.test.operator not in ("==", "!=") else (self.test.operator == "==") != self.turned


def last_compared(given: tree.Expression) -> Compared | None:
    """The comparison that an operand ends with."""
    match given:
        case tree.Group(value=inner):
            return last_compared(inner)
        case tree.Negation(operand=inner):
            found = last_compared(inner)
            return found and replace(found, turned=not found.turned)
        case tree.Conjunction(operands=operands) | tree.Disjunction(operands=operands):
            return last_compared(operands[-1])
        case tree.Comparison():
            return Compared(given, turned=False)
    return None


#: Tests that are written out in a finding; how it goes on is seen from these.
_MOST_NAMED = 8
#: What to do where two tests of one value leave none, or take every one.
NEVER_BOTH = "it is never both: put `or` between the two, in `( )`"
ALWAYS_ONE = "one of the two always holds: put `and` between them"


class AskedFor(msgspec.Struct, frozen=True):
    """A name, or a field of one, with a literal that it is to be for `and`, or not to be for `or`, and where."""

    name: str
    literal: str | float | None
    span: Span


def asked_for(operand: tree.Expression, *, is_and: bool) -> AskedFor | None:
    """What an operand asks for, if it excludes another such one: no value is two things, and each is not one of two."""
    test = last_compared(operand) if isinstance(_innermost(operand), tree.Comparison) else None
    if test is None or test.literal is None or test.is_equality is not is_and:
        return None
    name = _dotted(test.of)
    return AskedFor(name, test.literal.value, operand.span) if name else None


def _dotted(given: tree.Expression) -> str:
    """A name, or a field of one, as it is written without spaces; nothing for another value."""
    match tree.bare(given):
        case tree.Reference(name=name):
            return name.text
        case tree.Access(value=inner, fields=fields) if of := _dotted(inner):
            return ".".join((of, *(field.text for field in fields)))
    return ""


def _innermost(given: tree.Expression) -> tree.Expression:
    """An expression without brackets and `not` around it."""
    while isinstance(given, tree.Group | tree.Negation):
        given = given.value if isinstance(given, tree.Group) else given.operand
    return given


def literal_in(given: tree.Expression) -> tree.Text | tree.Amount | None:
    """The text or number that stands where a test is wanted, perhaps behind `not`."""
    given = _innermost(given)
    if isinstance(given, tree.Text) or (isinstance(given, tree.Amount) and given.unit is None):
        return given
    return None


def test_with(
    values: "Values",
    before: Compared,
    meant: str,
    literal: tree.Text | tree.Amount,
    operand: tree.Expression,
    *,
    is_and: bool,
) -> str:
    """The test that was meant by a literal alone: the one before it with this literal.

    Both of them where `or` stands between them though neither is meant, or `and` though either is.
    """
    left, operator, right = values.source(before.of), before.test.operator, meant
    if before.of is before.test.right:
        left, right = right, left
    # A `not` before it stays.
    is_denied = tree.bare(operand) is not literal
    operator = "==" if is_denied and operator == "!=" else operator
    test = f"{left} {operator} {right}"
    turned = "not " if before.turned else ""
    if before.is_equality is not is_and or (is_denied and is_and):
        return test if is_denied else f"{turned}{test}"
    both = f"{turned}{values.source(before.test)} {'or' if is_and else 'and'} {'not ' if is_denied else turned}{test}"
    return f"({both})" if is_and else both


def with_each(values: "Values", given: tree.Comparison, of: Type, literals: Sequence[tree.Text | tree.Amount]) -> str:
    """What to do instead of comparing a value of this type with several literals at once."""
    left, between = values.source(given.left), " or " if given.operator == "==" else " and "
    named = literals[:_MOST_NAMED]
    each = dict.fromkeys(fitting(values, of, one, *named) for one in named)
    tests = [f"{left} {given.operator} {one}" for one in each] + ["…"] * (len(named) < len(literals))
    return compare_each(values, of, f"({between.join(tests)})", *named)


def compare_each(values: "Values", of: Type, tests: str, *literals: tree.Text | tree.Amount) -> str:
    """To write these tests, which compare a value of this type with the literals, or with others where none can be."""
    wrong = next((one for one in literals if not _may_equal(of, one)), None)
    no = "not in" if isinstance(of, Labels) else "no"
    why = "" if wrong is None else f"; {values.source(wrong)} is {no} `{shown(of)}`"
    return f"compare with each: `{tests}`{why}"


def _may_equal(of: Type, literal: tree.Text | tree.Amount) -> bool:
    """Whether a value of this type may be compared with a literal."""
    if isinstance(of, Labels):
        return literal.value in of.labels
    return isinstance(of, Number) and isinstance(literal, tree.Amount)


def fitting(values: "Values", of: Type, literal: tree.Text | tree.Amount, *others: tree.Text | tree.Amount) -> str:
    """A literal as it is written, or what may be compared with a value of this type instead: none of the `others`."""
    if _may_equal(of, literal):
        return values.source(literal)
    if not isinstance(of, Labels):
        return "true" if isinstance(of, Bool) else "0"
    left = [label for label in of.labels if label not in [other.value for other in others]] or of.labels
    near = values.context.nearest(literal.value, left) if isinstance(literal, tree.Text) else None
    return quoted(near or left[0])
