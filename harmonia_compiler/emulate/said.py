"""What the conditions of a flow say of what its calls answer: how often yes, one label or another, less than a bound.

The flow says how often each condition holds. Tests of one call are taken at their word. Of a condition that is made of
several, what some are known to do leaves what the others must; what nothing is known of decides alike.
"""

import math
from collections.abc import Mapping

import msgspec

from harmonia_compiler.contract.program import Call, Compare, Constant, GetField, Not, Operation, Select
from harmonia_compiler.contract.types import Value
from harmonia_compiler.flow.demand import Demand

#: What is said of one value: how often it is true, which text, or below a bound, by the field of the
#: result that is meant ("" for the result itself).
Said = dict[tuple[str, "str | float | None"], float]

_BOTH = {True, False}
#: Conditions that alternate between `and` and `or` more often decide next to nothing by what is innermost.
_DEEPEST = 32


class _Atom(msgspec.Struct, frozen=True):
    """A test of a call's result, or of a field of it: true, below a bound, or one of some texts."""

    call: int
    field: str
    tested: frozenset[str] | float | None
    negated: bool


class _Several(msgspec.Struct, frozen=True):
    """Tests of which all must hold, or any. None stands for one that is decided by something else than calls."""

    every: bool
    parts: tuple["_Test | None", ...]


_Test = _Atom | _Several

#: A condition by its position, and whether its negation is meant.
_Meant = tuple[int, bool]


def said_of_calls(demand: Demand) -> dict[int, Said]:
    """What the conditions of a flow say of the result of each call, by the call's position.

    What is said of one result comes first, and then what is said of several at once.
    """
    nodes = [node.operation for node in demand.expanded.flow.nodes]
    found: dict[int, Said] = {}
    several: list[tuple[_Test, float]] = []
    for position, chances in demand.likely.items():
        for text, share in chances.items():
            test = _test(nodes, (position, False)) if text is None else _compared(nodes, position, text)
            if isinstance(test, _Atom) and not _is_of_several(test):
                _tell(found, test, share)
            elif test is not None:
                several.append((test, share))
    for test, share in sorted(several, key=lambda each: _unknown(found, each[0])):
        _solve(found, test, share)
    return found


def _test(nodes: list[Operation], meant: _Meant, depth: int = 0) -> _Test | None:
    """The test that a condition is."""
    meant = _plain(nodes, meant)
    made = _made_of(nodes, meant)
    if made is None:
        return _atom(nodes, meant)
    if depth == _DEEPEST:
        return None
    every, agenda = made[0], [*made[1]]
    parts: list[_Test | None] = []
    while agenda:
        side = _plain(nodes, agenda.pop())
        inner = _made_of(nodes, side)
        if inner is not None and inner[0] == every:
            agenda += inner[1]
        else:
            parts.append(_test(nodes, side, depth + 1))
    return _joined(parts, every=every)


def _joined(parts: list[_Test | None], *, every: bool) -> _Test:
    """The parts as one; whether a value is one text or another, of which it is never both, is one test."""
    found: list[_Test | None] = []
    texts: dict[tuple[int, str], frozenset[str]] = {}
    for part in parts:
        if isinstance(part, _Atom) and isinstance(part.tested, frozenset) and part.negated == every:
            source = part.call, part.field
            texts[source] = texts.get(source, frozenset()) | part.tested
        else:
            found.append(part)
    found += [_Atom(*source, among, negated=every) for source, among in texts.items()]
    return found[0] if len(found) == 1 and found[0] is not None else _Several(every, tuple(found))


def _plain(nodes: list[Operation], meant: _Meant) -> _Meant:
    """The condition without what only renames or negates it."""
    position, negated = meant
    while True:
        match nodes[position]:
            case Not(operand):
                position, negated = operand, not negated
            case Select(condition, then, otherwise) if {_constant(nodes, then), _constant(nodes, otherwise)} == _BOTH:
                position, negated = condition, negated ^ (_constant(nodes, then) is False)
            case Compare("==" | "!=" as operator, left, right) if sides := _compared_truth(nodes, left, right):
                position, negated = sides[0], negated ^ (sides[1] == (operator == "!="))
            case _:
                return position, negated


def _compared_truth(nodes: list[Operation], left: int, right: int) -> tuple[int, bool] | None:
    """What is compared with a truth value, and with which."""
    for one, other in ((left, right), (right, left)):
        value = _constant(nodes, other)
        if isinstance(value, bool):
            return one, value
    return None


