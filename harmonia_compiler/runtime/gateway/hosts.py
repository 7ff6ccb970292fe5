"""Refuses requests that name a host which is not this one, so that no page gets at the gateway by a name of its own.

A page may have its name lead to 127.0.0.1 once it is loaded (DNS rebinding), and then speak with whatever listens there
as if with its own server. Its browser still sends its name. Who comes by an address, by `localhost` or by a name
without a dot was led here by nobody's public name; this machine's own name is fine as well, and others are those that
whoever starts the service lists in `HARMONIA_ALLOWED_HOSTS`.
"""

import socket
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import ip_address

from starlette.types import ASGIApp, Receive, Scope, Send

from harmonia_compiler.contract.launch import ALLOWED_HOSTS
from harmonia_compiler.runtime.gateway.problem import INVALID_REQUEST, Problem

#: So many values of the header that were let in are known at once: clients of one service send few.
_MOST_KNOWN = 256


class KnownHosts:
    """An application behind the check. A request without the header is from no browser."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str] = ()) -> None:
        self._app = app
        self._allowed = {socket.gethostname().lower(), *(name.strip().lower() for name in allowed if name.strip())}
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what may come in."""
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"host" and value not in self._known and not self._learn(value):
                    await _refuse(value, send)
                    return
        await self._app(scope, receive, send)

    def _learn(self, value: bytes) -> bool:
        """Whether a value may come in, which is not looked at again then."""
        may = is_ours(host_of(value.decode("latin-1")), self._allowed)
        if may and len(self._known) < _MOST_KNOWN:
            self._known.add(value)
        return may


def host_of(header: str) -> str:
    """The name or address in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if header.count(":") == 1 else header


def is_ours(host: str, allowed: Iterable[str]) -> bool:
    """Whether no public name of somebody else's could be this host."""
    name = host.lower().removesuffix(".")
    if "." not in name or name.endswith(".localhost") or name in allowed:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


async def _refuse(value: bytes, send: Send) -> None:
    shown = host_of(value.decode("latin-1"))[:80]
    problem = Problem(
        HTTPStatus.MISDIRECTED_REQUEST,
        INVALID_REQUEST,
        "host_not_allowed",
        f"this gateway is not known as `{shown}`; whoever starts it allows names in {ALLOWED_HOSTS}",
    )
    body = problem.body()
    headers = [*problem.headers(), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": int(problem.status), "headers": headers})
    await send({"type": "http.response.body", "body": body})
