"""What is put under load: a model at a URL, whether it is a pipeline of ours, and what it promises.

Any service that speaks OpenAI's chat route will do. A gateway of ours also says what its pipelines take, whether they
stream, and by when they answer.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

import aiohttp
import msgspec

from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.program import RequestClass
from harmonia_compiler.contract.sse import Oversized
from harmonia_compiler.contract.types import Value
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import listed, suggestion
from harmonia_compiler.runtime.gateway.client import (
    ClassInfo,
    ParameterInfo,
    PipelineInfo,
    fill_inputs,
    question_port,
)
from harmonia_compiler.runtime.load.bodies import Room, body_of

#: How long a service may take to say what it serves, in seconds.
_LOOK_S = 10.0
#: The largest list of models that is read, in bytes.
_MOST_LISTED_BYTES = 16 << 20


class _Listed(msgspec.Struct):
    """A model as OpenAI lists it, with what our gateway says beside that."""

    id: str
    parameters: tuple[ParameterInfo, ...] | None = None
    deadline_ms: float | None = None
    classes: tuple[RequestClass, ...] = ()


class _Models(msgspec.Struct):
    data: tuple[_Listed, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A model or pipeline. `fields` are what each request says beside its question, by name.

    `question_field` is the parameter of a pipeline that the question fills; None for a model that is no pipeline.
    """

    url: str
    model: str
    question_field: str | None = None
    deadline_ms: float | None = None
    class_deadlines_ms: Mapping[str, float | None] = field(default_factory=dict)
    fields: Mapping[str, Value] = field(default_factory=dict)

    def deadline_of(self, request_class: str | None) -> float | None:
        """By when a request of a class is answered, as the service says; None where it says nothing."""
        if request_class is None and self.class_deadlines_ms:
            request_class = next(iter(self.class_deadlines_ms))
        own = self.class_deadlines_ms.get(request_class or "")
        return self.deadline_ms if own is None else own


async def find_target(session: aiohttp.ClientSession, url: str, model: str | None, named: Mapping[str, str]) -> Target:
    """The model of that name, or the only one, which is given `named` with each question. Raises Rejected."""
    served = await _listed(session, url, model)
    if model is None and len(served) != 1:
        names = listed(served, most=20) or "none"
        _reject("E1323", f"{url} serves {len(served)} models: {names}", "choose one with --model NAME")
    name = next(iter(served)) if model is None else model
    if name not in served:
        _reject(
            "E1323",
            f"{url} serves no model `{name}`",
            suggestion(name, served, f"it serves {listed(served, most=20)}"),
        )
    found = served[name]
    if found.parameters is None:
        return Target(url, name, fields={key: _value(written) for key, written in named.items()})
    asked = PipelineInfo(name, found.parameters, tuple(ClassInfo(each.name) for each in found.classes))
    field_, inputs = question_port(asked, named), fill_inputs(asked, "", named)
    return Target(
        url,
        name,
        question_field=field_,
        deadline_ms=found.deadline_ms,
        class_deadlines_ms={each.name: each.deadline_ms for each in found.classes},
        fields={key: value for key, value in inputs.items() if key != field_},
    )


async def _listed(session: aiohttp.ClientSession, url: str, model: str | None) -> dict[str, _Listed]:
    """What is served, by name. A service that has no such list serves what it is asked for."""
    where = f"{url}/v1/models"
    try:
        async with session.get(where, timeout=aiohttp.ClientTimeout(total=_LOOK_S)) as response:
            if response.status == 404 and model is not None:
                return {model: _Listed(model)}
            if response.status != 200:
                help_ = (
                    "name a variable that holds the key: --api-key-env NAME" if response.status in {401, 403} else ""
                )
                _reject("E1321", f"{where} answers {response.status}", help_ or "check the URL")
            body = await body_of(response, _MOST_LISTED_BYTES, Room())
    except (aiohttp.InvalidUrlRedirectClientError, aiohttp.NonHttpUrlRedirectClientError):
        _reject("E1321", f"{where} redirects to what is no address of a service", "check the URL")
    except (aiohttp.InvalidURL, UnicodeError):
        # A host's name that is too long is found out where it is written as names are in the network.
        _reject("E1321", f"`{url}` is no address", "write it as http://HOST:PORT")
    except Oversized:
        _reject("E1321", f"{where} lists more than {_MOST_LISTED_BYTES >> 20} MiB of models", "check the URL")
    except TimeoutError:
        _reject("E1321", f"{where} does not answer within {_LOOK_S:g} s", "check that the service runs")
    except (aiohttp.ClientError, OSError) as problem:
        _reject("E1321", f"{where} does not answer: {reason_of(problem)}", "check the URL and that the service runs")
    try:
        return {one.id: one for one in decode_document(body, _Models).data}
    except msgspec.MsgspecError:
        _reject("E1321", f"what answers at {where} is no OpenAI-compatible service", "check the URL")


def reason_of(problem: Exception) -> str:
    """Why a service was not reached, in a few words, without addresses of sockets."""
    match problem:
        case TimeoutError():
            return "no connection in time"
        case aiohttp.ClientConnectorError():
            # The event loop puts the address into the text of the error.
            return os.strerror(problem.os_error.errno) if problem.os_error.errno else "no connection"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | ConnectionError():
            return "the connection was closed"
        case OSError():
            return problem.strerror or type(problem).__name__
        case _:
            return type(problem).__name__


def _value(written: str) -> Value:
    """A field of OpenAI's body as it was written: JSON where it is any, else text."""
    try:
        return msgspec.json.decode(written)
    except (msgspec.DecodeError, RecursionError):
        return written


def _reject(code: str, message: str, help_: str) -> NoReturn:
    raise Rejected([Diagnostic(code, message, help=help_)])
