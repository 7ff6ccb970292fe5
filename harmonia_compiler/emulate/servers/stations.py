"""Emulated replicas of everything but language models: encoders, the user's Python, and services of somebody else."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from harmonia_compiler.contract.component import Component
from harmonia_compiler.contract.types import ListOf, Passage
from harmonia_compiler.emulate.behaviour import Behaviour
from harmonia_compiler.emulate.servers.clock import RealLoop
from harmonia_compiler.emulate.servers.replica import Called, Condition, called, problem
from harmonia_compiler.emulate.servers.speech import usage
from harmonia_compiler.emulate.simulate.stations import Station
from harmonia_compiler.kinds.extents import CHARACTERS_PER_TOKEN
from harmonia_compiler.kinds.kind import Work
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


class _Embed(msgspec.Struct):
    input: list[str] | str
    model: str | None = None


class _Rank(msgspec.Struct):
    query: str
    documents: list[str]
    top_n: int | None = None


class _Call(msgspec.Struct):
    inputs: dict[str, Any]


def _tokens(texts: Sequence[str]) -> float:
    return sum(map(len, texts)) / CHARACTERS_PER_TOKEN


@dataclass(slots=True)
class Encoder:
    """An embedder or a reranker, as our torch worker answers."""

    counter: Counter
    behaviour: Behaviour
    dimension: int

    async def embed(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/embeddings`."""
        ask = await _read(request, _Embed)
        if isinstance(ask, web.Response):
            return ask
        texts = [ask.input] if isinstance(ask.input, str) else ask.input
        uniform = _uniform(self.behaviour, called(request.headers))
        await self.counter.visit(Work(encoded_tokens=_tokens(texts), encoded_items=len(texts)), uniform)
        # One vector is as good as another: what a search finds is drawn, too.
        vector = [1.0] + [0.0] * (self.dimension - 1)
        data = [{"object": "embedding", "index": at, "embedding": vector} for at in range(len(texts))]
        return _json({"object": "list", "data": data, "usage": usage(round(_tokens(texts)), 0)})

    async def rerank(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/rerank`."""
        ask = await _read(request, _Rank)
        if isinstance(ask, web.Response):
            return ask
        uniform = _uniform(self.behaviour, called(request.headers))
        pairs = [text for document in ask.documents for text in (ask.query, document)]
        await self.counter.visit(Work(encoded_tokens=_tokens(pairs), encoded_items=len(ask.documents)), uniform)
        scores = sorted(((uniform(str(at)), at) for at in range(len(ask.documents))), reverse=True)
        ranked = [{"index": at, "relevance_score": score} for score, at in scores[: ask.top_n]]
        return _json({"results": ranked, "usage": usage(round(_tokens(pairs)), 0)})


@dataclass(slots=True)
class Function:
    """The user's Python behind our worker's route, or a service of somebody else's that is posted to."""

    counter: Counter
    behaviour: Behaviour
    components: Mapping[str, Component]
    work: Callable[[Component], Work]

    async def call(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/call`."""
        ask = await _read(request, _Call)
        if isinstance(ask, web.Response):
            return ask
        return await self._answer(request, ask.inputs)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A service's own URL, given the inputs as they are."""
        inputs = await _read(request, dict[str, Any])
        if isinstance(inputs, web.Response):
            return inputs
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


async def _read(request: web.Request, form: Any) -> Any:
    """The body as a document of this form, or the answer that says that it is none."""
    try:
        return msgspec.json.decode(await request.read(), type=form)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as unreadable:
        return problem(400, f"the body cannot be read: {unreadable}")


def _json(document: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")
