"""Shares that cannot hold, since what is said elsewhere of the same value leaves their tests another one.

What is found is certain: that the labels of a value sum to more than 1, or to less though they are all that it may be;
that a number is below a bound less often than below a smaller one; that an `until` leaves its test another share behind
the loop. Shares are compared where they are of one value and of the same requests, and no closer than they are written.
How different values go together is not known, so that nothing is said of that.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.program import (
    Argument,
    Attempt,
    Call,
    Each,
    Output,
    Parameter,
    Repeat,
    Select,
    block_of,
    inputs,
)
from harmonia_compiler.contract.types import Labels
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.alike import first_equal
from harmonia_compiler.flow.asked import ITEM, Asked, Test, plain, type_of
from harmonia_compiler.flow.graph import Body, Flow, Written

#: Shares are reckoned with rounding.
_CLOSE = 1e-9

#: So many of the places that a share does not fit with are told.
_MOST_OTHERS = 3


class Disputed(NamedTuple):
    """A share that is said `at` a place, of a test that holds for `found` of what is asked, by what `others` say.

    `test` is what a value is asked, or None where it itself is a truth; where `is_repeated`, one of the others says
    another share of the very same. Where `is_of_class`, the value is a request's class, of which the loads say all.
    """

    at: Span
    found: float
    test: Test
    others: tuple[Span, ...]
    is_repeated: bool
    is_of_class: bool = False


class _Value(NamedTuple):
    """A value by where it is made, `after` which loops it is what they left; of an item, in its list."""

    body: int
    position: int
    fields: tuple[str, ...]
    after: tuple[int, ...] = ()


class _Question(NamedTuple):
    """What is asked of a value, which may be some labels; where `is_negated`, the answer is the other one."""

    value: _Value
    test: Test
    labels: Sequence[str] | None
    is_negated: bool


class _Behind(NamedTuple):
    """The tests of one branch behind which another one stands: so many, all of one value, or of None in particular.

    `are_labels` is whether each is of a label and does not hold; where `are_bounds`, each is of a bound, and what
    stands behind them is not below the greatest one `not_below`, and below the smallest one `below`.
    """

    number: int = 0
    value: _Value | None = None
    are_labels: bool = True
    are_bounds: bool = True
    not_below: float | None = None
    below: float | None = None

    def followed(self, asked: _Question) -> "_Behind":
        """Those and one more, which does not hold."""
        value = asked.value if not self.number or self.value == asked.value else None
        is_label = isinstance(asked.test, str) and not asked.is_negated
        found = self._replace(number=self.number + 1, value=value, are_labels=self.are_labels and is_label)
        if not isinstance(asked.test, float):
            return found._replace(are_bounds=False)
        if asked.is_negated:
            return found._replace(below=asked.test if self.below is None else min(self.below, asked.test))
        return found._replace(not_below=asked.test if self.not_below is None else max(self.not_below, asked.test))


class _Claim(NamedTuple):
    """What is said of a test at a place: how often it holds, and how far that may be from what is meant.

    Where `is_negated`, the place says it of the negation; `is_derived` is what an `until` says of what is behind its
    loop. `behind` are the tests of the same value behind which it stands in its branch.
    """

    at: Span
    test: Test
    share: float
    slack: float
    is_negated: bool
    is_derived: bool = False
    behind: _Behind = _Behind()


class _Said(msgspec.Struct):
    """What has been said so far of one value, of the same requests. `labels` are those that it may be, if listed."""

    labels: frozenset[str] | None
    tests: dict[Test, _Claim] = msgspec.field(default_factory=dict)
    bounds: list[float] = msgspec.field(default_factory=list)
    places: dict[Span, None] = msgspec.field(default_factory=dict)
    named: int = 0
    total: float = 0.0
    slack: float = 0.0
    is_of_class: bool = False

    def hear(self, claim: _Claim) -> Disputed | None:
        """Hold a claim of all that reach a branch against those before; what cannot be is taken as near as can be."""
        before = self.tests.get(claim.test)
        if before is not None:
            low, high, slack = before.share, before.share, before.slack
        elif isinstance(claim.test, float):
            low, high, slack = self._between(claim.test)
        elif isinstance(claim.test, str):
            low, high, slack = self._left(claim.test)
        else:
            low, high, slack = 0.0, 1.0, 0.0
        share = min(max(claim.share, low), high)
        if before is None:
            self._keep(claim._replace(share=share))
        self.places.setdefault(claim.at)
        if abs(share - claim.share) <= claim.slack + slack + _CLOSE:
            return None
        found = 1.0 - share if claim.is_negated else share
        others = tuple(islice((place for place in self.places if place != claim.at), _MOST_OTHERS))
        is_repeated = before is not None and not before.is_derived
        return Disputed(claim.at, found, claim.test, others, is_repeated, self.is_of_class)

    def of_all(self, claim: _Claim) -> _Claim | None:
        """The claim of all that the branch is reached by; None where that does not follow from the tests before."""
        test, behind = claim.test, claim.behind
        if not behind.number:
            return claim
        if isinstance(test, str):
            return claim if behind.are_labels and not claim.is_negated else None
        if test is None or not behind.are_bounds:
            return None
        # Of what reaches the test, what is below its bound, or what is not, is between that and the bound before.
        end, other = (behind.below, behind.not_below) if claim.is_negated else (behind.not_below, behind.below)
        if end is None or other is not None or end not in self.tests or (test < end) != claim.is_negated:
            return None
        known = self.tests[end]
        share = known.share - (1.0 - claim.share) if claim.is_negated else known.share + claim.share
        return claim._replace(share=share, slack=claim.slack + known.slack)

    def _between(self, bound: float) -> tuple[float, float, float]:
        """How often a number is below a bound, at least and at most, and how far that may be from what is meant."""
        at = bisect_left(self.bounds, bound)
        below = self.tests[self.bounds[at - 1]] if at else None
        above = self.tests[self.bounds[at]] if at < len(self.bounds) else None
        slack = max((each.slack for each in (below, above) if each is not None), default=0.0)
        return below.share if below else 0.0, above.share if above else 1.0, slack

    def _left(self, label: str) -> tuple[float, float, float]:
        """The same of a label, by the labels that have been named."""
        left = max(0.0, 1.0 - self.total)
        is_last = self.labels is not None and label in self.labels and self.named + 1 == len(self.labels)
        return left if is_last else 0.0, left, self.slack

    def _keep(self, claim: _Claim) -> None:
        self.tests[claim.test] = claim
        if isinstance(claim.test, str):
            self.named += 1
            self.total += claim.share
            self.slack += claim.slack
        elif isinstance(claim.test, float):
            insort(self.bounds, claim.test)


def disputed(flow: Flow, may_merge: Callable[[Call], bool]) -> list[Disputed]:
    """The shares of a flow that cannot hold, each once. Equal calls give one value where they `may_merge`."""
    said: dict[tuple[_Value, Span | None], _Said] = {}
    claims = [*_Reading(flow, may_merge).claims()]
    # What is said of all requests is held against the loads of the classes.
    of_class = _class_value(flow)
    values: dict[Span, set[_Value]] = {}
    for asked, _, claim in claims:
        values.setdefault(claim.at, set()).add(asked.value._replace(after=()) if claim.is_derived else asked.value)
    found: dict[Span, Disputed] = {}
    heard: set[tuple[Span, bool]] = set()
    for asked, among, claim in sorted(claims, key=lambda one: (one[2].at.source.name, one[2].at.start)):
        # What stands in a pipeline that is called several times is said of several values.
        if (claim.at, claim.is_derived) in heard or len(values[claim.at]) > 1:
            continue
        heard.add((claim.at, claim.is_derived))
        if (asked.value, among) not in said:
            labels = None if asked.labels is None else frozenset(asked.labels)
            is_of_class = labels is not None and among == flow.span and asked.value == of_class
            said[asked.value, among] = _of_class(flow, asked.labels or ()) if is_of_class else _Said(labels)
        row = said[asked.value, among]
        of_all = row.of_all(claim)
        if of_all is not None and (dispute := row.hear(of_all)) is not None:
            found.setdefault(claim.at, dispute)
    return [*found.values()]


def _class_value(flow: Flow) -> _Value | None:
    """The request's class, where the loads say how often it is which."""
    if not flow.class_shares:
        return None
    ports = (at for at, node in enumerate(flow.nodes) if node.operation == Parameter(flow.class_port or ""))
    return next((_Value(len(flow.blocks), at, ()) for at in ports), None)


