"""What our language model's worker takes of a chat body, and what it refuses, without a model."""

import json
from typing import Any

import pytest

from harmonia_compiler.runtime.chat_fields import NOTHING, UNREAD
from harmonia_compiler.runtime.worker.chat_ask import ChatAsk, read_chat
from harmonia_compiler.runtime.worker.server import Refusal

USER = {"role": "user", "content": "x"}


def read(**fields: Any) -> ChatAsk:
    return read_chat(json.dumps({"messages": [USER], **fields}).encode(), "tiny")


def refusal(**fields: Any) -> str:
    """The answer to what is refused: its status, the field at fault, and the sentence."""
    with pytest.raises(Refusal) as caught:
        read(**fields)
    [error] = caught.value.document().values()
    assert (error["type"], error["code"]) == ("invalid_request_error", 400)
    return f"{error['param']}: {error['message']}"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"top_p": 0},
            "top_p: `top_p` must be above 0 and at most 1; `temperature` 0 takes the likeliest token always",
        ),
        (
            {"top_p": 2},
            "top_p: `top_p` must be above 0 and at most 1; `temperature` 0 takes the likeliest token always",
        ),
        ({"seed": 2**70}, "seed: `seed` must be a whole number of 64 bits"),
        ({"seed": 1.5}, "seed: Expected `int | null`, got `float` in `seed`"),
        ({"max_tokens": 0}, "max_tokens: `max_tokens` must be 1 or more"),
        ({"max_completion_tokens": -1}, "max_completion_tokens: `max_completion_tokens` must be 1 or more"),
        ({"temperature": -1}, "temperature: `temperature` must be from 0 to 2"),
        ({"temperature": 2.5}, "temperature: `temperature` must be from 0 to 2"),
        ({"temperature": True}, "temperature: Expected `float | null`, got `bool` in `temperature`"),
        ({"stop": ["a", ""]}, "stop: `stop` takes up to 4 texts, none of them empty"),
        ({"stop": ["a"] * 5}, "stop: `stop` takes up to 4 texts, none of them empty"),
        ({"n": 2}, "n: `n` asks for what this worker does not do: leave the field out"),
        ({"n": 0}, "n: `n` asks for what this worker does not do: leave the field out"),
        ({"tools": [{}]}, "tools: `tools` asks for what this worker does not do: leave the field out"),
        ({"logprobs": True}, "logprobs: `logprobs` asks for what this worker does not do: leave the field out"),
        ({"top_k": 5}, "top_k: `top_k` asks for what this worker does not do: leave the field out"),
        ({"temprature": 1}, "temprature: the route has no field `temprature`: did you mean `temperature`?"),
        ({"guided_grammar": "x"}, "guided_grammar: the route has no field `guided_grammar`: leave it out"),
        ({"stream_options": {}}, "stream_options: `stream_options` goes with `stream: true` alone"),
        ({"response_format": {"type": "xml"}}, "response_format: the response format `xml` is not supported"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format: the response format `json_schema` needs a `json_schema`",
        ),
        (
            {"structured_outputs": {"choice": []}},
            "structured_outputs: `structured_outputs` takes either texts as `choice` or a `regex`",
        ),
        (
            {"structured_outputs": {"choice": ["a"], "regex": "a"}},
            "structured_outputs: `structured_outputs` takes either texts as `choice` or a `regex`",
        ),
        (
            {"structured_outputs": {"grammar": "a"}},
            "structured_outputs: Object contains unknown field `grammar` in `structured_outputs`",
        ),
        ({"messages": []}, "messages: `messages` must have at least one turn"),
        ({"messages": [USER, {**USER, "role": "zz"}]}, "messages[1].role: `zz` is no role of a message"),
        ({"messages": [{"role": "user"}]}, "messages[0].content: a message needs `content`"),
        (
            {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}]},
            "messages[0].tool_calls: this worker calls no tools",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].type: Invalid value 'image_url' in `messages[0].content[0].type`",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_by_the_name_of_its_field(fields: dict[str, Any], said: str) -> None:
    assert refusal(**fields) == said


def test_the_first_field_at_fault_is_named_where_one_is_missing() -> None:
    with pytest.raises(Refusal) as caught:
        read_chat(b'{"model":"tiny"}', "tiny")
    assert (caught.value.message, caught.value.param) == ("Object missing required field `messages`", "messages")


def test_the_parts_of_a_turn_are_lines_of_its_text() -> None:
    parts = [{"type": "text", "text": "who wrote"}, {"type": "text", "text": "hamlet"}]
    [turn] = read(messages=[{"role": "user", "content": parts}]).messages
    assert turn.text == "who wrote\nhamlet"


def test_what_asks_for_nothing_or_changes_no_answer_is_no_reason_to_refuse() -> None:
    nothing = {name: value for name, values in NOTHING.items() for value in values[:1]}
    ask = read(**nothing, **dict.fromkeys(UNREAD, "x"), **dict.fromkeys(NOTHING.keys() - nothing.keys()), priority=3)
    assert read(temperature=None, top_p=None, seed=None, stop=None, max_tokens=None, stream=None) == read()
    assert (ask.messages, ask.temperature) == (read().messages, None)


def test_the_edges_of_what_is_followed() -> None:
    ask = read(temperature=2, top_p=1e-300, seed=-(2**63), stop="a", max_tokens=1, max_completion_tokens=7)
    assert (ask.temperature, ask.top_p, ask.seed, ask.stops, ask.most) == (2, 1e-300, -(2**63), ["a"], 7)
