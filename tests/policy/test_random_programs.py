"""Random Programs with random replies in random order: the stepper against the reference."""

import math
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from hypothesis import assume, given, reject
from hypothesis import strategies as st

from harmonia_compiler.contract.program import Call, Program, Repeat
from harmonia_compiler.contract.types import Value
from harmonia_compiler.policy.events import (
    Answer,
    Begun,
    Cancel,
    Command,
    Elapsed,
    Event,
    Fail,
    Failed,
    Finished,
    Send,
    Started,
    StartTimer,
    StopTimer,
)
from harmonia_compiler.policy.frames import Frame, State
from harmonia_compiler.policy.stepper import advance, pursue
from harmonia_compiler.policy.turn import is_pure
from tests.examples import examples
from tests.policy.programs import ARGUMENTS, replies
from tests.policy.random_programs import has_guess, has_limit, of_rounds, programs
from tests.policy.reference import Answers, Bad, Name, Ok, Reference, Spot

#: More calls than this are another test's business.
MOST_CALLS = 250
SEEDS = st.integers(0, 2**32 - 1)


def name_of(frame: Frame) -> Name:
    """The reference's name of a frame."""
    if frame.run is None:
        return ()
    outer, at = frame.run.place
    number = frame.path[-1][1] if len(frame.path) > len(outer.path) else 0
    return (*name_of(outer), (at, number))


@dataclass
class Driven:
    """One request driven to its end; the rules that hold for every driver are checked on the way.

    Of what follows from an event `most` places are brought further, and the rest between other events.
    `guesses` counts the calls that were sent when nothing waited for them yet.
    """

    program: Program
    seed: int
    failing: int = 0
    late: bool = False
    most: float = math.inf
    answers: Answers = replies
    state: State = field(default_factory=State)
    sent: list[tuple[Spot, Send]] = field(default_factory=list)
    streamed: list[Spot] = field(default_factory=list)
    lapsed: set[Spot] = field(default_factory=set)
    committed: set[Spot] = field(default_factory=set)
    ended: Answer | Fail | None = None
    open_calls: dict[int, Send] = field(default_factory=dict)
    open_timers: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)
    guesses: int = 0

    def fails(self, component: str, inputs: Mapping[str, Value]) -> bool:
        """Whether a call fails: by what it is given, so that it fails again when it is made again."""
        digest = zlib.crc32(repr((self.seed, component, sorted(inputs.items()))).encode())
        return bool(self.failing) and digest % self.failing == 0

    def run(self) -> "Driven":
        chance = Random(self.seed)
        self.take(advance(self.program, self.state, Started(ARGUMENTS), self.most))
        while self.ended is None:
            if len(self.sent) > MOST_CALLS:
                reject()
            assert {*self.state.in_flight} == {*self.open_calls}
            assert {*self.state.timers} == self.open_timers
            if self.state.agenda and (not self.open_calls or chance.random() < 0.5):
                self.take(pursue(self.program, self.state, self.most))
                continue
            assert self.open_calls, "nothing is under way, and there is no answer"
            event = self.choose(chance)
            self.note(event)
            self.take(advance(self.program, self.state, event, self.most))
            if not isinstance(event, Begun):
                assert advance(self.program, self.state, event) == []
            assert advance(self.program, self.state, Started({"question": "again"})) == []
        assert not self.open_calls
        assert not self.open_timers
        return self

    def choose(self, chance: Random) -> Event:
        if self.late and self.open_timers and chance.random() < 0.3:
            return Elapsed(chance.choice(sorted(self.open_timers)))
        call, send = chance.choice(sorted(self.open_calls.items()))
        if send.streams and call not in self.begun and chance.random() < 0.7:
            return Begun(call)
        if self.fails(send.component, send.inputs):
            return Failed(call, "it broke")
        component = self.program.components[send.component]
        return Finished(call, self.answers(component, send.inputs, send.settings, send.over))

    def note(self, event: Event) -> None:
        match event:
            case Finished(call) | Failed(call):
                del self.open_calls[call]
            case Elapsed(timer):
                self.open_timers.discard(timer)
                frame, at = self.state.timers[timer].place
                self.lapsed.add((name_of(frame), at))
            case Begun(call):
                self.begun.add(call)
                frame, at = self.state.in_flight[call]
                self.streamed.append((name_of(frame), at))

    def take(self, commands: list[Command]) -> None:
        for command in commands:
            assert self.ended is None, "something follows the end"
            match command:
                case Send(call):
                    frame, at = self.state.in_flight.get(call, (None, 0))
                    assert frame is not None, "a call was sent and stopped in one turn"
                    self.sent.append(((name_of(frame), at), command))
                    self.guesses += not frame.waiters.get(at)
                    self.open_calls[call] = command
                case Cancel(call):
                    del self.open_calls[call]
                case StartTimer(timer):
                    self.open_timers.add(timer)
                case StopTimer(timer):
                    self.open_timers.remove(timer)
                case Answer() | Fail():
                    self.ended = command
        for run in self.state.passed:
            if run.committed:
                self.committed.add((name_of(run.place[0]), run.place[1]))

    def reference(self) -> tuple[Reference, Ok | Bad]:
        request = Reference(
            self.program,
            ARGUMENTS,
            answers=self.answers,
            fails=self.fails,
            late=frozenset(self.lapsed),
            committed=frozenset(self.committed),
        )
        return request, request.run()

    @property
    def spots(self) -> set[Spot]:
        return {spot for spot, _ in self.sent}


