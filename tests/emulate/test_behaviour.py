"""How large emulated answers are: as recorded, or as planned, and never longer than their engine allows."""

from pathlib import Path
from statistics import fmean

import pytest

from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.component import Component, Insert, Port
from harmonia_compiler.contract.types import Text, Value
from harmonia_compiler.emulate.behaviour import extent_of, prefix_of
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.simulate.run import simulate
from harmonia_compiler.flow.demand import demand
from harmonia_compiler.kinds.paragraphs import PROMPT_ORDER
from harmonia_compiler.report.measures import Window
from harmonia_compiler.workload.arrivals import constant, until
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
    return extent_of(behaviour.value(made, {}, 7, ""), made.result).tokens


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


ANSWERED = """
component small = llm("meta-llama/Llama-3.2-3B-Instruct", max_model_len: 32768)
component rerank = reranker("BAAI/bge-reranker-base", top_k: 4)
component scores(question: text) -> [number] ~ 200 = small("{question}", max_tokens: 1000)
component tell(rows: [number]) -> text ~ 4 tokens = small("{rows}", max_tokens: 64)
component free(question: text) -> text = small("{question}", max_tokens: 200)
component expand(found: [passage]) -> [passage ~ 1500 tokens] ~ 4 = python("pages:expand")
component squeeze(found: [passage]) -> [passage ~ 20 tokens] ~ 2.5 = python("pages:squeeze")
component more(found: [passage]) -> [passage ~ 100 tokens] ~ 20 = python("pages:more")
component usual(found: [passage]) -> [passage] = python("pages:usual")
component answer(found: [passage], question: text) -> text ~ 4 tokens = small("{found} {question}", max_tokens: 64)
pipeline ask(found: [passage ~ 100 tokens] ~ 5, question: text ~ 15 tokens) -> text {
    load 1 rps
    return RESULT
}
"""


@pytest.mark.parametrize(
    "result",
    [
        "tell(scores(question))",
        "free(question)",
        "free(question, max_tokens: 32)",
        "answer(expand(found), question)",
        "answer(squeeze(found), question)",
        "answer(more(found), question)",
        "answer(usual(found), question)",
        "answer(rerank(question, found), question)",
        "answer(rerank(question, expand(found)), question)",
        "answer(rerank(question, take(found, 2)), question)",
    ],
)
def test_as_much_is_read_and_written_as_is_planned(tmp_path: Path, result: str) -> None:
    planned = planned_for(tmp_path, ANSWERED.replace("RESULT", result))
    planned_in, planned_out = (
        sum(
            getattr(call.work, of) * call.visits
            for call in demand(planned.application, planned.application.flows[0]).calls
        )
        for of in ("prompt_tokens", "output_tokens")
    )
    seen = simulate(planned, [*until(constant(1.0), 200_000.0)], Window(0.0, 200_000.0), load_cards(), {}).observed
    assert len(seen) > 100
    # Answers vary by half, and each prompt is of whole tokens.
    assert fmean(one.tokens_in or 0 for one in seen) == pytest.approx(planned_in, rel=0.03, abs=2.0)
    assert fmean(one.tokens_out or 0 for one in seen) == pytest.approx(planned_out, rel=0.12)


def passages(planned: Scenario, component: str, number: int) -> tuple[list[Value], list[Value]]:
    """What a component gives that is given so many passages of 100 tokens; and those."""
    given = [{"text": "word " * 80, "source": f"{at}.md", "score": at / 10} for at in range(number)]
    made = planned.service.programs["ask"].components[component]
    return planned.behaviour.value(made, {"found": given, "passages": given, "question": "who?"}, 7, ""), given


@pytest.mark.parametrize(
    ("component", "number", "tokens"), [("expand", 4, 1500), ("more", 20, 100), ("rerank", 4, 100)]
)
def test_passages_that_are_made_of_others_keep_their_sources_and_scores(
    tmp_path: Path, component: str, number: int, tokens: int
) -> None:
    result = "answer(COMPONENT, question)".replace(
        "COMPONENT", "rerank(question, found)" if component == "rerank" else f"{component}(found)"
    )
    planned = planned_for(tmp_path, ANSWERED.replace("RESULT", result))
    found, given = passages(planned, component, 5)
    known = {one["source"]: one for one in given}
    assert [len(one["text"]) for one in found] == [4 * tokens] * number
    assert len({one["source"] for one in found}) == number
    of_given = [one for one in found if one["source"] in known]
    assert len(of_given) == min(number, 5)
    assert {one["score"] for one in found} <= {one["score"] for one in given}
    for one in of_given:
        assert one["score"] == known[one["source"]]["score"]
        assert (one["text"] == known[one["source"]]["text"]) is (tokens == 100)


def test_a_component_that_is_given_no_passage_gives_its_own_and_a_reranker_none(tmp_path: Path) -> None:
    result = "answer(rerank(question, expand(found)), question)"
    planned = planned_for(tmp_path, ANSWERED.replace("RESULT", result))
    assert passages(planned, "rerank", 0)[0] == []
    assert len(passages(planned, "expand", 0)[0]) == 4


def test_a_prompt_begins_with_the_paragraph_that_is_put_first() -> None:
    prompt = ("Claim: ", Insert("claim"), "\n\nText: ", Insert("text"))
    holds = Component("holds", "llm", "model", (Port("claim", Text()), Port("text", Text())), Text(), prompt=prompt)
    asked: list[dict[str, Value]] = [{"claim": claim * 50, "text": "words " * 50} for claim in "ab"]
    for settings, alike in (({}, False), ({PROMPT_ORDER: [1, 0]}, True)):
        one, other = (prefix_of(holds, settings, inputs, 16) for inputs in asked)
        assert (one[0] == other[0]) == alike
