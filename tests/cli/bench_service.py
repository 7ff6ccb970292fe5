"""An OpenAI-compatible service whose every model behaves in a way of its own, for measuring it."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

FIRST_S, REST_S = 0.03, 0.03
WORDS = ("One", " two", " three")
#: Models whose streams end in an error, and its code.
BREAKING = {"halfway": "component_failed", "overdue": "deadline_exceeded"}
#: Models that are pipelines, as a gateway lists them.
PIPELINES: dict[str, dict[str, Any]] = {
    "pipeline": {
        "parameters": [
            {"name": "question", "type": "text", "required": True},
            {"name": "limit", "type": "number", "required": False},
        ],
        "deadline_ms": 40.0,
        "classes": [{"name": "urgent", "deadline_ms": 5000.0, "weight": 1.0}, {"name": "slow", "weight": 1.0}],
    },
    "turns": {
        "parameters": [
            {"name": "history", "type": "[message]", "required": True},
            {"name": "question", "type": "text", "required": True},
        ],
        "deadline_ms": None,
        "classes": [{"name": "urgent", "weight": 1.0}, {"name": "slow", "weight": 1.0}],
    },
}
#: Pipelines that answer in one piece, and not as a gateway does.
NATIVE: dict[str, dict[str, Any]] = {
    "untold": {"passages": []},
    "endless": {"value": "One", "timings": {"stages": [{"component": "answer", "service_ms": 1e308}]}},
    "backwards": {"value": "One", "timings": {"stages": [{"component": "answer", "service_ms": -1.0}]}},
    "counted": {"value": "One", "usage": {"prompt_tokens": -1}},
}
PIPELINES |= {name: {"parameters": [{"name": "question", "type": "text", "required": True}]} for name in NATIVE}
#: Models that answer in one piece, which no answer is made of.
ODD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "counting": {"choices": [{"message": {}}], "usage": {"completion_tokens": 10**400}},
}
MODELS = (
    "fine",
    "full",
    "limited",
    "broken",
    "hanging",
    "halfway",
    "wrong",
    "late",
    "plain",
    "crashing",
    "line",
    "lingering",
    "overdue",
    "large",
    "large event",
    "large error",
    "nothing",
    "nothing streamed",
    "counting",
)
#: What is asked for by a key of its name is answered so in place of a list of models.
ELSEWHERE = {"unread": "http://[", "file": "file:///etc/passwd"}


class Service:
    """The application, and what it was sent."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.ports: set[int] = set()
        self.app = Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/pipelines/{name}", self.native, methods=["POST"]),
            ]
        )
        self.line: asyncio.Lock | None = None

    async def models(self, request: Request) -> Response:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key == "large":
            return _large({"data": [{"id": "fine"}]}, 17 << 20)
        if key in ELSEWHERE:
            return Response(status_code=302, headers={"location": ELSEWHERE[key]})
        if key == "long":
            return JSONResponse({"data": [{"id": letter * 100_000} for letter in "xy"]})
        if key == "wrong":
            return JSONResponse({"error": {"message": "no"}}, 401)
        listed = [{"id": name, "object": "model"} for name in MODELS]
        return JSONResponse({"data": [*listed, *({"id": name, **more} for name, more in PIPELINES.items())]})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append((dict(request.headers), body))
        assert request.client is not None
        self.ports.add(request.client.port)
        if body["model"] in ODD:
            return JSONResponse(ODD[body["model"]])
        match body["model"]:
            case "full":
                return JSONResponse({"error": {"message": "no room", "code": "queue_full"}}, 503)
            case "limited":
                return Response("slow down", 429)
            case "late":
                return JSONResponse({"error": {"message": "late", "code": "deadline_exceeded"}}, 504)
            case "crashing":
                return JSONResponse({"error": {"message": "oh", "type": "internal_error", "code": None}}, 500)
            case "wrong":
                return StreamingResponse(iter([b"data: {oh\n\n"]), media_type="text/event-stream")
            case "plain":
                return _whole()
            case "large":
                return _large({"choices": [{"message": {"content": "One"}}]})
            case "large error":
                return _large({"error": {"message": "oh", "code": "internal_error"}}, status=500)
        return (
            _whole()
            if not body.get("stream")
            else StreamingResponse(self.chunks(body["model"]), media_type="text/event-stream")
        )

    async def chunks(self, model: str) -> AsyncIterator[bytes]:
        if model == "nothing streamed":
            yield b"data: {}\n\ndata: [DONE]\n\n"
            return
        if model == "line":
            self.line = self.line or asyncio.Lock()
            async with self.line:
                await asyncio.sleep(0.05)
        yield _event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
        await asyncio.sleep(60.0 if model == "hanging" else FIRST_S)
        if model == "large event":
            yield _event({"choices": [{"delta": {"content": " " * (1 << 20)}}]})
        for word in WORDS:
            yield _event({"choices": [{"delta": {"content": word}}], "usage": None})
            if model in BREAKING:
                yield _event({"error": {"message": "broke", "code": BREAKING[model]}})
                return
            await asyncio.sleep(REST_S / len(WORDS))
        if model == "broken":
            return
        yield _event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        yield _event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 3}})
        yield b"data: [DONE]\n\n"
        if model == "lingering":
            await asyncio.sleep(0.05)
        if model == "chattering":
            for _ in range(64):
                yield b": " + b"x" * (1 << 20)

    async def native(self, request: Request) -> Response:
        self.seen.append((dict(request.headers), await request.json()))
        if request.path_params["name"] in NATIVE:
            return JSONResponse(NATIVE[request.path_params["name"]])

        async def events() -> AsyncIterator[bytes]:
            yield _event({"type": "text", "text": "One"})
            stages = [
                {"component": "search", "queue_ms": 1.0, "service_ms": 4.0},
                {"component": "grade", "queue_ms": 1.0, "service_ms": 4.0, "usage": {"completion_tokens": 2}},
                {
                    "component": "answer",
                    "queue_ms": 2.0,
                    "service_ms": 30.0,
                    "ttft_ms": 10.0,
                    "usage": {"completion_tokens": 3},
                },
                {"component": "answer", "queue_ms": 2.0, "service_ms": None},
            ]
            timings = {"total_ms": 40.0, "ttft_ms": 10.0, "stages": stages}
            usage = {"prompt_tokens": 50, "completion_tokens": 5}
            await asyncio.sleep(REST_S)
            yield _event({"type": "result", "value": "One", "passages": [], "timings": timings, "usage": usage})
            yield b"data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")


def _whole() -> Response:
    usage = {"prompt_tokens": 11, "completion_tokens": 3}
    return JSONResponse({"choices": [{"message": {"content": "".join(WORDS)}}], "usage": usage})


def _large(document: dict[str, Any], spaces: int = 1 << 20, status: int = 200) -> Response:
    return Response(b" " * spaces + json.dumps(document).encode(), status, media_type="application/json")


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


@contextlib.contextmanager
def running(service: Service) -> Iterator[str]:
    """The URL at which it listens."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        config = uvicorn.Config(service.app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
