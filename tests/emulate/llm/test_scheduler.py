"""What a scheduler of steps must do whatever comes: budgets kept, blocks conserved, every call answered in full."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.emulate.llm.batch import Batch
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.limits import Limits

SMALL = Limits(kv_blocks=40, step_tokens=32, sequences=4, context=120, block_size=4)


def documents(*blocks: int) -> tuple[tuple[int, ...], ...]:
    """Keys of a prompt made of numbered blocks."""
    return tuple(blocks[: end + 1] for end in range(len(blocks)))


def run(scheduler: Scheduler) -> list[Batch]:
    """All steps until nothing is left."""
    batches = []
    while (batch := scheduler.next_batch()) is not None:
        scheduler.complete(batch)
        batches.append(batch)
        assert len(batches) < 10_000
    return batches


def test_a_call_is_a_prefill_and_a_step_for_each_further_token() -> None:
    scheduler, call = Scheduler(SMALL), Sequence(10, 3)
    scheduler.add(call)
    batches = run(scheduler)
    assert [batch.tokens[call] for batch in batches] == [10, 1, 1]
    assert [tuple(batch.load) for batch in batches] == [(10, 50.0, 0, 0, 1), (0, 0.0, 1, 11, 0), (0, 0.0, 1, 12, 0)]
    assert call.delivered == 3
    assert scheduler.blocks.free == SMALL.kv_blocks


def test_a_long_prompt_is_computed_in_chunks_that_what_decodes_leaves_room_for() -> None:
    scheduler, decoding, long = Scheduler(SMALL), Sequence(4, 9), Sequence(70, 1)
    scheduler.add(decoding)
    scheduler.complete(_next(scheduler))
    scheduler.add(long)
    chunks = [batch.tokens.get(long, 0) for batch in run(scheduler)]
    assert chunks[:4] == [31, 31, 8, 0]


def test_no_more_are_in_the_batch_than_there_are_places() -> None:
    scheduler = Scheduler(SMALL)
    for _ in range(6):
        scheduler.add(Sequence(4, 5))
    assert [len(batch.tokens) for batch in run(scheduler)] == [4] * 5 + [2] * 5


def test_who_lacks_a_block_pushes_out_the_last_that_came() -> None:
    scheduler = Scheduler(replace(SMALL, kv_blocks=6, prefix_caching=False))
    first, second = Sequence(8, 12), Sequence(8, 12)
    scheduler.add(first)
    scheduler.add(second)
    batches = run(scheduler)
    assert (first.preemptions, second.preemptions) == (0, 1)
    pushed = next(batch for batch in batches if batch.preempted)
    assert pushed.preempted == (second,)
    assert pushed.tokens == {first: 1}
    again = batches[batches.index(pushed) + 1 :]
    recomputed = next(batch.tokens[second] for batch in again if second in batch.tokens)
    assert recomputed == 8 + 5, "the prompt and what it had said"
    assert sum(batch.load.begun for batch in batches) == 2, "who comes back had begun before"
    assert (first.delivered, second.delivered) == (12, 12)


def test_a_prompt_that_was_computed_before_is_found_but_for_its_last_token() -> None:
    scheduler = Scheduler(SMALL)
    keys = documents(1, 2, 3)
    for prompt, found in ((12, 0), (12, 8), (13, 12), (30, 12)):
        call = Sequence(prompt, 2, keys)
        scheduler.add(call)
        run(scheduler)
        assert call.cached == found
    assert (scheduler.counts.queried, scheduler.counts.hit) == (67, 32)


def test_a_prompt_in_the_same_step_is_found() -> None:
    scheduler = Scheduler(SMALL)
    one, other = Sequence(13, 2, documents(1, 2, 3)), Sequence(14, 2, documents(1, 2, 3))
    scheduler.add(one)
    scheduler.add(other)
    assert _next(scheduler).tokens == {one: 13, other: 2}


def test_an_answer_is_found_by_the_turn_that_follows_it() -> None:
    scheduler = Scheduler(SMALL)
    keys = documents(1, 2, 3, 4)
    scheduler.add(Sequence(8, 9, keys))
    run(scheduler)
    turn = Sequence(20, 1, keys)
    scheduler.add(turn)
    run(scheduler)
    assert turn.cached == 16


def test_the_lowest_priority_value_is_admitted_first_and_the_highest_yields() -> None:
    scheduler = Scheduler(replace(SMALL, by_priority=True, sequences=1))
    late, urgent = Sequence(4, 1, priority=5, arrived_ms=0.0), Sequence(4, 1, priority=-1, arrived_ms=9.0)
    for call in (late, urgent):
        scheduler.add(call)
    assert [*_next(scheduler).tokens] == [urgent]
    scheduler = Scheduler(replace(SMALL, by_priority=True, kv_blocks=6, prefix_caching=False))
    for call in (lesser := Sequence(8, 12, priority=3), greater := Sequence(8, 12, priority=1)):
        scheduler.add(call)
    run(scheduler)
    assert (lesser.preemptions > 0, greater.preemptions) == (True, 0)


def test_of_one_priority_who_came_last_yields() -> None:
    scheduler = Scheduler(replace(SMALL, by_priority=True, kv_blocks=6, prefix_caching=False))
    first, last = Sequence(8, 12, priority=1, arrived_ms=3.0), Sequence(8, 12, priority=1, arrived_ms=5.0)
    for call in (first, last):
        scheduler.add(call)
    run(scheduler)
    assert (first.preemptions, last.preemptions > 0) == (0, True)


def test_where_the_first_of_the_batch_yields_the_others_go_on() -> None:
    """It needs a seventh block, and is the one that must give its blocks back; nobody else comes to wake the others."""
    scheduler = Scheduler(replace(SMALL, by_priority=True, kv_blocks=6, prefix_caching=False))
    lesser, greater = Sequence(8, 12, priority=3), Sequence(7, 12, priority=1)
    scheduler.add(lesser)
    scheduler.complete(_next(scheduler))
    scheduler.add(greater)
    while not lesser.preemptions:
        scheduler.complete(_next(scheduler))
    assert lesser.blocks == 0
    assert greater.blocks > 0
    run(scheduler)
    assert (lesser.delivered, greater.delivered) == (12, 12)


def test_who_is_cancelled_leaves_its_blocks_and_gets_nothing_more() -> None:
    scheduler = Scheduler(SMALL)
    running, waiting = Sequence(40, 5), Sequence(4, 5)
    scheduler.add(running)
    batch = _next(scheduler)
    scheduler.add(waiting)
    scheduler.cancel(running)
    scheduler.cancel(waiting)
    assert scheduler.complete(batch) == []
    assert scheduler.next_batch() is None
    assert scheduler.blocks.free == SMALL.kv_blocks
    scheduler.cancel(running)


def test_an_answer_ends_with_the_context() -> None:
    scheduler, call = Scheduler(SMALL), Sequence(100, 500)
    scheduler.add(call)
    run(scheduler)
    assert call.delivered == SMALL.context - 100


def test_what_does_not_fit_says_so() -> None:
    scheduler = Scheduler(SMALL)
    assert scheduler.fits(119)
    assert not scheduler.fits(120)
    assert not Scheduler(replace(SMALL, kv_blocks=10)).fits(40)


def test_a_step_decided_on_ahead_knows_who_gets_a_last_token() -> None:
    scheduler = Scheduler(replace(SMALL, ahead=True))
    short, long = Sequence(4, 1), Sequence(4, 3)
    scheduler.add(short)
    scheduler.add(long)
    flying, following = _next(scheduler), _next(scheduler)
    assert following.tokens == {long: 1}
    assert scheduler.complete(flying) == [short]
    assert _next(scheduler).tokens == {long: 1}
    assert scheduler.complete(following) == []


def _next(scheduler: Scheduler) -> Batch:
    batch = scheduler.next_batch()
    assert batch is not None
    return batch


Calls = list[tuple[int, int, list[int], int, int, int | None]]


def _calls(chance: Random) -> Calls:
    """Up to fourteen calls, more than the blocks of most limits are enough for at once."""
    return [
        (
            chance.randint(1, 60),  # prompt
            chance.randint(1, 60),  # answer
            [chance.randint(0, 1) for _ in range(chance.randint(0, 25))],  # documents
            chance.randint(0, 2),  # priority
            chance.randint(0, 6),  # steps after the one before
            chance.choice((None, chance.randint(0, 60))),  # steps until nobody awaits it any more
        )
        for _ in range(chance.randint(1, 14))
    ]


def _limits(chance: Random) -> Limits:
    return Limits(
        kv_blocks=chance.randint(31, 45),
        step_tokens=chance.randint(4, 64),
        sequences=chance.randint(1, 6),
        context=120,
        block_size=4,
        ahead=chance.random() < 0.5,
        by_priority=chance.random() < 0.5,
        prefix_caching=chance.random() < 0.5,
    )


#: Hypothesis likes small choices, and few short calls are in nobody's way: it draws seeds alone.
SEEDS = st.integers(0, 2**32 - 1)
calls = SEEDS.map(lambda seed: _calls(Random(seed)))
limits = SEEDS.map(lambda seed: _limits(Random(seed)))


def _sequences(calls: Calls) -> list[tuple[int, Sequence, int | None]]:
    """When each call comes, in steps, and when it is given up."""
    found, at = [], 0
    for prompt, answer, blocks, priority, pause, patience in calls:
        at += pause
        keys = documents(*blocks[: (prompt + answer) // 4])
        sequence = Sequence(prompt, answer, keys, priority, arrived_ms=float(at))
        found.append((at, sequence, None if patience is None else at + patience))
    return found


@given(limits, calls)
def test_budgets_are_kept_blocks_conserved_and_everybody_answered(limits: Limits, calls: Calls) -> None:
    scheduler, coming = Scheduler(limits), _sequences(calls)
    flying: list[Batch] = []
    step = 0
    while True:
        for at, sequence, until in coming:
            if at == step:
                scheduler.add(sequence)
            if until == step:
                scheduler.cancel(sequence)
        batch = scheduler.next_batch()
        if batch is not None:
            flying.append(batch)
            _check_step(scheduler, batch)
        elif not flying and all(at < step for at, _, _ in coming):
            break
        if len(flying) > (1 if limits.ahead and batch is not None else 0):
            scheduler.complete(flying.pop(0))
        _check_blocks(scheduler)
        step += 1
        assert step < 20_000, "it does not end"
    assert scheduler.blocks.free == limits.kv_blocks
    for _, sequence, until in coming:
        assert sequence.ended
        assert sequence.delivered == sequence.answer or until is not None


def _check_step(scheduler: Scheduler, batch: Batch) -> None:
    limits = scheduler.limits
    assert 0 < sum(batch.tokens.values()) <= limits.step_tokens
    assert len(scheduler.running) <= limits.sequences
    assert batch.tokens.keys() <= set(scheduler.running)
    assert batch.load.prefill_tokens + batch.load.decodes == sum(batch.tokens.values())
    for sequence in batch.preempted:
        assert sequence.blocks == 0
    if limits.by_priority and batch.preempted:
        kept = [sequence.priority for sequence in scheduler.running]
        assert max(kept, default=-1) <= min(sequence.priority for sequence in batch.preempted)


def _check_blocks(scheduler: Scheduler) -> None:
    size = scheduler.limits.block_size
    held = sum(sequence.blocks - len(sequence.named) for sequence in scheduler.running)
    named = {block for sequence in scheduler.running for block in sequence.named}
    assert scheduler.blocks.free == scheduler.limits.kv_blocks - held - len(named)
    for sequence in scheduler.running:
        assert sequence.computed <= sequence.blocks * size
        assert sequence.delivered <= sequence.scheduled <= sequence.answer


@given(limits, calls, st.data())
def test_equal_steps_at_once_are_those_one_by_one(limits: Limits, calls: Calls, data: st.DataObject) -> None:
    limits = replace(limits, ahead=False)

    def told(*, leaping: bool) -> list[tuple[int, ...]]:
        scheduler, coming = Scheduler(limits), _sequences(calls)
        log: list[tuple[int, ...]] = []
        numbers = {sequence: number for number, (_, sequence, _) in enumerate(coming)}
        step = 0
        while step < 20_000:
            for at, sequence, until in coming:
                if at == step:
                    scheduler.add(sequence)
                if until == step:
                    scheduler.cancel(sequence)
            batch = scheduler.next_batch()
            if batch is None:
                step += 1
                if all(at < step for at, _, _ in coming):
                    return log
                continue
            if leaping:
                events = [time for at, _, until in coming for time in (at, until) if time is not None and time > step]
                most = min([scheduler.repeats(batch), *(time - step - 1 for time in events)])
                scheduler.repeat(batch, data.draw(st.integers(0, most)))
            step += batch.steps
            ended = scheduler.complete(batch)
            log += [(step, numbers[each], each.cached, each.preemptions) for each in ended]
        pytest.fail("it does not end")

    assert told(leaping=True) == told(leaping=False)
