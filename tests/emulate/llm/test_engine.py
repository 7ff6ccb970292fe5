"""The emulated engine in real time. No test says how long something took, only in which order and how often."""

import asyncio
from dataclasses import dataclass

import pytest

from harmonia_compiler.emulate.llm.engine import Engine, EngineFailed
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.emulate.times import Stretched
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.steps import StepLoad

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
    assert engine.in_progress == 0
    assert engine.scheduler.blocks.free == LIMITS.kv_blocks


async def test_steps_follow_each_other_without_a_gap_however_late_this_process_is() -> None:
    late: list[float] = []
    engine = Engine(LIMITS, Quick(), late.append)
    loop = asyncio.get_running_loop()
    began = loop.time() * 1000
    heard: list[Sequence] = []
    engine.submit(Sequence(10, 30), heard.append)
    while not heard:
        await asyncio.sleep(0)
    first_ended = loop.time() * 1000 - late[0]
    while loop.time() * 1000 < began + 40:
        pass  # the event loop is kept from its work for a while
    while not heard[-1].ended:
        await asyncio.sleep(0)
    assert len(late) == len(heard) == 30
    assert engine.busy_ms == pytest.approx(30)
    assert first_ended + 29 <= loop.time() * 1000
    assert late[5] > late[20] > 0, "those that were due while it was kept are told at once, the older the later"


async def test_who_leaves_lets_the_others_have_the_engine() -> None:
    engine = Engine(LIMITS, Quick())
    async for delivered in (stream := engine.generate(Sequence(10, 300))):
        if delivered == 3:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    assert engine.in_progress == 0
    await asyncio.sleep(0)
    assert engine.scheduler.running == []
    assert await answer(engine, Sequence(10, 2)) == [1, 2]


async def test_a_failure_loses_what_is_in_progress_and_nothing_later() -> None:
    engine = Engine(LIMITS, Never())
    lost = asyncio.create_task(answer(engine, Sequence(10, 5)))
    await asyncio.sleep(0)
    engine.use(Quick())
    engine.fail()
    with pytest.raises(EngineFailed, match="after 0 tokens"):
        await lost
    assert await answer(engine, Sequence(10, 2)) == [1, 2]


async def test_times_may_change_while_it_works() -> None:
    engine = Engine(LIMITS, Quick())
    task = asyncio.create_task(answer(engine, Sequence(10, 20)))
    await asyncio.sleep(0)
    engine.use(Stretched(Quick(), 2.0))
    assert len(await task) == 20
    assert engine.busy_ms == pytest.approx(39, abs=1)
