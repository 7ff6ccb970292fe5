"""How long emulated answers are: as recorded or drawn, and never longer than their engine is told that they may be."""

from pathlib import Path

import pytest

from harmonia_compiler.emulate.behaviour import extent_of
from tests.emulate.planned import planned_for

SOURCE = """
component small = llm("SmolLM2-135M-Instruct", max_tokens: {component})
component say(question: text) -> text ~ 8 tokens = small("Answer: {{question}}"{call})
pipeline ask(question: text ~ 10 tokens) -> text {{ return say(question) }}
"""


def said(folder: Path, recorded: int | None, component: int = 200, call: int | None = None) -> float:
    """Tokens of one answer."""
    source = SOURCE.format(component=component, call="" if call is None else f", max_tokens: {call}")
    planned = planned_for(folder, source)
    behaviour = planned.behaviour
    if recorded is not None:
        behaviour.lengths["7"] = recorded
    made = planned.service.programs["ask"].components["say"]
    return extent_of(behaviour.value(made, {}, 7, "")).tokens


def test_an_answer_is_as_long_as_it_is_recorded(tmp_path: Path) -> None:
    assert said(tmp_path, 90) == 90


def test_an_answer_that_is_recorded_with_no_token_has_one(tmp_path: Path) -> None:
    assert said(tmp_path, 0) == 1


def test_recorded_answers_that_are_cut_are_counted_once_for_each_request(tmp_path: Path) -> None:
    planned = planned_for(tmp_path, SOURCE.format(component=200, call=""))
    behaviour, made = planned.behaviour, planned.service.programs["ask"].components["say"]
    behaviour.lengths.update({"1": 2000, "2": 200, "3": 201})
    for request in (1, 1, 2, 3, 4):
        behaviour.value(made, {}, request, "")
    assert behaviour.cuts == {"say": 2}


@pytest.mark.parametrize(("component", "call", "most"), [(64, None, 64), (200, 8, 8), (8, 64, 64)])
@pytest.mark.parametrize("recorded", [2000, None])
def test_no_answer_is_longer_than_it_may_be(
    tmp_path: Path, recorded: int | None, component: int, call: int | None, most: int
) -> None:
    length = said(tmp_path, recorded, component, call)
    assert length <= most
    if recorded:
        assert length == most
