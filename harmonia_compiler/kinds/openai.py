"""The OpenAI-style routes as bytes: chat, embeddings, and the rerank route that Jina, Cohere and vLLM share.

Here and nowhere else is written how a prompt with its inputs becomes messages, under which constraint
a typed result is generated, and how the answers are read. Retrieved text only ever becomes part of
the text of a message, never a role.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from harmonia_compiler.contract.component import Component, Insert, Port, Prompt
from harmonia_compiler.contract.launch import Piece, Reply, Usage, Wire
from harmonia_compiler.contract.types import (
    BUILT_IN_FIELDS,
    Bool,
    Labels,
    ListOf,
    Message,
    Number,
    Passage,
    Record,
    Text,
    Type,
    Value,
    Vector,
    json_schema,
    mismatch,
)
from harmonia_compiler.kinds.kind import CutOff, FailedReply, MalformedReply

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
RERANK = "/v1/rerank"

T = TypeVar("T")

_JSON = (("content-type", "application/json"),)
#: Roles that a `[message]` value may bring in; any other becomes the user's.
_ROLES = frozenset({"user", "assistant", "system"})
#: What a model says for a truth value: words that fit a question better than `true` and `false`.
_TRUTH = {"yes": True, "no": False}
#: What stands between the values of ports where there is no prompt.
BETWEEN_LOOSE = "\n\n"
_CUT_OFF = "the model's answer was cut off at `max_tokens`"
#: Numbers are bounded in length, so that a model cannot go on writing digits.
_NUMBER_PATTERN = r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?"

#: What reading a stranger's JSON raises; too deeply nested, it is a RecursionError.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def post(path: str, document: object) -> Wire:
    """A POST of a JSON document."""
    return Wire(path, msgspec.json.encode(document), headers=_JSON)


def render(prompt: Prompt, ports: Sequence[Port], inputs: Mapping[str, Value]) -> str:
    """The text of a prompt with the values of its ports in their places."""
    types = {port.name: port.type for port in ports}
    return "".join(
        show_value(inputs[part.port], types[part.port]) if isinstance(part, Insert) else part for part in prompt
    )


def show_value(value: Value, of: Type) -> str:
    """A value as it stands in a prompt: lists an item a line, passages numbered and with their source."""
    match of:
        case Text() | Labels():
            return str(value)
        case Bool():
            return "true" if value else "false"
        case Message():
            return f"{value['role']}: {value['text']}"
        case Passage():
            return f"{value['text']} ({value['source']})"
        case ListOf(Passage()):
            return "\n".join(f"[{at}] {show_value(item, Passage())}" for at, item in enumerate(value, start=1))
        case ListOf(item) if item is not None:
            return "\n".join(show_value(each, item) for each in value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def messages(component: Component, inputs: Mapping[str, Value]) -> list[dict[str, str]]:
    """The conversation of one call: the system prompt, earlier turns, then the prompt.

    A `[message]` port that stands in no prompt becomes turns between the two. Without a prompt the
    other ports' values, a blank line apart, are the last message.
    """
    turns, loose = loose_ports(component)
    conversation = []
    if component.system is not None:
        conversation.append({"role": "system", "content": render(component.system, component.ports, inputs)})
    conversation += [_turn(message) for port in turns for message in inputs[port.name]]
    if component.prompt is not None:
        conversation.append({"role": "user", "content": render(component.prompt, component.ports, inputs)})
    elif loose:
        shown = [show_value(inputs[port.name], port.type) for port in loose]
        conversation.append({"role": "user", "content": BETWEEN_LOOSE.join(shown)})
    return conversation


def has_turns(component: Component, inputs: Mapping[str, Value]) -> bool:
    """Whether the conversation of a call has any: engines refuse one that is empty."""
    if component.system is not None or component.prompt is not None:
        return True
    turns, loose = loose_ports(component)
    return bool(loose) or any(inputs[port.name] for port in turns)


def loose_ports(component: Component) -> tuple[list[Port], list[Port]]:
    """The ports that stand in no prompt: those whose messages are turns, and those that are the last message."""
    prompts = (component.system or (), component.prompt or ())
    inserted = {part.port for prompt in prompts for part in prompt if isinstance(part, Insert)}
    rest = [port for port in component.ports if port.name not in inserted]
    turns = [port for port in rest if port.type == ListOf(Message())]
    return turns, [port for port in rest if port not in turns] if component.prompt is None else []


def _turn(message: Value) -> dict[str, str]:
    return {"role": message["role"] if message["role"] in _ROLES else "user", "content": message["text"]}


def constraint(result: Type) -> dict[str, Any]:
    """The request fields under which a result of this type is generated; none for free text."""
    match result:
        case Text():
            return {}
        case Labels(labels):
            return {"structured_outputs": {"choice": list(labels)}}
        case Bool():
            return {"structured_outputs": {"choice": list(_TRUTH)}}
        case Number():
            return {"structured_outputs": {"regex": _NUMBER_PATTERN}}
        case _:
            schema = {"name": "result", "schema": json_schema(result), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}


class _ChatMessage(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _ChatMessage
    finish_reason: str | None = None


class _ChatReply(msgspec.Struct):
    choices: list[_Choice]
    usage: Usage = Usage()


class _Delta(msgspec.Struct):
    content: str | None = None


class _StreamChoice(msgspec.Struct):
    delta: _Delta
    finish_reason: str | None = None


class _Error(msgspec.Struct):
    message: str = "the engine reported an error"


class _StreamReply(msgspec.Struct):
    choices: list[_StreamChoice] = []
    usage: Usage | None = None
    error: _Error | None = None


def decode_chat(component: Component, body: bytes) -> Reply:
    """The answer of a chat route as a value of the component's result type."""
    reply = read(body, _ChatReply, "a chat completion")
    if not reply.choices or reply.choices[0].message.content is None:
        raise MalformedReply("the model's reply holds no text")
    choice = reply.choices[0]
    finish = choice.finish_reason or "stop"
    text = choice.message.content or ""
    return Reply(_typed(text, component.result, finish), reply.usage, finish)


