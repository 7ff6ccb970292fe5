"""A language model's replica in virtual time: what its prefix cache finds."""

from dataclasses import replace
from typing import Any

import pytest

from harmonia_compiler.contract.card import load_cards
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


@pytest.mark.parametrize(("block", "found"), [(16, 288), (32, 288), (128, 256), (400, 0)])
def test_of_a_beginning_that_was_seen_whole_blocks_are_found(simulated: Simulated, block: int, found: int) -> None:
    """Two prompts of 400 tokens, of which the first 18 blocks of 16 are the same: engines on CPUs have larger ones."""
    given = simulated(SOURCE).scenario
    (placed,) = {one.config: one for one in given.plan.replicas}.values()
    stepping = serving(given.service.engines["model"], placed.config, load_cards())
    assert isinstance(stepping, Stepping)
    ended: list[Job] = []
    loop = Loop()
    of_blocks = replace(stepping, limits=replace(stepping.limits, block_size=block))
    replica = Model(loop, of_blocks, ended.append, lambda _, reason: pytest.fail(reason))
    for number in range(2):
        names = (*range(18), *(1000 * (number + 1) + at for at in range(7)))
        nobody: Any = None
        job = Job(nobody, "ask", nobody, {"max_tokens": 10}, [], False, number, (), 0, nobody, nobody)  # noqa: FBT003
        job.size = Size(Work(prompt_tokens=400.0, output_tokens=2.0), names)
        replica.submit(job)
        loop.run()
    assert len(ended) == 2
    assert replica._course.scheduler.counts.hit == found
