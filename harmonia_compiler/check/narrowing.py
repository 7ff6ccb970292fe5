"""Conditions: what a test says about the labels of the names that it compares."""

from collections.abc import Mapping

from harmonia_compiler.check.scope import Scope
from harmonia_compiler.contract.types import Labels, Type, fits
from harmonia_compiler.syntax import tree

#: Types that names are known to have on one side of a test.
Narrowed = Mapping[str, Type]


def narrow(test: tree.Expression, scope: Scope) -> tuple[Narrowed, Narrowed]:
    """What is known of label names where a test holds, and where it does not.

    `==` and `!=` with a literal narrow; `not` turns around; `and` narrows where it holds, `or` where it does not,
    and where it holds if all of its parts compare one name. An empty union says that a side is never reached. What
    compares with a label that the name does not have is reported where it is read. Where it holds, it is taken at its
    word; where it does not, nothing is known, not even what the tests before have left, if one of them has taken it.
    """
    match test:
        case tree.Group(value=inner):
            return narrow(inner, scope)
        case tree.Negation(operand=operand):
            holds, fails = narrow(operand, scope)
            return fails, _of_scope(holds, scope)
        case tree.Comparison(operator="==" | "!=" as operator):
            holds, fails = _compared(test, scope)
            return (holds, fails) if operator == "==" else (fails, _of_scope(holds, scope))
        case tree.Conjunction(operands=operands):
            return _in_turn(operands, scope, holds=True)
        case tree.Disjunction(operands=operands):
            none, some = _in_turn(operands, scope, holds=False)
            return some, none
    return {}, {}


def is_impossible(known: Narrowed) -> bool:
    """Whether no label is left for some name."""
    return any(isinstance(of, Labels) and not of.labels for of in known.values())


def may_narrow(test: tree.Expression, scope: Scope) -> bool:
    """Whether a test that is refused may have been meant to narrow a name: one that has labels, or is unknown itself.

    Of conditions within it this says nothing.
    """
    for side in (test.left, test.right) if isinstance(test, tree.Comparison) else (test,):
        name = tree.bare(side)
        if isinstance(name, tree.Reference):
            binding = scope.find(name.name.text)
            if binding is None or binding.value is None or isinstance(binding.value.type, Labels):
                return True
    return False


def _compared(test: tree.Comparison, scope: Scope) -> tuple[Narrowed, Narrowed]:
    sides = (tree.bare(test.left), tree.bare(test.right))
    for one, other in (sides, sides[::-1]):
        if isinstance(one, tree.Reference) and isinstance(other, tree.Text):
            binding = scope.find(one.name.text)
            if binding is None or binding.value is None or not isinstance(binding.value.type, Labels):
                return {}, {}
            labels, name = binding.value.type.labels, one.name.text
            if other.value not in labels:
                return {name: Labels((other.value,))}, _unsaid(name, (other.value,), labels, scope)
            at = labels.index(other.value)
            return {name: Labels((other.value,))}, {name: Labels(labels[:at] + labels[at + 1 :])}
    return {}, {}


def _unsaid(name: str, asked: tuple[str, ...], left: tuple[str, ...], scope: Scope) -> Narrowed:
    """What a name may be that was asked for labels which the tests before have taken: whatever is bound to it.

    Where they have `left` none, that is said of what is not reached, and nothing else.
    """
    labels = scope.labels(name)
    return {name: Labels(labels)} if left and set(asked) <= set(labels) else {}


def _of_scope(known: Narrowed, scope: Scope) -> Narrowed:
    """What is known, without labels that the names do not have."""
    found: dict[str, Type] = {}
    for name, of in known.items():
        binding = scope.find(name)
        before = None if binding is None or binding.value is None else binding.value.type
        if before is not None and fits(of, before):
            found[name] = of
        elif isinstance(of, Labels) and isinstance(before, Labels):
            found |= _unsaid(name, of.labels, before.labels, scope)
    return found


def _in_turn(operands: tuple[tree.Expression, ...], scope: Scope, *, holds: bool) -> tuple[Narrowed, Narrowed]:
    """What is known where all operands hold, or where none does, and what where one is not so.

    Each is read once, with what those before it have left: of operands in each other there are many.
    """
    known: dict[str, Type] = {}
    others = []
    for operand in operands:
        like, unlike = narrow(operand, Scope(scope, narrowed=dict(known)))[:: 1 if holds else -1]
        known |= like
        others.append(unlike)
    return known, _any_of_one_name(others)


def _any_of_one_name(parts: list[Narrowed]) -> Narrowed:
    """The union of what the parts say, if each says something about the same single name."""
    names = {name for part in parts for name in part}
    if len(names) != 1 or any(not part for part in parts):
        return {}
    (name,) = names
    labels: dict[str, None] = {}
    for part in parts:
        of = part[name]
        labels |= dict.fromkeys(of.labels if isinstance(of, Labels) else ())
    return {name: Labels(tuple(labels))}
