"""What becomes of the fields of OpenAI's chat body, of those that nobody knows, and of the message itself."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.program import Call, Parameter, Program, ProgramParameter, RequestClass
from harmonia_compiler.contract.types import ListOf, Message, Number
from harmonia_compiler.runtime.chat_fields import UNREAD
from harmonia_compiler.runtime.gateway.fields import READ, UNDONE
from tests.gateway.fakes import TEXT, FakeEngine, Served, program, serving

SERVING = Path(__file__).parents[2] / "docs" / "serving.md"
PATH = "/v1/chat/completions"
USER = {"role": "user", "content": "why?"}
TURNS = ListOf(Message())
REPLY = Component("reply", "llm", "llm", (Port("history", TURNS), Port("question", TEXT)), TEXT)
ONWARD = Component("onward", "llm", "llm", (Port("history", TURNS),), TEXT)


def saying(name: str, *parameters: ProgramParameter, **more: Any) -> Program:
    """A pipeline that calls a component with what it is given first."""
    given = tuple(Parameter(parameter.name) for parameter in parameters)
    return program(name, (*given, Call("say", ("question",), (0,))), parameters=parameters, **more)


QUESTION, LIMIT = ProgramParameter("question", TEXT), ProgramParameter("limit", Number(), 3)
PROGRAMS = [
    saying("simple", QUESTION, LIMIT),
    saying("toned", QUESTION, ProgramParameter("tone", TEXT, "kind")),
    saying("own", QUESTION, ProgramParameter("user", TEXT, "x"), ProgramParameter("tools", TEXT, "x")),
    saying("classed", QUESTION, classes=(RequestClass("fast"), RequestClass("slow"))),
    saying("wordless", LIMIT),
    program(
        "reply",
        (Parameter("history"), Parameter("question"), Call("reply", ("history", "question"), (0, 1))),
        parameters=(ProgramParameter("history", TURNS), QUESTION),
        components={"reply": REPLY},
    ),
    program(
        "onward",
        (Parameter("history"), Call("onward", ("history",), (0,))),
        parameters=(ProgramParameter("history", TURNS),),
        components={"onward": ONWARD},
    ),
]


@pytest.fixture
async def served(engine: FakeEngine) -> AsyncIterator[Served]:
    async with serving(PROGRAMS, {"llm": engine.port}) as running:
        yield running


async def refusal(served: Served, model: str, **fields: Any) -> tuple[str, str, str]:
    """The code, the param and the message with which a body is refused."""
    status, body, _ = await served.client.post(PATH, {"model": model, "messages": [USER], **fields})
    assert status == 400, body
    error = body["error"]
    assert (error["type"], set(error)) == ("invalid_request_error", {"message", "type", "code", "param"})
    return error["code"], error["param"], error["message"]


async def said(served: Served, engine: FakeEngine, model: str, **fields: Any) -> list[dict[str, str]]:
    """What the model was told."""
    status, body, _ = await served.client.post(PATH, {"model": model, "messages": [USER], **fields})
    assert status == 200, body
    messages: list[dict[str, str]] = engine.calls[-1]["messages"]
    return messages


def test_every_field_of_openai_s_is_read_unread_or_refused() -> None:
    groups = [READ, UNREAD, frozenset(UNDONE)]
    assert {*CompletionCreateParamsBase.__annotations__, "stream"} == frozenset().union(*groups)
    assert sum(map(len, groups)) == len(frozenset().union(*groups)), "a field is in two groups"


def test_the_document_lists_what_is_accepted_and_left_unread() -> None:
    line = next(
        line for line in SERVING.read_text(encoding="utf-8").split("\n\n") if "accepted and left unread" in line
    )
    assert frozenset(re.findall(r"`(\w+)`", line.partition(":")[2])) == UNREAD


REFUSED = {
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "response_format": {"type": "json_object"},
    "logprobs": True,
    "top_logprobs": 3,
    "n": 2,
    "logit_bias": {"50256": -100},
    "frequency_penalty": 0.5,
    "presence_penalty": -0.5,
    "modalities": ["text", "audio"],
    "audio": {"voice": "alloy", "format": "wav"},
    "reasoning_effort": "high",
    "verbosity": "low",
    "web_search_options": {},
    "moderation": {"model": "omni-moderation-latest"},
}


@pytest.mark.parametrize("field", UNDONE)
async def test_what_would_change_the_answer_and_is_not_done_is_refused(served: Served, field: str) -> None:
    code, param, message = await refusal(served, "simple", **{field: REFUSED[field]})
    assert (code, param) == ("unsupported_parameter", field)
    assert message.startswith(f"`{field}` asks for what a pipeline does not do: ")
    assert message.endswith("leave the field out")
    assert all(count == 0 for count in (await served.client.counters("simple")).values())


@pytest.mark.parametrize("field", UNDONE)
async def test_what_asks_for_nothing_is_no_reason_to_refuse(served: Served, field: str) -> None:
    for value in (None, *UNDONE[field].nothing):
        assert (await served.client.post(PATH, {"model": "simple", "messages": [USER], field: value}))[0] == 200


@pytest.mark.parametrize("field", sorted(UNREAD))
async def test_what_no_answer_hangs_on_is_left_unread(served: Served, engine: FakeEngine, field: str) -> None:
    assert await said(served, engine, "simple", **{field: "x"}) == [USER]
    assert field not in engine.calls[-1]


async def test_what_the_package_refuses_with_is_a_bad_request(served: Served) -> None:
    async with openai.AsyncOpenAI(base_url=f"{served.client.url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.chat.completions.create(
                model="simple",
                messages=[{"role": "user", "content": "why?"}],
                response_format={"type": "json_object"},
            )
    assert (raised.value.code, raised.value.param) == ("unsupported_parameter", "response_format")
    assert "the type that the pipeline declares" in raised.value.message


@pytest.mark.parametrize(
    ("model", "field", "says"),
    [
        ("simple", "limt", "did you mean `limit`?"),
        ("simple", "temprature", "did you mean `temperature`?"),
        ("simple", "nosuchthing", "its ports are `question`, `limit`"),
        ("simple", "class", "`simple` has no port `class`"),
        ("classed", "clas", "did you mean `class`?"),
        ("simple", "x" * 9000, f"no port `{'x' * 64}`,"),
    ],
)
async def test_a_field_that_is_no_port_is_named_with_the_nearest(
    served: Served, model: str, field: str, says: str
) -> None:
    code, param, message = await refusal(served, model, **{field: 1})
    assert (code, param) == ("unknown_parameter", field[:64])
    assert says in message


async def test_a_pipeline_s_ports_go_before_fields_of_the_same_name(served: Served, engine: FakeEngine) -> None:
    await said(served, engine, "own", user="me", tools="hammer")
    code, param, _ = await refusal(served, "own", user=7)
    assert (code, param) == ("invalid_value", "user")
    assert (await served.client.post(PATH, {"model": "classed", "messages": [USER], "class": "slow"}))[0] == 200


async def test_a_class_may_be_named_by_a_header_and_the_body_goes_before_it(served: Served) -> None:
    asked = {"model": "classed", "messages": [USER]}
    assert (await served.client.post(PATH, asked, {"X-Request-Class": "slow"}))[0] == 200
    status, refused, _ = await served.client.post(PATH, asked, {"X-Request-Class": "nobody's"})
    assert (status, refused["error"]["code"]) == (400, "unknown_class")
    assert (await served.client.post(PATH, {**asked, "class": "slow"}, {"X-Request-Class": "nobody's"}))[0] == 200


@pytest.mark.parametrize("path", [PATH, "/v1/pipelines/classed"])
async def test_headers_that_name_different_classes_are_refused(served: Served, path: str) -> None:
    asked = {"model": "classed", "messages": [USER]} if path == PATH else {"inputs": {"question": "hi"}}
    url = served.client.url + path
    named = ("X-Request-Class", "slow"), ("X-Request-Class", "fast")
    async with served.client.session.post(url, json=asked, headers=named) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"], error["param"]) == (400, "ambiguous_class", "class")
        assert error["message"] == "two `X-Request-Class` headers name 'fast' and 'slow'; a request is of one class"
    async with served.client.session.post(url, json=asked, headers=(named[0], named[0])) as response:
        assert response.status == 200


@pytest.mark.parametrize("model", ["simple", "toned"])
async def test_what_is_given_by_name_does_not_replace_the_message(served: Served, model: str) -> None:
    code, param, message = await refusal(served, model, question="another")
    assert (code, param) == ("invalid_value", "question")
    assert "the last user message fills `question`" in message


async def test_the_whole_conversation_is_the_message_where_no_text_takes_it(served: Served, engine: FakeEngine) -> None:
    turns = [{"role": "system", "content": "Be brief."}, USER]
    assert await said(served, engine, "onward", messages=turns) == turns
    code, param, text = await refusal(served, "wordless")
    assert (code, param) == ("invalid_value", "messages")
    assert text.endswith("ask it at `/v1/pipelines/wordless`")


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("turn", "told"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, ""),
        ({"role": "assistant", "tool_calls": [CALL]}, ""),
        ({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}, ""),
        ({"role": "assistant", "content": None, "refusal": "I would rather not."}, "I would rather not."),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, "No."),
        ({"role": "assistant", "content": ""}, ""),
    ],
)
async def test_an_assistant_s_turn_may_be_without_words(
    served: Served, engine: FakeEngine, turn: dict[str, Any], told: str
) -> None:
    messages = [USER, turn, {"role": "tool", "tool_call_id": "c1", "content": "4"}, USER]
    found = await said(served, engine, "reply", messages=messages)
    assert found == [USER, {"role": "assistant", "content": told}, {"role": "user", "content": "4"}, USER]


@pytest.mark.parametrize(
    "turn",
    [
        {"role": "user", "content": None},
        {"role": "user"},
        {"role": "system", "content": None},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": None, "tool_calls": [CALL]},
    ],
)
async def test_any_other_message_needs_its_content(served: Served, turn: dict[str, Any]) -> None:
    code, param, message = await refusal(served, "reply", messages=[turn, USER])
    assert (code, param) == ("invalid_value", "messages[0].content")
    assert f"a message of role `{turn['role']}` needs `content`" in message
