"""What our own language model takes of a chat body: read, left unread, or refused before a token is generated.

It stands in for vLLM, and its callers take its answers for that one's. So what vLLM or OpenAI refuse is refused, with
the name of the field; and so is what would change an answer and is not done here.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from harmonia_compiler.diagnostics.near import nearest
from harmonia_compiler.runtime.chat_fields import NOTHING, ROLES, UNREAD, Sampling, misread, out_of_range
from harmonia_compiler.runtime.worker.server import check_model, read_body, unfit

#: Fields of vLLM's that say nothing with these values, or with null; others are not followed here.
_NOTHING_OF_VLLM: Mapping[str, tuple[Any, ...]] = {
    "min_p": (0,),
    "min_tokens": (0,),
    "repetition_penalty": (1,),
    "top_k": (-1, 0),
}
#: vLLM takes who is most in a hurry first; here calls are answered as they come.
_UNREAD = UNREAD | {"priority"}


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    """A part of a turn; a language model reads texts alone."""

    text: str


class ChatMessage(msgspec.Struct):
    """A turn as clients write it: in one piece, or in parts."""

    role: str
    content: str | list[TextPart] | None = None
    tool_calls: list[Any] | None = None
    function_call: Any = None

    @property
    def text(self) -> str:
        """All that is said in it; parts each on a line of its own, as vLLM joins them."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class Structured(msgspec.Struct, forbid_unknown_fields=True):
    """vLLM's `structured_outputs`, as far as it is followed."""

    choice: list[str] | None = None
    regex: str | None = None


class Schema(msgspec.Struct):
    """OpenAI's schema with its name."""

    schema: dict[str, Any]


class Format(msgspec.Struct):
    """OpenAI's `response_format`."""

    type: str = "text"
    json_schema: Schema | None = None


class StreamOptions(msgspec.Struct):
    """OpenAI's."""

    include_usage: bool | None = None


class ChatAsk(Sampling, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`; null says as little as a field that is missing."""

    messages: list[ChatMessage]
    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    structured_outputs: Structured | None = None
    response_format: Format | None = None


def read_chat(body: bytes, model: str) -> ChatAsk:
    """What a body asks `model` for; raises Refusal (400, 404) for what cannot be followed."""
    document = read_body(body, dict[str, Any])
    _check_fields(document)
    try:
        ask = msgspec.convert(document, ChatAsk)
    except msgspec.ValidationError as problem:
        found = misread(problem)
        raise unfit(found.message, found.field) from problem
    check_model(model, ask.model)
    if found_out := out_of_range(ask):
        raise unfit(found_out.message, found_out.field)
    if ask.stream_options is not None and not ask.stream:
        raise unfit("`stream_options` goes with `stream: true` alone", "stream_options")
    _check_messages(ask.messages)
    _check_form(ask.structured_outputs, ask.response_format)
    return ask


def _check_fields(document: Mapping[str, Any]) -> None:
    """Refuse the fields that nobody knows, and those that ask for what is not done."""
    read = ChatAsk.__struct_fields__
    undone = {name: values for name, values in {**NOTHING, **_NOTHING_OF_VLLM}.items() if name not in read}
    for name, value in document.items():
        if name in undone and value is not None and value not in undone[name]:
            raise unfit(f"`{name}` asks for what this worker does not do: leave the field out", name)
        if name not in undone and name not in read and name not in _UNREAD:
            near = nearest(name[:64], (*read, *undone, *_UNREAD))
            hint = f"did you mean `{near}`?" if near else "leave it out"
            raise unfit(f"the route has no field `{name[:64]}`: {hint}", name[:64])


def _check_messages(messages: list[ChatMessage]) -> None:
    if not messages:
        raise unfit("`messages` must have at least one turn", "messages")
    for at, message in enumerate(messages):
        place = f"messages[{at}]"
        if message.role not in ROLES:
            raise unfit(f"`{message.role[:32]}` is no role of a message", f"{place}.role")
        for name in ("tool_calls", "function_call"):
            if getattr(message, name):
                raise unfit("this worker calls no tools", f"{place}.{name}")
        if message.content is None:
            raise unfit("a message needs `content`", f"{place}.content")


def _check_form(structured: Structured | None, form: Format | None) -> None:
    """Refuse more than one form of an answer, and those that no constraint is made for."""
    if form is not None and form.type not in ("text", "json_schema"):
        raise unfit(f"the response format `{form.type[:32]}` is not supported", "response_format")
    if form is not None and form.type == "json_schema" and form.json_schema is None:
        raise unfit("the response format `json_schema` needs a `json_schema`", "response_format")
    if structured is None:
        return
    given = [name for name in ("choice", "regex") if getattr(structured, name) is not None]
    if len(given) != 1 or structured.choice == []:
        raise unfit("`structured_outputs` takes either texts as `choice` or a `regex`", "structured_outputs")
    if form is not None and form.type != "text":
        raise unfit("`structured_outputs` and `response_format` both say what is answered: give one", "response_format")
