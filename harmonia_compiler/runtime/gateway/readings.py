"""`GET /readings`: what the controller is told, to this machine alone."""

from http import HTTPStatus
from ipaddress import ip_address

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harmonia_compiler.runtime.gateway.service import Gateway


def readings_route(gateway: Gateway) -> Route:
    """The route. To others it is not there: it says nothing of requests, but how much a service is used."""

    async def readings(request: Request) -> Response:
        if request.client is None or not _is_here(request.client.host):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        lines = {name: queue.line for name, queue in gateway.dispatcher.queues.items()}
        return Response(msgspec.json.encode(gateway.watch.readings(lines)), media_type="application/json")

    return Route("/readings", readings)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
