"""Engines that speak the real routes and do as they are told, a Milvus in memory, and a gateway around them."""

import asyncio
import contextlib
import io
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
import uvicorn
from aiohttp import web

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaShare, Service
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.component import Component, Engine, Insert, Port
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.contract.program import Block, Call, Parameter, Program, ProgramParameter
from harmonia_compiler.contract.types import ListOf, Passage, Text, Vector
from harmonia_compiler.flow.answers import answers_of
from harmonia_compiler.flow.graph import Body, Flow, Node
from harmonia_compiler.kinds.milvus import Hit, Search, SearchReply
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.gateway.app import App
from harmonia_compiler.runtime.gateway.collections import ReadRecord
from harmonia_compiler.runtime.gateway.front import Front, Member
from harmonia_compiler.runtime.gateway.http_transport import HttpTransport
from harmonia_compiler.runtime.gateway.service import Gateway
from harmonia_compiler.runtime.gateway.transport import Refused, Transport
from harmonia_compiler.runtime.heads import BoundedHeads

RECORD = CollectionRecord("minilm", "r1", 3, "COSINE", "markdown-v1:180:30")

#: A search with its embedder, and an answer from what was found.
RETRIEVING = (
    Parameter("question"),
    Call("minilm", ("text",), (0,)),
    Call("search", ("query",), (1,)),
    Call("answer", ("question", "passages"), (0, 2)),
)


