"""Our own route: passages, the time of each stage, and errors that name what is wrong."""

from collections.abc import AsyncIterator
from time import perf_counter
from typing import Any

import aiohttp
import msgspec
import pytest

from harmonia_compiler.contract.program import (
    Call,
    Compare,
    Constant,
    MakeRecord,
    Parameter,
    ProgramParameter,
    Select,
    Whole,
)
from harmonia_compiler.contract.types import Field, Number, Record
from harmonia_compiler.report.observation import Outcome
from harmonia_compiler.runtime.load.bodies import Room
from harmonia_compiler.runtime.load.exchange import Asking
from harmonia_compiler.runtime.load.exchange import ask as load_ask
from harmonia_compiler.runtime.load.routes import NativeRoute
from tests.gateway.fakes import PASSAGES, TEXT, FakeEngine, Served, program, serving

RETRIEVE = (
    Parameter("question"),
    Call("minilm", ("text",), (0,)),
    Call("search", ("query",), (1,)),
    Call("rerank", ("query", "passages"), (0, 2)),
)
PROGRAMS = [
    program("rag", (*RETRIEVE, Call("answer", ("question", "passages"), (0, 3)))),
    program(
        "record",
        (*RETRIEVE, Call("answer", ("question", "passages"), (0, 3)), MakeRecord(("answer", "sources"), (4, 2))),
        streams=False,
        result_type=Record((Field("answer", TEXT), Field("sources", PASSAGES))),
    ),
    program(
        "branch",
        (
            Parameter("question"),
            Parameter("depth"),
            Constant(1),
            Compare(">", 1, 2),
            Call("minilm", ("text",), (0,)),
            Call("search", ("query",), (4,)),
            Call("answer", ("question", "passages"), (0, 5)),
            Call("say", ("question",), (0,)),
            Select(3, 6, 7),
        ),
        parameters=(ProgramParameter("question", TEXT), ProgramParameter("depth", Number(), 1)),
    ),
    program(
        "whole",
        (
            Parameter("question"),
            Parameter("short"),
            Call("say", ("question",), (0,)),
            Whole(2),
            Constant(1),
            Compare("==", 1, 4),
            Select(5, 3, 2),
        ),
        parameters=(ProgramParameter("question", TEXT), ProgramParameter("short", Number(), 1)),
    ),
    program(
        "draft",
        (
            Parameter("question"),
            Call("say", ("question",), (0,)),
            Constant("Blue as the sky"),
            Compare("==", 1, 2),
            Call("say", ("question",), (1,)),
            Select(3, 4, 1),
        ),
    ),
    program(
        "nested",
        (
            Parameter("question"),
            Call("say", ("question",), (0,)),
            Constant("x"),
            Compare("==", 0, 2),
            *(Select(3, at, at) for at in (1, *range(4, 64))),
        ),
    ),
]


@pytest.fixture
async def served(engine: FakeEngine) -> AsyncIterator[Served]:
    names = ("llm", "embedder", "store", "reranker")
    async with serving(PROGRAMS, dict.fromkeys(names, engine.port)) as running:
        yield running


def ask(**more: Any) -> dict[str, Any]:
    return {"inputs": {"question": "why?"}, **more}


async def test_tells_value_passages_timings_and_usage(served: Served) -> None:
    status, body, headers = await served.client.post("/v1/pipelines/rag", ask())
    assert status == 200
    assert body["value"] == "Blue as the sky"
    assert body["passages"] == [
        {"text": "passage 2", "source": "doc2.md", "score": 2.0},
        {"text": "passage 1", "source": "doc1.md", "score": 1.0},
    ]
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 4}
    stages = body["timings"]["stages"]
    assert [stage["component"] for stage in stages] == ["minilm", "search", "rerank", "answer"]
    assert [stage["replica"] for stage in stages] == ["embedder-1", "store-1", "reranker-1", "llm-1"]
    assert all(stage["service_ms"] >= 0 and stage["queue_ms"] >= 0 for stage in stages)
    assert body["timings"]["total_ms"] >= max(stage["start_ms"] for stage in stages)
    assert headers["x-request-id"] == body["id"]


async def test_streams_text_and_ends_with_the_result(served: Served) -> None:
    *texts, result, done = await served.client.events("/v1/pipelines/rag", ask(stream=True))
    assert [event["text"] for event in texts] == ["Blue", " as", " the", " sky"]
    assert (result["type"], result["value"], len(result["passages"])) == ("result", "Blue as the sky", 2)
    assert result["timings"]["ttft_ms"] <= result["timings"]["total_ms"]
    assert result["timings"]["stages"][-1]["ttft_ms"] >= 0
    assert done == "[DONE]"


async def test_what_leaves_as_a_whole_is_its_own_first_piece(served: Served) -> None:
    result, done = await served.client.events("/v1/pipelines/whole", ask(stream=True))
    assert (result["value"], done) == ("Blue as the sky", "[DONE]")
    assert result["timings"]["ttft_ms"] == result["timings"]["total_ms"]
    # The call itself was asked for all of its text.
    assert "ttft_ms" not in result["timings"]["stages"][0]
    *texts, result, _ = await served.client.events(
        "/v1/pipelines/whole", {"inputs": {"question": "why?", "short": 0}, "stream": True}
    )
    assert [event["text"] for event in texts] == ["Blue", " as", " the", " sky"]
    assert result["timings"]["ttft_ms"] < result["timings"]["total_ms"]
    _, metrics = await served.client.get("/metrics")
    assert 'harmonia_time_to_first_token_seconds_count{pipeline="whole"} 2' in metrics


