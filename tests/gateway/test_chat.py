"""The chat route as the `openai` package uses it."""

from collections.abc import AsyncIterator

import openai
import pytest

from harmonia_compiler.contract.program import Call, Parameter
from tests.gateway.fakes import FakeEngine, FakeMilvus, Served, program, serving

SIMPLE = program("simple", (Parameter("question"), Call("say", ("question",), (0,))))
RAG = program(
    "rag",
    (
        Parameter("question"),
        Call("minilm", ("text",), (0,)),
        Call("search", ("query",), (1,)),
        Call("rerank", ("query", "passages"), (0, 2)),
        Call("answer", ("question", "passages"), (0, 3)),
    ),
)
ASK = [{"role": "user", "content": "What colour is it?"}]


@pytest.fixture
async def served(engine: FakeEngine) -> AsyncIterator[Served]:
    names = ("llm", "embedder", "store", "reranker")
    async with serving([SIMPLE, RAG], dict.fromkeys(names, engine.port), milvus=FakeMilvus()) as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{served.client.url}/v1", api_key="none", max_retries=0) as package:
        yield package


async def test_answers_in_one_piece(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="rag", messages=ASK)  # type: ignore[arg-type]
    assert answer.choices[0].message.content == "Blue as the sky"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 4, 11)


async def test_streams_the_words_as_they_come(client: openai.AsyncOpenAI) -> None:
    chunks = [chunk async for chunk in await client.chat.completions.create(model="rag", messages=ASK, stream=True)]  # type: ignore[arg-type]
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Blue", " as", " the", " sky", None]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
