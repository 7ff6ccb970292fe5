"""Every sample answers on real engines, by the calls that its pipeline makes.

What a model of 135 million parameters decides is not ours to judge. Which calls follow from it is.
"""

from collections import Counter
from typing import Any

import pytest
from openai import OpenAI

from tests.engines.conftest import RunningService

pytestmark = [pytest.mark.engines, pytest.mark.slow]

QUESTION = "Which solver is used for the integer program?"
LABELS = {"how-to", "reference", "problem"}


def ask(service: RunningService, pipeline: str, **inputs: Any) -> tuple[Any, Counter[str], dict[str, Any]]:
    """The answer, how often each component was called, and the whole reply."""
    reply = service.post(f"/v1/pipelines/{pipeline}", {"inputs": {"question": QUESTION, **inputs}})
    return reply["value"], Counter(stage["component"] for stage in reply["timings"]["stages"]), reply


def test_vanilla_and_hyde_retrieve_and_generate(service: RunningService) -> None:
    value, calls, reply = ask(service, "vanilla")
    assert value
    assert calls == {"minilm": 1, "search": 1, "answer": 1}
    assert len(reply["passages"]) == 5
    value, calls, _ = ask(service, "hyde")
    assert value
    assert calls == {"imagine": 1, "minilm": 1, "search": 1, "answer": 1}


@pytest.mark.parametrize(("pipeline", "drafts"), [("fusion", "rephrase"), ("memorag", "clues")])
def test_several_queries_are_embedded_and_searched_in_one_call_each(
    service: RunningService, pipeline: str, drafts: str
) -> None:
    value, calls, reply = ask(service, pipeline)
    assert value
    assert calls == {drafts: 1, "minilm": 1, "search": 1, "answer": 1}
    scores = [passage["score"] for passage in reply["passages"]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 4 / 61, "scores are those of the fusion"


def test_self_rag_asks_about_each_passage_in_every_round(service: RunningService) -> None:
    value, calls, reply = ask(service, "self_rag")
    assert value
    if "recall" in calls:
        assert calls == {"needs_search": 1, "recall": 1}
        return
    rounds = calls["search"]
    assert 1 <= rounds <= 3
    assert calls["relevant"] == 4 * rounds
    # Nobody asks whether the third round is the last, and the last one's query is not refined.
    assert calls["support"] == min(rounds, 2)
    assert calls["refine"] == rounds - 1
    paths = [stage["path"] for stage in reply["timings"]["stages"] if stage["component"] == "relevant"]
    assert {tuple(map(tuple, path)) for path in paths} == {
        (("round", number), ("item", item)) for number in range(1, rounds + 1) for item in range(1, 5)
    }


def test_adaptive_takes_one_of_its_three_ways(service: RunningService) -> None:
    value, calls, _ = ask(service, "adaptive")
    assert value
    assert calls["lookups"] == 1
    assert sum(calls[name] for name in ("recall", "answer", "conclude")) == 1


def test_ircot_searches_with_every_thought(service: RunningService) -> None:
    value, calls, _ = ask(service, "ircot")
    assert value
    assert 1 <= calls["reason"] <= 3
    assert calls["search"] == 1 + calls["reason"]
    assert calls["conclude"] == 1


def test_hipporag_walks_through_the_user_s_own_python(service: RunningService) -> None:
    value, calls, reply = ask(service, "hipporag", question="How do heapq and itertools work together?")
    assert value
    assert calls == {"entities": 1, "walk": 1, "answer": 1}
    assert reply["passages"]
    assert all(passage["source"].startswith("python:") for passage in reply["passages"])


def test_a_label_is_one_of_those_declared(service: RunningService) -> None:
    value, calls, _ = ask(service, "triage")
    assert value in LABELS
    assert calls == {"label": 1}


def test_the_turns_before_are_condensed_where_there_are_any(service: RunningService) -> None:
    turns = [
        {"role": "user", "content": "What is a bundle?"},
        {"role": "assistant", "content": "A folder that starts a plan."},
        {"role": "user", "content": "And what is in it?"},
    ]
    with OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as client:
        answer = client.chat.completions.create(model="chat", messages=turns)
    assert answer.choices[0].message.content
    _, calls, _ = ask(service, "chat", history=[])
    assert "condense" not in calls
    _, calls, _ = ask(service, "chat", history=[{"role": "user", "text": "What is a bundle?"}])
    assert calls["condense"] == 1


def test_a_request_class_changes_what_is_done_for_it(service: RunningService) -> None:
    value, calls, _ = ask(service, "desk", urgency="batch")
    assert set(value) == {"answer", "sources"}
    assert calls == {"minilm": 1, "search": 1, "rerank": 1, "answer": 1}
    _, calls, _ = ask(service, "desk")
    assert "rerank" not in calls
