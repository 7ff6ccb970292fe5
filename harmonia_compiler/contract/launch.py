"""How a replica's process is started and recognised as ready, before any port or path is known."""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

# What the system takes: no word and no variable holds a zero byte, and no variable's name a `=`.
_Argument = Annotated[str, Meta(pattern=r"\A[^\x00]*\Z")]
_Variable = Annotated[str, Meta(pattern=r"\A[^=\x00]+\Z")]
_Module = Annotated[str, Meta(pattern=r"\A[A-Za-z_][A-Za-z0-9_]*\Z")]
_Path = Annotated[str, Meta(pattern=r"\A[^\x00-\x20\x7f]*\Z")]
_Header = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f\x7f]+\Z")]


#: Variables by which a gateway is told under what names clients reach it, with commas between them, beside those under
#: which they always may; and how many processes it has.
ALLOWED_HOSTS, GATEWAY_PROCESSES = "HARMONIA_ALLOWED_HOSTS", "HARMONIA_GATEWAY_PROCESSES"
#: More than there are cores are of no use.
MOST_PROCESSES = 64
#: What the gateway takes from whoever starts it, on any target, with what stands for it where nobody says so.
FOR_GATEWAY = {ALLOWED_HOSTS: "", GATEWAY_PROCESSES: "1"}


class Fill(msgspec.Struct, frozen=True):
    """A word of a command that the target fills in; a type of its own, so that no text can forge one.

    `weights` is the directory of the engine's model on the host, `data` a directory that outlives
    the process, `code` the bundle's copy of the user's Python, `python` the interpreter that has
    the engine installed; `prefix` stands before the value in the same word.
    """

    slot: Literal["python", "host", "port", "weights", "data", "code"]
    prefix: _Argument = ""


Word = _Argument | Fill


#: What a replica is told of a call: the request's id, and the component with the call's place in loops and lists.
REQUEST_HEADER = "x-request-id"
CALL_HEADER = "x-harmonia-call"

#: How long an idle connection to a replica is kept; shorter than uvicorn's own 5 s, so that nobody writes into one that
#: it has just closed.
KEEP_ALIVE_S = 4.0

#: The largest answer that is read, of a replica and of a service, in bytes.
ANSWER_LIMIT = 2**26


class Wire(msgspec.Struct, frozen=True):
    """One request to a replica, as bytes: what a kind's `encode` gives and a transport carries."""

    path: _Path
    body: bytes
    method: Annotated[str, Meta(pattern=r"\A[A-Z]+\Z")] = "POST"
    headers: tuple[tuple[_Header, _Header], ...] = ()


class Probe(msgspec.Struct, frozen=True):
    """When a process counts as ready: an HTTP path that answers 200, a gRPC health check of Milvus, or none of these.

    A process with the transport `none` listens on no port, and is ready once it runs.

    `warm_up` are calls to make once after that and before the first request, because an engine
    builds on its first call what all later ones use; their answers do not matter.
    """

    transport: Literal["http", "milvus", "none"]
    path: _Path = "/health"
    timeout_s: Annotated[float, Meta(gt=0, le=86_400)] = 120.0
    warm_up: "tuple[Wire, ...]" = ()


class Launch(msgspec.Struct, frozen=True):
    """One replica's process: argument list, environment, readiness.

    `module` is what `python` must be able to import, `extra` the distribution extra that installs it;
    where it is absent, `otherwise` is started in its place, if there is one. `model` is the model
    whose weights must be on the host before the process starts, as `name@revision`. A kind may give
    the `name` that its setting has alone: the bundle then holds the revision that the setting
    `revision`, else the model's card, says.
    """

    command: Annotated[tuple[Word, ...], Meta(min_length=1)]
    probe: Probe
    environment: dict[_Variable, _Argument] = {}
    extra: str | None = None
    model: str | None = None
    late: dict[_Variable, _Variable] = {}
    module: _Module | None = None
    otherwise: "Launch | None" = None


class Usage(msgspec.Struct, frozen=True):
    """Tokens that a model counted for one call."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Reply(msgspec.Struct, frozen=True):
    """A decoded answer; `finish` is why a model stopped, in the OpenAI words."""

    value: object
    usage: Usage = Usage()
    finish: str = "stop"


class Piece(msgspec.Struct, frozen=True):
    """A decoded part of a streamed answer; the last one may carry only usage or the finish."""

    text: str = ""
    usage: Usage | None = None
    finish: str | None = None


def chosen(launch: Launch, has_module: Callable[[str], bool]) -> Launch | None:
    """The launch that this interpreter can start: the first whose module it has; None where it has none."""
    candidate: Launch | None = launch
    while candidate is not None and candidate.module is not None and not has_module(candidate.module):
        candidate = candidate.otherwise
    return candidate