def _typed(text: str, result: Type, finish: str) -> Value:
    if isinstance(result, Text):
        return text
    try:
        value = checked(_written(text, result), result, "the model's answer")
    except MalformedReply as problem:
        if finish != "length":
            raise
        raise CutOff(_CUT_OFF) from problem
    if finish == "length" and _may_go_on(value, result):
        raise CutOff(_CUT_OFF)
    return value


def _written(text: str, result: Type) -> Value:
    """What a text means as a value of the type, of which it may be none."""
    match result:
        case Labels():
            return text.strip()
        case Bool():
            return _TRUTH.get(text.strip(), text)
        case _:
            try:
                return msgspec.json.decode(text)
            except _UNREADABLE as problem:
                raise MalformedReply(f"the model's answer is not JSON ({problem})") from problem


def _may_go_on(value: Value, result: Type) -> bool:
    """Whether another value of the type begins as this one is written: JSON and truth values show where they end."""
    match result:
        case Number():
            return True
        case Labels(labels):
            return any(label != value and label.startswith(value) for label in labels)
        case _:
            return False


def spoken(value: Value, result: Type) -> str:
    """How a model writes a value of this type under its constraint: what `decode_chat` reads again."""
    match result:
        case Text() | Labels():
            return str(value)
        case Bool():
            return next(word for word, truth in _TRUTH.items() if truth == value)
        case _:
            return msgspec.json.encode(value).decode()