def _of_class(flow: Flow, labels: Sequence[str]) -> _Said:
    """What the loads of the classes say of a request's: of each class all that is to be said."""
    said = _Said(frozenset(labels), is_of_class=True)
    assert flow.load is not None
    for name, share in flow.class_shares.items():
        rate = flow.load.by_class.get(name)
        if name in labels and rate is not None and rate.at is not None:
            said.hear(_Claim(rate.at, name, share, _half_a_digit(rate.at), is_negated=False, is_derived=True))
    return said


class _Reading:
    """The claims of a flow, by the values that they are about."""

    def __init__(self, flow: Flow, may_merge: Callable[[Call], bool]) -> None:
        self._bodies = flow.bodies
        self._alike = [_alike(body, may_merge) for body in flow.bodies]
        # For each block, what runs it and where.
        self._runners: dict[int, tuple[int, Repeat | Each | Attempt]] = {
            node.operation.block: (index, node.operation)
            for index, body in enumerate(flow.bodies)
            for node in body.nodes
            if isinstance(node.operation, Repeat | Each | Attempt)
        }

    def claims(self) -> Iterator[tuple[_Question, Span | None, _Claim]]:
        """What is said of what is asked, of the requests among those that reach which place."""
        for index, body in enumerate(self._bodies):
            behind: dict[int, _Behind] = {}
            # What a choice falls back on stands before it.
            for position in range(len(body.nodes) - 1, -1, -1):
                node = body.nodes[position]
                written, operation = node.written, node.operation
                is_said = written is not None and not node.guessed and _is_in(written.at, node.span)
                if isinstance(operation, Repeat) and written is not None and is_said:
                    yield from self._of_loop(operation, written)
                if not isinstance(operation, Select):
                    continue
                has_next = body.nodes[operation.otherwise].span == node.span
                if not is_said and not has_next:
                    continue
                asked, before = self._question(index, Asked(operation.condition)), behind.get(position, _Behind())
                if has_next:
                    behind[operation.otherwise] = before.followed(asked)
                is_one = before.value == asked.value or not before.number
                if written is not None and is_said and is_one and before.number == written.behind:
                    share, slack = 1.0 - written.share if asked.is_negated else written.share, _half_a_digit(written.at)
                    claim = _Claim(written.at, asked.test, share, slack, asked.is_negated, behind=before)
                    yield asked, written.among, claim

    def _of_loop(self, loop: Repeat, written: Written) -> Iterator[tuple[_Question, Span | None, _Claim]]:
        block = self._bodies[loop.block]
        last = Asked(block.results[0])
        asked, slack = self._question(loop.block, last), _half_a_digit(written.at)
        share = 1.0 - written.share if asked.is_negated else written.share
        claim = _Claim(written.at, asked.test, share, slack, asked.is_negated)
        yield asked, written.among, claim
        if not _is_made_anew(block, loop.carried):
            return
        behind = 1.0 - (1.0 - written.share) ** loop.limit
        ends = (min(1.0, max(0.0, written.share + each)) for each in (slack, -slack))
        slack = max(abs(1.0 - (1.0 - end) ** loop.limit - behind) for end in ends)
        share = 1.0 - behind if asked.is_negated else behind
        asked = self._question(loop.block, last, after=(loop.block,))
        yield asked, written.around, claim._replace(share=share, slack=slack, is_derived=True)

    def _question(self, index: int, asked: Asked, after: tuple[int, ...] = ()) -> _Question:
        """A question of the value that a block is handed, or that the last round of a loop has left, where it is made.

        An item is one of its list's, in whatever block.
        """
        asked, is_negated = self._plain(index, asked)
        of = type_of(self._bodies[index].nodes, asked)
        while True:
            nodes = self._bodies[index].nodes
            operation = nodes[asked.position].operation
            if isinstance(operation, Output):
                loop = nodes[operation.repeat].operation
                assert isinstance(loop, Repeat)
                index, after = loop.block, (*after, loop.block)
                asked = replace(asked, position=self._bodies[index].results[1 + operation.index])
            elif isinstance(operation, Argument) and not self._is_carried(index, operation):
                after = tuple(block for block in after if block != index)
                index, runner = self._runners[index]
                handed = (*runner.lists, *runner.inputs) if isinstance(runner, Each) else runner.inputs
                is_item = isinstance(runner, Each) and operation.index < len(runner.lists)
                fields = (ITEM, *asked.fields) if is_item else asked.fields
                asked = replace(asked, position=handed[operation.index], fields=fields)
            else:
                value = _Value(index, asked.position, asked.fields, after)
                return _Question(value, asked.test, of.labels if isinstance(of, Labels) else None, is_negated)
            asked, flips = self._plain(index, asked)
            is_negated ^= flips

    def _plain(self, index: int, asked: Asked) -> tuple[Asked, bool]:
        asked, is_negated = plain(self._bodies[index].nodes, asked)
        return replace(asked, position=self._alike[index][asked.position]), is_negated

    def _is_carried(self, index: int, argument: Argument) -> bool:
        """Whether a block is handed in each round what the one before has left."""
        _, runner = self._runners[index]
        return isinstance(runner, Repeat) and argument.index < runner.carried


