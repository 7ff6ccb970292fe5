"""How an emulated replica listens: over HTTP or gRPC, on a port that it can leave and come back to."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from aiohttp import web

from harmonia_compiler.emulate.servers.replica import Condition, Handler, loading
from harmonia_compiler.emulate.servers.store import Store
from harmonia_compiler.runtime.worker.metrics import WorkerMetrics

HOST = "127.0.0.1"
_MOST_BODY_BYTES = 64 * 2**20


class Listener(Protocol):
    """A server that can be closed and opened again, on the same port."""

    port: int

    async def open(self) -> None:
        """Listen; on a free port the first time."""
        ...

    async def close(self) -> None:
        """Stop listening, and break off what is in progress. Of no consequence where it does not listen."""
        ...


def as_worker(condition: Condition, calls: Mapping[tuple[str, str], Handler], model: str) -> "HttpListener":
    """A listener that also answers what a worker of ours is asked about itself; `model` is what it serves."""
    metrics = WorkerMetrics(asyncio.get_running_loop().time)

    def watched(path: str, handle: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            with metrics.watch(path) as seen:
                response = await handle(request)
                seen.status = response.status
            return response

        return answer

    async def exported(_: web.Request) -> web.Response:
        return web.Response(body=metrics.exported(), content_type="text/plain")

    async def models(_: web.Request) -> web.Response:
        listed = {"id": model, "object": "model", "created": 0, "owned_by": "harmonia"}
        return web.json_response({"object": "list", "data": [listed]})

    counted = {(method, path): watched(path, handle) for (method, path), handle in calls.items()}
    return HttpListener(condition, counted, {"/metrics": exported, "/v1/models": models})


@dataclass(slots=True)
class HttpListener:
    """`calls`, by method and path, go wrong when the replica does; what it says of itself, at `gets`, does not.

    While it loads, a real one does not listen yet: this one answers 503, whatever it is asked.
    """

    condition: Condition
    calls: Mapping[tuple[str, str], Handler]
    gets: Mapping[str, Handler]
    port: int = 0
    _runner: web.AppRunner | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        """Listen; on a free port the first time."""
        app = web.Application(client_max_size=_MOST_BODY_BYTES)
        for (method, path), handle in self.calls.items():
            app.router.add_route(method, path, self._answering(handle))
        for path, handle in self.gets.items():
            app.router.add_get(path, self._saying(handle))
        app.router.add_get("/health", self._health)
        async with self._turn:
            self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.0, access_log=None)
            await self._runner.setup()
            await web.TCPSite(self._runner, HOST, self.port, backlog=1024).start()
            self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening, and break off what is in progress."""
        async with self._turn:
            if self._runner is not None:
                runner, self._runner = self._runner, None
                await runner.cleanup()

    def _answering(self, handle: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await self.condition.answer(request, handle)

        return answer

    def _saying(self, handle: Handler) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            return await handle(request) if self.condition.is_loaded else loading()

        return answer

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self.condition.says_well else 503)


@dataclass(slots=True)
class StoreListener:
    """An emulated Milvus; whether it goes wrong is for its methods to look at."""

    store: Store
    port: int = 0
    _server: grpc.aio.Server | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def open(self) -> None:
        """Listen; on a free port the first time."""
        async with self._turn:
            self._server = grpc.aio.server()
            self.store.add_to(self._server)
            self.port = int(self._server.add_insecure_port(f"{HOST}:{self.port}"))
            await self._server.start()

    async def close(self) -> None:
        """Stop listening, and break off what is in progress."""
        async with self._turn:
            if self._server is not None:
                server, self._server = self._server, None
                await server.stop(0)
