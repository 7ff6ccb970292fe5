"""Corrective RAG as a LangGraph graph behind uvicorn, with one pool of engines per model.

    python langgraph_app.py peer.json PORT

As LangGraph's documentation writes corrective RAG: a node a step, the branch as a conditional edge, models as
`ChatOpenAI` with the pool as its server, tokens streamed with `stream_mode="messages"`, FastAPI in front.
"""

import json
import sys
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import aiohttp
import crag
import uvicorn
from engines import Pool, shown, told, whose
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.graph import END, START, StateGraph
from pymilvus import AsyncMilvusClient

PEER = told(sys.argv[1])
KEY = "unused"


class State(TypedDict, total=False):
    """What the steps of one request hand on."""

    question: str
    passages: list[dict[str, Any]]
    grade: str
    keywords: str


def _urls(engine: str) -> list[str]:
    return [one["url"] for one in PEER["engines"][engine]]


POOLS = {name: Pool(_urls(name)) for name in PEER["engines"]}
MODELS = {
    component: [
        ChatOpenAI(
            model=PEER["models"][engine],
            base_url=f"{url}v1",
            api_key=KEY,
            max_completion_tokens=crag.MOST[component],
            max_retries=0,
            timeout=PEER["timeout_s"],
        )
        for url in _urls(engine)
    ]
    for component, engine in crag.ENGINE.items()
}
EMBEDDERS = [
    OpenAIEmbeddings(
        model=PEER["models"]["minilm"],
        base_url=f"{url}v1",
        api_key=KEY,
        check_embedding_ctx_length=False,
        max_retries=0,
    )
    for url in _urls("minilm")
]
OPEN: dict[str, Any] = {}


def _request(config: RunnableConfig) -> str:
    return str(config["configurable"]["request"])


async def _say(component: str, prompt: str, config: RunnableConfig) -> str:
    async with POOLS[crag.ENGINE[component]].one() as at:
        model = MODELS[component][at].bind(extra_headers=whose(_request(config), component))
        return str((await model.ainvoke(prompt, config)).content)


async def search(state: State, config: RunnableConfig) -> State:
    """Embed the question and look in the store."""
    async with POOLS["minilm"].one() as at:
        vector = await EMBEDDERS[at].aembed_query(state["question"], extra_headers=whose(_request(config), "minilm"))
    async with POOLS["search"].one() as at:
        found = await OPEN["stores"][at].search(
            PEER["collection"], [vector], limit=crag.FOUND, output_fields=["text", "source"]
        )
    return {"passages": [hit["entity"] for hit in found[0]]}


async def grade(state: State, config: RunnableConfig) -> State:
    """Ask whether the passages answer the question."""
    prompt = crag.GRADE.format(passages=shown(state["passages"]), question=state["question"])
    return {"grade": await _say("grade", prompt, config)}


async def rewrite(state: State, config: RunnableConfig) -> State:
    """Make the question keywords for a search of the web."""
    return {"keywords": await _say("rewrite", crag.REWRITE.format(question=state["question"]), config)}


async def web(state: State, config: RunnableConfig) -> State:
    """Search the web."""
    async with POOLS["web"].one() as at:
        url = POOLS["web"].urls[at]
        headers = whose(_request(config), "web")
        async with OPEN["session"].get(url, params={"q": state["keywords"]}, headers=headers) as response:
            pages = (await response.json())["results"]
    return {"passages": [{"text": page["content"], "source": page["url"]} for page in pages[: crag.FOUND_IN_WEB]]}


async def answer(state: State, config: RunnableConfig) -> State:
    """Answer the question from the passages."""
    await _say("answer", crag.ANSWER.format(passages=shown(state["passages"]), question=state["question"]), config)
    return {}


def _after_grade(state: State) -> str:
    return "rewrite" if crag.needs_web(state["grade"]) else "answer"


GRAPH = (
    StateGraph(State)
    .add_node(search)
    .add_node("judge", grade)
    .add_node(rewrite)
    .add_node(web)
    .add_node(answer)
    .add_edge(START, "search")
    .add_edge("search", "judge")
    .add_conditional_edges("judge", _after_grade, ["rewrite", "answer"])
    .add_edge("rewrite", "web")
    .add_edge("web", "answer")
    .add_edge("answer", END)
    .compile()
)
APP = FastAPI()


@APP.on_event("startup")
async def start() -> None:
    """Open what the steps share."""
    OPEN["session"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    OPEN["stores"] = [AsyncMilvusClient(url.rstrip("/")) for url in _urls("search")]


@APP.get("/readyz")
async def ready() -> dict[str, str]:
    """It takes requests."""
    return {"status": "ready"}


@APP.post("/v1/pipelines/crag")
async def ask(request: Request) -> StreamingResponse:
    """One question; its answer in pieces."""
    question = (await request.json())["inputs"]["question"]
    config: RunnableConfig = {"configurable": {"request": request.headers["x-request-id"]}}

    async def pieces() -> AsyncIterator[str]:
        async for piece, told_of in GRAPH.astream({"question": question}, config, stream_mode="messages"):
            if told_of["langgraph_node"] == "answer" and piece.content:
                yield f"data: {json.dumps({'type': 'text', 'text': piece.content})}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(pieces(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(APP, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
