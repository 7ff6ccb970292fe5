"""The course of steps in time: when each ends, and that equal ones taken at once end when they do one by one."""

import math
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.emulate.llm.course import Course, Step
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.steps import Slower, StepLoad

LIMITS = Limits(kv_blocks=60, step_tokens=32, sequences=4, context=120, block_size=4)


@dataclass(frozen=True)
class Simple:
    """10 ms a step, 1 ms a token of a prompt, 2 ms a decoding sequence, a little for its context."""

    request_ms: float = 5.0
    context_ms: float = 0.0
    begin_ms: float = 0.0

    def step_ms(self, load: StepLoad, /) -> float:
        ms = 10.0 + load.prefill_tokens + 2.0 * load.decodes + self.context_ms * load.decode_context
        return ms + self.begin_ms * load.begun


def through(course: Course, until_ms: float = math.inf) -> list[Step]:
    """All that ends until then."""
    steps: list[Step] = []
    while (due := course.next_ms) is not None and due <= until_ms:
        steps += course.advance(due)
    return steps


def test_a_call_takes_its_prefill_and_its_steps() -> None:
    course = Course(Scheduler(LIMITS), Simple())
    call = Sequence(10, 3)
    course.submit(call, 100.0)
    steps = through(course)
    assert [(step.began_ms, step.ended_ms) for step in steps] == [(105, 125), (125, 137), (137, 149)]
    assert steps[-1].finished == [call]
    assert course.next_ms is None
    assert course.busy_ms == 44.0


def test_who_comes_while_a_step_is_on_joins_the_next_one() -> None:
    course = Course(Scheduler(LIMITS), Simple())
    first, second = Sequence(10, 3), Sequence(4, 1)
    course.submit(first, 0.0)
    course.submit(second, 21.0)
    ends = {step.ended_ms: [*step.batch.tokens] for step in through(course)}
    assert ends == {25.0: [first], 37.0: [first], 53.0: [first, second]}
    assert [(call.arrived_ms, call.began_ms) for call in (first, second)] == [(5.0, 5.0), (26.0, 37.0)]


def test_decided_on_ahead_who_comes_joins_the_one_after() -> None:
    course = Course(Scheduler(replace(LIMITS, ahead=True)), Simple())
    first, second = Sequence(10, 4), Sequence(4, 1)
    course.submit(first, 0.0)
    course.submit(second, 12.0)
    ends = {step.ended_ms: [*step.batch.tokens] for step in through(course)}
    assert ends == {25.0: [first], 37.0: [first], 53.0: [first, second], 65.0: [first]}


def test_looking_late_delays_nothing() -> None:
    course = Course(Scheduler(LIMITS), Simple())
    course.submit(Sequence(10, 3), 0.0)
    steps = course.advance(1000.0)
    assert [step.ended_ms for step in steps] == [25, 37, 49]


@pytest.mark.parametrize("leaps", [False, True])
def test_a_changed_model_holds_from_the_next_step_on(*, leaps: bool) -> None:
    course = Course(Scheduler(LIMITS), Simple(), leaps=leaps)
    course.submit(Sequence(10, 5), 0.0)
    assert [step.ended_ms for step in course.use(Slower(Simple(), 3.0), 40.0)] == ([25.0] if leaps else [25.0, 37.0])
    assert through(course)[-1].ended_ms == 49 + 2 * 36


def test_who_is_cancelled_on_the_way_never_arrives() -> None:
    course = Course(Scheduler(LIMITS), Simple())
    call = Sequence(10, 3)
    course.submit(call, 0.0)
    assert course.cancel(call, 1.0) == []
    assert course.next_ms is None


@pytest.mark.parametrize("ahead", [False, True])
def test_equal_steps_are_one(*, ahead: bool) -> None:
    course = Course(Scheduler(replace(LIMITS, ahead=ahead)), Simple(context_ms=0.1), leaps=True)
    course.submit(Sequence(10, 100), 0.0)
    steps = through(course)
    assert len(steps) <= 3
    assert sum(step.batch.steps for step in steps) == 100


calls = st.lists(
    st.tuples(
        st.integers(1, 100),  # prompt
        st.integers(1, 20) | st.just(90),  # answer
        st.floats(0, 400),  # ms after the one before
        st.none() | st.floats(0, 300),  # ms until it is given up
        st.integers(0, 3),  # blocks that all of them begin with
    ),
    min_size=1,
    max_size=12,
)
limits = st.builds(
    Limits,
    kv_blocks=st.integers(31, 60),
    step_tokens=st.integers(4, 64),
    sequences=st.integers(1, 6),
    context=st.just(120),
    block_size=st.just(4),
    ahead=st.booleans(),
)


@given(limits, calls, st.floats(0.001, 0.1))
def test_leaps_change_no_time(
    limits: Limits, calls: list[tuple[int, int, float, float | None, int]], context_ms: float
) -> None:
    def times(*, leaps: bool) -> list[tuple[float, float, int, int]]:
        course = Course(Scheduler(limits), Simple(context_ms=context_ms, begin_ms=3.0), leaps=leaps)
        events: list[tuple[float, int, Sequence]] = []
        sequences = []
        at = 0.0
        for prompt, answer, pause, patience, shared in calls:
            at += pause
            sequences.append(Sequence(prompt, answer, tuple(range(min(shared, (prompt + answer) // 4)))))
            events.append((at, 0, sequences[-1]))
            if patience is not None:
                events.append((at + patience + 0.0123, 1, sequences[-1]))
        steps = []
        for when, what, sequence in sorted(events, key=lambda event: event[:2]):
            steps += through(course, when)
            if what == 0:
                course.submit(sequence, when)
            else:
                steps += course.cancel(sequence, when)
        steps += through(course)
        first: dict[Sequence, float] = {}
        last: dict[Sequence, float] = {}
        for step in steps:
            for sequence in step.batch.given:
                first.setdefault(sequence, step.ended_ms)
            last |= dict.fromkeys(step.finished, step.ended_ms)
        return [(first.get(each, -1.0), last.get(each, -1.0), each.delivered, each.preemptions) for each in sequences]

    for one, other in zip(times(leaps=True), times(leaps=False), strict=True):
        assert one == pytest.approx(other, rel=1e-6)
