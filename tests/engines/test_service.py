"""The running service as a client meets it: the `openai` package, both pipelines, workers that are killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from openai import NotFoundError, OpenAI

from tests.engines.conftest import RunningService, stop_and_look

pytestmark = pytest.mark.engines

QUESTION = "Which solver is used for the integer program?"
#: Where the first two take the same way.
MORE_QUESTIONS = (
    "Who won the 1998 world cup in football?",
    "How do I merge sorted iterables in Python?",
    "Where does the gateway listen?",
)
#: A language model takes as long to start as it did the first time, on a machine that has other work.
RECOVERY_S = 600


@pytest.fixture
def client(service: RunningService) -> Iterator[OpenAI]:
    # Left to be collected, what it keeps open is a warning in whichever test runs then.
    with OpenAI(base_url=f"{service.url}/v1", api_key="unused", max_retries=0) as package:
        yield package


def test_a_pipeline_is_a_model(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} >= {"quickstart", "corrective", "self_rag", "desk"}
    with pytest.raises(NotFoundError, match="quickstart"):
        client.chat.completions.create(model="quickstrat", messages=[{"role": "user", "content": QUESTION}])


def test_a_plain_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="quickstart", messages=[{"role": "user", "content": QUESTION}])
    # What a model of 135 million parameters says is not ours to judge; that it was given the passages is.
    assert (answer.choices[0].message.content or "").strip()
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 100
    assert answer.usage.completion_tokens > 0


def test_a_streamed_answer_with_usage(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="quickstart",
            messages=[{"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(texts) > 3, "the text came in one piece"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens >= len(texts) - 1


@pytest.mark.slow
def test_both_arms_of_corrective_run(service: RunningService) -> None:
    """Which arm a question takes is the model's business; among these, each is taken."""
    taken: dict[bool, str] = {}
    for question in (QUESTION, "What is the capital of France?", *MORE_QUESTIONS):
        reply = service.post("/v1/pipelines/corrective", {"inputs": {"question": question}})
        ran = [stage["component"] for stage in reply["timings"]["stages"]]
        looked_elsewhere = "library" in ran
        corrected = ["rewrite", "library"] if looked_elsewhere else []
        assert ran == ["minilm", "search", "rerank", "grade", *corrected, "answer"]
        from_python = {passage["source"].startswith("python:") for passage in reply["passages"]}
        assert from_python <= {looked_elsewhere}
        assert from_python or looked_elsewhere, "the store has passages for every question"
        taken[looked_elsewhere] = question
        if len(taken) == 2:
            return
    pytest.fail(f"every question took the same arm: {taken}")


def _processes(service: RunningService) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in service.status()["processes"]}


def _until(service: RunningService, of_interest: Callable[[str], bool]) -> None:
    """Wait until all processes of interest are ready."""
    until = time.monotonic() + RECOVERY_S
    while late := [
        name for name, each in _processes(service).items() if of_interest(name) and each["phase"] != "ready"
    ]:
        assert time.monotonic() < until, f"not ready again: {', '.join(late)}"
        time.sleep(0.5)


def _is_model(name: str) -> bool:
    return name.startswith("small-")


def _kill(service: RunningService, of_interest: Callable[[str], bool]) -> None:
    """End some processes at once, and wait until `status` has noticed it and they are ready again, as new ones."""
    before = {name: each for name, each in _processes(service).items() if of_interest(name)}
    assert before
    for each in before.values():
        os.kill(each["pid"], signal.SIGKILL)
    until = time.monotonic() + 20
    while unseen := [
        name
        for name, each in _processes(service).items()
        if name in before and each["restarts"] == before[name]["restarts"]
    ]:
        assert time.monotonic() < until, f"`status` did not notice that {', '.join(unseen)} died"
        time.sleep(0.1)
    _until(service, of_interest)
    after = _processes(service)
    for name, each in before.items():
        assert after[name]["pid"] != each["pid"]
        assert psutil.pid_exists(after[name]["pid"])
        assert not psutil.pid_exists(each["pid"])


def test_killed_workers_are_seen_and_restarted(service: RunningService) -> None:
    """All of them at once but for the language models: it is what takes a service apart most."""
    _kill(service, lambda name: not _is_model(name))
    reply = service.post("/v1/pipelines/lookup", {"inputs": {"question": QUESTION}})
    assert len(reply["value"]) == 5


@pytest.mark.slow
def test_a_killed_language_model_answers_again(service: RunningService) -> None:
    _kill(service, _is_model)
    reply = service.post("/v1/pipelines/quickstart", {"inputs": {"question": QUESTION}})
    assert len(reply["passages"]) == 5
    assert service.status()["ready"] is True


def test_down_leaves_nothing(service: RunningService) -> None:
    """The last over this service, also while what was killed is still starting: nobody needs it any more."""
    stop_and_look(service.bundle)
