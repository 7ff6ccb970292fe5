"""What branches begin early, against requests in which every call takes what it usually takes."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import product
from math import isclose
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from harmonia_compiler.contract.component import Port
from harmonia_compiler.contract.program import (
    After,
    Argument,
    Attempt,
    Call,
    Constant,
    Each,
    MakeList,
    Operation,
    Output,
    Parameter,
    Program,
    Repeat,
    Select,
)
from harmonia_compiler.contract.types import ListOf, Passage, Record, Text, Type, Value
from harmonia_compiler.flow.bodies import in_each_body
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.flow.expand import FAILURE_SHARE
from harmonia_compiler.flow.graph import Application, Body, Flow, Node
from harmonia_compiler.flow.lower import lower
from harmonia_compiler.flow.passes.registry import optimise
from harmonia_compiler.flow.takes import Takes
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.policy.events import Command, Failed, Finished, Send, Started
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
    """One request of which every call takes its time; `answer` says what comes of one, by its place, if anything."""

    program: Program
    usual: Mapping[str, float]
    answer: Callable[[Send, Place], Value | None]
    now: float = 0.0
    state: State = field(default_factory=State)
    pending: list[tuple[float, int, Send, Place]] = field(default_factory=list)
    frames: dict[int, Frame] = field(default_factory=dict)
    sent: set[tuple[int, int]] = field(default_factory=set)
    made: Counter[str] = field(default_factory=Counter)
    asked: Counter[tuple[int, int]] = field(default_factory=Counter)
    ended: dict[tuple[Hashable, int, int], float] = field(default_factory=dict)
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
            value = self.answer(send, place)
            self.ended.setdefault((place[0].path, self.body(place[0]), place[1]), self.now)
            ended = Failed(send.call, "no") if value is None else Finished(send.call, value)
            self.take(advance(self.program, self.state, ended))
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
                self.asked[self.body(frame), at] += (id(frame), at) not in self.sent
                self.sent.add((id(frame), at))
                ends = self.now + self.usual[command.component]
                heappush(self.pending, (ends, command.call, command, (frame, at)))
        pending = [] if self.state.main is None else [self.state.main]
        while pending:
            frame = pending.pop()
            self.frames[id(frame)] = frame
            pending += [one for run in frame.runs.values() for one in run.frames]

    def body(self, frame: Frame) -> int:
        """The number of the block that a frame runs; behind all of them, that of the main part."""
        blocks = [block.operations for block in self.program.blocks]
        return next((at for at, each in enumerate(blocks) if each is frame.operations), len(blocks))

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
    passed = optimise(made, kinds=kinds, takes=Takes(usual, 0.2))
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
    passed = optimise(made, kinds=KINDS, takes=Takes(usual, 0.2))
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


#: How often tests hold, and the last rounds of loops are the last.
_SHARES = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)


class _Asking:
    """Flows in which branches, loops, lists and fallbacks ask for calls; tests in blocks ask about what changes."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.blocks: list[Body] = []
        self.nodes: list[Node] = []

    def add(self, operation: Operation, of: Type, share: float | None = None) -> int:
        self.nodes.append(Node(operation, of, share=share))
        return len(self.nodes) - 1

    def one(self, of: Type) -> int:
        fitting = [at for at, node in enumerate(self.nodes) if node.type == of]
        return max(self.chance.choice(fitting), self.chance.choice(fitting))

    def call(self, name: str, question: int | None = None) -> int:
        ports = COMPONENTS[name].ports
        given = [self.one(port.type) for port in ports]
        given[0] = given[0] if question is None else question
        return self.add(Call(name, tuple(port.name for port in ports), tuple(given)), COMPONENTS[name].result)

    def choose(self, test: int, share: float) -> int:
        of = self.chance.choice((Text(), ListOf(Passage())))
        return self.add(Select(test, self.one(of), self.one(of)), of, share)

    def block(self, *results: str) -> int:
        """A block of a text and passages, with the calls of these components as its results."""
        around, self.nodes = self.nodes, [Node(Argument(0), Text()), Node(Argument(1), ListOf(Passage()))]
        self.add(Constant([]), ListOf(Passage()))
        for _ in range(self.chance.randint(0, 3)):
            if self.chance.random() < 0.4:
                self.call(self.chance.choice(("web", "rerank", "rewrite")))
            else:
                self.choose(self.call("sure", 0), self.chance.choice(_SHARES))
        found = tuple(self.call(name, 0) for name in results)
        self.blocks.append(Body(tuple(self.nodes), found))
        self.nodes = around
        return len(self.blocks) - 1

    def flow(self, size: int) -> Flow:
        self.nodes = [Node(Parameter("question"), Text()), Node(Constant("yes"), Text())]
        self.add(Constant([]), ListOf(Passage()))
        tests: dict[int, float] = {}
        for _ in range(size):
            kind = self.chance.choices(("call", "choice", "attempt", "loop", "each"), (8, 7, 2, 1, 1))[0]
            given = (self.one(Text()), self.one(ListOf(Passage())))
            if kind == "call":
                self.call(self.chance.choice(("search", "web", "rerank", "rewrite", "answer")))
            elif kind == "choice":
                if not tests or self.chance.random() < 0.6:
                    tests[self.call(self.chance.choice(("sure", "judge")))] = self.chance.choice(_SHARES)
                test = self.chance.choice([*tests])
                self.choose(test, tests[test])
            elif kind == "attempt":
                of = self.chance.choice(("answer", "rerank"))
                other = self.one(COMPONENTS[of].result)
                self.add(Attempt(self.block(of), given, None, other), COMPONENTS[of].result)
            elif kind == "loop":
                block, share = self.block("judge", "answer", "rerank"), self.chance.choice(_SHARES)
                loop = self.add(Repeat(block, given, 1, self.chance.randint(1, 3)), Record(()), share)
                self.add(Output(loop, 1), ListOf(Passage()))
            else:
                items = self.add(MakeList((self.one(Text()), self.one(Text()))), ListOf(Text()))
                each = self.add(Each(self.block("answer"), (items,), given[1:]), ListOf(Text()))
                self.add(After(each, self.one(Text())), Text())
        last = len(self.nodes) - 1
        port = Port("question", Text(), 40.0)
        return Flow("random", (port,), self.nodes[last].type, tuple(self.nodes), last, blocks=tuple(self.blocks))