def _alike(body: Body, may_merge: Callable[[Call], bool]) -> list[int]:
    """For each node the first that is equal to it."""

    def among(position: int) -> int | None:
        operation = body.nodes[position].operation
        is_own = block_of(operation) is not None or (isinstance(operation, Call) and not may_merge(operation))
        return None if is_own else 0

    return first_equal(body.nodes, among)


def _is_made_anew(block: Body, carried: int) -> bool:
    """Whether a call in each round says if it is the last one, by what the round before has left."""
    pending, seen = [block.results[0]], {block.results[0]}
    is_called = has_changed = False
    while pending:
        operation = block.nodes[pending.pop()].operation
        is_called = is_called or isinstance(operation, Call)
        has_changed = has_changed or (isinstance(operation, Argument) and operation.index < carried)
        new = set(inputs(operation)) - seen
        seen |= new
        pending += new
    return is_called and has_changed


def _is_in(place: Span, around: Span | None) -> bool:
    return (
        around is not None
        and place.source.name == around.source.name
        and around.start <= place.start
        and place.end <= around.end
    )


def _half_a_digit(place: Span) -> float:
    """Half a unit of the last digit of what is written: of two digits behind the point at least."""
    try:
        exponent = Decimal(place.source.text[place.start : place.end]).as_tuple().exponent
    except InvalidOperation:
        exponent = -2
    return 0.5 * 10.0 ** min(-2, exponent if isinstance(exponent, int) else -2)
