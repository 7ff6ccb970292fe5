"""Branches: the shares of their arms, what their tests leave of label types, and what names are afterwards."""

from collections.abc import Container, Sequence

import msgspec

from harmonia_compiler.check.amounts import SHARE, amount
from harmonia_compiler.check.narrowing import Narrowed, is_impossible, narrow
from harmonia_compiler.check.nodes import Nodes
from harmonia_compiler.check.scope import Binding, Scope, Value, Variable
from harmonia_compiler.check.types import shown_apart
from harmonia_compiler.contract.types import Labels, Type, join
from harmonia_compiler.diagnostics.diagnostic import Findings
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Arm
from harmonia_compiler.flow.rounding import half_a_digit
from harmonia_compiler.syntax import tree

_CLOSE = 1e-9


class Entry(msgspec.Struct, frozen=True):
    """What is known of label types at an arm: where its test is asked, and in its block."""

    asked: Narrowed
    inside: Narrowed


class Expected(msgspec.Struct, frozen=True):
    """Of the requests that reach a test, the part that is expected to take its arm.

    An `arm` says how that follows from how often the tests before it hold, where the branch does not.
    """

    share: float
    arm: Arm | None = None


class Chain(msgspec.Struct, frozen=True):
    """The arms of an `if` before their blocks are read. `left` is known after the last test has failed."""

    entries: tuple[Entry, ...]
    left: Narrowed

    @property
    def is_exhausted(self) -> bool:
        """Whether the tests cover every label of a name, so that nothing is left for an `else`."""
        return is_impossible(self.left)


def chain(statement: tree.If, scope: Scope) -> Chain:
    """What the tests of a branch say about the labels of names, one after the other."""
    left: dict[str, Type] = {}
    entries = []
    for arm in statement.arms:
        asked = dict(left)
        holds, fails = narrow(arm.test, Scope(scope, narrowed=dict(asked)))
        entries.append(Entry(asked, {**asked, **holds}))
        left |= fails
    return Chain(tuple(entries), left)


def said_before_silent(statement: tree.If, scope: Scope) -> tree.If:
    """A branch over all labels of a name; where a share is said of its last arm, one without a share is the last.

    Nothing asks for what is left of all labels, so that what is said of it would be lost where the others are asked for
    elsewhere. The order of arms is of no consequence where each asks for labels of its own.
    """
    *arms, last = statement.arms
    silent = [at for at, arm in enumerate(arms) if arm.share is None]
    if last.share is None or not silent or not _are_apart(statement, scope):
        return statement
    at = silent[-1]
    return msgspec.structs.replace(statement, arms=(*arms[:at], last, *arms[at + 1 :], arms[at]))


def _are_apart(statement: tree.If, scope: Scope) -> bool:
    """Whether each test asks whether a name, the same in all, is one of some labels, which no other test names."""
    asked_for: list[tuple[str, str]] = []
    for arm in statement.arms:
        holds, _ = narrow(arm.test, scope)
        if not _is_any_of(arm.test) or len(holds) != 1:
            return False
        [(name, of)] = holds.items()
        asked_for += [(name, label) for label in of.labels] if isinstance(of, Labels) else []
    return len({name for name, _ in asked_for}) == 1 and len({*asked_for}) == len(asked_for)


def _is_any_of(test: tree.Expression) -> bool:
    """Whether a test asks for equality alone, with one thing or with any of several."""
    match test:
        case tree.Group(value=inner):
            return _is_any_of(inner)
        case tree.Comparison(operator=operator):
            return operator == "=="
        case tree.Disjunction(operands=operands):
            return all(map(_is_any_of, operands))
    return False


def shares(
    arms: tuple[tree.Arm, ...], findings: Findings, *, covers_all: bool, known: Sequence[float | None]
) -> list[Expected]:
    """For each arm, of the requests that reach its test, the part that takes it.

    What the user says is of those that reach the whole branch, and so is what is `known` of an arm where he says
    nothing; arms without a share, and what comes after the last one unless the arms cover everything, take equal
    parts of what is left. Shares sum up but for the rounding of what is written; where those alone do that are
    written, what does not fit with what is known is another matter (W0504).
    """
    said = [each if arm.share is None else share_of(arm.share, findings) for arm, each in zip(arms, known, strict=True)]
    written = [arm.share for arm in arms if arm.share is not None]
    rounded = _CLOSE + sum(half_a_digit(share.span) for share in written)
    by_hand = sum(share for arm, share in zip(arms, said, strict=True) if arm.share is not None and share is not None)
    if by_hand > 1 + rounded:
        help = "each is a part of the requests that reach the `if`"
        findings.add("E0502", f"the shares of this branch sum to {by_hand:g}", written[-1].span, help=help)
    elif covers_all and len(written) == len(arms) and None not in said and by_hand < 1 - rounded:
        message = f"the shares of this branch sum to {by_hand:g}, but its tests cover every label"
        help = f"leave this one out: it is {1 - by_hand + (said[-1] or 0.0):g}"
        findings.add("E0502", message, written[-1].span, help=help)
    is_written = [arm.share is not None for arm in arms]
    return _expected(said, is_written, said.count(None) + (0 if covers_all else 1))


