"""A pipeline as a LangGraph graph behind uvicorn, with one pool of engines per model.

    python langgraph_app.py peer.json PORT

The graphs are in `langgraph_graphs.py`. Models are `ChatOpenAI` with the pool as its server, tokens are streamed with
`stream_mode="messages"`, and FastAPI is in front, as LangGraph's documentation has it.
"""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from engines import Client, Passage, Pool, Who, prompt, told
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph_graphs import GRAPHS

PEER = told(sys.argv[1])
KEY = "unused"


class Pooled:
    """What the nodes of a graph call: each engine's replica with the fewest calls."""

    def __init__(self) -> None:
        replicas = {name: [one["url"] for one in each] for name, each in PEER["engines"].items()}
        self.pools = {name: Pool(urls) for name, urls in replicas.items()}
        self.clients = {name: [Client(PEER, name, url) for url in urls] for name, urls in replicas.items()}
        self.engine = {name: one["engine"] for name, one in PEER["components"].items()}
        self.models = {
            name: [self._model(name, url) for url in replicas[one["engine"]]]
            for name, one in PEER["components"].items()
            if one["most"] is not None
        }
        embedder = self.engine[PEER["embedder"]]
        self.embedders = [self._embedder(embedder, url) for url in replicas[embedder]]

    @staticmethod
    def _model(component: str, url: str) -> ChatOpenAI:
        one = PEER["components"][component]
        return ChatOpenAI(
            model=PEER["models"][one["engine"]],
            base_url=f"{url}v1",
            api_key=KEY,
            max_completion_tokens=one["most"],
            max_retries=0,
            timeout=PEER["timeout_s"],
        )

    @staticmethod
    def _embedder(engine: str, url: str) -> OpenAIEmbeddings:
        return OpenAIEmbeddings(
            model=PEER["models"][engine],
            base_url=f"{url}v1",
            api_key=KEY,
            check_embedding_ctx_length=False,
            max_retries=0,
        )

    async def search(self, who: Who, query: str) -> list[Passage]:
        """Embed a query and look in the store."""
        name = PEER["embedder"]
        async with self.pools[self.engine[name]].one() as at:
            vector = await self.embedders[at].aembed_query(query, extra_headers=who.headers(name))
        async with self.pools[self.engine["search"]].one() as at:
            return await self.clients[self.engine["search"]][at].search(vector)

    async def say(self, config: RunnableConfig, who: Who, component: str, **inputs: Any) -> str:
        """A model's answer, whose tokens go to whoever listens to the graph as well."""
        async with self.pools[self.engine[component]].one() as at:
            model = self.models[component][at].bind(extra_headers=who.headers(component))
            return str((await model.ainvoke(prompt(PEER, component, **inputs), config)).content)

    async def web(self, who: Who, keywords: str) -> list[Passage]:
        """Search the web."""
        async with self.pools["web"].one() as at:
            return await self.clients["web"][at].web(who, keywords)


GRAPH, STREAMED = GRAPHS[PEER["pipeline"]](Pooled())
APP = FastAPI()


@APP.get("/readyz")
async def ready() -> dict[str, str]:
    """It takes requests."""
    return {"status": "ready"}


@APP.post("/v1/pipelines/{_name}")
async def ask(request: Request, _name: str) -> StreamingResponse:
    """One question; its answer in pieces."""
    question = (await request.json())["inputs"]["question"]
    config: RunnableConfig = {"configurable": {"request": request.headers["x-request-id"]}, "recursion_limit": 50}

    async def pieces() -> AsyncIterator[str]:
        if STREAMED:
            async for piece, told_of in GRAPH.astream({"question": question}, config, stream_mode="messages"):
                if told_of["langgraph_node"] in STREAMED and piece.content:
                    yield _event(piece.content)
        else:
            yield _event((await GRAPH.ainvoke({"question": question}, config))["draft"])
        yield "data: [DONE]\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


def _event(text: str) -> str:
    return f"data: {json.dumps({'type': 'text', 'text': text})}\n\n"


if __name__ == "__main__":
    uvicorn.run(APP, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
