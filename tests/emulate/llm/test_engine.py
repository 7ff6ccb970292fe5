"""The emulated engine in real time. No test says how long something took, only in which order and how often."""

import asyncio
from dataclasses import dataclass

import pytest

from harmonia_compiler.emulate.llm.engine import CallRefused, Engine, EngineFailed
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.steps import Slower, StepLoad

LIMITS = Limits(kv_blocks=200, step_tokens=64, sequences=8, context=400)


@dataclass(frozen=True)
class Quick:
    """Steps of a millisecond."""

    request_ms: float = 0.5

    def step_ms(self, load: StepLoad, /) -> float:
        return 1.0


@dataclass(frozen=True)
class Never:
    """A step that does not end while a test runs."""

    request_ms: float = 0.0

    def step_ms(self, load: StepLoad, /) -> float:
        return 1e9


async def answer(engine: Engine, sequence: Sequence) -> list[int]:
    return [delivered async for delivered in engine.generate(sequence)]


async def test_each_token_of_each_call_is_told_once_and_in_order() -> None:
    engine = Engine(LIMITS, Quick())
    calls = [Sequence(10 + number, 1 + number % 7) for number in range(20)]
    answers = await asyncio.gather(*(answer(engine, call) for call in calls))
    assert answers == [list(range(1, call.answer + 1)) for call in calls]
    assert engine.scheduler.blocks.free == LIMITS.kv_blocks


async def test_steps_follow_each_other_without_a_gap_however_late_this_process_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a clock that the test moves: it stands still while this process is kept from its work elsewhere."""
    loop = asyncio.get_running_loop()
    now_ms = 1000.0
    monkeypatch.setattr(loop, "time", lambda: now_ms / 1000)
    ended: list[float] = []
    engine = Engine(LIMITS, Quick(), lambda late_ms: ended.append(now_ms - late_ms))
    heard: list[Sequence] = []
    engine.submit(Sequence(10, 30), heard.append)
    heard_at: list[int] = []
    looked_at = (1001.0, 1002.0, 1012.5, 1013.0, 1100.0)
    for at_ms in looked_at:
        now_ms = at_ms
        for _ in range(3):  # a timer's turn comes after that of what was ready before it
            await asyncio.sleep(0)
        heard_at.append(len(heard))
    first = ended[0]
    assert ended == pytest.approx([first + step for step in range(30)])
    assert heard_at == [sum(end <= now for end in ended) for now in looked_at]
    assert heard_at[2] - heard_at[1] > 9
    assert heard[-1].ended
    assert engine.busy_ms == pytest.approx(30)


async def test_who_leaves_lets_the_others_have_the_engine() -> None:
    engine = Engine(LIMITS, Quick())
    async for delivered in (stream := engine.generate(Sequence(10, 300))):
        if delivered == 3:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    assert engine.scheduler.running == []
    assert await answer(engine, Sequence(10, 2)) == [1, 2]


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        (Sequence(400, 5), "a prompt of 400 tokens leaves no room for an answer in 400"),
        (Sequence(0, 5), "at least one token"),
        (Sequence(5, 0), "at least one token"),
        (Sequence(-5, 5), "at least one token"),
    ],
)
async def test_a_call_that_cannot_be_is_refused_to_its_caller_and_the_others_go_on(refused: Sequence, why: str) -> None:
    engine = Engine(LIMITS, Quick())
    other = asyncio.create_task(answer(engine, Sequence(10, 20)))
    await asyncio.sleep(0)
    with pytest.raises(CallRefused, match=why):
        engine.submit(refused, lambda _: None)
    with pytest.raises(CallRefused, match=why):
        await answer(engine, refused)
    engine.cancel(refused)
    assert await other == [*range(1, 21)]
    assert await answer(engine, Sequence(399, 5)) == [1], "an answer ends with the context"


async def test_a_sequence_is_one_call() -> None:
    engine = Engine(LIMITS, Quick())
    call = Sequence(10, 5)
    first = asyncio.create_task(answer(engine, call))
    for _ in range(2):  # once while it is in progress, and once after it has ended
        await asyncio.sleep(0)
        with pytest.raises(CallRefused, match="begun before"):
            await answer(engine, call)
        assert await first == [1, 2, 3, 4, 5]


async def test_a_failure_loses_what_is_in_progress_and_nothing_later() -> None:
    engine = Engine(LIMITS, Never())
    lost = asyncio.create_task(answer(engine, Sequence(10, 5)))
    await asyncio.sleep(0)
    engine.use(Quick())
    engine.fail()
    with pytest.raises(EngineFailed, match="after 0 tokens"):
        await lost
    assert await answer(engine, Sequence(10, 2)) == [1, 2]


async def test_what_it_worked_before_a_failure_stays_counted() -> None:
    engine = Engine(LIMITS, Quick())
    await answer(engine, Sequence(10, 5))
    engine.fail()
    assert engine.busy_ms == pytest.approx(5)
    await answer(engine, Sequence(10, 3))
    assert engine.busy_ms == pytest.approx(5 + 3)


async def test_times_may_change_while_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that the test moves until the times have changed: a pause of this machine is not a step."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    with monkeypatch.context() as stopped:
        stopped.setattr(loop, "time", lambda: now)
        engine = Engine(LIMITS, Quick())
        task = asyncio.create_task(answer(engine, Sequence(10, 20)))
        await asyncio.sleep(0)
        now += 0.001  # the first step begins after the half millisecond that a request takes, and is under way
        engine.use(Slower(Quick(), 2.0))
    assert len(await task) == 20
    assert engine.busy_ms == pytest.approx(1 + 19 * 2)