def _expected(said: Sequence[float | None], is_written: Sequence[bool], silent: int) -> list[Expected]:
    """Of those that reach each test, by what is said of those that reach the first; so many arms are `silent`.

    What comes after the last one counts as an arm, unless nothing does. What is not written of an arm, though it is
    known, may be another share where the pipeline is called.
    """
    later = sum(share for share in said if share is not None)
    each = max(0.0, 1.0 - later) / silent if silent else 0.0
    left, is_behind = 1.0, False
    expected = []
    for at, (share, written) in enumerate(zip(said, is_written, strict=True)):
        part, arm = (each if share is None else share), None
        if is_behind and share is not None:
            arm = Arm(at, share) if written else None
        elif is_behind and later > _CLOSE:
            arm = Arm(at, -later / silent, 1.0 / silent)
        expected.append(Expected(min(1.0, part / left) if left > _CLOSE else 0.0, arm))
        left -= part
        if share is None:
            silent, is_behind = silent - 1, True
        else:
            later, is_behind = later - share, is_behind or not written
    return expected


def share_of(given: tree.Amount, findings: Findings) -> float | None:
    """A share as the user wrote it; None, and a finding, where it is none."""
    share = amount(given, SHARE, "a share", findings)
    if share is None:
        return None
    if not 0 <= share <= 1:
        if given.span.source.text[given.span.end :].lstrip(" ").startswith("%"):
            # The sign is no character of the language, which is reported with what to write instead.
            return None
        percent = 2 <= share <= 100 and float(share).is_integer()
        help = f"write `~ {share / 100:g}`" if percent else "write a number such as `~ 0.3`"
        findings.add("E0501", f"a share is from 0 to 1, not {given.raw}", given.span, help=help)
        return None
    return share


class Path(msgspec.Struct, frozen=True):
    """One way through a branch that goes on after it. The last way of a branch has no condition."""

    condition: int | None
    share: float
    scope: Scope


def merge(paths: list[Path], into: Scope, nodes: Nodes, span: Span) -> None:
    """Bind in the block around a branch what each name is after it."""
    names = dict.fromkeys(name for path in paths for name in path.scope.bindings)
    into.narrowed |= _known_on_all(paths, into, names)
    line = span.source.position(span.start)[0]
    for name in names:
        bindings = [path.scope.find(name) for path in paths]
        bound = [binding for binding in bindings if binding is not None]
        variables = tuple(dict.fromkeys(variable for binding in bound for variable in binding.variables))
        unusable = next((binding for binding in bound if binding.value is None), None)
        if len(bound) < len(bindings):
            why = f"E0206 `{name}` is bound only on some paths through the `if` of line {line}"
            into.bind(name, Binding(variables, None, why, bound[0].variables[0].span))
        elif unusable is not None:
            into.bind(name, Binding(variables, None, unusable.why, unusable.at))
        else:
            values = [value for binding in bound if (value := binding.within(nodes)) is not None]
            into.bind(name, _merged(name, variables, values, paths, nodes, span))


def _known_on_all(paths: list[Path], into: Scope, bound: Container[str]) -> Narrowed:
    """What the tests say of names that no path binds, whichever path was taken."""
    found = {}
    for name in dict.fromkeys(name for path in paths for name in path.scope.narrowed if name not in bound):
        known, before = [path.scope.find(name) for path in paths], into.find(name)
        types = [binding.value.type for binding in known if binding is not None and binding.value is not None]
        labels = {label for of in types if isinstance(of, Labels) for label in of.labels}
        if before is not None and before.value is not None and isinstance(of := before.value.type, Labels):
            found[name] = Labels(tuple(label for label in of.labels if label in labels))
    return found


def _merged(
    name: str, variables: tuple[Variable, ...], values: list[Value], paths: list[Path], nodes: Nodes, span: Span
) -> Binding:
    of: Type = values[0].type
    for value in values[1:]:
        joined = join(of, value.type)
        if joined is None:
            line = span.source.position(span.start)[0]
            one, another = shown_apart(of, value.type)
            types = f"{one} on one path and {another} on another"
            why = f"E0311 after the `if` of line {line}, `{name}` is {types}"
            return Binding(variables, None, why, variables[-1].span)
        of = joined
    result = values[-1].position
    for path, value in zip(reversed(paths[:-1]), reversed(values[:-1]), strict=True):
        if path.condition is None:
            return Binding(variables, None)
        result = nodes.select(path.condition, value.position, result, of, path.share, span)
    return Binding(variables, Value(result, of), home=nodes)
