"""The chat route as the `openai` package uses it, and the models that it lists."""

from collections.abc import AsyncIterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from harmonia_compiler.contract.component import Component, Insert, Port
from harmonia_compiler.contract.program import Call, Constant, MakeRecord, Parameter, Program, ProgramParameter, Whole
from harmonia_compiler.contract.types import Field, Labels, ListOf, Message, Record
from tests.gateway.fakes import COMPONENTS, PASSAGES, TEXT, FakeEngine, Served, program, serving

CHAT = Component(
    "reply",
    "llm",
    "llm",
    (Port("history", ListOf(Message())), Port("question", TEXT), Port("tone", TEXT)),
    TEXT,
    prompt=(Insert("question"), " Be ", Insert("tone")),
    settings={"temperature": 0.5, "max_tokens": 30},
)
#: What is complete or nothing, and so comes whole, though its pipeline may stream what others write.
SHADE = Component(
    "shade",
    "llm",
    "llm",
    (Port("question", TEXT),),
    Labels(("Blue as the sky", "Red as a rose")),
    prompt=(Insert("question"),),
)
PROGRAMS = [
    program("simple", (Parameter("question"), Call("say", ("question",), (0,)))),
    program("shade", (Parameter("question"), Call("shade", ("question",), (0,))), components={"shade": SHADE}),
    program("whole", (Parameter("question"), Call("say", ("question",), (0,))), streams=False),
    program("plain", (Parameter("question"), Call("say", ("question",), (0,)), Whole(1))),
    program(
        "rag",
        (
            Parameter("question"),
            Call("minilm", ("text",), (0,)),
            Call("search", ("query",), (1,)),
            Call("rerank", ("query", "passages"), (0, 2)),
            Call("answer", ("question", "passages"), (0, 3)),
        ),
    ),
    program(
        "chat",
        (
            Parameter("history"),
            Parameter("question"),
            Parameter("tone"),
            Call("reply", ("history", "question", "tone"), (0, 1, 2)),
        ),
        components={"reply": CHAT},
        parameters=(
            ProgramParameter("history", ListOf(Message())),
            ProgramParameter("question", TEXT),
            ProgramParameter("tone", TEXT, "kind"),
        ),
    ),
    program(
        "record",
        (
            Parameter("question"),
            Call("say", ("question",), (0,)),
            Constant([]),
            MakeRecord(("note", "sources"), (1, 2)),
        ),
        streams=False,
        result_type=Record((Field("note", TEXT), Field("sources", PASSAGES))),
    ),
]
ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What colour is it?"}]


@pytest.fixture
async def served(engine: FakeEngine) -> AsyncIterator[Served]:
    names = ("llm", "embedder", "store", "reranker")
    async with serving(PROGRAMS, dict.fromkeys(names, engine.port)) as running:
        yield running


