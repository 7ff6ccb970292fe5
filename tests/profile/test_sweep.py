"""Sweeping over an engine whose steps are known: loads must be noted as they were; `bench/` compares the times."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from harmonia_compiler.profile.asking import Asker, Heard, NotAsked, asking
from harmonia_compiler.profile.facts import facts
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.measured import Observation
from harmonia_compiler.profile.steps import chunks
from harmonia_compiler.profile.sweep import Sweep, among, middle, observe, side_by_side, sweep_for

LIMITS = Limits(kv_blocks=400, step_tokens=256, sequences=4, context=600)
MODEL = "known"

Served = Callable[..., AbstractAsyncContextManager[str]]


def test_a_sweep_goes_as_far_as_the_limits() -> None:
    sweep = sweep_for(LIMITS)
    assert sweep.streams == (1, 2, 4)
    assert max(sweep.prompts) < LIMITS.context
    assert max(sweep.contexts) <= LIMITS.context // 2


def test_a_prompt_longer_than_a_step_is_several() -> None:
    assert [load.prefill_tokens for load in chunks(600, LIMITS.step_tokens)] == [256, 256, 88]
    assert [load.begun for load in chunks(600, LIMITS.step_tokens)] == [1, 0, 0]
    assert sum(load.prefill_pairs for load in chunks(600, LIMITS.step_tokens)) == 600**2 / 2


async def test_prompts_are_as_long_as_asked_and_answers_too(served: Served) -> None:
    async with served() as url, asking(url, MODEL, 1) as asker:
        heard = await asker.ask(101, 7)
    assert heard.prompt == 101
    assert len(heard.came_ms) == 7
    assert heard.sent_ms < heard.came_ms[0] <= heard.came_ms[-1]


async def test_an_engine_says_its_limits(served: Served) -> None:
    assumed = Limits(kv_blocks=1, step_tokens=256, sequences=4, context=1, block_size=1)
    async with served() as url:
        found = await facts(f"{url}/", MODEL, assumed)
    assert found.limits == LIMITS
    assert found.engine == "vllm 0.0"


async def test_a_model_that_is_not_served_is_named_with_those_that_are(served: Served) -> None:
    async with served() as url:
        with pytest.raises(NotAsked, match="serves `known`, `SmolLM2-135M-Instruct`, and not `other`"):
            await facts(url, "other", LIMITS)


async def test_an_engine_that_ends_answers_early_cannot_be_measured(served: Served) -> None:
    async with served(counts=False) as url:
        with pytest.raises(NotAsked, match="asked for 1 tokens and counted 0"):
            async with asking(url, MODEL, 1):
                pass


async def test_what_was_asked_is_what_is_noted(served: Served) -> None:
    told: list[str] = []
    async with served() as url, asking(url, MODEL, 1) as asker:
        # On a busy machine the four answers may miss each other, but not each time.
        sweep = Sweep(prompts=(35, 301), streams=(1, 4), contexts=(41,), repeats=8)
        seen = {each.what: each for each in await observe(asker, LIMITS, sweep, told.append)}
    short, long, _, four, *_ = told
    assert seen[short].loads == tuple(chunks(35, LIMITS.step_tokens))
    assert [load.prefill_tokens for load in seen[long].loads] == [256, 45]
    assert seen[long].requests == 1
    assert seen[four].requests == 0
    [together] = seen[four].loads
    assert (together.prefill_tokens, together.decodes) == (0, 4)
    assert 4 * 41 < together.decode_context < 4 * (41 + 60)
    assert all(each.ms > 0 for each in seen.values())
    assert told == [*seen]


async def test_a_prompt_among_answers_is_one_step(served: Served) -> None:
    async with served() as url, asking(url, MODEL, 1) as asker:
        sweep = Sweep(prompts=(101,), streams=(4,), contexts=(), repeats=8)
        [_, among] = await observe(asker, LIMITS, sweep, lambda _: None)
    [load] = among.loads
    assert (load.prefill_tokens, load.decodes, load.begun) == (101, 3, 1), "one of the four places is the prompt's"


class Losing(Asker):
    """Asks an engine that loses the second of several answers before its first token."""

    def __init__(self) -> None:
        self._asked = 0

    async def ask(self, prompt: int, answer: int, begun: asyncio.Event | None = None) -> Heard:
        if begun is not None:
            self._asked += 1
            if self._asked == 2:
                raise NotAsked("it lost the call")
            begun.set()
        return Heard(0.0, (1.0, 2.0), prompt)


async def test_an_answer_that_never_begins_ends_the_measurement() -> None:
    sweep = Sweep(prompts=(101,), streams=(4,), contexts=())
    async with asyncio.timeout(10.0):
        with pytest.raises(NotAsked, match="lost the call"):
            await observe(Losing(), LIMITS, sweep, lambda _: None)


class Counting(Asker):
    """Answers at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def ask(self, prompt: int, answer: int, begun: asyncio.Event | None = None) -> Heard:
        self.asked.append(prompt)
        return Heard(0.0, (1.0, 2.0), prompt)