def _made_of(nodes: list[Operation], meant: _Meant) -> tuple[bool, tuple[_Meant, _Meant]] | None:
    """The two conditions that one is made of, and whether both must hold; None where it is not made of two."""
    position, negated = meant
    operation = nodes[position]
    if not isinstance(operation, Select):
        return None
    then, otherwise = _constant(nodes, operation.then), _constant(nodes, operation.otherwise)
    if isinstance(otherwise, bool):
        # `c and then`, or `not c or then`; and the negation of either.
        return negated == otherwise, ((operation.condition, negated ^ otherwise), (operation.then, negated))
    if isinstance(then, bool):
        # `c or otherwise`, or `not c and otherwise`.
        return negated == then, ((operation.condition, negated ^ (not then)), (operation.otherwise, negated))
    return None


def _atom(nodes: list[Operation], meant: _Meant) -> _Atom | None:
    position, negated = meant
    match nodes[position]:
        case Call() | GetField() if (source := _source(nodes, position)) is not None:
            return _Atom(*source, None, negated)
        case Compare("==" | "!=" as operator, left, right):
            for one, other in ((left, right), (right, left)):
                text = _constant(nodes, other)
                if isinstance(text, str):
                    return _compared(nodes, one, text, negated=negated ^ (operator == "!="))
        case Compare(operator, left, right):
            for one, other, below in ((left, right, operator[0] == "<"), (right, left, operator[0] == ">")):
                bound = nodes[other]
                if isinstance(bound, Constant) and (source := _source(nodes, one)) is not None:
                    return _Atom(*source, float(bound.value), negated ^ (not below))
    return None


def _compared(nodes: list[Operation], position: int, text: str, *, negated: bool = False) -> _Atom | None:
    source = _source(nodes, position)
    return None if source is None else _Atom(*source, frozenset((text,)), negated)


def _constant(nodes: list[Operation], position: int) -> Value:
    operation = nodes[position]
    return operation.value if isinstance(operation, Constant) else None


def _known(found: Mapping[int, Said], test: _Test | None) -> float | None:
    """How often a test holds, by what is said so far; None where that leaves it open."""
    if test is None:
        return None
    if isinstance(test, _Several):
        parts = [_known(found, part) for part in test.parts]
        chances = [part if test.every else 1.0 - part for part in parts if part is not None]
        if len(chances) < len(parts):
            return None
        return math.prod(chances) if test.every else 1.0 - math.prod(chances)
    said = found.get(test.call, {})
    among = test.tested if isinstance(test.tested, frozenset) else (test.tested,)
    shares = [said[test.field, each] for each in among if (test.field, each) in said]
    if len(shares) < len(among):
        return None
    return 1.0 - min(1.0, sum(shares)) if test.negated else min(1.0, sum(shares))


def _is_of_several(atom: _Atom) -> bool:
    return isinstance(atom.tested, frozenset) and len(atom.tested) > 1


def _unknown(found: Mapping[int, Said], test: _Test) -> int:
    """How many parts of a test nothing is known of."""
    return sum(_known(found, part) is None for part in (test.parts if isinstance(test, _Several) else (test,)))


def _tell(found: dict[int, Said], atom: _Atom, share: float) -> None:
    """Keep how often a test of one call holds, as far as nothing is said yet."""
    said = found.setdefault(atom.call, {})
    share = 1.0 - share if atom.negated else share
    among = sorted(atom.tested) if isinstance(atom.tested, frozenset) else [atom.tested]
    left = [each for each in among if (atom.field, each) not in said]
    rest = max(0.0, share - sum(said[atom.field, each] for each in among if each not in left))
    said |= {(atom.field, each): rest / len(left) for each in left}


def _solve(found: dict[int, Said], test: _Test, share: float) -> None:
    """Let a test hold so often, by what its parts do that nothing is known of."""
    if isinstance(test, _Atom):
        _tell(found, test, share)
        return
    # That any holds is that not all fail.
    wanted = share if test.every else 1.0 - share
    open_ones: list[_Test | None] = []
    for part in test.parts:
        known = _known(found, part)
        if known is None:
            open_ones.append(part)
        else:
            chance = known if test.every else 1.0 - known
            wanted = min(1.0, wanted / chance) if chance else 1.0
    for part in open_ones:
        if part is not None:
            each = wanted ** (1.0 / len(open_ones))
            _solve(found, part, each if test.every else 1.0 - each)


def _source(nodes: list[Operation], position: int) -> tuple[int, str] | None:
    """The call that a value is the result of, or of whose result it is a field."""
    field = ""
    operation = nodes[position]
    if isinstance(operation, GetField):
        field, position = operation.name, operation.record
    return (position, field) if isinstance(nodes[position], Call) else None
