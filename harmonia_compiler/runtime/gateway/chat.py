"""OpenAI's chat route as documents: a pipeline is a model, the last user message is the question."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.sse import END, event
from harmonia_compiler.runtime.chat_fields import ROLES
from harmonia_compiler.runtime.gateway.arguments import (
    chat_arguments,
    convert,
    find_program,
    read_options,
    take_class,
)
from harmonia_compiler.runtime.gateway.driver import Served
from harmonia_compiler.runtime.gateway.exchange import Understood
from harmonia_compiler.runtime.gateway.fields import named_ports
from harmonia_compiler.runtime.gateway.problem import Problem, invalid
from harmonia_compiler.runtime.gateway.returned import message_of


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[Any] | None = None
    function_call: Any = None

    @property
    def may_be_wordless(self) -> bool:
        """Whether OpenAI lets it go without content: an assistant's turn that is something else, and a function's."""
        other = self.tool_calls or self.function_call or self.refusal is not None
        return self.role == "function" or (self.role == "assistant" and bool(other))


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


def understand(
    programs: Mapping[str, Program], document: Mapping[str, Any], id_: str, named_class: str | None = None
) -> Understood:
    """What a chat body asks for, by a caller who names this request class; raises Problem (400, 404)."""
    body = convert(document, _Body)
    program = find_program(programs, body.model, "model")
    named = named_ports(program, document)
    turns = _conversation(body.messages)
    request_class = take_class(program, named, named_class)
    arguments = chat_arguments(program, turns, named)
    options = read_options(document).settings()
    include_usage = bool(body.stream_options and body.stream_options.include_usage)
    shape = ChatShape(f"chatcmpl-{id_}", int(time.time()), program, include_usage=include_usage)
    return Understood(program, arguments, options, bool(body.stream), shape, request_class)


def _conversation(messages: Sequence[_Message]) -> list[dict[str, str]]:
    """The turns up to the last one of the user, which is the question."""
    for at, message in enumerate(messages):
        if message.role not in ROLES:
            raise invalid(f"`{message.role[:32]}` is no role of a message", f"messages[{at}].role")
    asked = max((at for at, message in enumerate(messages) if message.role == "user"), default=None)
    if asked is None:
        raise invalid("`messages` holds no message of the user", "messages")
    return [{"role": message.role, "text": _text(message, at)} for at, message in enumerate(messages[: asked + 1])]


def _text(message: _Message, at: int) -> str:
    """A message's text; the parts of a message in several, one after the other."""
    if message.content is None:
        if not message.may_be_wordless:
            reason = (
                f"a message of role `{message.role}` needs `content`; only an assistant's that calls tools may lack it"
            )
            raise invalid(reason, f"messages[{at}].content")
        return message.refusal or ""
    if isinstance(message.content, str):
        return message.content
    return "".join(
        _text_of_part(part, f"messages[{at}].content[{number}]") for number, part in enumerate(message.content)
    )


def _text_of_part(part: _Part, place: str) -> str:
    text = {"text": part.text, "refusal": part.refusal}.get(part.type)
    if text is None:
        raise invalid("only parts of type `text` can be read", place)
    return text


class ChatShape:
    """How an answer looks on the chat route."""

    def __init__(self, id_: str, created: int, program: Program, *, include_usage: bool) -> None:
        self._head = {"id": id_, "created": created, "model": program.pipeline}
        self._result_type = program.result_type
        self._include_usage = include_usage
        self._around: tuple[bytes, bytes] | None = None

    def whole(self, served: Served) -> bytes:
        """A chat completion."""
        message = {"role": "assistant", "content": message_of(served.value, self._result_type)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": served.finish}
        return msgspec.json.encode(
            {**self._head, "object": "chat.completion", "choices": [choice], "usage": _usage(served)}
        )

    def opening(self) -> bytes:
        """The first chunk, which says who speaks."""
        return self._chunk({"role": "assistant", "content": ""}, None)

    def piece(self, text: str) -> bytes:
        """A chunk of text; in all of them, what stands around the text is the same."""
        if self._around is None:
            before, _, after = self._chunk({"content": ""}, None).partition(b'"content":""')
            self._around = before + b'"content":', after
        before, after = self._around
        return before + msgspec.json.encode(text) + after

    def closing(self, served: Served, *, streamed: bool) -> bytes:
        """The text, where none was streamed; why it ended; the usage, where it was asked for; and the end."""
        text = "" if streamed else message_of(served.value, self._result_type)
        parts = [self.piece(text)] if text else []
        parts.append(self._chunk({}, served.finish))
        if self._include_usage:
            head = {**self._head, "object": "chat.completion.chunk", "choices": []}
            parts.append(event({**head, "usage": _usage(served)}))
        return b"".join(parts) + END

    def broken(self, problem: Problem) -> bytes:
        """The event that tells of a stream that broke off; clients raise it as an error."""
        return event(problem.document())

    def _chunk(self, delta: dict[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        return event({**chunk, "usage": None} if self._include_usage else chunk)


def _usage(served: Served) -> dict[str, int]:
    usage = served.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
