"""A language model's replica in virtual time: what its prefix cache finds."""

from dataclasses import replace
from typing import Any

import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.types import ListOf, Message, Text, Value
from harmonia_compiler.emulate.behaviour import Size
from harmonia_compiler.emulate.simulate.loop import Loop
from harmonia_compiler.emulate.simulate.models import Model
from harmonia_compiler.emulate.simulate.service import Job
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.profile.serving import Stepping, serving
from tests.emulate.simulate.conftest import Simulated

SOURCE = """
component model = llm("meta-llama/Llama-3.2-3B-Instruct")
component answer(question: text) -> text ~ 2 tokens = model("{question}", max_tokens: 10)
pipeline ask(question: text ~ 400 tokens) -> text {
    load 1 rps
    return answer(question)
}
"""


#: A component of conversations.
TALK = Component("talk", "llm", "model", (Port("turns", ListOf(Message())),), Text())


def stepping_of(simulated: Simulated) -> Stepping:
    given = simulated(SOURCE).scenario
    (placed,) = {one.config: one for one in given.plan.replicas}.values()
    stepping = serving(given.service.engines["model"], placed.config, load_cards())
    assert isinstance(stepping, Stepping)
    return stepping


def asked(number: int, size: Size, *inputs: dict[str, Value]) -> Job:
    nobody: Any = None
    job = Job(nobody, "ask", TALK, {"max_tokens": 10}, [*inputs], False, number, (), 0, nobody, nobody)  # noqa: FBT003
    job.size = size
    return job


@pytest.mark.parametrize(("block", "found"), [(16, 288), (32, 288), (128, 256), (400, 0)])
def test_of_a_beginning_that_was_seen_whole_blocks_are_found(simulated: Simulated, block: int, found: int) -> None:
    """Two prompts of 400 tokens, of which the first 18 blocks of 16 are the same: engines on CPUs have larger ones."""
    stepping = stepping_of(simulated)
    ended: list[Job] = []
    loop = Loop()
    of_blocks = replace(stepping, limits=replace(stepping.limits, block_size=block))
    replica = Model(loop, of_blocks, ended.append, lambda _, reason: pytest.fail(reason))
    for number in range(2):
        names = (*range(18), *(1000 * (number + 1) + at for at in range(7)))
        replica.submit(asked(number, Size(Work(prompt_tokens=400.0, output_tokens=2.0), names)))
        loop.run()
    assert len(ended) == 2
    assert replica._course.scheduler.counts.hit == found


@pytest.mark.parametrize(
    ("prompt", "inputs", "reason"),
    [
        (1_000_000.0, (), "a prompt of 1000000 tokens leaves no room for an answer of 10"),
        (10.0, ({"turns": []},), "a conversation has at least one turn"),
    ],
)
def test_what_an_engine_refuses_it_refuses_when_it_arrives(
    simulated: Simulated, prompt: float, inputs: tuple[dict[str, Value], ...], reason: str
) -> None:
    loop = Loop()
    refused: list[tuple[float, str]] = []
    done: list[Job] = []
    replica = Model(loop, stepping_of(simulated), done.append, lambda _, why: refused.append((loop.now_ms, why)))
    replica.submit(asked(1, Size(Work(prompt_tokens=prompt, output_tokens=2.0)), *inputs), after_ms=7.0)
    loop.run()
    ((at_ms, why),) = refused
    assert not done
    assert at_ms == 7.0
    assert why.startswith(reason)