def operation_at(program: Program, spot: Spot) -> object:
    name, at = spot
    operations = program.operations
    for position, _ in name:
        operations = program.blocks[operations[position].block].operations  # type: ignore[union-attr]
    return operations[at]


def check(driven: Driven) -> None:
    """The answer is the reference's, and so are the calls, as far as time leaves no choice."""
    request, expected = driven.reference()
    assume(not request.ambiguous)
    if isinstance(expected, Ok):
        assert driven.ended == Answer(expected.value)
        assert expected.calls <= driven.spots
        assert {*driven.streamed} <= {expected.origin}
    else:
        assert isinstance(driven.ended, Fail)
        assert driven.ended.component in {component for _, component in expected.failures} or driven.ended.late
    firm = set(request.demanded)
    request.hope()
    assert driven.spots <= request.demanded
    counts = Counter(spot for spot, _ in driven.sent)
    for spot, times in counts.items():
        call = operation_at(driven.program, spot)
        assert isinstance(call, Call)
        if not is_pure(driven.program, call):
            assert times == 1
            assert spot in firm


@given(programs(), SEEDS)
@examples(400)
def test_where_nothing_fails_it_sends_each_call_that_is_needed_once_and_no_other(program: Program, seed: int) -> None:
    driven = Driven(program, seed).run()
    request, expected = driven.reference()
    # A list of the wrong length fails even where no call does.
    assume(isinstance(expected, Ok) and request.demanded == expected.calls)
    check(driven)
    assert driven.spots == request.demanded
    assert len(driven.sent) == len(driven.spots)


@given(programs(), SEEDS, st.sampled_from((2, 3, 6)))
@examples(600)
def test_with_failures(program: Program, seed: int, failing: int) -> None:
    check(Driven(program, seed, failing).run())


@given(programs(answers=has_limit), SEEDS, st.sampled_from((0, 4)))
@examples(600)
def test_with_lateness(program: Program, seed: int, failing: int) -> None:
    check(Driven(program, seed, failing, late=True).run())


@given(programs(early=True, answers=has_guess), SEEDS, st.sampled_from((0, 3)))
@examples(600)
def test_with_speculation(program: Program, seed: int, failing: int) -> None:
    check(Driven(program, seed, failing, late=failing == 3).run())


@given(programs(early=True, answers=has_guess), SEEDS, st.sampled_from((0, 3)), st.sampled_from((1, 2, 5)))
@examples(400)
def test_with_turns_that_are_interrupted(program: Program, seed: int, failing: int, most: int) -> None:
    check(Driven(program, seed, failing, late=failing == 3, most=most).run())


@given(programs(answers=of_rounds), SEEDS)
@examples(100)
def test_rounds_do_not_go_beyond_their_limit(program: Program, seed: int) -> None:
    driven = Driven(program, seed).run()
    for (name, _), _ in driven.sent:
        for depth, (at, number) in enumerate(name):
            runner = operation_at(program, (name[:depth], at))
            assert not isinstance(runner, Repeat) or number <= runner.limit
