"""The scheduler beside the one of the installed vLLM: the same calls, and every step must be the same."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.emulate.llm.batch import Batch
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.limits import Limits

pytestmark = [pytest.mark.engines, pytest.mark.slow]

WORKLOADS = 240
CONTEXT = 240


def workload(seed: int) -> dict[str, Any]:
    """Calls that share documents, go on with former answers, crowd the cache and are given up."""
    rng = random.Random(seed)
    limits = Limits(
        kv_blocks=rng.choice([16, 20, 30, 60]),
        step_tokens=rng.choice([16, 40, 128, 512]),
        sequences=rng.choice([2, 4, 16]),
        context=CONTEXT,
        block_size=16,
        ahead=seed % 2 == 1,
        by_priority=rng.random() < 0.5,
        prefix_caching=rng.random() < 0.8,
    )
    documents = [[rng.randrange(1, 90) for _ in range(40)] for _ in range(4)]
    calls: list[dict[str, Any]] = []
    at = 0
    for _ in range(rng.choice([5, 20, 50])):
        at += rng.choice([0, 0, 1, 3, 12])
        prompt = [token for _ in range(rng.randrange(4)) for token in rng.choice(documents)]
        if calls and rng.random() < 0.2:
            prompt = rng.choice(calls)["prompt"] + rng.choice(calls)["answer"]
            prompt = prompt[:200]
        prompt = prompt + [rng.randrange(1, 90) for _ in range(rng.randrange(1, 30))]
        answer = [rng.randrange(1, 90) for _ in range(rng.choice([1, 2, 9, 30, CONTEXT - len(prompt)]))]
        until = at + rng.randrange(1, 30) if rng.random() < 0.15 else None
        calls.append({"prompt": prompt, "answer": answer, "priority": rng.randrange(3), "at": at, "until": until})
    return {"limits": msgspec.to_builtins(limits), "calls": calls}


def log(work: dict[str, Any]) -> dict[str, Any]:
    """What our scheduler does, written as `vllm_schedules.py` writes it."""
    limits = msgspec.convert(work["limits"], Limits)
    scheduler = Scheduler(limits)
    sequences = []
    for call in work["calls"]:
        known = call["prompt"] + call["answer"]
        keys = tuple(tuple(known[:end]) for end in range(limits.block_size, len(known) + 1, limits.block_size))
        sequences.append(
            Sequence(len(call["prompt"]), len(call["answer"]), keys, call["priority"], arrived_ms=float(call["at"]))
        )
    numbers = {sequence: number for number, sequence in enumerate(sequences)}
    steps: list[Any] = []
    flying: list[Batch] = []
    last = max(call["at"] for call in work["calls"])
    step = 0
    while flying or scheduler.running or len(scheduler.waiting) or step <= last:
        for sequence, call in zip(sequences, work["calls"], strict=True):
            if call["at"] == step:
                scheduler.add(sequence)
            if call["until"] == step:
                scheduler.cancel(sequence)
        batch = scheduler.schedule()
        if batch is not None:
            flying.append(batch)
        ended = []
        if len(flying) > (1 if limits.ahead and batch is not None else 0):
            ended = [numbers[sequence] for sequence in scheduler.complete(flying.pop(0))]
        tokens = [] if batch is None else [[numbers[each], count] for each, count in batch.tokens.items()]
        steps.append([tokens, ended, scheduler.blocks.free])
        step += 1
    return {
        "steps": steps,
        "preemptions": [sequence.preemptions for sequence in sequences],
        # vLLM says what was found with the first token.
        "cached": [sequence.cached if sequence.delivered else 0 for sequence in sequences],
    }


def test_every_step_is_that_of_vllm() -> None:
    pytest.importorskip("vllm")
    work = [workload(seed) for seed in range(WORKLOADS)]
    script = Path(__file__).with_name("vllm_schedules.py")
    done = subprocess.run([sys.executable, script], input=json.dumps(work), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout.splitlines()[-1])
    pushed_out = found = 0
    for seed, (one, other) in enumerate(zip(map(log, work), theirs, strict=True)):
        for step, (ours, vllms) in enumerate(zip(one["steps"], other["steps"], strict=False)):
            assert ours == vllms, f"workload {seed}, step {step}: {work[seed]['limits']}"
        assert one == other, f"workload {seed}"
        pushed_out += sum(one["preemptions"])
        found += sum(one["cached"])
    assert pushed_out > 100, "too few preemptions to say anything"
    assert found > 10_000, "too little was found to say anything"
