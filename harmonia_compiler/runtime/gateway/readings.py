"""`GET /readings`: what the controller is told, to this machine alone."""

from http import HTTPStatus
from ipaddress import ip_address

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harmonia_compiler.contract.readings import GenerationRead, Readings
from harmonia_compiler.runtime.gateway.front import Front
from harmonia_compiler.runtime.gateway.problem import Problem
from harmonia_compiler.runtime.gateway.siblings import OWN, Siblings
from harmonia_compiler.runtime.gateway.sums import sum_readings


def readings_route(front: Front, siblings: Siblings) -> Route:
    """The route. To others it is not there: it says nothing of requests, but how much a service is used."""

    async def readings(request: Request) -> Response:
        if request.client is None or not _is_here(request.client.host):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        lines = {name: queue.line for name, queue in front.base.dispatcher.queues.items()}
        read = msgspec.structs.replace(
            front.base.watch.readings(lines),
            generations=tuple(
                GenerationRead(one.number, one.gateway.under_way, *one.gateway.watch.totals) for one in front.members
            ),
            followed=front.epoch,
            not_followed=front.refused,
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