def _begun(flow: Flow) -> Counter[tuple[int, int]]:
    """How many branches begin each call early, by its body and its position there."""
    return Counter(
        (body, at)
        for body, of in enumerate(flow.bodies)
        for node in of.nodes
        if isinstance(node.operation, Select)
        for at in node.operation.early
    )


def _shares(flow: Flow) -> dict[tuple[int, int], set[float]]:
    """How often the test at each place holds, as is said where it is asked for."""
    found: dict[tuple[int, int], set[float]] = defaultdict(set)
    for body, of in enumerate(flow.bodies):
        for node in of.nodes:
            if isinstance(node.operation, Select) and node.share is not None:
                found[body, node.operation.condition].add(node.share)
            if isinstance(node.operation, Repeat) and node.share is not None:
                found[node.operation.block, flow.blocks[node.operation.block].results[0]].add(node.share)
    return found


def _without_guesses(body: Body) -> Body:
    return replace(
        body,
        nodes=tuple(
            replace(node, operation=replace(node.operation, early=())) if isinstance(node.operation, Select) else node
            for node in body.nodes
        ),
    )


@dataclass
class _Way:
    """What turns out how on one way of a request: as it `first` did on another, but for the last, and then most likely.

    `others` are where those ways begin that turn off from this one behind that.
    """

    first: tuple[bool, ...]
    likely: float = 1.0
    found: dict[Hashable, bool] = field(default_factory=dict)
    others: list[tuple[bool, ...]] = field(default_factory=list)

    def is_so(self, what: Hashable, share: float) -> bool:
        if what not in self.found:
            before = tuple(self.found.values())
            is_new = len(before) >= len(self.first)
            self.found[what] = share >= 0.5 if is_new else self.first[len(before)]
            self.likely *= share if self.found[what] else 1.0 - share
            if is_new:
                self.others.append((*before, not self.found[what]))
        return self.found[what]


def _answers(
    program: Program,
    way: _Way,
    shares: Mapping[tuple[int, int], Collection[float]],
    may_fail: Collection[tuple[int, int]],
) -> Callable[[Send, Place], Value | None]:
    """What comes of the calls of a program on one way, where tests hold and attempts fail as often as is said."""
    numbers = {id(block.operations): body for body, block in enumerate(program.blocks)}

    def answer(send: Send, place: Place) -> Value | None:
        frame, at = place
        body = numbers.get(id(frame.operations), len(program.blocks))
        here = (frame.path, body, at)
        if (body, at) in may_fail and way.is_so(("fails", here), FAILURE_SHARE):
            return None
        if (body, at) in shares:
            (share,) = shares[body, at]
            return way.is_so(here, share)
        return replies(program.components[send.component], send.inputs, send.settings, send.over)

    return answer


@given(SEEDS, st.integers(5, 14))
# What was begun is left here when the outer branch is decided.
@example(2377, 12)
@example(5612, 7)
@examples(400)
def test_what_is_begun_early_is_needed_every_second_time_and_saves_what_it_wastes(seed: int, size: int) -> None:
    """Of all ways that requests may take, each with how likely it is, with what begins early and without."""
    chance = Random(seed)
    flow = _Asking(chance).flow(size)
    made = application(flow)
    usual = _usual(made, chance)
    passed = optimise(made, kinds=KINDS, takes=Takes(usual, 0.2))
    (after,) = passed.flows
    begun, shares = _begun(after), _shares(after)
    if not begun or any(len(each) > 1 for each in shares.values()):
        return
    attempts = [node.operation for body in after.bodies for node in body.nodes if isinstance(node.operation, Attempt)]
    may_fail = {(each.block, after.blocks[each.block].results[0]) for each in attempts}
    programs = [lower(each, passed) for each in (in_each_body(after, _without_guesses), after)]
    asked, worth = [defaultdict[tuple[int, int], float](float) for _ in programs], 0.0
    pending: list[tuple[bool, ...]] = [()]
    for _ in range(400):
        if not pending:
            break
        way = _Way(pending.pop())
        requests = [_Timed(program, usual, _answers(program, way, shares, may_fail)).run() for program in programs]
        for counts, request in zip(asked, requests, strict=True):
            for place in begun:
                counts[place] += way.likely * request.asked[place]
        late, soon = requests
        worth += way.likely * sum(
            ended - soon.ended[place] for place, ended in late.ended.items() if place[1:] in begun
        )
        worth -= way.likely * sum(takes * (soon.made[name] - late.made[name]) for name, takes in usual.items())
        pending += way.others
    plain, eager = asked
    for place, branches in begun.items():
        assert pending or branches > 1 or eager[place] <= 2.0 * plain[place] + 1e-9
    assert pending or worth >= -1e-6
