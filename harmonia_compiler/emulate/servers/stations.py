"""Emulated replicas of everything but language models: encoders, the user's Python, and services of somebody else."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.types import ListOf, Passage
from harmonia_compiler.emulate.behaviour import Behaviour
from harmonia_compiler.emulate.servers.clock import RealLoop
from harmonia_compiler.emulate.servers.replica import Called, Condition, called, problem
from harmonia_compiler.emulate.simulate.stations import Station
from harmonia_compiler.kinds.extents import text_tokens
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.runtime.worker.encoder_routes import EmbeddingAsk, RerankAsk
from harmonia_compiler.runtime.worker.server import Refusal, read_body
from harmonia_compiler.workload.draws import Uniform


@dataclass(slots=True, eq=False)
class Visit:
    """One call at a station: what it asks, its draws, and whoever waits for it."""

    work: Work
    uniform: Uniform
    done: "asyncio.Future[None]"


#: How long a server works on visits together, in ms.
Takes = Callable[[Sequence[Visit]], float]


class Counter:
    """A station in real time, which takes as many times as long as its condition is slow."""

    def __init__(self, loop: RealLoop, takes: Takes, condition: Condition, servers: int = 1, batch: int = 1) -> None:
        def slowed(visits: Sequence[Visit]) -> float:
            return takes(visits) * condition.slowness

        self._loop = loop
        self._station: Station[Visit] = Station(loop, slowed, _served, servers=servers, batch=batch)

    @property
    def busy_ms(self) -> float:
        """How long it has worked."""
        return self._station.busy_ms

    async def visit(self, work: Work, uniform: Uniform) -> None:
        """Wait, and be worked on."""
        self._loop.catch_up()
        visit = Visit(work, uniform, asyncio.get_running_loop().create_future())
        self._station.submit(visit)
        try:
            await visit.done
        except asyncio.CancelledError:
            self._station.cancel(visit)
            raise


def _served(visit: Visit) -> None:
    if not visit.done.done():
        visit.done.set_result(None)


class _Call(msgspec.Struct):
    inputs: dict[str, Any]


def _tokens(sequences: Sequence[Sequence[str]], window: float) -> float:
    """Those of sequences of one text or two, each cut at the model's window."""
    return sum(min(sum(map(text_tokens, texts)), window) for texts in sequences)


@dataclass(slots=True)
class Encoder:
    """An embedder or a reranker, as our torch worker answers; of a sequence it reads `window` tokens."""

    model: str
    counter: Counter
    behaviour: Behaviour
    condition: Condition
    dimension: int
    window: float

    async def embed(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/embeddings`."""
        return await _guarded(request, self._embeddings)

    async def rerank(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/rerank`."""
        return await _guarded(request, self._ranking)

    async def _embeddings(self, whose: Called, body: bytes) -> dict[str, Any]:
        ask = read_body(body, EmbeddingAsk)
        texts = ask.texts(self.model, self.dimension)
        self.condition.calls += len(texts) - 1
        tokens = _tokens([(text,) for text in texts], self.window)
        await self.counter.visit(Work(encoded_tokens=tokens, encoded_items=len(texts)), _uniform(self.behaviour, whose))
        # One vector is as good as another: what a search finds is drawn, too.
        vector = [1.0] + [0.0] * (self.dimension - 1)
        return ask.answer(self.model, [vector] * len(texts), round(tokens))

    async def _ranking(self, whose: Called, body: bytes) -> dict[str, Any]:
        ask = read_body(body, RerankAsk)
        documents = ask.texts(self.model)
        uniform = _uniform(self.behaviour, whose)
        tokens = _tokens([(ask.query, document) for document in documents], self.window)
        await self.counter.visit(Work(encoded_tokens=tokens, encoded_items=len(documents)), uniform)
        return ask.answer(self.model, documents, [uniform(str(at)) for at in range(len(documents))], round(tokens))


@dataclass(slots=True)
class Function:
    """The user's Python behind our worker's route, or a service of somebody else's that is posted to."""

    counter: Counter
    behaviour: Behaviour
    components: Mapping[str, Component]
    work: Callable[[Component], Work]

    async def call(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/call`."""
        try:
            ask = read_body(await request.read(), _Call)
        except Refusal as refusal:
            return _refused(refusal)
        return await self._answer(request, ask.inputs)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A service's own URL, given the inputs as they are."""
        try:
            inputs = read_body(await request.read(), dict[str, Any])
        except Refusal as refusal:
            return _refused(refusal)
        return await self._answer(request, inputs)

    async def search(self, request: web.Request) -> web.StreamResponse:
        """A search of the web, as SearXNG answers."""
        return await self._answer(request, {"query": request.query.get("q", "")})

    async def _answer(self, request: web.Request, inputs: Mapping[str, Any]) -> web.StreamResponse:
        whose = called(request.headers)
        component = self.components.get(whose.component)
        if component is None and len(self.components) == 1:
            # Services of somebody else's are not told who calls.
            (component,) = self.components.values()
        if component is None:
            return problem(400, f"no component `{whose.component}` is known here")
        key = whose.request or repr(sorted(inputs.items()))
        uniform = self.behaviour.draws.of(key, component.name, whose.place)
        await self.counter.visit(self.work(component), uniform)
        value = self.behaviour.value(component, inputs, key, whose.place)
        if component.kind == "web_search" and component.result == ListOf(Passage()):
            pages = [{"url": one["source"], "content": one["text"], "score": one["score"]} for one in value]
            return _json({"results": pages})
        return _json({"result": value})


def _uniform(behaviour: Behaviour, whose: Called) -> Uniform:
    return behaviour.draws.of(whose.request, whose.component, whose.place)


async def _guarded(
    request: web.Request, answer: Callable[[Called, bytes], Awaitable[dict[str, Any]]]
) -> web.StreamResponse:
    """The answer to a call, or the error that our worker would give for it."""
    try:
        return _json(await answer(called(request.headers), await request.read()))
    except Refusal as refusal:
        return _refused(refusal)


def _refused(refusal: Refusal) -> web.Response:
    return _json(refusal.document(), refusal.status)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")
