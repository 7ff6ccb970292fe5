"""One request from body to last byte: it is admitted, executed, answered, and counted exactly once.

The status is sent with the first text or at the end, so that what fails before any text is a plain
error with its own status. Once text has left, a failure is an error event, and no `[DONE]` follows.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from starlette.types import Scope, Send

from harmonia_compiler.contract.program import Program, RequestClass
from harmonia_compiler.contract.types import Value
from harmonia_compiler.runtime.gateway.body import ClientGone
from harmonia_compiler.runtime.gateway.driver import Execution, Served
from harmonia_compiler.runtime.gateway.logs import log, log_bug
from harmonia_compiler.runtime.gateway.metrics import Ticket
from harmonia_compiler.runtime.gateway.problem import Problem, internal
from harmonia_compiler.runtime.gateway.service import Gateway
from harmonia_compiler.runtime.gateway.within import within_s
from harmonia_compiler.runtime.heads import told_when_gone

_OF_STREAMS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
#: For how long a client may leave what was sent to it unread before it counts as gone, in seconds.
STALL_S = 30.0


class Shape(Protocol):
    """How answers look on a route: whole, or as server-sent events."""

    def whole(self, served: Served) -> bytes:
        """The body of a plain answer."""
        ...

    def opening(self) -> bytes:
        """What precedes the first text of a stream."""
        ...

    def piece(self, text: str) -> bytes:
        """The event of a piece of text."""
        ...

    def closing(self, served: Served, *, streamed: bool) -> bytes:
        """The end of a stream, `[DONE]` included; `streamed` says whether the text has left already."""
        ...

    def broken(self, problem: Problem) -> bytes:
        """The event that ends a stream that failed."""
        ...


@dataclass(frozen=True, slots=True)
class Understood:
    """A request whose body made sense: what is to be executed, and how its answer looks.

    `request_class` is that of the request, where its pipeline has any.
    """

    program: Program
    arguments: Mapping[str, Value]
    options: Mapping[str, Any]
    stream: bool
    shape: Shape
    request_class: RequestClass | None = None


class Reply:
    """The response of one request, over ASGI's `send`; never waits on a client that reads nothing."""

    def __init__(self, send: Send, id_: str) -> None:
        self._send = send
        self._id = id_.encode()
        self.started = False

    async def document(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole response."""
        length = (b"content-length", str(len(body)).encode())
        await self._sent(self._start(status, [*headers, length]), _body(body, more=False))

    async def problem(self, problem: Problem) -> None:
        """A whole response that says why there is no answer."""
        await self.document(problem.status, problem.headers(), problem.body())

    async def events(self, body: bytes) -> None:
        """Some events of a stream; the first ones bring the status."""
        opening = () if self.started else (self._start(HTTPStatus.OK, _OF_STREAMS),)
        await self._sent(*opening, _body(body, more=True))

    async def last(self, body: bytes) -> None:
        """The last events of a stream, which may be its first ones."""
        opening = () if self.started else (self._start(HTTPStatus.OK, _OF_STREAMS),)
        await self._sent(*opening, _body(body, more=False))

    def _start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
        self.started = True
        headers = [*headers, (b"x-request-id", self._id)]
        return {"type": "http.response.start", "status": int(status), "headers": headers}

    async def _sent(self, *messages: dict[str, Any]) -> None:
        try:
            with within_s(STALL_S):
                for message in messages:
                    await self._send(message)
        except (TimeoutError, OSError):
            raise ClientGone from None


def _body(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def serve(
    scope: Scope,
    send: Send,
    understand: Callable[[str], Awaitable[tuple[Gateway, Understood]]],
    own_id: str | None = None,
) -> None:
    """Answer one request of a route; `understand` reads it, given its id: the caller's own, or a new one.

    It also says who serves it from then on.
    """
    id_ = own_id or secrets.token_hex(12)
    reply = Reply(send, id_)
    try:
        gateway, asked = await understand(id_)
    except ClientGone:
        return
    except Problem as problem:
        await _tell(reply, problem)
        return
    except Exception as bug:  # noqa: BLE001 - a bug of ours ends this request, and no other
        log_bug("request_bug", bug, id=id_)
        await _tell(reply, internal())
        return
    ticket = gateway.metrics.admit(asked.program.pipeline)
    try:
        await _execute(gateway, scope, reply, asked, ticket, id_)
    except ClientGone:
        ticket.end("cancelled")
    except Problem as problem:
        ticket.end("shed" if problem.shed else "failed")
        log(
            "request_failed",
            id=id_,
            pipeline=asked.program.pipeline,
            status=problem.status,
            code=problem.code,
            component=problem.component,
        )
        await _tell(reply, problem, asked.shape)
    except Exception as bug:  # noqa: BLE001 - a bug of ours ends this request, and no other
        ticket.end("failed")
        log_bug("request_bug", bug, id=id_, pipeline=asked.program.pipeline)
        await _tell(reply, internal(), asked.shape)
    finally:
        # Reached without an end only when the gateway itself is being stopped.
        ticket.end("failed")


async def _execute(gateway: Gateway, scope: Scope, reply: Reply, asked: Understood, ticket: Ticket, id_: str) -> None:
    shape = asked.shape
    began = gateway.clock()

    async def emit(texts: Sequence[str]) -> None:
        pieces = [shape.piece(text) for text in texts]
        if not reply.started:
            gateway.metrics.first_token[asked.program.pipeline].observe(gateway.clock() - began)
            pieces.insert(0, shape.opening())
        await reply.events(b"".join(pieces))

    handed = emit if asked.stream else None
    journey = await gateway.arrive(asked.program, asked.request_class, scope, streams=asked.stream)
    execution = Execution(gateway.caller, asked.program, asked.arguments, asked.options, journey, handed, id_)
    with told_when_gone(scope, lambda: execution.interrupt(ClientGone())):
        with gateway.running(execution):
            served = await execution.run()
            gateway.answered(asked.program, asked.request_class, served.stages)
        # The client may have left with the last piece; it counts as answered if it is still there.
        if asked.stream:
            streamed = reply.started
            if asked.program.streams and not streamed:
                gateway.metrics.first_token[asked.program.pipeline].observe(gateway.clock() - began)
            await reply.last((b"" if streamed else shape.opening()) + shape.closing(served, streamed=streamed))
        else:
            await reply.document(HTTPStatus.OK, [(b"content-type", b"application/json")], shape.whole(served))
    gateway.metrics.latency[asked.program.pipeline].observe(gateway.clock() - began)
    ticket.end("completed")


async def _tell(reply: Reply, problem: Problem, shape: Shape | None = None) -> None:
    """Say what went wrong: a plain error, or, where text has left already, an event that ends the stream."""
    try:
        if shape is not None and reply.started:
            await reply.last(shape.broken(problem))
        else:
            await reply.problem(problem)
    except ClientGone:
        pass
