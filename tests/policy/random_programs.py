"""Random Programs with loops, lists, fallbacks, speculation and calls that are not pure, over a few components."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st

from harmonia_compiler.contract.program import (
    After,
    Apply,
    Argument,
    Attempt,
    Block,
    Call,
    Compare,
    Concat,
    Constant,
    Each,
    GetField,
    MakeList,
    MakeRecord,
    Not,
    Operation,
    Output,
    Parameter,
    Program,
    Repeat,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import Field, ListOf, Number, Record, Type
from tests.policy.programs import BOOL, COMPONENTS, TEXT, TEXTS, call

_PAIR = Record((Field("one", TEXT), Field("other", TEXTS)))
_LISTS = ListOf(TEXTS)
#: The type that stands on a `Repeat`, whose own value nothing reads but `Output`.
_ROUNDS = Record(())
_TYPES: tuple[Type, ...] = (TEXT, TEXT, TEXTS, BOOL)
#: How deep blocks lie in blocks.
_DEPTH = 2
#: The most operations that the main part of a Program is asked for.
MOST = 16
Answers = Callable[[Operation], bool]


@st.composite
def programs(draw: st.DrawFn, *, early: bool = False, answers: Answers | None = None) -> Program:
    """A Program; `early` says whether selects begin what they may need, `answers` what its answer comes of."""
    # Hypothesis likes small choices, which give Programs of few calls: it draws a seed alone.
    chance = Random(draw(st.integers(0, 2**32 - 1)))
    return make_program(chance, chance.randint(1, MOST), early=early, answers=answers)


def has_limit(operation: Operation) -> bool:
    """Whether it is an attempt that may be late."""
    return isinstance(operation, Attempt) and operation.within_ms is not None


def has_guess(operation: Operation) -> bool:
    """Whether it is a choice that begins what it may not need."""
    return isinstance(operation, Select) and bool(operation.early)


def of_rounds(operation: Operation) -> bool:
    """Whether it is what rounds come to."""
    return isinstance(operation, Output)


def make_program(chance: Random, size: int, *, early: bool, answers: Answers | None = None) -> Program:
    """A Program whose main part has about as many operations as its size says.

    What nothing reads is not executed. So a property of certain operations is tested where one of them `answers`, with
    as many operations more as it takes to have one.
    """
    maker = _Maker(chance, early=early)
    operations, types = maker.body([Parameter("question")], [TEXT], size, 0)
    # Whatever answers is one of the last, which reads the most.
    fitting = [at for at, of in enumerate(types) if of != _ROUNDS and (answers is None or answers(operations[at]))]
    if not fitting:
        return make_program(chance, size + 1, early=early, answers=answers)
    result = chance.choice(fitting[-3:])
    of = types[result]
    return Program("random", (), of, tuple(operations), result, COMPONENTS, tuple(maker.blocks), streams=of == TEXT)


@dataclass
class _Maker:
    chance: Random
    early: bool
    blocks: list[Block] = field(default_factory=list)

    def body(
        self, first: list[Operation], types: list[Type], most: int, depth: int
    ) -> tuple[list[Operation], list[Type]]:
        """Operations that begin with these and go on with some that read them."""
        here = _Body(self, [*first], [*types], depth)
        here.add(Constant("yes"), TEXT)
        here.add(Constant(["a", "b"]), TEXTS)
        here.add(Constant(value=True), BOOL)
        here.add(call("sure", 0 if types and types[0] == TEXT else len(first)), BOOL)
        makers = _MAKERS if depth < _DEPTH else _PLAIN
        for _ in range(most):
            self.chance.choice(makers)(here)
        return here.operations, here.types

    def block(self, parameters: list[Type], results: list[Type], depth: int) -> int:
        """A block with arguments and results of these types."""
        arguments: list[Operation] = [Argument(at) for at in range(len(parameters))]
        operations, types = self.body(arguments, parameters, self.chance.randint(1, 5), depth + 1)
        found = []
        for of in results:
            fitting = [at for at, one in enumerate(types) if one == of]
            found.append(self.late_one(fitting))
        self.blocks.append(Block(tuple(operations), tuple(found)))
        return len(self.blocks) - 1

    def late_one(self, positions: list[int]) -> int:
        """One of these positions, more likely one of the last: so that what is made is read."""
        return max(self.chance.choice(positions), self.chance.choice(positions))


@dataclass
class _Body:
    maker: _Maker
    operations: list[Operation]
    types: list[Type]
    depth: int

    def add(self, operation: Operation, of: Type) -> int:
        self.operations.append(operation)
        self.types.append(of)
        return len(self.operations) - 1

    def one(self, of: Type) -> int:
        fitting = [at for at, one in enumerate(self.types) if one == of]
        return self.maker.late_one(fitting)

    def draw(self, among: tuple[int, ...]) -> int:
        return self.maker.chance.choice(among)

    def call(self) -> None:
        name = self.maker.chance.choice(("say", "join", "sure", "many", "note"))
        component = COMPONENTS[name]
        after = self.one(self.maker.chance.choice(_TYPES)) if self.draw((0, 0, 0, 1)) else None
        self.add(call(name, *(self.one(TEXT) for _ in component.ports), after=after), component.result)

    def batch(self) -> None:
        if self.draw((0, 1)):
            self.add(call("say", self.one(TEXTS), over=("q",)), TEXTS)
        else:
            self.add(call("join", self.one(TEXTS), self.one(TEXTS), over=("one", "other")), TEXTS)

    def select(self) -> None:
        of = self.maker.chance.choice(_TYPES)
        self.choose(self.one(BOOL), self.one(of), self.one(of), of)

    def branch(self) -> None:
        """As most branches are: a call says which of two calls is made."""
        test, then, otherwise = (
            self.add(call(name, self.one(TEXT)), of) for name, of in (("sure", BOOL), ("say", TEXT), ("say", TEXT))
        )
        self.choose(test, then, self.draw((otherwise, self.one(TEXT))), TEXT)

    def choose(self, test: int, then: int, otherwise: int, of: Type) -> None:
        early: tuple[int, ...] = ()
        if self.maker.early:
            among = dict.fromkeys((then, otherwise, self.one(TEXT)))
            early = tuple(at for at in among if self.draw((0, 1)))
        self.add(Select(test, then, otherwise, early), of)

    def test(self) -> None:
        made = self.draw((0, 1, 2))
        if made == 0:
            self.add(Compare(self.maker.chance.choice(("==", "!=")), self.one(TEXT), self.one(TEXT)), BOOL)
        elif made == 1:
            self.add(Not(self.one(BOOL)), BOOL)
        else:
            counts = [self.add(Apply("count", (self.one(TEXTS),)), Number()) for _ in range(2)]
            self.add(Compare(self.maker.chance.choice(("<", "<=", ">", ">=")), *counts), BOOL)

    def data(self) -> None:
        made = self.draw((0, 1, 2, 3))
        if made == 0:
            self.add(MakeList((self.one(TEXT), self.one(TEXT))), TEXTS)
        elif made == 1:
            both = self.add(Concat(self.one(TEXTS), self.one(TEXTS)), TEXTS)
            self.add(Apply("take", (both,), {"count": 4}), TEXTS)
        elif made == 2:
            pair = self.add(MakeRecord(("one", "other"), (self.one(TEXT), self.one(TEXTS))), _PAIR)
            name = self.maker.chance.choice(("one", "other"))
            self.add(GetField(pair, name), TEXT if name == "one" else TEXTS)
        else:
            lists = self.add(MakeList((self.one(TEXTS), self.one(TEXTS))), _LISTS)
            self.add(Apply("flatten", (lists,)), TEXTS)
            self.add(Apply("count", (self.one(TEXTS),)), Number())

    def handed_on(self) -> None:
        of = self.maker.chance.choice(_TYPES)
        value = self.one(of)
        after = After(self.one(self.maker.chance.choice(_TYPES)), value)
        self.add(Whole(value) if self.draw((0, 1)) else after, of)

    def repeat(self) -> None:
        carried = [self.maker.chance.choice(_TYPES) for _ in range(self.draw((0, 1, 2)))]
        fixed = [self.maker.chance.choice(_TYPES) for _ in range(self.draw((0, 1)))]
        more = [self.maker.chance.choice(_TYPES) for _ in range(self.draw((0, 1)))] or ([] if carried else [TEXT])
        block = self.maker.block([*carried, *fixed], [BOOL, *carried, *more], self.depth)
        inputs = tuple(self.one(of) for of in [*carried, *fixed])
        repeat = self.add(Repeat(block, inputs, len(carried), self.draw((1, 2, 3))), _ROUNDS)
        for index, of in enumerate([*carried, *more]):
            self.add(Output(repeat, index), of)

    def each(self) -> None:
        lists: list[Type] = [TEXTS] * self.draw((1, 1, 1, 2))
        captured = [self.maker.chance.choice(_TYPES) for _ in range(self.draw((0, 1, 2)))]
        block = self.maker.block([*([TEXT] * len(lists)), *captured], [TEXT], self.depth)
        found = tuple(self.one(of) for of in lists)
        self.add(Each(block, found, tuple(self.one(of) for of in captured)), TEXTS)

    def asked(self) -> None:
        """As most lists are worked on: a call for each item."""
        asked = call("say", 0) if self.draw((0, 1)) else call("join", 0, 1)
        self.maker.blocks.append(Block((Argument(0), Argument(1), asked), (2,)))
        self.add(Each(len(self.maker.blocks) - 1, (self.one(TEXTS),), (self.one(TEXT),)), TEXTS)

    def attempt(self) -> None:
        of = self.maker.chance.choice(_TYPES)
        captured = [self.maker.chance.choice(_TYPES) for _ in range(self.draw((0, 1, 2)))]
        block = self.maker.block(captured, [of], self.depth)
        inputs = tuple(self.one(each) for each in captured)
        within = self.maker.chance.choice((None, 100.0))
        otherwise = None if self.draw((0, 1, 1, 1)) == 0 else self.one(of)
        awaits = inputs[:1] if within is not None and self.draw((0, 1)) else ()
        self.add(Attempt(block, inputs, within, otherwise, awaits), of)


_PLAIN: tuple[Callable[[_Body], None], ...] = (
    _Body.call,
    _Body.call,
    _Body.call,
    _Body.batch,
    _Body.select,
    _Body.branch,
    _Body.branch,
    _Body.test,
    _Body.data,
    _Body.handed_on,
)
_MAKERS = (*_PLAIN, _Body.repeat, _Body.each, _Body.asked, _Body.attempt, _Body.attempt)


def calls_of(program: Program) -> list[Call]:
    """Every call that stands in a program."""
    bodies = [program.operations, *(block.operations for block in program.blocks)]
    return [operation for body in bodies for operation in body if isinstance(operation, Call)]
