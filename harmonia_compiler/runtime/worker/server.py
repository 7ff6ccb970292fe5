"""What every worker has in common: its routes for health, metrics and models, limits on bodies, start and stop.

The process listens at once and answers `/health` with 503 until the role has loaded what it serves
and has done one call of its own, so that a probe sees "not yet" and never "gone".
"""

import asyncio
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from harmonia_compiler.runtime.chat_fields import misread
from harmonia_compiler.runtime.heads import BoundedHeads
from harmonia_compiler.runtime.worker.metrics import WorkerMetrics
from harmonia_compiler.runtime.worker.outcome import Raised, called

T = TypeVar("T")
#: Answers a request by its body. It is cancelled once the client has gone.
Handler = Callable[[bytes], Coroutine[Any, Any, Response]]

MOST_BODY_BYTES = 8 * 2**20
_GRACE_S = 5


class Role(Protocol):
    """What one kind of worker does. `model` is the name that requests give and `/v1/models` lists."""

    model: str

    def load(self) -> None:
        """Make everything ready and do one call; runs in a thread of its own, once."""
        ...

    def routes(self) -> Sequence[tuple[str, Handler]]:
        """The paths that are posted to."""
        ...


class Refusal(Exception):
    """An answer that is an error: its status, its kind in a word, a sentence, and the field at fault where one is."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.param = status, kind, message, param

    def document(self) -> dict[str, Any]:
        """The error in the form of OpenAI's."""
        return error_document(self.status, self.kind, self.message, self.param)


def unfit(message: str, param: str | None) -> Refusal:
    """A body whose field `param` cannot be followed: 400."""
    return Refusal(400, "invalid_request_error", message, param)


def json_response(document: object, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(msgspec.json.encode(document), status, media_type="application/json")


def error_document(status: int, kind: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in the form of OpenAI's."""
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def error_response(status: int, kind: str, message: str) -> Response:
    """An answer that is an error."""
    return json_response(error_document(status, kind, message), status)


async def _body(request: Request) -> bytes:
    """The request's body; raises Refusal (413) for one that is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            raise Refusal(413, "too_large", f"a body may have at most {MOST_BODY_BYTES:,} bytes")
    return bytes(body)


def read_body(body: bytes, form: type[T]) -> T:
    """A body as a document of this form; raises Refusal (400) for one that is not such a document."""
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as problem:
        raise unfit(f"the body cannot be read: {problem}", misread(problem).field) from problem
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise Refusal(400, "invalid_request_error", f"the body cannot be read: {problem}") from problem
    except RecursionError as problem:
        raise Refusal(400, "invalid_request_error", "the body is nested too deeply") from problem


async def _while_wanted(request: Request, answer: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives, which is cancelled once the client has gone; the request's body must have been read.

    The server itself tells nobody that a client has left: what waits for a thread would wait on, and then be worked on.

    Raises ClientDisconnect where the client left first.
    """
    work = asyncio.create_task(answer)
    gone = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        gone.cancel()
        work.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def check_model(model: str, named: str | None) -> None:
    """Raises Refusal (404) where a request names another model than the one that is served."""
    if named not in (None, model):
        raise Refusal(404, "not_found_error", f"the model `{named}` is not served here; `{model}` is", "model")


class _Service:
    """The application of one role, and how far it has come."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.ready = False
        self.metrics = WorkerMetrics()

    def app(self) -> Starlette:
        posts = [Route(path, self._guarded(path, handler), methods=["POST"]) for path, handler in self.role.routes()]
        gets = [
            Route("/health", self._health),
            Route("/metrics", self._metrics),
            Route("/v1/models", self._models),
        ]
        return Starlette(routes=[*gets, *posts], exception_handlers={HTTPException: _http_error})

    async def _health(self, _: Request) -> Response:
        if self.ready:
            return json_response({"status": "ready"})
        return json_response({"status": f"loading {self.role.model}"}, 503)

    async def _metrics(self, _: Request) -> Response:
        return Response(self.metrics.exported(), media_type=CONTENT_TYPE_LATEST)

    async def _models(self, _: Request) -> Response:
        listed = {"id": self.role.model, "object": "model", "created": 0, "owned_by": "harmonia"}
        return json_response({"object": "list", "data": [listed]})

    def _guarded(self, path: str, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler with its errors turned into answers, counted and timed."""

        async def guarded(request: Request) -> Response:
            with self.metrics.watch(path) as watched:
                response = await self._answer(request, handler)
                watched.status = response.status_code
            return response

        return guarded

    async def _answer(self, request: Request, handler: Handler) -> Response:
        if not self.ready:
            return error_response(503, "not_ready", f"`{self.role.model}` is still being loaded")
        try:
            return await _while_wanted(request, handler(await _body(request)))
        except Refusal as refusal:
            return json_response(refusal.document(), refusal.status)
        except ClientDisconnect:
            return error_response(400, "invalid_request_error", "the client went away")
        except Exception:  # noqa: BLE001 - one call's failure must not end the worker
            traceback.print_exc()
            return error_response(500, "internal_error", "the worker failed; its log says how")


async def _http_error(_: Request, problem: Exception) -> Response:
    """No such path, or not this method."""
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    return error_response(status, "not_found_error", str(getattr(problem, "detail", problem)))


def application(role: Role, *, ready: bool = False) -> Starlette:
    """The role's routes as an application, for whoever runs it without this module's `serve`."""
    service = _Service(role)
    service.ready = ready
    return service.app()


class _Server(uvicorn.Server):
    """Ends with a code of ours after SIGTERM, where uvicorn would raise the signal once more."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(role: Role, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code, which is 1 where the role could not be loaded."""
    service = _Service(role)
    config = uvicorn.Config(
        service.app(),
        host=host,
        port=port,
        http=BoundedHeads,
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = _Server(config)
    failures: list[Raised] = []

    async def load() -> None:
        # Whatever it raises (a role may import the user's code), the process ends and says so.
        loaded = await asyncio.to_thread(called, role.load)
        if isinstance(loaded, Raised):
            failures.append(loaded)
            server.should_exit = True
        else:
            service.ready = True

    loading = asyncio.create_task(load())
    try:
        await server.serve()
    except SystemExit:  # how uvicorn ends where it cannot listen, having said why
        return 1
    finally:
        loading.cancel()
    if failures:
        traceback.print_exception(failures[0].problem)
        sys.stderr.write(f"the worker could not load {role.model}: {failures[0].message}\n")
    return 1 if failures or not server.started else 0


def texts_of(value: Any, most: int) -> list[str]:
    """A text or a list of texts as a list; raises Refusal (400) where it is neither, empty or too long."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise Refusal(400, "invalid_request_error", "a text or a list of texts is expected")
    if not 0 < len(texts) <= most:
        raise Refusal(400, "invalid_request_error", f"between 1 and {most} texts are expected, not {len(texts)}")
    return texts
