"""What a Program means, by plain recursion: the stepper must agree with it.

Every place is evaluated at most once and only when something demands it. Unlike the stepper, the
reference goes from the result straight down; time does not pass. So it is told which attempts were
late and which were committed, and which calls fail.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.program import (
    MOST_ITEMS,
    After,
    Apply,
    Argument,
    Attempt,
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
from harmonia_compiler.contract.types import Value
from harmonia_compiler.functions.registry import functions
from tests.flow.library import COMPONENTS
from tests.policy.programs import COMPARED, replies, reply

#: Which run of which block: the positions of what runs it, from the outside in, each with its round or item, or 0.
Name = tuple[tuple[int, int], ...]
#: A place by the name of its frame and its position.
Spot = tuple[Name, int]


@dataclass(frozen=True)
class Ok:
    """A value, the calls that were needed for it, and the call whose value it is, if it is a call's."""

    value: Value
    calls: frozenset[Spot] = frozenset()
    origin: Spot | None = None


@dataclass(frozen=True)
class Bad:
    """No value, for what happened in these frames; by component."""

    failures: frozenset[tuple[Name, str | None]]


Outcome = Ok | Bad

#: The value of a call of a component, with its inputs, its settings and the ports that were given lists.
Answers = Callable[[Component, Mapping[str, Value], Mapping[str, Any], tuple[str, ...]], Value]


def run(program: Program, arguments: Mapping[str, Value]) -> tuple[Value, set[Spot]]:
    """The answer of a program over the library's components, none of which fails, and the calls that it took."""
    request = Reference(program, arguments, answers=from_the_library)
    found = request.run()
    assert isinstance(found, Ok)
    return found.value, request.demanded


def from_the_library(
    component: Component, inputs: Mapping[str, Value], settings: Mapping[str, Any], over: tuple[str, ...]
) -> Value:
    """As any other component, but that a search gives the same for a text as for the text's vector."""
    query = inputs.get("query")
    if component.name == "search" and not over and isinstance(query, str):
        inputs = {"query": reply(COMPONENTS["embed"], {"text": query}, {})}
    elif component.name == "search" and over and query and isinstance(query[0], str):
        inputs = {"query": [reply(COMPONENTS["embed"], {"text": each}, {}) for each in query]}
    return replies(component, inputs, settings, over)


@dataclass
class Reference:
    """One request. `demanded` fills with the calls that are made; `hopes` with what selects may begin early.

    `ambiguous` tells of an attempt inside and outside of which something failed: it depends on time
    which counts.
    """

    program: Program
    arguments: Mapping[str, Value]
    answers: Answers = replies
    fails: Callable[[str, Mapping[str, Value]], bool] = lambda component, inputs: False
    late: frozenset[Spot] = frozenset()
    committed: frozenset[Spot] = frozenset()
    demanded: set[Spot] = field(default_factory=set)
    hopes: "list[tuple[_Frame, int]]" = field(default_factory=list)
    ambiguous: bool = False

    def run(self) -> Outcome:
        return _Frame(self, (), self.program.operations, (self.program.result,), []).result(0)

    def hope(self) -> None:
        """Demand also what selects may begin early."""
        for frame, at in self.hopes:
            frame.get(at)


