"""Asks a running gateway, for commands: finds it, lists its pipelines, and sends a question to one.

It uses the standard library alone, so that a command starts at once. All mistakes are `Rejected`.
"""

import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Never
from urllib.parse import urlsplit

import msgspec

from harmonia_compiler.contract.bundle import Address
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.launch import ANSWER_LIMIT
from harmonia_compiler.contract.sse import DONE, EventParser, Oversized
from harmonia_compiler.contract.types import ListOf, Message, Value, show
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.actuators.actuator import is_starting
from harmonia_compiler.runtime.bundle import CONTENTS
from harmonia_compiler.runtime.gateway.transport import INGEST_MAKES_IT
from harmonia_compiler.runtime.owning import check_readable

#: How long a gateway may be silent, in seconds; its own limits are what ends a request.
SILENCE_S = 900.0


class ParameterInfo(msgspec.Struct, frozen=True):
    """What a pipeline takes, with its type as it is written in a `.rag`."""

    name: str
    type: str
    required: bool


class ClassInfo(msgspec.Struct, frozen=True):
    """A class of requests as the gateway lists it."""

    name: str


class PipelineInfo(msgspec.Struct, frozen=True):
    """A pipeline as the gateway lists it."""

    id: str
    parameters: tuple[ParameterInfo, ...]
    classes: tuple[ClassInfo, ...] = ()


class _Models(msgspec.Struct):
    data: tuple[PipelineInfo, ...]


class _Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Passage(msgspec.Struct):
    text: str
    score: float
    source: str


class _Stage(msgspec.Struct):
    component: str
    replica: str | None = None
    start_ms: float | None = None
    queue_ms: float | None = None
    service_ms: float | None = None
    ttft_ms: float | None = None


class _Timings(msgspec.Struct):
    total_ms: float | None
    ttft_ms: float | None
    stages: tuple[_Stage, ...]


class _Result(msgspec.Struct, tag_field="type", tag="result"):
    value: Any
    passages: tuple[_Passage, ...]
    timings: _Timings


class _Error(msgspec.Struct, tag_field="type", tag="error"):
    error: Any = None


#: What a gateway of ours streams, as far as somebody reads it.
_Event = _Text | _Result | _Error


#: A gateway's address without its scheme.
_HOST_AND_PORT = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]+(?:/v1)?/?")
#: A host of which nobody says where on it a gateway listens; a name may as well be that of a folder.
_HOST_ALONE = re.compile(r"(?:(?i:localhost)|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]+\]):?")
_ADDRESS = "write it as http://HOST:PORT, as `harmoniac up` says it"


def find_gateway(service: str) -> "GatewayClient":
    """The gateway of a bundle's folder, or at a URL: its own, or that of its `/v1`, which is what `up` prints.

    A URL may lack its scheme, unless there is a folder of that name.
    """
    if not service:
        _reject("E1101", "an empty path was given for the service", "for the current folder, give `.`")
    bare, alone = _HOST_AND_PORT.fullmatch(service), _HOST_ALONE.fullmatch(service)
    if (bare or alone) and not Path(service).exists():
        if alone:
            _reject("E1102", f"`{service}` is a host, and says no port", _ADDRESS)
        service = f"http://{service}"
    if "://" in service:
        return GatewayClient(_base(service), "check the URL and that the gateway runs")
    path, named = Path(service), shell_word(service)
    check_readable(path)
    written = path / "run" / "gateway.json"
    if not written.is_file():
        _reject_absent(path, service)
    try:
        address = decode_document(written.read_bytes(), Address)
    except (OSError, msgspec.MsgspecError) as problem:
        _reject("E1101", f"`{written}` cannot be read: {problem}", f"see `harmoniac status {named}`")
    host = f"[{address.host}]" if ":" in address.host else address.host
    return GatewayClient(f"http://{host}:{address.port}", f"see `harmoniac status {named}`", named)


def _reject_absent(path: Path, service: str) -> Never:
    """Say why no gateway is found from a folder: it is no bundle, it starts, or it does not run."""
    named, elsewhere = shell_word(path), "or say where one runs: --service DIR, or http://HOST:PORT"
    if not (path / CONTENTS).exists():
        # Where something else is, no bundle is written.
        is_free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
        out = named if is_free else "DIR"
        make = f"harmoniac compile FILE --inventory INV --target local --out {out}"
        _reject("E1101", f"there is no bundle in `{service}`", f"make one with `{make}`, {elsewhere}")
    if is_starting(path):
        step = f"ask again once it is ready; `harmoniac status {named}` tells what it waits for"
        _reject("E1101", f"the service in `{service}` is still starting", step)
    _reject("E1101", f"no service runs from `{service}`", f"start it with `harmoniac up {named}`, {elsewhere}")


