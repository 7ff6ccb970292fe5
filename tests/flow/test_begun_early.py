"""What branches begin early, against requests in which every call takes what it usually takes."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import product
from math import isclose
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import Call, Constant, Parameter, Program, Select
from harmonia_compiler.contract.types import ListOf, Passage, Text, Type, Value
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.graph import Application, Flow, Node
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.policy.events import Command, Finished, Send, Started
from harmonia_compiler.policy.frames import Frame, Place, State
from harmonia_compiler.policy.stepper import advance
from tests.examples import examples
from tests.flow.library import COMPONENTS, KINDS, application
from tests.flow.random_flows import BLOCK_KINDS, make_flow, with_blocks
from tests.policy.programs import ARGUMENTS, replies
from tests.policy.random_programs import make_program

SEEDS = st.integers(0, 2**32 - 1)


def _usual(made: Application, chance: Random) -> dict[str, float]:
    """How long calls of each component take; no two chains of calls take equally long."""
    return {name: chance.choice((3.0, 10.0, 20.0, 50.0, 150.0, 400.0)) + chance.random() for name in made.components}


def _guesses(flow: Flow) -> bool:
    return any(
        isinstance(node.operation, Select) and bool(node.operation.early) for body in flow.bodies for node in body.nodes
    )


@dataclass
class _Timed:
    """One request of which every call takes its time; `answer` says what comes of one, by its place."""

    program: Program
    usual: Mapping[str, float]
    answer: Callable[[Send, Place], Value]
    now: float = 0.0
    state: State = field(default_factory=State)
    pending: list[tuple[float, int, Send, Place]] = field(default_factory=list)
    frames: dict[int, Frame] = field(default_factory=dict)
    sent: set[tuple[int, int]] = field(default_factory=set)
    made: Counter[str] = field(default_factory=Counter)
    waited_for: set[tuple[int, int]] = field(default_factory=set)

    def run(self) -> "_Timed":
        self.take(advance(self.program, self.state, Started(ARGUMENTS)))
        while not self.state.ended:
            waiting = self.waiting()
            self.waited_for |= waiting.keys()
            assert not self.known_at_once(), (
                "a branch begins something early whose condition is known once it is reached"
            )
            self.now, _, send, place = heappop(self.pending)
            if send.call not in self.state.in_flight:
                continue
            before = set(self.sent)
            self.take(advance(self.program, self.state, Finished(send.call, self.answer(send, place))))
            for (frame, _), select in waiting.items():
                values = self.frames[frame].values
                if select.condition in values:
                    # A call for the items of a list that has none is not made.
                    late = {at for at in select.early if (frame, at) not in before and at not in values}
                    assert not late, "what begins early was not sent when the condition was known"
        return self

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, Send) and command.call in self.state.in_flight:
                frame, at = self.state.in_flight[command.call]
                # What is left and begun again counts as one: it is one call's work that is done.
                self.made[command.component] += (id(frame), at) not in self.sent
                self.sent.add((id(frame), at))
                ends = self.now + self.usual[command.component]
                heappush(self.pending, (ends, command.call, command, (frame, at)))
        pending = [] if self.state.main is None else [self.state.main]
        while pending:
            frame = pending.pop()
            self.frames[id(frame)] = frame
            pending += [one for run in frame.runs.values() for one in run.frames]

    def guessing(self) -> list[tuple[Frame, int, Select]]:
        return [
            (frame, at, operation)
            for frame in self.frames.values()
            for at, operation in enumerate(frame.operations)
            if isinstance(operation, Select) and operation.early
        ]

    def waiting(self) -> dict[tuple[int, int], Select]:
        """The branches that begin something and are waiting for their condition."""
        return {
            (id(frame), at): select
            for frame, at, select in self.guessing()
            if at in frame.missing and select.condition not in frame.values
        }

    def known_at_once(self) -> bool:
        return any(
            (at in frame.missing or at in frame.values) and (id(frame), at) not in self.waited_for
            for frame, at, _ in self.guessing()
        )


def _begins_in_time(flow: Flow, made: Application, kinds: Mapping[str, Kind], chance: Random) -> None:
    usual = _usual(made, chance)
    passed = optimise(made, kinds=kinds, usual_ms=usual)
    if not _guesses(passed.flows[0]):
        return
    program = lower(passed.flows[0], passed)
    for seed in range(6):

        def answer(send: Send, _: Place, seed: int = seed) -> Value:
            return replies(program.components[send.component], send.inputs, {**send.settings, "seed": seed}, send.over)

        _Timed(program, usual, answer).run()


@given(SEEDS, st.integers(4, 20))
@examples(250)
def test_what_is_begun_early_is_sent_before_the_condition_is_known(seed: int, size: int) -> None:
    flow = make_flow(Random(seed), size)
    _begins_in_time(flow, application(flow), KINDS, Random(seed))


@given(SEEDS, st.integers(8, 24))
@examples(250)
def test_and_so_it_is_with_loops_lists_and_fallbacks(seed: int, size: int) -> None:
    flow, made = with_blocks(make_program(Random(seed), size, early=False))
    _begins_in_time(flow, made, BLOCK_KINDS, Random(seed))


def _branching(chance: Random, size: int) -> Flow:
    """Branches by calls of their own, some of which are asked again inside; each holds equally often wherever it is."""
    nodes = [Node(Parameter("question"), Text()), Node(Constant("yes"), Text()), Node(Constant([]), ListOf(Passage()))]
    tests: dict[int, float] = {}

    def one(of: Type) -> int:
        fitting = [at for at, node in enumerate(nodes) if node.type == of]
        return max(chance.choice(fitting), chance.choice(fitting))

    def call(*names: str) -> int:
        component = COMPONENTS[chance.choice(names)]
        given = tuple(one(port.type) for port in component.ports)
        nodes.append(Node(Call(component.name, tuple(port.name for port in component.ports), given), component.result))
        return len(nodes) - 1

    for _ in range(size):
        if chance.random() < 0.5:
            call("search", "web", "rerank", "rewrite", "answer")
            continue
        if not tests or chance.random() < 0.5:
            tests[call("sure", "judge")] = chance.choice((0.1, 0.3, 0.5, 0.7, 0.9))
        test = chance.choice([*tests])
        of = chance.choice((Text(), ListOf(Passage())))
        nodes.append(Node(Select(test, one(of), one(of)), of, share=tests[test]))
    last = len(nodes) - 1
    return Flow("random", (Port("question", Text(), 40.0),), nodes[last].type, tuple(nodes), last)


@given(SEEDS, st.integers(4, 16))
@examples(600)
def test_the_expected_visits_are_the_calls_that_are_sent(seed: int, size: int) -> None:
    chance = Random(seed)
    flow = _branching(chance, size)
    made = application(flow)
    usual = _usual(made, chance)
    passed = optimise(made, kinds=KINDS, usual_ms=usual)
    (after,) = passed.flows
    shares: dict[int, set[float | None]] = {}
    for node in after.nodes:
        if isinstance(node.operation, Select):
            shares.setdefault(node.operation.condition, set()).add(node.share)
    # Tests that turn out equal may have been said to hold differently often.
    if len(shares) > 7 or any(len(each) > 1 for each in shares.values()):
        return
    program, expected = lower(after, passed), defaultdict[str, float](float)
    for outcome in product((True, False), repeat=len(shares)):
        held, likely = dict(zip(shares, outcome, strict=True)), 1.0
        for at, (share,) in shares.items():
            assert share is not None
            likely *= share if held[at] else 1.0 - share

        def answer(send: Send, place: Place, held: Mapping[int, bool] = held) -> Value:
            if place[1] in held:
                return held[place[1]]
            return replies(program.components[send.component], send.inputs, send.settings, send.over)

        for name, number in _Timed(program, usual, answer).run().made.items():
            expected[name] += likely * number
    visits = demand(passed, after, kinds=KINDS).visits
    for name in {*expected, *visits}:
        assert isclose(expected[name], visits.get(name, 0.0), abs_tol=1e-9), name