@pytest.fixture
async def client(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{served.client.url}/v1", api_key="none", max_retries=0) as package:
        yield package


async def test_answers_in_one_piece(client: openai.AsyncOpenAI, served: Served) -> None:
    answer = await client.chat.completions.create(model="rag", messages=ASK)
    assert answer.choices[0].message.content == "Blue as the sky"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (7, 4, 11)
    assert await served.client.counters("rag") == {
        "accepted": 1,
        "completed": 1,
        "failed": 0,
        "shed": 0,
        "cancelled": 0,
        "in_flight": 0,
    }


async def test_streams_the_words_as_they_come(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="rag", messages=ASK, stream=True)
    chunks = [chunk async for chunk in stream]
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "Blue", " as", " the", " sky", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_streams_usage_when_asked(client: openai.AsyncOpenAI) -> None:
    options = {"include_usage": True}
    stream = await client.chat.completions.create(model="rag", messages=ASK, stream=True, stream_options=options)
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == 11
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_an_answer_that_was_cut_short_says_so(client: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    engine.finish = "length"
    answer = await client.chat.completions.create(model="rag", messages=ASK)
    assert answer.choices[0].finish_reason == "length"
    stream = await client.chat.completions.create(model="rag", messages=ASK, stream=True)
    assert [chunk.choices[0].finish_reason async for chunk in stream][-1] == "length"


async def test_a_stream_is_as_clients_and_proxies_expect_it(served: Served) -> None:
    """Every chunk before the usage says that it has none, and no proxy is to keep chunks back."""
    document = {"model": "rag", "messages": ASK, "stream": True}
    *chunks, last, done = await served.client.events(
        "/v1/chat/completions", {**document, "stream_options": {"include_usage": True}}
    )
    assert [chunk["usage"] for chunk in chunks] == [None] * 6
    assert (last["usage"]["total_tokens"], done) == (11, "[DONE]")
    *chunks, done = await served.client.events("/v1/chat/completions", document)
    assert not any("usage" in chunk for chunk in chunks)
    async with served.client.session.post(f"{served.client.url}/v1/chat/completions", json=document) as response:
        await response.read()
        assert response.content_type == "text/event-stream"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("model", ["whole", "plain", "record", "shade"])
async def test_a_pipeline_that_does_not_stream_sends_its_text_at_once(client: openai.AsyncOpenAI, model: str) -> None:
    stream = await client.chat.completions.create(model=model, messages=ASK, stream=True)
    assert [chunk.choices[0].delta.content async for chunk in stream] == ["", "Blue as the sky", None]


async def test_the_first_text_of_a_record_is_the_message(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="record", messages=ASK)
    assert answer.choices[0].message.content == "Blue as the sky"


async def test_earlier_turns_and_named_parameters_reach_the_call(
    client: openai.AsyncOpenAI, engine: FakeEngine
) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]},
        *ASK,
    ]
    await client.chat.completions.create(model="chat", messages=messages, extra_body={"tone": "brief"})
    assert engine.calls[0]["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi there"},
        {"role": "user", "content": "What colour is it? Be brief"},
    ]


async def test_sampling_options_reach_the_returned_call_unless_it_fixes_them(
    client: openai.AsyncOpenAI, engine: FakeEngine
) -> None:
    for model in ("simple", "chat"):
        await client.chat.completions.create(
            model=model, messages=ASK, temperature=0.9, top_p=0.5, seed=7, stop=["END"], max_tokens=200
        )
    free, fixed = engine.calls
    assert (free["temperature"], free["top_p"], free["seed"], free["stop"], free["max_tokens"]) == (
        0.9,
        0.5,
        7,
        ["END"],
        200,
    )
    assert (fixed["temperature"], fixed["max_tokens"]) == (0.5, 30)


@pytest.mark.parametrize(("model", "asked", "sent"), [("simple", 9999, 256), ("chat", 10, 10), ("rag", 9999, 64)])
async def test_max_tokens_can_only_lower(
    client: openai.AsyncOpenAI, engine: FakeEngine, model: str, asked: int, sent: int
) -> None:
    await client.chat.completions.create(model=model, messages=ASK, max_completion_tokens=asked)
    assert engine.calls[-1]["max_tokens"] == sent


@pytest.mark.parametrize(("asked", "status"), [(3, 400), (None, 502), (9999, 502)])
async def test_a_label_that_is_cut_off_is_the_fault_of_whoever_said_how_long_it_may_be(
    client: openai.AsyncOpenAI, engine: FakeEngine, asked: int | None, status: int
) -> None:
    engine.words, engine.finish = ["Blue", " as"], "length"
    limit = openai.omit if asked is None else asked
    with pytest.raises(openai.APIStatusError, match=r"`shade`: .* was cut off at `max_tokens`") as raised:
        await client.chat.completions.create(model="shade", messages=ASK, max_tokens=limit)
    assert (raised.value.status_code, raised.value.code) == (status, "answer_cut_off")
    assert len(engine.calls) == 1


