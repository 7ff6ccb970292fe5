"""A pipeline on Ray Serve, one deployment per component, composed by handles.

    python ray_app.py peer.json PORT

As Ray's documentation composes models: an ingress deployment with FastAPI calls the others through their handles, and
tokens come back through a streaming handle. A replica of a model's deployment that asks Ray for a GPU stands for the
engine on that very device; any other takes the next that is free. `peer.json` says under `deployments` how many
replicas there are (`num_replicas`), or between which bounds the autoscaler moves (`autoscaling_config`).
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

import ray
from engines import Client, Passage, Peer, Who, prompt, told
from fastapi import Request
from fastapi.responses import StreamingResponse
from ray import serve
from ray.serve.handle import DeploymentHandle
from serving import Answering, Leases, routes, run

APP = routes()


@serve.deployment
class Engine(Client):
    """A replica of a deployment that stands for one emulated engine."""

    def __init__(self, peer: Peer, engine: str, leases: Any) -> None:
        devices = ray.get_gpu_ids()
        if devices:
            url = next(one["url"] for one in peer["engines"][engine] if one["device"] == int(devices[0]))
        else:
            url = ray.get(leases.take.remote(engine))["url"]
        super().__init__(peer, engine, url)


class Handles:
    """A pipeline's calls as those of deployments."""

    def __init__(self, peer: Peer, handles: dict[str, DeploymentHandle]) -> None:
        self.peer = peer
        self.of = {name: handles[one["engine"]] for name, one in peer["components"].items()}

    async def search(self, who: Who, query: str) -> list[Passage]:
        """Embed a query and look in the store."""
        vector = await self.of[self.peer["embedder"]].embed.remote(who, query)
        return list(await self.of["search"].search.remote(vector))

    async def say(self, who: Who, component: str, **inputs: Any) -> str:
        """A model's whole answer."""
        return str(await self.of[component].say.remote(who, component, prompt(self.peer, component, **inputs)))

    async def stream(self, who: Who, component: str, **inputs: Any) -> AsyncIterator[str]:
        """A model's answer token by token."""
        handle = self.of[component].options(stream=True)
        async for text in handle.stream.remote(who, component, prompt(self.peer, component, **inputs)):
            yield text

    async def web(self, who: Who, keywords: str) -> list[Passage]:
        """Search the web."""
        return list(await self.of["web"].web.remote(who, keywords))


@serve.deployment
@serve.ingress(APP)
class Pipeline(Answering):
    """The ingress."""

    def __init__(self, peer: Peer, handles: dict[str, DeploymentHandle]) -> None:
        super().__init__(peer, Handles(peer, handles))

    @APP.get("/readyz")
    async def ready(self) -> dict[str, str]:
        """It takes requests."""
        return {"status": "ready"}

    @APP.post("/v1/pipelines/{_name}")
    async def ask(self, request: Request, _name: str) -> StreamingResponse:
        """One question."""
        return await self.answered(request)


def main() -> None:
    """Serve until it is ended."""
    peer = told(sys.argv[1])

    def made() -> Any:
        leases, options = Leases.remote(peer["engines"]), peer["deployments"]
        handles = {
            name: Engine.options(name=name, **options[name]).bind(peer, name, leases) for name in peer["engines"]
        }
        return Pipeline.options(**options["pipeline"]).bind(peer, handles)

    run(peer, sys.argv[1], sys.argv[2], made)


if __name__ == "__main__":
    main()