def _base(url: str) -> str:
    """A gateway's URL without the route that it may end in; raises `Rejected` where there can be none."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as problem:
        _reject("E1102", f"`{url}` is no address: {problem}", _ADDRESS)
    if not is_whole:
        _reject("E1102", f"`{url}` is no address of a gateway", _ADDRESS)
    if parts.netloc.endswith(":"):
        _reject("E1102", f"`{url}` says no port", _ADDRESS)
    return url.rstrip("/").removesuffix("/v1")


@dataclass(frozen=True, slots=True)
class GatewayClient:
    """A gateway at a URL; `advice` is what helps where it does not answer, `folder` its bundle's in a shell."""

    url: str
    advice: str
    folder: str = "DIR"

    def pipelines(self) -> tuple[PipelineInfo, ...]:
        """What it serves."""
        with self._exchange("GET", "/v1/models", None) as response:
            try:
                return msgspec.json.decode(response.read(), type=_Models).data
            except msgspec.MsgspecError:
                self._reject_other()

    def pipeline(self, name: str | None) -> PipelineInfo:
        """The pipeline of that name, or the only one."""
        served = {pipeline.id: pipeline for pipeline in self.pipelines()}
        if name is None and len(served) == 1:
            return next(iter(served.values()))
        names = ", ".join(f"`{other}`" for other in served)
        if name is None:
            _reject("E1103", f"the service has {len(served)} pipelines: {names}", "choose one with --pipeline NAME")
        if name not in served:
            help_ = suggestion(name, served, f"choose one of {names}")
            _reject("E1103", f"the service has no pipeline `{name}`", help_)
        return served[name]

    def ask(self, pipeline: str, inputs: Mapping[str, Value]) -> Iterator[dict[str, Any]]:
        """The events of the answer: texts as they come, then the result. Failures are `Rejected`."""
        body = msgspec.json.encode({"inputs": inputs, "stream": True})
        with self._exchange("POST", f"/v1/pipelines/{pipeline}", body) as response:
            # One event may be a whole answer.
            events = EventParser(ANSWER_LIMIT)
            for line in response:
                for data in self._complete(events, line):
                    if data == DONE:
                        return
                    yield self._read(data)
        _reject("E1105", "the answer broke off", self.advice)

    def _complete(self, events: EventParser, line: bytes) -> list[bytes]:
        try:
            return events.feed(line)
        except Oversized:
            self._reject_other()

    def _read(self, data: bytes) -> dict[str, Any]:
        """An event of which all is there that is read of it."""
        try:
            event = decode_document(data, dict[str, Any])
            is_error = isinstance(msgspec.convert(event, _Event), _Error)
        except msgspec.MsgspecError:
            self._reject_other()
        if is_error:
            self._reject_error(event)
        return event

    def _reject_error(self, document: dict[str, Any]) -> Never:
        """What the gateway says went wrong."""
        error = document.get("error")
        error = error if isinstance(error, dict) else {}
        what = str(error.get("code"))
        said = str(error.get("message", "no reason was given"))
        help_ = _NEXT_STEPS.get(what, "`harmoniac logs DIR gateway` may tell more")
        if INGEST_MAKES_IT in said:
            help_ = "ingest documents, then ask again: `harmoniac ingest PATH... --service DIR`"
        code = "E1106" if what == "deadline_exceeded" else "E1105"
        _reject(code, f"the request failed: {said}", help_.replace(" DIR", f" {self.folder}"))

    def _reject_other(self) -> Never:
        _reject("E1102", f"what answers at {self.url} is no gateway of harmonia", self.advice)

    @contextmanager
    def _exchange(self, method: str, path: str, body: bytes | None) -> Iterator[http.client.HTTPResponse]:
        parts = urlsplit(self.url)
        make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            connection = make(parts.netloc, timeout=SILENCE_S)
        except http.client.InvalidURL as problem:
            _reject("E1102", f"`{self.url}` is no address: {problem}", _ADDRESS)
        try:
            try:
                connection.request(method, parts.path + path, body, {"content-type": "application/json"})
            except UnicodeError:
                # A host's name that is too long is found out where it is written as names are in the network.
                _reject("E1102", f"`{self.url}` is no address", _ADDRESS)
            # Where the server ends the connection with the answer, only the answer can be closed.
            with connection.getresponse() as response:
                if response.status >= 400:
                    self._reject_error(_document(response.read()))
                yield response
        except (OSError, http.client.HTTPException) as problem:
            reason = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
            _reject("E1102", f"the gateway at {self.url} does not answer: {reason}", self.advice)
        finally:
            connection.close()


