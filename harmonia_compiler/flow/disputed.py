"""Shares that cannot hold, since what is said elsewhere of the same value leaves their tests another one.

What is found is certain: that the labels of a value sum to more than 1, or to less though they are all that it may be;
that a number is below a bound less often than below a smaller one, or is one number more often than what is said of the
bounds around it leaves; that an `until` leaves its test another share behind the loop. Shares are compared where they
are of one value, or of how two values compare, and of the same requests, and no closer than they are written. How
different values go together is not known, so that nothing is said of that.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import inf
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
from harmonia_compiler.flow.alike import Wordings
from harmonia_compiler.flow.asked import ITEM, Asked, Below, Exactly, Test, type_of
from harmonia_compiler.flow.graph import Body, Flow, Written
from harmonia_compiler.flow.rounding import half_a_digit

#: Shares are reckoned with rounding.
_CLOSE = 1e-9

#: Each number is not below the one, and below the other.
_LEAST, _MOST = Below(-inf), Below(inf)

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

    `are_labels` is whether each is of a label and does not hold; where `are_numbers`, each is of a number, and what
    stands behind them is not below the greatest bound `not_below`, below the smallest one `below`, and no number that
    is `gone`. `fails` is whether the last one is of a truth that does not hold.
    """

    number: int = 0
    value: _Value | None = None
    are_labels: bool = True
    are_numbers: bool = True
    not_below: Below = _LEAST
    below: Below = _MOST
    gone: frozenset[Exactly] = frozenset()
    fails: bool = False

    def followed(self, asked: _Question) -> "_Behind":
        """Those and one more, which does not hold."""
        value = asked.value if not self.number or self.value == asked.value else None
        is_label = isinstance(asked.test, str) and not asked.is_negated
        found = self._replace(number=self.number + 1, value=value, are_labels=self.are_labels and is_label)
        match asked.test:
            case Below() as bound if asked.is_negated:
                return found._replace(below=min(self.below, bound))
            case Below() as bound:
                return found._replace(not_below=max(self.not_below, bound))
            case Exactly(low, high) if asked.is_negated:
                return found._replace(not_below=max(self.not_below, low), below=min(self.below, high))
            case Exactly() as number:
                return found._replace(gone=self.gone | {number})
        return found._replace(are_numbers=False, fails=asked.test is None and not asked.is_negated)

    def leaves(self, number: Exactly) -> bool:
        """Whether a number may stand behind them."""
        return self.not_below <= number.low and number.high <= self.below and number not in self.gone


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


class _Heard(NamedTuple):
    """How often a test holds, and how far that may be from what is meant; `is_derived` as in a claim."""

    share: float
    slack: float = 0.0
    is_derived: bool = False


