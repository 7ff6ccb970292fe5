"""Ray Serve with components that do nothing: what passing a request through it costs.

    python noop_app.py peer.json PORT

An ingress with OpenAI's chat route calls one deployment, or three one after the other, by the name of the model.
`peer.json` says under `hops` how many each does.
"""

import sys
from typing import Any

from engines import Peer, told
from fastapi import Request
from ray import serve
from ray.serve.handle import DeploymentHandle
from serving import routes, run

APP = routes()
UNBOUNDED = 100_000


@serve.deployment(max_ongoing_requests=UNBOUNDED, ray_actor_options={"num_cpus": 0})
class NoOp:
    """Gives back what it is given."""

    async def say(self, text: str) -> str:
        """The same text."""
        return text


@serve.deployment(max_ongoing_requests=UNBOUNDED, ray_actor_options={"num_cpus": 0})
@serve.ingress(APP)
class Pipeline:
    """The ingress."""

    def __init__(self, peer: Peer, parts: list[DeploymentHandle]) -> None:
        self.hops, self.parts = peer["hops"], parts

    @APP.get("/readyz")
    async def ready(self) -> dict[str, str]:
        """It takes requests."""
        return {"status": "ready"}

    @APP.post("/v1/chat/completions")
    async def ask(self, request: Request) -> dict[str, Any]:
        """One request through as many hops as its model has."""
        body = await request.json()
        text = body["messages"][-1]["content"]
        for part in self.parts[: self.hops[body["model"]]]:
            text = await part.say.remote(text)
        message = {"role": "assistant", "content": text}
        return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def main() -> None:
    """Serve until it is ended."""
    peer = told(sys.argv[1])

    def made() -> Any:
        parts = [NoOp.options(name=f"part{at}").bind() for at in range(max(peer["hops"].values()))]
        return Pipeline.bind(peer, parts)

    run(peer, sys.argv[1], sys.argv[2], made)


if __name__ == "__main__":
    main()
