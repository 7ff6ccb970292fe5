"""The routes of the gateway."""

import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from harmonia_compiler.contract.launch import REQUEST_HEADER
from harmonia_compiler.contract.program import Program
from harmonia_compiler.contract.types import show
from harmonia_compiler.runtime.gateway import chat, native
from harmonia_compiler.runtime.gateway.arguments import find_program
from harmonia_compiler.runtime.gateway.body import Headers, read_json_object
from harmonia_compiler.runtime.gateway.exchange import Understood, serve
from harmonia_compiler.runtime.gateway.front import Front
from harmonia_compiler.runtime.gateway.logs import log_bug
from harmonia_compiler.runtime.gateway.problem import INVALID_REQUEST, Problem, internal, invalid
from harmonia_compiler.runtime.gateway.readings import readings_route
from harmonia_compiler.runtime.gateway.service import Gateway
from harmonia_compiler.runtime.gateway.siblings import ALONE, OWN, Siblings
from harmonia_compiler.runtime.gateway.sums import sum_metrics

CHAT = "/v1/chat/completions"
#: Names the request's class where the body does not.
CLASS_HEADER = b"x-request-class"
#: Names the request itself, in answers, in the log and to replicas; anything but a plain word is not taken over.
ID_HEADER = REQUEST_HEADER.encode()
PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class ChatRoute:
    """`POST /v1/chat/completions`."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = scope["headers"]

        async def understand(id_: str) -> tuple[Gateway, Understood]:
            document = await read_json_object(headers, receive)
            gateway = self._front.pick(document.get("model"))
            return gateway, chat.understand(gateway.service.programs, document, id_, _named_class(headers))

        await serve(scope, send, understand, _own_id(headers))


class PipelineRoute:
    """`POST /v1/pipelines/{name}`."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = scope["headers"]

        async def understand(id_: str) -> tuple[Gateway, Understood]:
            document = await read_json_object(headers, receive)
            name = scope["path_params"]["name"]
            gateway = self._front.pick(name)
            return gateway, native.understand(gateway.service.programs, name, document, id_, _named_class(headers))

        await serve(scope, send, understand, _own_id(headers))


def _named_class(headers: Headers) -> str | None:
    """The request class that a caller names in a header, for clients whose body others write.

    Raises Problem (400) where several headers name different ones.
    """
    named = {value.strip() for name, value in headers if name == CLASS_HEADER}
    if len(named) > 1:
        shown = " and ".join(repr(value.decode("latin-1")[:64]) for value in sorted(named)[:2])
        raise invalid(
            f"two `X-Request-Class` headers name {shown}; a request is of one class", "class", "ambiguous_class"
        )
    return named.pop().decode("latin-1") if named else None


def _own_id(headers: Headers) -> str | None:
    """The id that a caller gave its request: of those in headers the first that is a plain word."""
    given = (value.strip().decode("latin-1") for name, value in headers if name == ID_HEADER)
    return next(filter(PLAIN_ID.fullmatch, given), None)


class App:
    """The gateway's routes. To the one that nearly all requests are for leads no table, and nothing wraps it."""

    def __init__(self, front: Front, siblings: Siblings = ALONE, run: Path | None = None) -> None:
        self._chat = ChatRoute(front)
        # Whom a proxy on this machine speaks for is of consequence for the other routes alone.
        routes = _routes(front, siblings, self._chat, run)
        self._others = cast("ASGIApp", ProxyHeadersMiddleware(cast("Any", routes)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the application's life, at whose end what it serves is closed."""
        if scope["type"] == "http" and scope["path"] == CHAT and scope["method"] == "POST":
            await self._chat(scope, receive, send)
        else:
            await self._others(scope, receive, send)


def _routes(front: Front, siblings: Siblings, chat_route: ChatRoute, run: Path | None) -> Starlette:
    created = int(time.time())

    async def models(_: Request) -> Response:
        listed = [_model(program, created) for program in front.programs.values()]
        return _json({"object": "list", "data": listed})

    async def model(request: Request) -> Response:
        try:
            program = find_program(front.programs, request.path_params["name"], "model")
        except Problem as problem:
            return _problem(problem)
        return _json(_model(program, created))

    async def healthz(_: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(_: Request) -> Response:
        missing = [{"reason": "the gateway is being stopped"}] if front.stopping else await front.missing()
        status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
        return _json({"ready": not missing, "missing": missing}, status)

    async def metrics(request: Request) -> Response:
        each: Sequence[bytes] = [front.base.metrics.render()]
        try:
            if OWN not in request.query_params:
                each = await siblings.all_of(front.base.transports["http"], "/metrics", each[0])
        except Problem as problem:
            return _problem(problem)
        return Response(sum_metrics(each), media_type="text/plain; version=0.0.4")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await front.close()

    return Starlette(
        routes=[
            # Whoever asks it with another method is told so here.
            Route(CHAT, chat_route, methods=["POST"]),
            Route("/v1/pipelines/{name}", PipelineRoute(front), methods=["POST"]),
            Route("/v1/models", models),
            Route("/v1/models/{name}", model),
            Route("/healthz", healthz),
            Route("/health", healthz),
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            readings_route(front, siblings, run),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _bug},
        lifespan=lifespan,
    )


def _model(program: Program, created: int) -> dict[str, Any]:
    """A pipeline as OpenAI lists models, with what it takes and gives beside it."""
    parameters = [
        {
            "name": parameter.name,
            "type": show(parameter.type),
            # Who says no class is of the first.
            "required": parameter.default is msgspec.UNSET and parameter.name != program.class_parameter,
        }
        for parameter in program.parameters
    ]
    return {
        "id": program.pipeline,
        "object": "model",
        "created": created,
        "owned_by": "harmonia",
        "parameters": parameters,
        "result": show(program.result_type),
        "streams": program.streams,
        "deadline_ms": program.deadline_ms,
        "classes": msgspec.to_builtins(program.classes),
    }


def _json(document: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(document), status, media_type="application/json")


def _problem(problem: Problem) -> Response:
    return Response(problem.body(), problem.status, {k.decode(): v.decode() for k, v in problem.headers()})


async def _http_error(_: Request, error: Exception) -> Response:
    """A wrong path or method, in the shape of every other error."""
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    problem = _problem(Problem(error.status_code, INVALID_REQUEST, code, error.detail))
    problem.headers.update(error.headers or {})
    return problem


async def _bug(_: Request, bug: Exception) -> Response:
    log_bug("route_bug", bug)
    return _problem(internal())
