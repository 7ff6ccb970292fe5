"""What both ways to run on Ray Serve have in common: how Ray is started, and the ingress, which answers in pieces."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ray
from engines import Peer
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from flows import FLOWS, Calls
from ray import serve
from ray.serve.config import HTTPOptions


def routes() -> FastAPI:
    """The application of an ingress; Serve finds the methods of the deployment's class that it wraps."""
    return FastAPI()


@ray.remote(num_cpus=0)
class Leases:
    """What is given to one replica at a time, by name: each stands for an engine or a device that no other has."""

    def __init__(self, free: dict[str, list[Any]]) -> None:
        self.free = {name: list(each) for name, each in free.items()}

    def take(self, name: str) -> Any:
        """One that is free; it is given back with the replica's process."""
        return self.free[name].pop(0)


class Answering:
    """A deployment's replica that answers questions: its calls are its subclass's."""

    def __init__(self, peer: Peer, calls: Calls) -> None:
        self.flow, self.calls = FLOWS[peer["pipeline"]], calls

    async def answered(self, request: Request) -> StreamingResponse:
        """One question, its answer in pieces."""
        question = (await request.json())["inputs"]["question"]
        return StreamingResponse(
            self._pieces(request.headers["x-request-id"], question), media_type="text/event-stream"
        )

    async def _pieces(self, request: str, question: str) -> AsyncIterator[str]:
        async for text in self.flow(self.calls, request, question):
            yield f"data: {json.dumps({'type': 'text', 'text': text})}\n\n"
        yield "data: [DONE]\n\n"


def run(peer: Peer, path: str, port: str, make: Any) -> None:
    """Start Ray on this machine with the inventory's cores and GPUs, serve what is made, until it is ended."""
    ray.init(
        num_cpus=peer["cores"],
        num_gpus=peer["gpus"],
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=200_000_000,
        _temp_dir=str(Path(path).parent / "ray"),
    )
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=int(port)))
    serve.run(make(), route_prefix="/")
    while True:
        time.sleep(3600.0)
