"""Corrective RAG on Ray Serve: one deployment per component, each with Serve's autoscaler, composed by handles.

    python ray_app.py peer.json PORT

As Ray's documentation composes models: an ingress deployment with FastAPI calls the others through their handles, and
tokens come back through a streaming handle. A replica of a model's deployment asks Ray for a GPU and stands for the
engine on that very device; one on cores takes the next that is free. `peer.json` says under `deployments` how many
replicas there are (`num_replicas`), or between which bounds the autoscaler moves (`autoscaling_config`).
"""

import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import crag
import ray
from engines import shown, told, whose
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from pymilvus import AsyncMilvusClient
from ray import serve
from ray.serve.config import HTTPOptions
from ray.serve.handle import DeploymentHandle

APP = FastAPI()


@ray.remote(num_cpus=0)
class Leases:
    """Which emulated engines on cores are taken: two replicas never stand for the same one."""

    def __init__(self, engines: dict[str, list[dict[str, Any]]]) -> None:
        self.free = {name: list(replicas) for name, replicas in engines.items()}

    def take(self, engine: str) -> dict[str, Any]:
        """One that is free; it is given back with the replica's process."""
        return self.free[engine].pop(0)


class Standing:
    """A replica of a deployment that stands for one emulated engine."""

    def __init__(self, peer: dict[str, Any], engine: str, leases: Any) -> None:
        self.peer = peer
        replicas = peer["engines"][engine]
        devices = ray.get_gpu_ids()
        if devices:
            self.url = next(one["url"] for one in replicas if one["device"] == int(devices[0]))
        else:
            self.url = ray.get(leases.take.remote(engine))["url"]
        self.model = peer["models"].get(engine)
        self.session: aiohttp.ClientSession | None = None

    def client(self) -> aiohttp.ClientSession:
        """Connections to the engine, opened on the loop that uses them."""
        if self.session is None:
            timeout = aiohttp.ClientTimeout(total=self.peer["timeout_s"])
            self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
        return self.session


@serve.deployment
class Embedder(Standing):
    """Texts to vectors."""

    async def embed(self, request: str, text: str) -> list[float]:
        """The vector of one text."""
        body = {"model": self.model, "input": [text]}
        async with self.client().post(f"{self.url}v1/embeddings", json=body, headers=whose(request, "minilm")) as got:
            got.raise_for_status()
            return list((await got.json())["data"][0]["embedding"])


@serve.deployment
class Store(Standing):
    """The vector store."""

    store: AsyncMilvusClient | None = None

    async def search(self, vector: list[float]) -> list[dict[str, Any]]:
        """The passages nearest to a vector."""
        if self.store is None:
            self.store = AsyncMilvusClient(self.url.rstrip("/"))
        found = await self.store.search(
            self.peer["collection"], [vector], limit=crag.FOUND, output_fields=["text", "source"]
        )
        return [dict(hit["entity"]) for hit in found[0]]


@serve.deployment
class Model(Standing):
    """A language model."""

    async def say(self, request: str, component: str, prompt: str) -> str:
        """A whole answer."""
        async with self.client().post(
            f"{self.url}v1/chat/completions", json=self._body(component, prompt), headers=whose(request, component)
        ) as got:
            got.raise_for_status()
            return str((await got.json())["choices"][0]["message"]["content"])

    async def stream(self, request: str, component: str, prompt: str) -> AsyncIterator[str]:
        """An answer token by token."""
        body = self._body(component, prompt) | {"stream": True}
        headers = whose(request, component)
        async with self.client().post(f"{self.url}v1/chat/completions", json=body, headers=headers) as got:
            got.raise_for_status()
            async for line in got.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            yield text

    def _body(self, component: str, prompt: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": prompt}]
        return {"model": self.model, "messages": turns, "max_tokens": crag.MOST[component]}


@serve.deployment
class Web(Standing):
    """The search of the web."""

    async def search(self, request: str, keywords: str) -> list[dict[str, Any]]:
        """Pages as passages."""
        async with self.client().get(self.url, params={"q": keywords}, headers=whose(request, "web")) as got:
            pages = (await got.json())["results"]
        return [{"text": page["content"], "source": page["url"]} for page in pages[: crag.FOUND_IN_WEB]]


@serve.deployment
@serve.ingress(APP)
class Pipeline:
    """The ingress: one question, its answer in pieces."""

    def __init__(
        self,
        embedder: DeploymentHandle,
        store: DeploymentHandle,
        grade: DeploymentHandle,
        rewrite: DeploymentHandle,
        answer: DeploymentHandle,
        web: DeploymentHandle,
    ) -> None:
        self.embedder, self.store, self.grade, self.rewrite, self.web = embedder, store, grade, rewrite, web
        self.answer = answer.options(stream=True)

    @APP.get("/readyz")
    async def ready(self) -> dict[str, str]:
        """It takes requests."""
        return {"status": "ready"}

    @APP.post("/v1/pipelines/crag")
    async def ask(self, request: Request) -> StreamingResponse:
        """Corrective RAG."""
        question = (await request.json())["inputs"]["question"]
        return StreamingResponse(
            self._answer(request.headers["x-request-id"], question), media_type="text/event-stream"
        )

    async def _answer(self, who: str, question: str) -> AsyncIterator[str]:
        vector = await self.embedder.embed.remote(who, question)
        passages = await self.store.search.remote(vector)
        grade = crag.GRADE.format(passages=shown(passages), question=question)
        if crag.needs_web(await self.grade.say.remote(who, "grade", grade)):
            rewrite = crag.REWRITE.format(question=question)
            passages = await self.web.search.remote(who, await self.rewrite.say.remote(who, "rewrite", rewrite))
        prompt = crag.ANSWER.format(passages=shown(passages), question=question)
        async for text in self.answer.stream.remote(who, "answer", prompt):
            yield f"data: {json.dumps({'type': 'text', 'text': text})}\n\n"
        yield "data: [DONE]\n\n"


def main() -> None:
    """Serve until it is ended."""
    peer = told(sys.argv[1])
    ray.init(
        num_cpus=peer["cores"],
        num_gpus=peer["gpus"],
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=200_000_000,
        _temp_dir=str(Path(sys.argv[1]).parent / "ray"),
    )
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=int(sys.argv[2])))
    leases = Leases.remote(peer["engines"])
    made = {"minilm": Embedder, "search": Store, "grade": Model, "rewrite": Model, "answer": Model, "web": Web}
    parts = [
        kind.options(name=name, **peer["deployments"][name]).bind(peer, name, leases) for name, kind in made.items()
    ]
    serve.run(Pipeline.options(**peer["deployments"]["pipeline"]).bind(*parts), route_prefix="/")
    while True:
        time.sleep(3600.0)


if __name__ == "__main__":
    main()
