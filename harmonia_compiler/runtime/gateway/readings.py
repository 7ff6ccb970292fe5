"""`GET /readings`: what the controller is told, to this machine alone, or to whoever knows the token of the run."""

import hmac
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harmonia_compiler.contract.readings import TOKEN, GenerationRead, Readings
from harmonia_compiler.contract.regular import MOST_TEXT_BYTES, read_regular
from harmonia_compiler.runtime.gateway.front import Front
from harmonia_compiler.runtime.gateway.problem import Problem
from harmonia_compiler.runtime.gateway.siblings import OWN, Siblings
from harmonia_compiler.runtime.gateway.sums import sum_readings


def readings_route(front: Front, siblings: Siblings, run: Path | None = None) -> Route:
    """The route; `run` is the folder in which a token may lie.

    To others it is not there: it says nothing of requests, but how much a service is used.
    """

    async def readings(request: Request) -> Response:
        here = request.client is not None and _is_here(request.client.host)
        if not here and not _knows(request.headers.get("authorization", ""), run):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        lines = {name: queue.line for name, queue in front.base.dispatcher.queues.items()}
        read = msgspec.structs.replace(
            front.base.watch.readings(lines),
            generations=tuple(
                GenerationRead(one.number, one.gateway.under_way, *one.gateway.watch.totals) for one in front.members
            ),
            followed=front.epoch,
            not_followed=front.refused,
            caches=front.base.caches.readings(),
        )
        if siblings.ports and OWN not in request.query_params:
            try:
                each = await siblings.all_of(front.base.transports["http"], "/readings", msgspec.json.encode(read))
            except Problem as problem:
                raise HTTPException(problem.status, problem.message) from problem
            read = sum_readings([msgspec.json.decode(one, type=Readings) for one in each])
        return Response(msgspec.json.encode(read), media_type="application/json")

    return Route("/readings", readings)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _knows(said: str, run: Path | None) -> bool:
    """Whether this holds the token of the run; where there is none, nobody knows it."""
    if run is None:
        return False
    try:
        token = read_regular(run / TOKEN, MOST_TEXT_BYTES)
    except OSError:
        return False
    return bool(token) and hmac.compare_digest(said.encode("latin-1"), b"Bearer " + token)
