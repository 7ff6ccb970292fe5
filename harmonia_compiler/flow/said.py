"""What the source says of how often tests hold, by the value that they ask about.

A share is of those that reach its branch. What reaches it may have been told by tests of the same value before, so that
each comes with those, and by those of other values: these leave its share as it is, unless another one is said
elsewhere (`apart.py`).
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from harmonia_compiler.contract.program import Constant, Select
from harmonia_compiler.contract.types import Labels
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.arms import is_unheard
from harmonia_compiler.flow.asked import Asked, Test, settled, type_of
from harmonia_compiler.flow.dominators import THEN, dominators
from harmonia_compiler.flow.expand import Expanded, Item
from harmonia_compiler.flow.graph import EVEN, MOST_THROUGH, Node, Passed, Written
from harmonia_compiler.flow.labels import LabelSet, OfLabels, SaidOfLabels
from harmonia_compiler.flow.reached import Fact, Step, TooFarError, Ways, among, merged, questions_of
from harmonia_compiler.flow.returned import Returned
from harmonia_compiler.flow.turns import in_turn

#: In so many steps at most the ways are looked through to all places where something is said of a value.
_MOST_STEPS = 300_000


class Saying(NamedTuple):
    """How often a test of a value holds of those for which tests of it had the answers that are so `before`."""

    test: Test
    share: float
    before: tuple[Step, ...] = ()


class OfBranch(NamedTuple):
    """What is written of an arm behind silent ones: a share of the requests that are `around` its branch takes it."""

    around: tuple[Step, ...]
    share: float


class Statement(NamedTuple):
    """What a branch says `at` a place of those requests of which all that is `reached` is so, the outermost first.

    It is of a test of a value or, where it `is_made`, of a condition that is made of others: that of the choice at
    `select`, or of its negation. What it says of the value alone is the `saying`. Where it `is_mixed`, that is not all,
    since tests of the value and of others tell its requests together; and where it is not `is_told`, more is so of them
    than is known. Behind silent arms the saying rests on what is guessed of these: what is written is `of_branch`.
    """

    asked: Asked
    saying: Saying
    at: Span | None
    reached: tuple[Step, ...]
    select: int | None = None
    is_made: bool = False
    is_mixed: bool = False
    is_told: bool = True
    is_negated: bool = False
    of_branch: OfBranch | None = None


class _Choice(NamedTuple):
    """What a `Select` asks: its condition, the question without negation, and how often it holds or is taken to.

    `value` is the question without its test: one for all that ask about one value.
    """

    condition: int
    asked: Asked
    value: Asked
    is_negated: bool
    share: float


class Said:
    """What a flow says of values and, in `of_made`, of conditions that are made of others.

    `plain` gives a question in the wording that all have that are alike, and whether that is the negation; `same` what
    a condition has in common with its copies in other rounds of a loop, `values_of` which values it is about.
    """

    def __init__(
        self,
        expanded: Expanded,
        plain: Callable[[Asked], tuple[Asked, bool]],
        same: Callable[[Asked], Hashable],
        values_of: Callable[[Asked], Collection[tuple[int, tuple[str, ...]]]],
    ) -> None:
        nodes, result = expanded.flow.nodes, expanded.flow.result
        self._nodes, self._result = nodes, result
        self._plain = plain
        self._values_of = values_of
        self._above: Sequence[int] = ()
        # For each node and each arm, numbered as in `dominators`, the nearest arm around it; -1 where there is none.
        self._arms: list[int] = []
        self._choices: dict[int, _Choice] = {}
        self._returned = Returned(expanded)
        self._copies, self._copies_around = expanded.copies, expanded.around
        self._tests = expanded.tests
        #: What is said, in the order of the source.
        self.all: list[Statement] = []
        #: What is said of one or several labels of a value, by tests of it alone, in the same order.
        self.of_labels: list[SaidOfLabels] = []
        #: Questions that are made of tests of one value by its labels alone: these say all of them.
        self.by_labels: set[Asked] = set()
        #: How often conditions hold that are made of others, by what `same` gives of them.
        self.of_made: dict[Hashable, float] = {}
        #: What is so of the requests that reach the branches of arms behind silent ones, and these arms.
        self.arms: dict[int, tuple[tuple[Step, ...], tuple[Step, ...]]] = {}
        self._unheard = {self._asks(at).asked for at, node in enumerate(nodes) if is_unheard(node)}
        ways = Ways(nodes, self._dominators(), result, _MOST_STEPS)
        # Of whom it is not told, and the branch whose arms before say nothing of its requests.
        unknown: dict[int, Span | None] = {}
        at_home = {node.written.at for node in nodes if node.written is not None and _is_at_home(node)}
        in_vain = self._in_vain(expanded.unasked)
        for position in self._in_turn():
            node = nodes[position]
            if not isinstance(node.operation, Select) or node.share is None or position in in_vain:
                continue
            if node.written is not None and node.written.at in at_home and not _is_at_home(node):
                # What is said of a named test is of those where it is said.
                continue
            passed_over = self._arms_passed_over(position, ways)
            if node.guessed:
                continue
            asked, share = self._asks(position).asked, self._asks(position).share
            operation = nodes[asked.position].operation
            if isinstance(operation, Constant):
                continue
            is_made = isinstance(operation, Select)
            if is_made and passed_over is None:
                self.of_made.setdefault(same(asked), share)
            try:
                reached, is_all = self._reached(position, ways, but=passed_over)
            except TooFarError:
                if not is_made:
                    unknown[position] = passed_over
                    continue
                reached, is_all = self._nearest(position), False
            if is_made:
                saying = Saying(asked.test, share)
                self._say(Statement(asked, saying, self._at(position), reached, position, is_made=True))
                if is_all:
                    self._hear_labels(position, reached)
            else:
                self._hear(position, reached, is_all=is_all)
        self._hear_by_arms(unknown)

    def _in_vain(self, unasked: Iterable[int]) -> set[int]:
        """What only a next round would need, in the last one of a loop: it says nothing of whom a share is of.

        Unless nothing that is needed has that share. The ends of rounds are `unasked` that are the last anyway.
        """
        nodes = self._nodes
        needed = [at for at in range(len(nodes)) if self._is_needed(at)]
        taken = {nodes[at].written for at in needed} - {None}
        unneeded = {*range(len(nodes))}.difference(needed).union(*map(self._of_test, unasked))
        return {at for at in unneeded if nodes[at].written in taken}

    def _of_test(self, test: int) -> set[int]:
        """The node that says whether a round is the last and, where rounds may return, that of its `until` alone."""
        operation = self._nodes[test].operation
        if isinstance(operation, Select) and self._nodes[operation.then].operation == Constant(value=True):
            return {test, operation.otherwise}
        return {test}

    def _is_needed(self, position: int) -> bool:
        """Whether anything on the way to the result reads a node."""
        return position == self._result or self._dominators()[3 * position] >= 0

    def _in_turn(self) -> Iterator[int]:
        """The nodes as they stand in the source, but each share behind what says which requests reach it.

        A pipeline may stand before the one that calls it.
        """
        places = sorted(range(len(self._nodes)), key=self._place)
        # Of each source where shares stand, and whose they are.
        starts: dict[str, list[int]] = {}
        said: dict[str, list[int]] = {}
        for position in places:
            if (written := self._nodes[position].written) is not None:
                starts.setdefault(written.at.source.name, []).append(written.at.start)
                said.setdefault(written.at.source.name, []).append(position)
        opened: set[Span] = set()

        def rests_on(position: int) -> list[int]:
            written, found = self._nodes[position].written, list[int]()
            if written is None:
                return found
            # What stands around a share, or before it in its pipeline, goes before it as it is.
            for branch in (each.branch for each in written.through):
                if branch not in opened and not _is_in(written.at, branch):
                    opened.add(branch)
                    within = starts.get(branch.source.name, [])
                    first, last = bisect_left(within, branch.start), bisect_left(within, branch.end)
                    found += said.get(branch.source.name, [])[first:last]
            return found

        return in_turn(places, rests_on)

    def _place(self, position: int) -> int:
        """Where a share stands in its source, or else its choice among the nodes."""
        written = self._nodes[position].written
        return position if written is None else written.at.start

    def _hear(self, select: int, reached: tuple[Step, ...], *, is_all: bool) -> None:
        """Take what is said of a value, of the requests of which that is so which reach a choice."""
        choice = self._asks(select)

        def is_own(asked: Asked) -> bool:
            return replace(asked, test=None) == choice.value

        carried = [fact for fact in self._gone_on(select) if is_own(fact.asked) and fact not in reached]
        reached = (*carried, *reached)
        if is_all and (of_labels := self._of_labels(choice.value)) is not None:
            reached = of_labels.told(reached)
        if any(is_own(asked) and asked in self._unheard for asked in questions_of(reached)):
            # Its share is of those for whom a guess holds, until that arm is heard.
            return
        before = among(reached, lambda fact: is_own(fact.asked))
        # What items are is drawn for each by itself, whatever is so of their request.
        is_told, is_all = is_all, is_all and not isinstance(self._nodes[choice.asked.position].operation, Item)
        is_mixed = is_all and self._mixes(reached, choice.value)
        saying = Saying(choice.asked.test, choice.share, before)
        told = reached if is_all else before
        self._say(Statement(choice.asked, saying, self._at(select), told, select, is_mixed=is_mixed, is_told=is_told))
        if not is_mixed:
            self._hear_labels(select, before)

    def _hear_labels(self, select: int, reached: tuple[Step, ...]) -> None:
        """Take what a choice says of labels of a value; and what its branch says of those left, without a test."""
        choice, written, labels_asked = self._asks(select), self._nodes[select].written, self._labels_asked(select)
        if labels_asked is None:
            return
        of_labels, holding = labels_asked
        value, reached = of_labels.value, of_labels.told(reached)
        before = among(reached, lambda fact: replace(fact.asked, test=None) == value)
        if self._mixes(reached, value) or not self._unheard.isdisjoint(questions_of(before)):
            return
        left = of_labels.left(before)
        self.by_labels |= {choice.asked}
        said = [(left & holding, choice.share)]
        if written is not None and written.says_rest:
            said.append((left - holding, 1.0 - choice.share))
        if left - holding:
            is_behind = select in self.arms
            self.of_labels += (SaidOfLabels(value, labels, share, left, is_behind) for labels, share in said if labels)

    def _mixes(self, steps: Sequence[Step], value: Asked) -> bool:
        """Whether tests of a value and of others tell together which requests those are."""
        place = value.position, value.fields
        for asked in (questions_of([step]) for step in steps):
            is_own = {replace(each, test=None) == value for each in asked}
            if False in is_own and any(place in self._values_of(each) for each in asked):
                return True
        return False

    def _gone_on(self, select: int) -> Iterator[Fact]:
        """What was not so at the ends of the rounds before a choice: else there was no next one."""
        copy = self._copies[select]
        while copy >= 0:
            for test in self._tests[copy]:
                asked, is_negated = self._plain(Asked(test))
                yield Fact(asked, holds=is_negated, share=EVEN)
            copy = self._copies_around[copy]

    def _say(self, one: Statement) -> None:
        """Take what is said at a choice, with what is written of it."""
        assert one.select is not None
        arm, of_branch = self._nodes[one.select].arm, None
        if arm is not None and one.select in self.arms:
            of_branch = OfBranch(self.arms[one.select][0], arm.fixed)
        self.all.append(one._replace(is_negated=self._asks(one.select).is_negated, of_branch=of_branch))

    def _at(self, select: int) -> Span | None:
        """Where the share of a choice stands."""
        written = self._nodes[select].written
        return None if written is None else written.at

    def _reached(self, select: int, ways: Ways, but: Span | None = None) -> tuple[tuple[Step, ...], bool]:
        """What is so of the requests that reach a choice, by the branches that say which ones do; whether that is all.

        What one branch says may be left out. Raises TooFarError where those are not told, too.
        """
        written = self._nodes[select].written
        if written is None or len(written.through) > MOST_THROUGH:
            raise TooFarError
        if not written.through:
            return (), True
        seen: set[Span] = set()
        branches = [each.branch for each in written.through]

        def fact(arm: int) -> Fact | None:
            by = self._leads(arm // 3, select, written, branches)
            if by is None:
                return None
            seen.add(by)
            return self._fact(arm) if by != but else None

        found = ways.to(select, fact)
        for passed in written.through:
            # What ways tell may be lost among those that ask whether the round has returned.
            is_open = passed.branch not in seen or self._returned.has(passed.branch)
            if is_open and (told := self._in_round(passed, select)):
                seen.add(passed.branch)
                found += tuple(step for step in told if step not in found) if passed.branch != but else ()
        return found, seen.issuperset(branches)

    def _in_round(self, passed: Passed, select: int) -> tuple[Step, ...]:
        """What a branch says of the requests that reach a choice in a round of a loop that may return."""
        if passed.failed is not None:
            return tuple(map(self._fact, self._returned.arms_to(passed, select)))
        return merged(tuple(map(self._fact, way)) for way in self._returned.ways_past(passed.branch, select))

    def _of_arm(self, select: int, ways: Ways) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
        """What is so of the requests that reach the branch of a choice, and it; by the arms around if no more is told.

        The tests of the branch may say on which way a request has reached it.
        """
        branch = self._nodes[select].span
        try:
            reached, is_all = self._reached(select, ways)
            around, _ = self._reached(select, ways, but=branch)
        except TooFarError:
            is_all = False
        if not is_all:
            reached = self._nearest(select)
            around = tuple(step for step in reached if not isinstance(step, Fact) or step.branch != branch)
        return around, reached

    def _arms_passed_over(self, select: int, ways: Ways) -> Span | None:
        """Note what reaches an arm behind silent ones; or give its branch, if those say nothing of its requests.

        Where one label is so no other one is: the share of an arm for labels is of all that reach the branch, as it is
        written, if all arms before are for others.
        """
        node = self._nodes[select]
        if node.arm is None:
            return None
        around, reached = self._of_arm(select, ways)
        if not self._excludes_arms(select, reached):
            self.arms[select] = around, reached
            return None
        self._choices[select] = self._asks(select)._replace(share=node.arm.fixed)
        return node.span

    def _excludes_arms(self, select: int, reached: tuple[Step, ...]) -> bool:
        """Whether a choice asks for labels, with none of which a test of its branch before it holds."""
        choice, node = self._asks(select), self._nodes[select]
        before = [step for step in reached if isinstance(step, Fact) and step.branch == node.span]
        labels_asked = self._labels_asked(select)
        if node.number != len(before) or choice.is_negated or labels_asked is None:
            return False
        of_labels, holding = labels_asked
        others = [None if fact.holds else of_labels.holding(fact.asked) for fact in before]
        return all(each is not None and each.isdisjoint(holding) for each in others)

    def _labels_asked(self, select: int) -> tuple[OfLabels, LabelSet] | None:
        """The value that a choice asks about, and with which of its labels that holds; None if it asks about others."""
        choice = self._asks(select).asked
        asked = (Asked(*each) for each in self._values_of(choice))
        values = {each for each in asked if settled(self._nodes, each) is None}
        of_labels = self._of_labels(*values) if len(values) == 1 else None
        holding = None if of_labels is None else of_labels.holding(choice)
        return None if of_labels is None or holding is None else (of_labels, holding)

    def _of_labels(self, value: Asked) -> OfLabels | None:
        """A value by its labels; None of one that has none."""
        of = type_of(self._nodes, value)
        return OfLabels(self._nodes, self._plain, value, of.labels) if isinstance(of, Labels) else None

    def _leads(self, other: int, select: int, written: Written, branches: Sequence[Span]) -> Span | None:
        """Which of the branches before a choice says by another one which requests reach it, if one does."""
        branch = self._nodes[other].span
        if branch is None or self._asks(other).condition >= select:
            return None
        if branch == self._nodes[select].span and not self._is_arm_before(other, select):
            return None
        if branch in branches:
            return branch
        # Inside of one that returns. Places of two pipelines are not compared: a call leads from one to the other.
        is_before = branch.start < written.at.start
        return next(
            (each for each in branches if _is_in(branch, each) and (is_before or not _is_in(written.at, each))),
            None,
        )

    def _is_arm_before(self, other: int, select: int) -> bool:
        """Whether a choice is of an earlier arm of the branch of another one: a return behind both may ask either."""
        first, second = self._nodes[other].number, self._nodes[select].number
        return first is not None and second is not None and first < second

    def _fact(self, arm: int) -> Fact:
        """What an arm says."""
        choice = self._asks(arm // 3)
        holds = (arm % 3 == THEN) != choice.is_negated
        return Fact(choice.asked, holds, choice.share, self._nodes[arm // 3].span)

    def _hear_by_arms(self, written: Mapping[int, Span | None]) -> None:
        """Take what is said where it is not told which requests it is of: by the arms around each, whatever else is so.

        The earlier tests of the same value count that have one answer whenever a choice is reached. What comes later in
        the source may stand around it, too: of what a name is bound to twice the last one counts. On one walk inwards:
        there may be so many arms around each that none may look through all of them.
        """
        wanted = {3 * position for position in written}
        inside: dict[int, list[int]] = {}
        for number, arm in enumerate(self._nearest_arms() if wanted else ()):
            if number in wanted or (number % 3 and isinstance(self._nodes[number // 3].operation, Select)):
                inside.setdefault(arm, []).append(number)
        found: dict[int, tuple[Step, ...]] = {}
        # The arms around the one that is looked at, the outermost first.
        of_value: dict[Asked, list[int]] = {}
        pending = inside.get(-1, [])
        while pending:
            number = pending.pop()
            position = (number if number >= 0 else ~number) // 3
            group = of_value.setdefault(self._asks(position).value, [])
            if number in wanted:
                branch = written[position]
                found[position] = tuple(
                    self._fact(arm)
                    for arm in group
                    if self._is_earlier(arm // 3, position) and (branch is None or self._nodes[arm // 3].span != branch)
                )
            elif number < 0:
                group.pop()
            else:
                group.append(number)
                pending += [~number, *inside.get(number, [])]
        for position, before in sorted(found.items(), key=lambda one: one[0]):
            self._hear(position, before, is_all=False)

    def _is_earlier(self, other: int, select: int) -> bool:
        return self._asks(other).condition < self._asks(select).condition

    def _nearest(self, select: int) -> tuple[Step, ...]:
        """The answers of earlier tests among the nearest arms around a choice, and of those of its branch."""
        arms, arm = list[int](), self._nearest_arms()[3 * select]
        while arm >= 0 and len(arms) < MOST_THROUGH:
            arms.append(arm)
            arm = self._arms[arm]
        branch, nodes = self._nodes[select].span, self._nodes
        return tuple(
            self._fact(arm)
            for arm in reversed(arms)
            if self._is_earlier(arm // 3, select) or (branch is not None and nodes[arm // 3].span == branch)
        )

    def around(self, select: int) -> Iterator[Fact]:
        """What has one answer whenever a choice is reached; the innermost first."""
        arm = self._nearest_arms()[3 * select]
        while arm >= 0:
            yield self._fact(arm)
            arm = self._arms[arm]

    def _dominators(self) -> Sequence[int]:
        if not self._above:
            self._above = dominators(self._nodes, self._result)
        return self._above

    def _nearest_arms(self) -> Sequence[int]:
        if not self._arms:
            above = self._dominators()
            self._arms = [-1] * len(above)
            # What is around a node is read later than it.
            for position in range(self._result, -1, -1):
                for number in range(3 * position, 3 * position + 3):
                    outer = above[number]
                    self._arms[number] = outer if outer % 3 else self._arms[outer]
        return self._arms

    def _asks(self, select: int) -> _Choice:
        if select not in self._choices:
            node = self._nodes[select]
            assert isinstance(node.operation, Select)
            asked, is_negated = self._plain(Asked(node.operation.condition))
            share = EVEN if node.share is None else node.share
            share = 1.0 - share if is_negated else share
            self._choices[select] = _Choice(
                node.operation.condition, asked, replace(asked, test=None), is_negated, share
            )
        return self._choices[select]


def _is_in(place: Span, around: Span) -> bool:
    return place.source.name == around.source.name and around.start <= place.start and place.end <= around.end


def _is_at_home(node: Node) -> bool:
    """Whether a choice is of the branch in which its share is written."""
    return node.written is not None and node.span is not None and _is_in(node.written.at, node.span)