@pytest.mark.parametrize(("short", "pieces"), [(0, 4), (1, 0)])
async def test_a_load_test_takes_what_leaves_as_a_whole_for_its_first_text(
    served: Served, short: int, pieces: int
) -> None:
    body = msgspec.json.encode({"inputs": {"question": "why?", "short": short}, "stream": True})
    asking = Asking(f"{served.client.url}/v1/pipelines/whole", body, {"content-type": "application/json"}, 30.0)
    async with aiohttp.ClientSession() as session:
        seen = await load_ask(session, NativeRoute(), asking, perf_counter, Room())
    assert (seen.outcome, seen.pieces) == (Outcome.OK, pieces)
    assert seen.first is not None
    assert seen.finished is not None
    assert seen.first <= seen.finished


async def test_whoever_asks_for_no_pieces_is_told_of_none(served: Served) -> None:
    _, body, _ = await served.client.post("/v1/pipelines/whole", ask())
    assert (body["value"], body["timings"]["ttft_ms"]) == ("Blue as the sky", None)
    _, body, _ = await served.client.post("/v1/pipelines/draft", ask(stream=False))
    assert (body["value"], body["timings"]["ttft_ms"]) == ("Blue as the sky", None)


async def test_a_record_s_sources_are_the_passages(served: Served) -> None:
    _, body, _ = await served.client.post("/v1/pipelines/record", ask())
    assert body["value"]["answer"] == "Blue as the sky"
    assert [passage["source"] for passage in body["passages"]] == ["doc0.md", "doc1.md", "doc2.md"]


@pytest.mark.parametrize(("depth", "called"), [(1, ["say"]), (2, ["minilm", "search", "answer"])])
async def test_only_the_path_taken_runs(served: Served, depth: int, called: list[str]) -> None:
    _, body, _ = await served.client.post("/v1/pipelines/branch", {"inputs": {"question": "why?", "depth": depth}})
    assert [stage["component"] for stage in body["timings"]["stages"]] == called
    assert len(body["passages"]) == (3 if depth > 1 else 0)


async def test_options_reach_every_call_that_may_be_the_answer(served: Served, engine: FakeEngine) -> None:
    """Also one that others read before it is known to be."""
    await served.client.post("/v1/pipelines/draft", ask(max_tokens=3, seed=7))
    assert [(call["max_tokens"], call["seed"]) for call in engine.calls] == [(3, 7), (3, 7)]
    engine.calls.clear()
    await served.client.post("/v1/pipelines/branch", ask(max_tokens=3))
    assert [call["max_tokens"] for call in engine.calls] == [3]


async def test_the_time_for_nested_early_returns_does_not_double_with_each(served: Served, engine: FakeEngine) -> None:
    status, body, _ = await served.client.post("/v1/pipelines/nested", ask(max_tokens=3))
    assert (status, body["value"]) == (200, "Blue as the sky")
    assert [call["max_tokens"] for call in engine.calls] == [3]


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "says"),
    [
        ("rgg", ask(), 404, None, "did you mean `rag`?"),
        ("rag", {}, 400, "question", "`question` is missing"),
        ("rag", {"inputs": {"question": 3}}, 400, "question", "`question` takes text: 3 is not text"),
        ("rag", {"inputs": {"qestion": "x"}}, 400, "qestion", "did you mean `question`?"),
        ("rag", {"inputs": []}, 400, "inputs", "Expected `object`"),
        ("rag", {"question": "x"}, 400, "question", "parameters stand in `inputs`"),
        ("rag", ask(temprature=1), 400, "temprature", "did you mean `temperature`"),
        ("rag", ask(temperature=3), 400, "temperature", "`temperature` must be from 0 to 2"),
        ("rag", ask(top_p=0), 400, "top_p", "`top_p` must be above 0 and at most 1"),
        ("rag", ask(max_tokens=0), 400, "max_tokens", "`max_tokens` must be 1 or more"),
        ("rag", ask(seed=2**63), 400, "seed", "`seed` must be a whole number of 64 bits"),
        ("rag", ask(stop=["a", ""]), 400, "stop", "none of them empty"),
        ("branch", {"inputs": {"question": "x", "depth": "two"}}, 400, "depth", "takes number"),
        ("branch", {"inputs": {"question": "x", "depth": 10**400}}, 400, "depth", "takes number"),
    ],
)
async def test_what_is_wrong_is_named(
    served: Served, path: str, body: dict[str, Any], status: int, param: str | None, says: str
) -> None:
    found, document, _ = await served.client.post(f"/v1/pipelines/{path}", str(body).replace("'", '"').encode())
    assert (found, document["error"]["param"]) == (status, param)
    assert says in document["error"]["message"]
    assert all(count == 0 for count in (await served.client.counters("rag")).values())