@dataclass
class FakeEngine:
    """A server of chat completions, embeddings, rankings and Python calls.

    `words` is what a model says, `pause_s` the time before the first and between the words of a
    stream. `break_after` cuts the connection after so many words, `fail_after` says then that it failed, `hang` never
    answers, `status` answers with an error, `mute` leaves probes waiting. `cancelled` counts the calls whose connection
    was closed on us.
    """

    words: list[str] = field(default_factory=lambda: ["Blue", " as", " the", " sky"])
    pause_s: float = 0.0
    break_after: int | None = None
    fail_after: int | None = None
    hang: bool = False
    status: int = 200
    mute: bool = False
    result: Any = None
    finish: str = "stop"
    calls: list[dict[str, Any]] = field(default_factory=list)
    told: list[Mapping[str, str]] = field(default_factory=list)
    cancelled: int = 0
    in_flight: int = 0
    port: int = 0
    _runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> Self:
        app = web.Application()
        for path, handler in (
            ("/v1/chat/completions", self._chat),
            ("/v1/embeddings", self._embed),
            ("/v1/rerank", self._rerank),
            ("/v1/call", self._call),
        ):
            app.router.add_post(path, self._handled(handler))
        app.router.add_get("/health", self._health)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _handled(self, handler: Any) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.json()
            self.in_flight += 1
            self.calls.append(body)
            self.told.append(request.headers.copy())
            try:
                if self.hang:
                    await asyncio.Event().wait()
                if self.status != 200:
                    return web.json_response({"error": {"message": "told to fail"}}, status=self.status)
                response: web.StreamResponse = await handler(request, body)
            except (asyncio.CancelledError, ConnectionResetError):
                self.cancelled += 1
                raise
            finally:
                self.in_flight -= 1
            return response

        return handle

    async def _health(self, request: web.Request) -> web.Response:
        if self.mute:
            await asyncio.Event().wait()
        return web.Response(status=self.status)

    async def _chat(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        usage = {"prompt_tokens": 7, "completion_tokens": len(self.words)}
        if not body.get("stream"):
            await asyncio.sleep(self.pause_s)
            if self.break_after is not None:
                _cut(request)
            message = {"role": "assistant", "content": "".join(self.words)}
            return web.json_response({"choices": [{"message": message, "finish_reason": self.finish}], "usage": usage})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for at, word in enumerate(self.words):
            await asyncio.sleep(self.pause_s)
            if at == self.break_after:
                _cut(request)
            if at == self.fail_after:
                await response.write(_event({"error": {"message": "told to fail"}}))
            await response.write(_event({"choices": [{"delta": {"content": word}}]}))
        await response.write(_event({"choices": [{"delta": {}, "finish_reason": self.finish}]}))
        await response.write(_event({"choices": [], "usage": usage}))
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _embed(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        await asyncio.sleep(self.pause_s)
        data = [{"embedding": [1.0, 0.0, 0.0]} for _ in body["input"]]
        return web.json_response({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}})

    async def _rerank(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        order = list(reversed(range(len(body["documents"]))))[: body["top_n"]]
        return web.json_response({"results": [{"index": at, "relevance_score": float(at)} for at in order]})

    async def _call(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        return web.json_response({"result": self.result})


def _event(document: object) -> bytes:
    return b"data: " + msgspec.json.encode(document) + b"\n\n"


def _cut(request: web.Request) -> None:
    """Close the connection without a farewell, as a killed process does."""
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError


class FakeMilvus:
    """The transport of a Milvus that holds three passages."""

    def __init__(self) -> None:
        self.searches: list[Search] = []
        self.missing = False

    async def send(self, endpoint: Endpoint, wire: Wire) -> bytes:
        search = msgspec.json.decode(wire.body, type=Search)
        self.searches.append(search)
        if self.missing:
            raise Refused(404, f"there is no collection `{search.collection}`")
        hits = [Hit(f"passage {at}", f"doc{at}.md", 1.0 - at / 10) for at in range(3)]
        return msgspec.json.encode(SearchReply([hits[: search.limit] for _ in search.vectors]))

    async def stream(self, endpoint: Endpoint, wire: Wire) -> AsyncGenerator[list[bytes], None]:
        yield [await self.send(endpoint, wire)]

    async def answers(self, endpoint: Endpoint) -> str | None:
        return None

    async def close(self) -> None:
        pass


ENGINES = {
    "llm": Engine("llm", "llm", {"model": "tiny"}),
    "embedder": Engine("embedder", "embedder", {"model": "minilm"}),
    "store": Engine("store", "milvus", {}),
    "reranker": Engine("reranker", "reranker", {"model": "cross"}),
    "python": Engine("python", "python", {"function": "mod:fun"}),
}

TEXT, PASSAGES = Text(), ListOf(Passage())

COMPONENTS = {
    "minilm": Component("minilm", "embedder", "embedder", (Port("text", TEXT),), Vector()),
    "search": Component(
        "search", "milvus", "store", (Port("query", TEXT),), PASSAGES, settings={"collection": "docs", "top_k": 3}
    ),
    "rerank": Component(
        "rerank",
        "reranker",
        "reranker",
        (Port("query", TEXT), Port("passages", PASSAGES)),
        PASSAGES,
        settings={"top_k": 2},
    ),
    "answer": Component(
        "answer",
        "llm",
        "llm",
        (Port("question", TEXT), Port("passages", PASSAGES)),
        TEXT,
        prompt=(Insert("passages"), "\n\nQuestion: ", Insert("question")),
        settings={"max_tokens": 64},
    ),
    "say": Component("say", "llm", "llm", (Port("question", TEXT),), TEXT, prompt=(Insert("question"),)),
}


def program(
    name: str,
    operations: tuple[Any, ...],
    *,
    streams: bool = True,
    components: Mapping[str, Component] = COMPONENTS,
    **more: Any,
) -> Program:
    """A pipeline whose answer is its last operation; it takes `question` where nothing else is said."""
    called = {operation.component for operation in operations if isinstance(operation, Call)}
    defaults: dict[str, Any] = {"parameters": (ProgramParameter("question", TEXT),), "result_type": TEXT}
    of = more.get("result_type", TEXT)
    flow = Flow(name, (), of, tuple(Node(operation, TEXT) for operation in operations), len(operations) - 1)
    [*_, answers] = answers_of(
        msgspec.structs.replace(flow, blocks=tuple(_body(block) for block in more.get("blocks", ())))
    )
    return Program(
        pipeline=name,
        operations=tuple(
            msgspec.structs.replace(operation, may_answer=True) if at in answers else operation
            for at, operation in enumerate(operations)
        ),
        result=len(operations) - 1,
        components={key: component for key, component in components.items() if key in called},
        streams=streams,
        **{**defaults, **more},
    )


#: What most tests of the gateway alone serve: one call of a model.
SAYING = program("p", (Parameter("question"), Call("say", ("question",), (0,))))


def _body(block: Block) -> Body:
    return Body(tuple(Node(operation, TEXT) for operation in block.operations), block.results)


class Client:
    """A raw HTTP client of the gateway, for what the openai package would not send."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def post(
        self, path: str, document: object, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        body = document if isinstance(document, bytes) else msgspec.json.encode(document)
        async with self.session.post(self.url + path, data=io.BytesIO(body), headers=headers) as response:
            return response.status, await response.json(content_type=None), response.headers

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path) as response:
            body = await response.read()
            return response.status, msgspec.json.decode(body) if body[:1] in b"{[" else body.decode()

    async def events(self, path: str, document: object) -> list[Any]:
        """The data of every event of a stream; `[DONE]` stays text."""
        async with self.session.post(self.url + path, json=document) as response:
            assert response.status == 200, await response.text()
            datas = [line[6:] for line in (await response.read()).split(b"\n") if line.startswith(b"data: ")]
        return [data.decode() if data == b"[DONE]" else msgspec.json.decode(data) for data in datas]

    async def counters(self, pipeline: str) -> dict[str, int]:
        """What the gateway counted for a pipeline, by the outcome's name."""
        _, text = await self.get("/metrics")
        found = {}
        for name in ("accepted", "completed", "failed", "shed", "cancelled", "in_flight"):
            wanted = f"harmonia_requests_{name}{'' if name == 'in_flight' else '_total'}"
            line = next(line for line in text.splitlines() if line.startswith(f'{wanted}{{pipeline="{pipeline}"}}'))
            found[name] = int(float(line.split()[-1]))
        return found


@dataclass
class Served:
    """A running gateway."""

    gateway: Gateway
    front: Front
    client: Client
    port: int


@asynccontextmanager
async def serving(
    programs: Mapping[str, Program] | list[Program],
    replicas: Mapping[str, int] | list[Endpoint],
    *,
    milvus: Transport | None = None,
    engines: Mapping[str, Engine] = ENGINES,
    concurrency: int = 16,
    read_record: ReadRecord = lambda uri, collection: RECORD,
    run: Path | None = None,
) -> AsyncIterator[Served]:
    """A gateway on a free port; `replicas` gives the port of one replica of each engine, or lists them all."""
    if isinstance(programs, list):
        programs = {served.pipeline: served for served in programs}
    if isinstance(replicas, Mapping):
        replicas = [Endpoint(f"{engine}-1", engine, "127.0.0.1", port) for engine, port in replicas.items()]
    shares = {endpoint.replica: ReplicaShare(concurrency) for endpoint in replicas}
    service = Service(dict(programs), dict(engines), {"docs": RECORD}, shares)
    transports: dict[str, Transport] = {"http": HttpTransport(), "milvus": milvus or FakeMilvus()}
    gateway = Gateway(service, kinds(), transports, read_record, asyncio.get_running_loop().time)
    gateway.set_endpoints(Endpoints(tuple(replicas), 1))
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    front = Front((Member(0, 1.0, gateway),))
    app = App(front, run=run)
    config = uvicorn.Config(
        app,
        http=BoundedHeads,
        ws="none",
        lifespan="on",
        access_log=False,
        proxy_headers=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listening]))
    while not server.started:
        await asyncio.sleep(0.005)
    port = listening.getsockname()[1]
    try:
        async with aiohttp.ClientSession() as session:
            yield Served(gateway, front, Client(session, f"http://127.0.0.1:{port}"), port)
    finally:
        server.should_exit = True
        await task
        listening.close()


class _Server(uvicorn.Server):
    """Leaves the test's signal handlers alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


async def eventually(holds: Any, within_s: float = 30.0) -> None:
    """Wait until a condition holds; fail where it never does."""
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.005)
