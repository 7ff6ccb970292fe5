"""A pipeline on Ray Serve as one deployment: each replica is the whole pipeline, with engines of its own.

    python monolith_app.py peer.json PORT

A replica calls the engine of each model that has its number, which are on one GPU or on a GPU each, the encoder beside
them, and the one store. `peer.json` says under `deployment` how many replicas there are.
"""

import sys
from collections.abc import AsyncIterator
from typing import Any

import ray
from engines import Client, Passage, Peer, Who, prompt, told
from fastapi import Request
from fastapi.responses import StreamingResponse
from ray import serve
from serving import Answering, Leases, routes, run

APP = routes()


class Local:
    """A pipeline's calls as those of its own engines."""

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        engines = {
            name: Client(peer, name, replicas[number % len(replicas)]["url"])
            for name, replicas in peer["engines"].items()
        }
        self.of = {name: engines[one["engine"]] for name, one in peer["components"].items()}

    async def search(self, who: Who, query: str) -> list[Passage]:
        """Embed a query and look in the store."""
        return await self.of["search"].search(await self.of[self.peer["embedder"]].embed(who, query))

    async def say(self, who: Who, component: str, **inputs: Any) -> str:
        """A model's whole answer."""
        return await self.of[component].say(who, component, prompt(self.peer, component, **inputs))

    def stream(self, who: Who, component: str, **inputs: Any) -> AsyncIterator[str]:
        """A model's answer token by token."""
        return self.of[component].stream(who, component, prompt(self.peer, component, **inputs))

    async def web(self, who: Who, keywords: str) -> list[Passage]:
        """Search the web."""
        return await self.of["web"].web(who, keywords)


@serve.deployment
@serve.ingress(APP)
class Pipeline(Answering):
    """The whole pipeline."""

    def __init__(self, peer: Peer, leases: Any) -> None:
        super().__init__(peer, Local(peer, ray.get(leases.take.remote("number"))))

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
        numbers = [*range(peer["deployment"]["num_replicas"])]
        return Pipeline.options(**peer["deployment"]).bind(peer, Leases.remote({"number": numbers}))

    run(peer, sys.argv[1], sys.argv[2], made)


if __name__ == "__main__":
    main()
