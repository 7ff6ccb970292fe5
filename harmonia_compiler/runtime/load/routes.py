"""The two routes as bytes: what a request says, and what the events of its answer tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import UNSET, Meta

from harmonia_compiler.contract.chat import Chunk, Counted
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.types import Value
from harmonia_compiler.report.observation import Outcome, StageTime
from harmonia_compiler.runtime.load.target import Target

#: Statuses that say that there is no room just now, and that the time has passed.
_REFUSALS = frozenset({429, 503})
_LATENESSES = frozenset({408, 504})
_LATE_CODES = frozenset({"deadline_exceeded", "value_late"})
#: How much of what a service says of its failure is kept, in characters.
_MOST_REASON = 60


@dataclass(frozen=True, slots=True)
class Told:
    """What one event says: that a piece of text came, how the request ended, and what it took.

    `answers` is that it is an answer or a piece of one, be it without text; `ended` that all of an answer's text is
    there, pieces of which came before or did not. Tokens are those of all models that worked on the request,
    `answer_tokens` those of the streamed text.
    """

    text: bool = False
    answers: bool = False
    failed: tuple[Outcome, str] | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    stages: tuple[StageTime, ...] = ()
    answer_tokens: int | None = None
    ended: bool = False


class Route(Protocol):
    """How a question is asked and an answer read."""

    def path(self, target: Target) -> str:
        """Where requests go."""
        ...

    def body(self, target: Target, question: str, max_tokens: int | None, *, stream: bool) -> bytes:
        """What a request says."""
        ...

    def told(self, raw: bytes) -> Told:
        """What an event of a stream, or a whole answer, says. Raises msgspec.MsgspecError for what is none."""
        ...


class ChatRoute:
    """OpenAI's chat completions."""

    def path(self, target: Target) -> str:
        """The one path of all models."""
        return f"{target.url}/v1/chat/completions"

    def body(self, target: Target, question: str, max_tokens: int | None, *, stream: bool) -> bytes:
        """The question as the message of a user."""
        body: dict[str, Value] = {
            "model": target.model,
            "messages": [{"role": "user", "content": question}],
            **({} if max_tokens is None else {"max_tokens": max_tokens}),
            **target.fields,
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return msgspec.json.encode(body)

    def told(self, raw: bytes) -> Told:
        """A chunk, a completion or an error."""
        chunk = decode_document(raw, Chunk)
        if chunk.error is not None:
            return Told(failed=broken_off(raw))
        parts = [part for choice in chunk.choices for part in (choice.delta, choice.message) if part is not None]
        usage = chunk.usage or Counted()
        has_text = any(part.text for part in parts)
        return Told(has_text, bool(chunk.choices), tokens_in=usage.prompt_tokens, tokens_out=usage.completion_tokens)


#: A time in milliseconds, of which many can be added up. Nothing that is served takes a lifetime.
_Ms = Annotated[float, Meta(ge=0.0, le=1e12)]


class _Stage(msgspec.Struct):
    component: str
    queue_ms: _Ms | None = None
    service_ms: _Ms | None = None
    ttft_ms: _Ms | None = None
    usage: Counted = Counted()


class _Timings(msgspec.Struct):
    stages: tuple[_Stage, ...] = ()


class _Event(msgspec.Struct):
    type: str = "result"
    text: str = ""
    value: Any = UNSET
    timings: _Timings | None = None
    usage: Counted | None = None
    error: Any = None


class NativeRoute:
    """A pipeline of our gateway by its own route, which also tells the time of each stage."""

    def path(self, target: Target) -> str:
        """Each pipeline has its own."""
        return f"{target.url}/v1/pipelines/{target.model}"

    def body(self, target: Target, question: str, max_tokens: int | None, *, stream: bool) -> bytes:
        """The question as the parameter that it fills."""
        assert target.question_field is not None
        limit = {} if max_tokens is None else {"max_tokens": max_tokens}
        return msgspec.json.encode(
            {"inputs": {**target.fields, target.question_field: question}, "stream": stream, **limit}
        )

    def told(self, raw: bytes) -> Told:
        """A text, a result or an error."""
        event = decode_document(raw, _Event)
        if event.error is not None:
            return Told(failed=broken_off(raw))
        usage = event.usage or Counted()
        calls = event.timings.stages if event.timings else ()
        # A call that was cancelled has no end.
        ended = [one for one in calls if one.service_ms is not None]
        stages = tuple(StageTime(one.component, one.queue_ms or 0.0, one.service_ms or 0.0) for one in ended)
        # What streamed tells when its first piece came.
        streamed = [one.usage.completion_tokens for one in ended if one.ttft_ms is not None]
        answer = streamed[-1] if streamed else None
        counts = usage.prompt_tokens, usage.completion_tokens
        # Another system in front of the same engines streams its texts alone.
        answers = event.value is not UNSET or event.type == "text"
        return Told(bool(event.text), answers, None, *counts, stages, answer, ended=isinstance(event.value, str))


def failure(status: int, body: bytes) -> tuple[Outcome, str]:
    """How a request ended that was answered with an error, and why: the status and the service's word for it."""
    outcome = Outcome.REFUSED if status in _REFUSALS else Outcome.LATE if status in _LATENESSES else Outcome.FAILED
    return outcome, f"{status} {_code(body)}".strip()[:_MOST_REASON]


def broken_off(event: bytes) -> tuple[Outcome, str]:
    """The same where the error is an event of an answer that had begun, and the status was 200."""
    code = _code(event)
    return Outcome.LATE if code in _LATE_CODES else Outcome.FAILED, f"{code or 'an error'}, in mid-answer"[
        :_MOST_REASON
    ]


def _code(body: bytes) -> str:
    """The machine's word in an error of OpenAI's shape; the message where there is none."""
    try:
        document = decode_document(body, dict[str, Any])
    except msgspec.MsgspecError:
        return ""
    error = document.get("error", document)
    said: Mapping[str, Any] = error if isinstance(error, dict) else {"message": error}
    return next((found for key in ("code", "type", "message") if isinstance(found := said.get(key), str) and found), "")
