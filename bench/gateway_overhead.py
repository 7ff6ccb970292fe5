"""What the gateway adds: the time of a call through it against the same call straight to the engine.

    python bench/gateway_overhead.py [--seconds S]

The engine is a bare ASGI server in a process of its own that answers at once; the gateway runs in
another, as a target starts it. One client measures latency, sixteen measure the rate. `chain` is a
pipeline of three calls one after the other; `first text` is the time to the first streamed word.
The machine is shared with the client, so the figures are upper bounds.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
import uvicorn

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaShare, Service
from harmonia_compiler.contract.component import Component, Engine, Insert, Port
from harmonia_compiler.contract.program import Call, Operation, Parameter, Program, ProgramParameter
from harmonia_compiler.contract.sse import END, event
from harmonia_compiler.contract.types import Text

CLIENTS = 16
QUESTION = "What is the capital of France? " * 8
PLAIN = msgspec.json.encode(
    {
        "choices": [{"message": {"role": "assistant", "content": "Paris, of course."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 5},
    }
)
EVENTS = b"".join(
    event(document)
    for document in (
        {"choices": [{"delta": {"content": "Paris"}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    )
)


async def engine(_scope: Any, receive: Any, send: Any) -> None:
    """Answers every chat at once, in the way that it was asked."""
    body = b""
    while (message := await receive()).get("more_body"):
        body += message["body"]
    streams = b'"stream":true' in body + message.get("body", b"")
    kind = b"text/event-stream" if streams else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": EVENTS + END if streams else PLAIN})


def run_engine(port: int) -> None:
    """The engine's process."""
    uvicorn.run(engine, host="127.0.0.1", port=port, log_level="error", lifespan="off", http="httptools", loop="uvloop")


def pipelines() -> dict[str, Program]:
    """One call, and three in a row."""
    say = Component("say", "llm", "llm", (Port("question", Text()),), Text(), prompt=(Insert("question"),))

    def of(name: str, calls: int) -> Program:
        row: list[Operation] = [Call("say", ("question",), (at,)) for at in range(calls)]
        operations = (Parameter("question"), *row)
        parameters = (ProgramParameter("question", Text()),)
        return Program(name, parameters, Text(), operations, calls, {"say": say}, streams=True)

    return {"one": of("one", 1), "chain": of("chain", 3)}


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running() -> Iterator[tuple[str, str, psutil.Process]]:
    """The engine's and the gateway's URL, and the gateway's process."""
    with tempfile.TemporaryDirectory() as folder:
        ports = free_port(), free_port()
        service, endpoints = Path(folder) / "service.json", Path(folder) / "endpoints.json"
        engines = {"llm": Engine("llm", "llm", {"model": "fake"})}
        service.write_bytes(msgspec.json.encode(Service(pipelines(), engines, {}, {"llm-1": ReplicaShare(64)})))
        endpoints.write_bytes(msgspec.json.encode(Endpoints((Endpoint("llm-1", "llm", "127.0.0.1", ports[0]),), 1)))
        words = ["--service", str(service), "--endpoints", str(endpoints), "--port", str(ports[1])]
        upstream = multiprocessing.get_context("spawn").Process(target=run_engine, args=(ports[0],), daemon=True)
        upstream.start()
        gateway = subprocess.Popen(
            [sys.executable, "-m", "harmonia_compiler.runtime.gateway", *words], stderr=subprocess.DEVNULL
        )
        try:
            for port in ports:
                await_port(port)
            yield f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", psutil.Process(gateway.pid)
        finally:
            gateway.terminate()
            gateway.wait()
            upstream.terminate()
            upstream.join()


def await_port(port: int) -> None:
    """Until somebody listens there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    sys.exit(f"nobody listens on port {port}")


async def latency_ms(session: aiohttp.ClientSession, url: str, body: dict[str, Any], seconds: float) -> list[float]:
    """The time of each call, one after the other; of a stream, to the first event that holds text."""
    times: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        async with session.post(f"{url}/v1/chat/completions", json=body) as response:
            if body["stream"]:
                while b"Paris" not in await response.content.readline():
                    pass
                times.append(time.perf_counter() - began)
            await response.read()
        if not body["stream"]:
            times.append(time.perf_counter() - began)
    return [time * 1000 for time in times]


async def rate(session: aiohttp.ClientSession, url: str, body: dict[str, Any], seconds: float) -> float:
    """Calls per second of many clients."""
    counts = await asyncio.gather(*(latency_ms(session, url, body, seconds) for _ in range(CLIENTS)))
    return sum(len(count) for count in counts) / seconds


async def measure(engine_url: str, gateway_url: str, gateway: psutil.Process, seconds: float) -> dict[str, float]:
    """All figures, by name."""
    figures: dict[str, float] = {}
    message = [{"role": "user", "content": QUESTION}]
    async with aiohttp.ClientSession() as session:
        for name, url, model, stream in (
            ("engine", engine_url, "fake", False),
            ("gateway", gateway_url, "one", False),
            ("chain", gateway_url, "chain", False),
            ("engine first text", engine_url, "fake", True),
            ("gateway first text", gateway_url, "one", True),
        ):
            body = {"model": model, "messages": message, "stream": stream}
            await latency_ms(session, url, body, 0.3)
            times = sorted(await latency_ms(session, url, body, seconds))
            figures[f"{name} p50 ms"] = round(statistics.median(times), 3)
            figures[f"{name} p95 ms"] = round(times[int(0.95 * len(times))], 3)
            if not stream:
                before = sum(gateway.cpu_times()[:2])
                per_second = await rate(session, url, body, seconds)
                figures[f"{name} calls/s"] = round(per_second, 0)
                if url == gateway_url:
                    spent = sum(gateway.cpu_times()[:2]) - before
                    figures[f"{name} cpu µs/call"] = round(spent / (per_second * seconds) * 1e6, 0)
    figures["added p50 ms"] = round(figures["gateway p50 ms"] - figures["engine p50 ms"], 3)
    figures["added to first text p50 ms"] = round(
        figures["gateway first text p50 ms"] - figures["engine first text p50 ms"], 3
    )
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each figure is measured")
    seconds = parser.parse_args().seconds
    with running() as (engine_url, gateway_url, gateway):
        print(json.dumps(asyncio.run(measure(engine_url, gateway_url, gateway, seconds)), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
