"""Sweeping over an engine whose steps are known: loads must be noted as they were; `bench/` compares the times."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from harmonia_compiler.profile.asking import Heard, NotAsked, asking
from harmonia_compiler.profile.facts import facts
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.steps import chunks
from harmonia_compiler.profile.sweep import Sweep, among, observe, side_by_side, sweep_for

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
    assert sum(load.prefill_pairs for load in chunks(600, LIMITS.step_tokens)) == 600**2 / 2


async def test_prompts_are_as_long_as_asked_and_answers_too(served: Served) -> None:
    async with served() as url, asking(url, MODEL) as asker:
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
        with pytest.raises(NotAsked, match="serves 'known', and not 'other'"):
            await facts(url, "other", LIMITS)


async def test_an_engine_that_ends_answers_early_cannot_be_measured(served: Served) -> None:
    async with served(counts=False) as url:
        with pytest.raises(NotAsked, match="asked for 1 tokens and counted 0"):
            async with asking(url, MODEL):
                pass


async def test_what_was_asked_is_what_is_noted(served: Served) -> None:
    told: list[str] = []
    async with served() as url, asking(url, MODEL) as asker:
        sweep = Sweep(prompts=(35, 301), streams=(1, 4), contexts=(41,), repeats=1)
        seen = {each.what: each for each in await observe(asker, LIMITS, sweep, told.append)}
    assert seen["prompt of 35"].loads == tuple(chunks(35, LIMITS.step_tokens))
    assert [load.prefill_tokens for load in seen["prompt of 301"].loads] == [256, 45]
    assert seen["prompt of 301"].requests == 1
    assert seen["4 × 41"].requests == 0
    [together] = seen["4 × 41"].loads
    assert (together.prefill_tokens, together.decodes) == (0, 4)
    assert 4 * 41 < together.decode_context < 4 * (41 + 60)
    assert all(each.ms > 0 for each in seen.values())
    assert len(told) == len(seen)


async def test_a_prompt_among_answers_is_one_step(served: Served) -> None:
    async with served() as url, asking(url, MODEL) as asker:
        sweep = Sweep(prompts=(101,), streams=(4,), contexts=(), repeats=1)
        [_, among] = await observe(asker, LIMITS, sweep, lambda _: None)
    [load] = among.loads
    assert (load.prefill_tokens, load.decodes) == (101, 3), "one of the four places is the prompt's"


def test_the_longest_gap_while_the_prompt_was_computed_is_its_step() -> None:
    answer = Heard(0.0, (5.0, 10.0, 15.0, 40.0, 45.0, 90.0), prompt=20)
    found = among(Heard(12.0, (41.0,), prompt=100), [answer, answer])
    assert found is not None
    assert found.ms == 25.0
    assert found.loads[0].decode_context == 2 * (20 + 4)


def test_a_round_in_which_an_answer_had_ended_says_nothing() -> None:
    lasting, ended = Heard(0.0, (5.0, 10.0, 50.0), prompt=20), Heard(0.0, (5.0, 10.0), prompt=20)
    assert among(Heard(12.0, (41.0,), prompt=100), [lasting, ended]) is None
    assert among(Heard(6.0, (8.0,), prompt=100), [lasting, Heard(0.0, (7.0, 50.0), prompt=20)]) is None


def test_answers_side_by_side_count_while_all_are_given() -> None:
    early, late = Heard(0.0, (5.0, 10.0, 15.0, 20.0), prompt=20), Heard(0.0, (8.0, 13.0, 18.0, 23.0), prompt=20)
    found = side_by_side([early, late], 20)
    assert found is not None
    assert (found.ms, found.loads[0].decodes) == (5.0, 2)


def test_answers_that_were_not_given_at_one_time_are_left_out() -> None:
    early, late = Heard(0.0, (5.0, 10.0, 15.0), prompt=20), Heard(0.0, (16.0, 20.0), prompt=20)
    assert side_by_side([early, late], 20) is None