class _Said(msgspec.Struct):
    """What has been said so far of one value, of the same requests. `labels` are those that it may be, if listed."""

    labels: frozenset[str] | None
    tests: dict[Test, _Heard] = msgspec.field(default_factory=lambda: {_LEAST: _Heard(0.0), _MOST: _Heard(1.0)})
    bounds: list[Below] = msgspec.field(default_factory=lambda: [_LEAST, _MOST])
    numbers: list[Exactly] = msgspec.field(default_factory=list)
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
        else:
            low, high, slack = self._room(claim.test)
        share = min(max(claim.share, low), high)
        if before is None:
            self._keep(claim.test, _Heard(share, claim.slack, claim.is_derived))
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
        if test is None:
            return claim if behind.number == 1 and behind.fails == claim.is_negated else None
        if not behind.are_numbers:
            return None
        if isinstance(test, Exactly):
            return claim if behind.leaves(test) and not claim.is_negated else None
        return self._of_bound(claim, test)

    def _of_bound(self, claim: _Claim, test: Below) -> _Claim | None:
        """The same of a bound. Of what reaches it, what is below, or what is not, is between that and the bound before.

        But for the numbers that are gone.
        """
        behind = claim.behind
        end, other = (behind.below, behind.not_below) if claim.is_negated else (behind.not_below, behind.below)
        low, high = (test, end) if claim.is_negated else (end, test)
        if low > high or other not in (_LEAST, _MOST, test):
            return None
        gone = [each for each in behind.gone if low <= each.low and each.high <= high]
        if not all(each in self.tests for each in (end, *gone)):
            return None
        apart, slack = self._sum(gone)
        share, known = (1.0 - claim.share if claim.is_negated else claim.share), self.tests[end]
        share = known.share - share - apart if claim.is_negated else known.share + share + apart
        return claim._replace(share=share, slack=claim.slack + known.slack + slack)

    def _room(self, test: Test) -> tuple[float, float, float]:
        """How often a new test holds, at least and at most, and how far that may be from what is meant."""
        match test:
            case str():
                left = max(0.0, 1.0 - self.total)
                is_last = self.labels is not None and test in self.labels and self.named + 1 == len(self.labels)
                return left if is_last else 0.0, left, self.slack
            case Below() | Exactly():
                return self._between(test)
        return 0.0, 1.0, 0.0

    def _between(self, test: Below | Exactly) -> tuple[float, float, float]:
        """The same of a test of a number, by the nearest bounds and the numbers between them."""
        low, high = (test, test) if isinstance(test, Below) else test
        least, most = self.bounds[bisect_right(self.bounds, low) - 1], self.bounds[bisect_left(self.bounds, high)]
        at = bisect_left(self.numbers, low, key=_low)
        smaller, slack_of_smaller = self._sum(self.numbers[bisect_left(self.numbers, least, key=_low) : at])
        greater, slack_of_greater = self._sum(self.numbers[at : bisect_left(self.numbers, most, key=_low)])
        low_share, low_slack = self.tests[least].share + smaller, self.tests[least].slack + slack_of_smaller
        high_share, high_slack = self.tests[most].share - greater, self.tests[most].slack + slack_of_greater
        if isinstance(test, Exactly):
            room = max(0.0, high_share - low_share)
            return room if (least, most) == test else 0.0, room, low_slack + high_slack
        # Between a bound and the next one there may be no more than one number.
        if Exactly(least, test) in self.tests:
            high_share = low_share
        elif Exactly(test, most) in self.tests:
            low_share = high_share
        return low_share, high_share, max(low_slack, high_slack)

    def _sum(self, tests: Sequence[Test]) -> tuple[float, float]:
        """How often one of several tests holds that exclude each other, and how far that may be from what is meant."""
        return sum(self.tests[each].share for each in tests), sum(self.tests[each].slack for each in tests)

    def _keep(self, test: Test, heard: _Heard) -> None:
        self.tests[test] = heard
        if isinstance(test, str):
            self.named += 1
            self.total += heard.share
            self.slack += heard.slack
        elif isinstance(test, Below):
            insort(self.bounds, test)
        elif isinstance(test, Exactly):
            insort(self.numbers, test)


def _low(number: Exactly) -> Below:
    return number.low


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
            said.hear(_Claim(rate.at, name, share, half_a_digit(rate.at), is_negated=False, is_derived=True))
    return said


class _Reading:
    """The claims of a flow, by the values that they are about."""

    def __init__(self, flow: Flow, may_merge: Callable[[Call], bool]) -> None:
        self._bodies = flow.bodies
        self._wordings = [_wordings(body, may_merge) for body in flow.bodies]
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
                    share, slack = 1.0 - written.share if asked.is_negated else written.share, half_a_digit(written.at)
                    claim = _Claim(written.at, asked.test, share, slack, asked.is_negated, behind=before)
                    yield asked, written.among, claim

    def _of_loop(self, loop: Repeat, written: Written) -> Iterator[tuple[_Question, Span | None, _Claim]]:
        block = self._bodies[loop.block]
        last = Asked(block.results[0])
        asked, slack = self._question(loop.block, last), half_a_digit(written.at)
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
        asked, is_negated = self._wordings[index].plain(asked)
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
            asked, flips = self._wordings[index].plain(asked)
            is_negated ^= flips

    def _is_carried(self, index: int, argument: Argument) -> bool:
        """Whether a block is handed in each round what the one before has left."""
        _, runner = self._runners[index]
        return isinstance(runner, Repeat) and argument.index < runner.carried


def _wordings(body: Body, may_merge: Callable[[Call], bool]) -> Wordings:
    """The questions of a body, each in one wording."""

    def among(position: int) -> int | None:
        operation = body.nodes[position].operation
        is_own = block_of(operation) is not None or (isinstance(operation, Call) and not may_merge(operation))
        return None if is_own else 0

    return Wordings(body.nodes, among)


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