async def test_a_stop_text_ends_no_label(client: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    answer = await client.chat.completions.create(model="shade", messages=ASK, stop=["o"], seed=7)
    assert answer.choices[0].message.content == "Blue as the sky"
    assert engine.calls[0]["seed"] == 7
    assert "stop" not in engine.calls[0]


async def test_an_answer_of_exactly_so_many_tokens_can_be_asked_for(
    client: openai.AsyncOpenAI, engine: FakeEngine
) -> None:
    for asked in (True, False):
        extra = {"ignore_eos": asked}
        await client.chat.completions.create(model="rag", messages=ASK, max_completion_tokens=20, extra_body=extra)
    exactly, at_most = (call for call in engine.calls if "messages" in call)
    assert (exactly["max_tokens"], exactly["ignore_eos"]) == (20, True)
    assert at_most["max_tokens"] == 20
    assert "ignore_eos" not in at_most


async def test_an_unknown_model_is_told_what_sounds_like_it(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        await client.chat.completions.create(model="simpel", messages=ASK)
    assert raised.value.code == "model_not_found"
    assert raised.value.param == "model"
    assert "did you mean `simple`" in raised.value.message


async def test_a_failed_component_is_named(client: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    engine.status = 500
    with pytest.raises(openai.InternalServerError) as raised:
        await client.chat.completions.create(model="simple", messages=ASK)
    assert raised.value.status_code == 502
    assert isinstance(raised.value.body, dict)
    assert (raised.value.body["component"], raised.value.body["code"]) == ("say", "component_error")
    assert "`say`: its engine answered 500: told to fail" in raised.value.message


async def test_what_the_engine_finds_wrong_with_a_request_is_the_client_s(
    client: openai.AsyncOpenAI, engine: FakeEngine
) -> None:
    engine.status = 400
    with pytest.raises(openai.BadRequestError, match="told to fail"):
        await client.chat.completions.create(model="simple", messages=ASK)


async def test_a_stream_that_breaks_off_raises(client: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    engine.break_after = 2
    stream = await client.chat.completions.create(model="simple", messages=ASK, stream=True)
    assert [(await anext(stream)).choices[0].delta.content for _ in range(3)] == ["", "Blue", " as"]
    with pytest.raises(openai.APIError, match="`say`: the stream broke off"):
        await anext(stream)


async def test_lists_every_pipeline_as_a_model(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [one.pipeline for one in PROGRAMS]
    model = await client.models.retrieve("chat")
    assert model.object == "model"
    assert model.model_extra is not None
    assert [parameter["name"] for parameter in model.model_extra["parameters"] if parameter["required"]] == [
        "history",
        "question",
    ]
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nobody")


async def test_two_open_texts_must_be_told_apart(served: Served) -> None:
    both = program(
        "both",
        (Parameter("one"), Parameter("two"), Call("say", ("question",), (0,))),
        parameters=(ProgramParameter("one", TEXT), ProgramParameter("two", TEXT)),
        components=COMPONENTS,
    )
    served.gateway.service.programs["both"] = both
    status, body, _ = await served.client.post("/v1/chat/completions", {"model": "both", "messages": ASK})
    assert (status, body["error"]["code"]) == (400, "missing_parameter")
    status, body, _ = await served.client.post("/v1/chat/completions", {"model": "both", "messages": ASK, "two": "x"})
    assert status == 200


async def test_the_message_fills_the_only_text_also_where_it_has_a_default(served: Served, engine: FakeEngine) -> None:
    def defaulted(*names: str) -> Program:
        return program(
            "defaulted",
            (*map(Parameter, names), Call("say", ("question",), (0,))),
            parameters=tuple(ProgramParameter(name, TEXT, "Why?") for name in names),
        )

    served.gateway.service.programs["defaulted"] = defaulted("one")
    body = {"model": "defaulted", "messages": ASK}
    assert (await served.client.post("/v1/chat/completions", body))[0] == 200
    assert engine.calls[-1]["messages"][-1]["content"] == "What colour is it?"
    served.gateway.service.programs["defaulted"] = defaulted("one", "two")
    status, document, _ = await served.client.post("/v1/chat/completions", body)
    assert (status, document["error"]["code"]) == (400, "missing_parameter")
    assert (await served.client.post("/v1/chat/completions", {**body, "one": "x"}))[0] == 200