class _Frame:
    def __init__(
        self,
        request: Reference,
        name: Name,
        operations: tuple[Operation, ...],
        results: tuple[int, ...],
        arguments: list[Callable[[], Outcome]],
    ) -> None:
        self.request, self.name, self.operations, self.results = request, name, operations, results
        self.arguments = arguments
        self.known: dict[int, Outcome] = {}
        self.lasts: dict[int, tuple[_Frame, Ok] | Bad] = {}

    def result(self, index: int) -> Outcome:
        return self.get(self.results[index])

    def get(self, at: int) -> Outcome:
        if at not in self.known:
            self.known[at] = self.compute(at)
        return self.known[at]

    def block(self, at: int, number: int, arguments: list[Callable[[], Outcome]]) -> "_Frame":
        operation = self.operations[at]
        assert isinstance(operation, Repeat | Each | Attempt)
        block = self.request.program.blocks[operation.block]
        return _Frame(self.request, (*self.name, (at, number)), block.operations, block.results, arguments)

    def handed(self, positions: tuple[int, ...]) -> list[Callable[[], Outcome]]:
        return [partial(self.get, at) for at in positions]

    def compute(self, at: int) -> Outcome:
        operation = self.operations[at]
        match operation:
            case Parameter(name):
                return Ok(self.request.arguments[name])
            case Constant(value):
                return Ok(value)
            case Select(condition, then, otherwise, early):
                self.request.hopes += [(self, hoped) for hoped in early]
                test = self.get(condition)
                return test if isinstance(test, Bad) else _with(self.get(then if test.value else otherwise), test)
            case After(first, then):
                return _both(self.get(first), self.get(then))
            case Argument() | Whole():
                return self.handed_on(operation)
            case Output(repeat, index):
                last = self.last(repeat)
                if isinstance(last, Bad):
                    return last
                frame, told = last
                return _with(frame.result(1 + index), told)
            case Each():
                return self.each(at, operation)
            case Attempt():
                return self.attempt(at, operation)
            case _:
                return self.plain(at, operation)

    def handed_on(self, operation: Argument | Whole) -> Outcome:
        if isinstance(operation, Argument):
            return self.arguments[operation.index]()
        found = self.get(operation.value)
        # Of what is whole, no call streams.
        return found if isinstance(found, Bad) else replace(found, origin=None)

    def last(self, at: int) -> "tuple[_Frame, Ok] | Bad":
        """The frame of the last round of a loop, and what was needed to know it."""
        operation = self.operations[at]
        assert isinstance(operation, Repeat)
        if at not in self.lasts:
            self.lasts[at] = self.rounds(at, operation)
        return self.lasts[at]

    def rounds(self, at: int, repeat: Repeat) -> "tuple[_Frame, Ok] | Bad":
        told = Ok(None)
        arguments = self.handed(repeat.inputs)
        for number in range(1, repeat.limit + 1):
            frame = self.block(at, number, arguments)
            if number == repeat.limit:
                break
            over = frame.result(0)
            if isinstance(over, Bad):
                return over
            told = Ok(None, told.calls | over.calls)
            if over.value:
                break
            carried = frame.handed(frame.results[1 : 1 + repeat.carried])
            arguments = carried + arguments[repeat.carried :]
        return frame, told

    def each(self, at: int, each: Each) -> Outcome:
        first = self.get(each.lists[0])
        if isinstance(first, Bad):
            return first
        number = len(first.value)
        if number > MOST_ITEMS:
            return Bad(frozenset({(self.name, None)}))
        shared = self.handed(each.inputs)
        frames = [
            self.block(at, 1 + item, [*(partial(self.item, one, item, number) for one in each.lists), *shared])
            for item in range(number)
        ]
        return _with(_all([frame.result(0) for frame in frames]), first)

    def item(self, of: int, at: int, number: int) -> Outcome:
        """One item of a list that must have so many."""
        items = self.get(of)
        if isinstance(items, Bad):
            return items
        if len(items.value) != number:
            return Bad(frozenset({(self.name, None)}))
        return Ok(items.value[at], items.calls)

    def attempt(self, at: int, attempt: Attempt) -> Outcome:
        awaited = _all([self.get(one) for one in attempt.awaits] if attempt.within_ms is not None else [])
        if isinstance(awaited, Bad):
            return awaited
        spot = (self.name, at)
        frame = self.block(at, 0, self.handed(attempt.inputs))
        outcome = frame.result(0)
        if spot in self.request.late:
            outcome = Bad(frozenset({(self.name, None)}))
            caught = True
        elif isinstance(outcome, Bad):
            inside = {name[: len(frame.name)] == frame.name for name, _ in outcome.failures}
            catches = attempt.otherwise is not None and spot not in self.request.committed
            self.request.ambiguous |= len(inside) > 1 and catches
            caught = inside == {True}
        else:
            return _with(outcome, awaited)
        if caught and attempt.otherwise is not None and spot not in self.request.committed:
            return _with(self.get(attempt.otherwise), awaited)
        return outcome

    def plain(self, at: int, operation: Operation) -> Outcome:
        read = _read(operation)
        parts = _all([self.get(one) for one in read])
        if isinstance(parts, Bad):
            return parts
        if isinstance(operation, Call):
            return self.call(at, operation, parts)
        return Ok(_value(operation, parts.value), parts.calls)

    def call(self, at: int, call: Call, parts: Ok) -> Outcome:
        inputs = dict(zip(call.ports, parts.value, strict=False))
        spot = (self.name, at)
        failed = Bad(frozenset({(self.name, call.component)}))
        if call.over:
            lengths = {len(inputs[port]) for port in call.over}
            if len(lengths) > 1 or max(lengths) > MOST_ITEMS:
                return failed
            if lengths == {0}:
                return Ok([], parts.calls)
        self.request.demanded.add(spot)
        if self.request.fails(call.component, inputs):
            return failed
        component = self.request.program.components[call.component]
        value = self.request.answers(component, inputs, {**component.settings, **call.settings}, call.over)
        return Ok(value, parts.calls | {spot}, spot)


def _with(outcome: Outcome, told: Ok) -> Outcome:
    """The outcome, which it took these calls as well to find."""
    return outcome if isinstance(outcome, Bad) else Ok(outcome.value, outcome.calls | told.calls, outcome.origin)


def _both(first: Outcome, then: Outcome) -> Outcome:
    both = _all([first, then])
    return both if isinstance(both, Bad) else _with(then, both)


def _all(outcomes: list[Outcome]) -> Outcome:
    """All of them: none is left out where another one has failed, since they are demanded together."""
    failures = [outcome.failures for outcome in outcomes if isinstance(outcome, Bad)]
    if failures:
        return Bad(frozenset().union(*failures))
    fine = [outcome for outcome in outcomes if isinstance(outcome, Ok)]
    calls: frozenset[Spot] = frozenset().union(*(outcome.calls for outcome in fine))
    return Ok([outcome.value for outcome in fine], calls)


def _read(operation: Operation) -> tuple[int, ...]:
    match operation:
        case Call():
            return operation.inputs if operation.after is None else (*operation.inputs, operation.after)
        case MakeList() | MakeRecord() | Apply():
            return operation.inputs
        case Compare() | Concat():
            return operation.left, operation.right
        case Not(operand) | GetField(operand):
            return (operand,)
        case _:
            raise TypeError(operation)


def _value(operation: Operation, parts: list[Value]) -> Value:
    match operation:
        case Compare(sign):
            return COMPARED[sign](*parts)
        case Not():
            return not parts[0]
        case GetField(_, name):
            return parts[0][name]
        case MakeList():
            return parts
        case MakeRecord(names):
            return dict(zip(names, parts, strict=True))
        case Concat():
            return [*parts[0], *parts[1]]
        case Apply("count"):
            return len(parts[0])
        case Apply("flatten"):
            return [item for items in parts[0] for item in items]
        case Apply(name, _, settings):
            return functions()[name].evaluate(parts, settings)
        case _:
            raise TypeError(operation)
