"""`if … elif … else`: its tests one after the other, the blocks of its arms, and what it answers."""

from collections.abc import Sequence

from harmonia_compiler.check.answers import Answer, Choice, Taken
from harmonia_compiler.check.branches import Expected, Path, chain, merge, said_before_silent, shares
from harmonia_compiler.check.classes import class_shares
from harmonia_compiler.check.foregone import warn_of_foregone
from harmonia_compiler.check.narrowing import Narrowed, is_impossible
from harmonia_compiler.check.nodes import MOST_NODES, TooLarge, past
from harmonia_compiler.check.rounds import Reader
from harmonia_compiler.check.scope import Scope
from harmonia_compiler.check.unreached import pass_over, report_never, report_unreached
from harmonia_compiler.contract.types import Bool
from harmonia_compiler.diagnostics.source import Span
from harmonia_compiler.flow.graph import Passed, Written
from harmonia_compiler.syntax import tree


def read_branch(reader: Reader, statement: tree.If, scope: Scope) -> tuple[Choice | None, bool]:
    """Lower the arms, bind what names are afterwards, and give what they answer and whether some path goes on."""
    return _Branch(reader, statement, scope).read()


class _Branch:
    """The reading of one branch. `paths` go on after it; `whole` is false where a test could not be read."""

    def __init__(self, reader: Reader, statement: tree.If, scope: Scope) -> None:
        self.reader = reader
        self.values = reader.values
        self.nodes = reader.values.nodes
        self.statement = statement
        self.scope = scope
        self.paths: list[Path] = []
        self.taken: list[Taken] = []
        self.effects: list[tuple[int, float, int]] = []
        self.whole = True
        self.tests = 0
        self.among = reader.values.nodes.among
        self.through = reader.values.nodes.through

    def read(self) -> tuple[Choice | None, bool]:
        statement, reader = self.statement, self.reader
        # Of each arm a test and a choice, before it is found what all tests leave of all labels.
        if 2 * len(statement.arms) > MOST_NODES:
            raise TooLarge
        tests = chain(statement, self.scope)
        covers_all = tests.is_exhausted and statement.otherwise is None
        if covers_all:
            self.statement = statement = said_before_silent(statement, self.scope)
            tests = chain(statement, self.scope)
        known = class_shares(
            [arm.test for arm in statement.arms],
            [entry.asked for entry in tests.entries],
            self.scope,
            reader.class_port,
            reader.clauses.load,
        )
        expected = shares(statement.arms, reader.findings, covers_all=covers_all, known=known)
        for at, (arm, entry, each) in enumerate(zip(statement.arms, tests.entries, expected, strict=True)):
            if is_impossible(entry.asked):
                help = "every label is taken by the arms before; delete this one"
                what = "nothing reaches this test"
                report_unreached(self.values, arm.test, *statement.arms[at:], scope=self.scope, what=what, help=help)
                break
            self.arm(at, entry.asked, entry.inside, each, behind=len(statement.arms) - 1 - at if covers_all else None)
        otherwise = self.otherwise(tests.left, covers_all=covers_all)
        self.nodes.among, self.nodes.through = self.among, self.through
        self.join_effects(statement.span)
        if not self.whole:
            reader.whole = False
            self.paths = [Path(None, path.share, path.scope) for path in self.paths]
        merge(self.paths, self.scope, self.nodes, statement.span)
        goes_on = bool(self.paths)
        if otherwise is None and all(arm.answer is None for arm in self.taken):
            return None, goes_on
        if covers_all and self.taken:
            return Choice(tuple(self.taken[:-1]), self.taken[-1].answer, statement.span), goes_on
        return Choice(tuple(self.taken), otherwise, statement.span), goes_on

    def arm(self, number: int, asked: Narrowed, inside: Narrowed, expected: Expected, *, behind: int | None) -> None:
        """Read a test and, where it may hold, its block. So many arms are `behind` it, if those take all that is left.

        The last of them has no test in the flow.
        """
        arm, share = self.statement.arms[number], expected.share
        self.nodes.among = self.among if number == 0 else arm.test.span
        self.nodes.through = self.through if number == 0 else self.through_to()
        condition = self.values.truth(arm.test, Scope(self.scope, narrowed=dict(asked)), share)
        if is_impossible(inside):
            report_never(self.values, arm.test, *arm.body, scope=self.scope)
            return
        if condition is not None:
            always = "keep what stands in its block, without the test" if number == 0 else "write `else`"
            never = "delete it with its block"
            warn_of_foregone(
                arm.test, self.nodes.all, condition.position, self.reader.findings, always=always, never=never
            )
        said = None if arm.share is None else arm.share.value
        written = None
        if arm.share is not None and said is not None:
            says_rest = behind == 1 and self.statement.arms[-1].share is not None
            written = Written(arm.share.span, said, self.among, number, through=self.nodes.through, says_rest=says_rest)
        if condition is not None and (written is not None or expected.arm is not None):
            self.nodes.say(condition.position, self.statement.span, share, written, expected.arm)
        self.nodes.among = Span(arm.test.span.source, arm.test.span.end, arm.span.end)
        # What is left is not tested: the tests before say that it is reached, if there are any.
        if self.tests or behind != 0:
            self.nodes.through = self.through_to(taken=behind != 0)
        if condition is not None:
            self.nodes.numbers.setdefault((condition.position, self.statement.span), self.tests)
            self.tests += 1
        before = self.nodes.effect
        inner = Scope(self.scope, narrowed=dict(inside))
        answer, goes_on = self.reader.block(arm.body, inner)
        self.taken.append(Taken(-1 if condition is None else condition.position, share, answer))
        self.whole = self.whole and condition is not None
        if goes_on:
            self.paths.append(Path(condition.position if condition is not None else None, share, inner))
            if condition is not None and self.nodes.effect is not None:
                self.effects.append((condition.position, share, self.nodes.effect))
        self.nodes.effect = before

    def through_to(self, *, taken: bool = False) -> tuple[Passed, ...]:
        """The branches that say which requests reach the next test or, where that is taken, its block."""
        return past(self.through, Passed(self.statement.span, self.tests, taken))

    def otherwise(self, left: Narrowed, *, covers_all: bool) -> Answer:
        """The answer where no test holds; where a path goes on from there, it is the last one."""
        if covers_all:
            return None
        inner = Scope(self.scope, narrowed=dict(left))
        body: Sequence[tree.Statement] | None = self.statement.otherwise
        if body is None:
            self.paths.append(Path(None, 0.0, inner))
            return None
        if is_impossible(left):
            assert self.statement.else_span is not None
            help = "the tests before take every label; delete the `else`"
            self.reader.findings.add("E0403", "nothing reaches this `else`", self.statement.else_span, help=help)
            pass_over(self.values, *body, scope=self.scope)
            return None
        self.nodes.among = self.statement.else_span
        self.nodes.through = self.through_to()
        answer, goes_on = self.reader.block(body, inner)
        if goes_on:
            self.paths.append(Path(None, 0.0, inner))
        return answer

    def join_effects(self, span: Span) -> None:
        """After a branch, what a call that is not pure waits for is what the arm taken has called last."""
        for condition, share, effect in reversed(self.effects):
            assert self.nodes.effect is not None
            self.nodes.effect = self.nodes.select(condition, effect, self.nodes.effect, Bool(), share, span)