def decode_chat_piece(event: bytes) -> Piece | None:
    """What one event of a streamed chat adds; None where it adds nothing."""
    payload = event.strip().removeprefix(b"data:").strip()
    if not payload or payload == b"[DONE]" or payload.startswith(b":"):
        return None
    reply = read(payload, _StreamReply, "a piece of a chat completion")
    if reply.error is not None:
        raise FailedReply(reply.error.message)
    text = (reply.choices[0].delta.content or "") if reply.choices else ""
    finish = reply.choices[0].finish_reason if reply.choices else None
    if not text and finish is None and reply.usage is None:
        return None
    return Piece(text, reply.usage, finish)


class _Embedding(msgspec.Struct):
    embedding: list[float]


class _EmbeddingReply(msgspec.Struct):
    data: list[_Embedding]
    usage: Usage = Usage()


#: Asks vLLM to cut what is longer than the model's window, as our own worker does by itself; it refuses it otherwise.
_CUT = {"truncate_prompt_tokens": -1}


def encode_embeddings(model: str, texts: Sequence[str], *, cut: bool = False) -> Wire:
    """A request for one vector a text; `cut` says that a text may be too long for the model."""
    ask: dict[str, Any] = {"model": model, "input": list(texts), "encoding_format": "float"}
    return post(EMBEDDINGS, ask | _CUT if cut else ask)


def decode_embeddings(body: bytes, count: int) -> tuple[list[list[float]], Usage]:
    """The vectors in the order of the texts, all of one length."""
    reply = read(body, _EmbeddingReply, "a list of embeddings")
    vectors = [item.embedding for item in reply.data]
    if len(vectors) != count:
        raise MalformedReply(f"{len(vectors)} embeddings came back for {count} texts")
    if len({len(vector) for vector in vectors}) > 1 or not all(vectors):
        raise MalformedReply("the embeddings are empty or of different lengths")
    for vector in vectors:
        checked(vector, Vector(), "the embedding")
    return vectors, reply.usage


class _Ranked(msgspec.Struct):
    index: int
    relevance_score: float


class _RerankReply(msgspec.Struct):
    results: list[_Ranked]
    usage: Usage = Usage()


def encode_rerank(model: str, query: str, documents: Sequence[str], top_n: int, *, cut: bool = False) -> Wire:
    """A request to order documents by how well they answer a query; `cut` as for embeddings."""
    ask: dict[str, Any] = {"model": model, "query": query, "documents": list(documents), "top_n": top_n}
    return post(RERANK, ask | _CUT if cut else ask)


def decode_rerank(body: bytes, count: int) -> tuple[list[tuple[int, float]], Usage]:
    """Pairs of a document's index and its score, best first; at most `count` documents, none twice."""
    reply = read(body, _RerankReply, "a ranking")
    ranked = [(item.index, item.relevance_score) for item in reply.results]
    indices = [index for index, _ in ranked]
    if len(set(indices)) != len(indices) or any(not 0 <= index < count for index in indices):
        raise MalformedReply(f"the ranking names documents outside the {count} that were sent, or one twice")
    for _, score in ranked:
        checked(score, Number(), "the score")
    return sorted(ranked, key=lambda pair: (-pair[1], pair[0])), reply.usage


def read(body: bytes, wanted: type[T], noun: str) -> T:
    """A reply's body as a document of the wanted form."""
    try:
        return msgspec.json.decode(body, type=wanted)
    except _UNREADABLE as problem:
        raise MalformedReply(f"the reply is not {noun}: {problem}") from problem


def checked(value: Value, wanted: Type, noun: str) -> Value:
    """The value itself, once it is known to be of the type."""
    if why := mismatch(value, wanted):
        raise MalformedReply(f"{noun} does not fit: {why}")
    return _known_fields(value, wanted)


def _known_fields(value: Value, wanted: Type) -> Value:
    """Records without the names that their type does not have."""
    match wanted:
        case Record(fields):
            return {field.name: _known_fields(value[field.name], field.type) for field in fields}
        case Passage() | Message():
            return {name: value[name] for name in BUILT_IN_FIELDS[type(wanted)]}
        case ListOf(item) if item is not None:
            return [_known_fields(each, item) for each in value]
        case _:
            return value