@pytest.mark.parametrize(("seconds", "times"), [(0.0, 3), (60.0, 50)])
async def test_what_takes_a_moment_is_asked_more_often(seconds: float, times: int) -> None:
    asker = Counting()
    sweep = Sweep(prompts=(35,), streams=(), contexts=(), repeats=3, seconds=seconds)
    await observe(asker, Limits(kv_blocks=400, step_tokens=256, sequences=1, context=600), sweep, lambda _: None)
    assert asker.asked == [35] * times


AFTERWARDS = tuple(50.0 + 5 * step for step in range(12))


def test_what_the_answers_took_longer_while_the_prompt_came_in_is_its_step() -> None:
    # Usually 5 ms; 8 while the request was read, 24 with the prompt.
    answer = Heard(0.0, (5.0, 10.0, 18.0, 42.0, *AFTERWARDS), prompt=20)
    found = among("", Heard(12.0, (41.0,), prompt=100), [answer, answer])
    assert found is not None
    assert found.ms == 50.0 - 10.0 - 2 * 5.0
    [load] = found.loads
    assert (load.begun, load.decodes, load.decode_context) == (1, 2, 2 * (20 + 3))


def test_a_round_in_which_an_answer_had_ended_says_nothing() -> None:
    lasting, ended = Heard(0.0, (5.0, 10.0, *AFTERWARDS), prompt=20), Heard(0.0, (5.0, 10.0, 50.0, 55.0), prompt=20)
    assert among("", Heard(12.0, (41.0,), prompt=100), [lasting]) is not None
    assert among("", Heard(12.0, (41.0,), prompt=100), [lasting, ended]) is None
    assert among("", Heard(6.0, (8.0,), prompt=100), [lasting, Heard(0.0, (7.0, *AFTERWARDS), prompt=20)]) is None


def test_answers_side_by_side_count_while_all_are_given() -> None:
    early, late = Heard(0.0, (5.0, 10.0, 15.0, 20.0), prompt=20), Heard(0.0, (8.0, 13.0, 18.0, 23.0), prompt=20)
    found = side_by_side("", [early, late])
    assert found is not None
    assert (found.ms, found.loads[0].decodes) == (5.0, 2)


def test_answers_that_were_not_given_at_one_time_are_left_out() -> None:
    early, late = Heard(0.0, (5.0, 10.0, 15.0), prompt=20), Heard(0.0, (16.0, 20.0), prompt=20)
    assert side_by_side("", [early, late]) is None


def test_of_several_sweeps_the_middle_one_of_each_kind_counts() -> None:
    sweeps = [[Observation("a", (), ms), Observation("b", (), 10 * ms)] for ms in (9.0, 3.0, 5.0)]
    assert [(each.what, each.ms) for each in middle([*sweeps, [Observation("c", (), 1.0)]])] == [
        ("a", 5.0),
        ("b", 50.0),
        ("c", 1.0),
    ]