def fill_inputs(pipeline: PipelineInfo, question: str, named: Mapping[str, str]) -> dict[str, Value]:
    """The inputs of a pipeline: the question in its one open text, the others as they were written by name.

    A text with a default is open only where there is no other. Turns before the question, where nobody gives them, are
    none: it is the first.
    """
    asked = question_port(pipeline, named)
    return all_inputs(pipeline, {**named, asked: question})


def question_port(pipeline: PipelineInfo, named: Mapping[str, str]) -> str:
    """The one open text, which the question fills. Raises Rejected where there is none, or more than one."""
    free = [p for p in pipeline.parameters if p.type == "text" and p.name not in named]
    texts = [p.name for p in [p for p in free if p.required] or free]
    if len(texts) != 1:
        offered = " and ".join(f"`{name}`" for name in texts) or "none"
        help_ = "give all but one with --set NAME=VALUE" if texts else "leave one text to the question"
        _reject("E1104", f"the question fills one text parameter, and open are {offered}", help_)
    return texts[0]


def all_inputs(pipeline: PipelineInfo, named: Mapping[str, str]) -> dict[str, Value]:
    """The inputs that were written by name, and that there are no turns before where nobody gives them."""
    inputs = _named_inputs(pipeline, named)
    before = {p.name: list[Value]() for p in pipeline.parameters if p.type == _TURNS and p.required}
    filled: dict[str, Value] = {**before, **inputs}
    missing = [p for p in pipeline.parameters if p.required and p.name not in filled]
    if missing:
        named_so = ", ".join(f"`{p.name}` ({p.type})" for p in missing)
        _reject("E1104", f"`{pipeline.id}` also needs {named_so}", "give each with --set NAME=VALUE")
    return filled


def _named_inputs(pipeline: PipelineInfo, named: Mapping[str, str]) -> dict[str, Value]:
    """The inputs that were written by name, as values of their types; also the class of the request, if it has any."""
    types = {parameter.name: parameter.type for parameter in pipeline.parameters}
    if pipeline.classes:
        # No parameter is called so.
        types["class"] = "text"
    inputs: dict[str, Value] = {}
    for name, written in named.items():
        if name not in types:
            help_ = suggestion(name, types, f"it takes {listed(types, most=20)}")
            _reject("E1104", f"`{pipeline.id}` takes no `{name}`", help_)
        if name == "class" and written not in (known := [each.name for each in pipeline.classes]):
            help_ = suggestion(written, known, f"there are {listed(known, most=20)}")
            _reject("E1104", f"`{written}` is no class of `{pipeline.id}`", help_)
        inputs[name] = _value(name, types[name], written)
    return inputs


#: How the gateway writes the type of the turns of a conversation.
_TURNS = show(ListOf(Message()))


def _value(name: str, of: str, written: str) -> Value:
    """A value as it was written after `--set name=`: text as it is, everything else as JSON."""
    if of == "text" or of.startswith('"'):
        return written
    try:
        return msgspec.json.decode(written)
    except msgspec.DecodeError:
        _reject("E1104", f"`{name}` takes {of}, and `{written}` is not JSON", f"write it as --set '{name}=JSON'")


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return document if isinstance(document, dict) else {}


#: What is worth trying, by the gateway's word for what went wrong.
_NEXT_STEPS = {
    **dict.fromkeys(
        ("queue_full", "component_busy", "no_replica", "replica_unreachable", "stopping"),
        "ask again in a moment; `harmoniac status DIR` tells what runs",
    ),
    **dict.fromkeys(
        ("component_error", "answer_broken", "malformed_answer", "component_timeout"),
        "`harmoniac logs DIR` shows what its replicas wrote",
    ),
    "deadline_exceeded": "ask again, since a first answer takes longest; on a machine this slow, compile with a wider "
    "`slo … latency` (or `deadline` of the class) in the source or a smaller model; `harmoniac logs DIR gateway` may "
    "tell more",
    "answer_cut_off": "compile with a larger `max_tokens` of the component",
    "component_refused": "ask something shorter or simpler; what its engine said stands above",
}


def _reject(code: str, message: str, help_: str) -> Never:
    raise Rejected([Diagnostic(code, message, help=help_)])
