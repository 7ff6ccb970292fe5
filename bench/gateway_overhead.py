"""What the gateway costs: three calls one after the other through it, beside the least that such a thing can cost.

    python bench/gateway_overhead.py [--seconds S]

The engine is a bare ASGI server that answers at once; bodies have ten kilobytes, each way. Beside the gateway, which
runs as a target starts it, stand a bare chain (the same server, which asks the engine three times with aiohttp) and a
bare relay (which passes on a stream as it comes). Each is a process of its own. CPU is what the system counts for a
process (getrusage), per request. One client measures latency, sixteen the cost; at last requests come at a fixed rate.
The machine is shared with client and engine, so times are upper bounds.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
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
CALLS = 3
RATE = 1000
TEXT = "word " * 2000
#: A stream has so many words, so far apart: each comes, and leaves, alone.
WORDS, APART_S = 100, 0.002

_JSON = [(b"content-type", b"application/json")]
_EVENTS = [(b"content-type", b"text/event-stream")]
PATH = "/v1/chat/completions"
PLAIN = msgspec.json.encode(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "fake",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2000, "completion_tokens": 2000},
    }
)
WORD = event({"id": "chatcmpl-1", "model": "fake", "choices": [{"index": 0, "delta": {"content": "word "}}]})
LAST = event({"id": "chatcmpl-1", "model": "fake", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})

Asgi = Callable[[Any, Any, Any], Awaitable[None]]


async def read(receive: Any) -> bytes:
    """A request's body."""
    body = b""
    while (message := await receive()).get("more_body"):
        body += message["body"]
    return body + bytes(message.get("body", b""))


async def answer(send: Any, body: bytes) -> None:
    """A whole answer."""
    await send({"type": "http.response.start", "status": 200, "headers": [*_JSON, _length(body)]})
    await send({"type": "http.response.body", "body": body})


def _length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % len(body)


async def engine(_scope: Any, receive: Any, send: Any) -> None:
    """Answers every chat at once, or streams its words."""
    if b'"stream":true' not in await read(receive):
        await answer(send, PLAIN)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
    for _ in range(WORDS):
        await send({"type": "http.response.body", "body": WORD, "more_body": True})
        await asyncio.sleep(APART_S)
    await send({"type": "http.response.body", "body": LAST + END})


class Bare:
    """Asks the engine `CALLS` times, one after the other, or passes its stream on, and nothing else."""

    def __init__(self, engine_port: int) -> None:
        self._url = f"http://127.0.0.1:{engine_port}{PATH}"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        body = await read(receive)
        if b'"stream":true' in body:
            await send({"type": "http.response.start", "status": 200, "headers": _EVENTS})
            async with self._session.post(self._url, data=body) as response:
                async for chunk in response.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        for _ in range(CALLS):
            async with self._session.post(self._url, data=body) as response:
                said = await response.read()
        await answer(send, said)


def serve(port: int, engine_port: int | None) -> None:
    """The process of a bare server."""
    app: Asgi = engine if engine_port is None else Bare(engine_port)
    settings: dict[str, Any] = {"log_level": "error", "lifespan": "off", "http": "httptools", "loop": "uvloop"}
    uvicorn.run(app, host="127.0.0.1", port=port, **settings)


def pipelines() -> dict[str, Program]:
    """One call, and three in a row."""
    say = Component("say", "llm", "llm", (Port("question", Text()),), Text(), prompt=(Insert("question"),))

    def of(name: str, calls: int) -> Program:
        row: list[Operation] = [Call("say", ("question",), (at,)) for at in range(calls)]
        operations = (Parameter("question"), *row)
        parameters = (ProgramParameter("question", Text()),)
        return Program(name, parameters, Text(), operations, calls, {"say": say}, streams=True)

    return {"one": of("one", 1), "chain": of("chain", CALLS)}


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True, slots=True)
class Server:
    """A process and where it listens."""

    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """What it has taken of the processors."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextlib.contextmanager
def running() -> Iterator[tuple[Server, Server, Server]]:
    """The engine, the bare chain and the gateway."""
    with tempfile.TemporaryDirectory() as folder:
        ports = free_port(), free_port(), free_port()
        service, endpoints = Path(folder) / "service.json", Path(folder) / "endpoints.json"
        engines = {"llm": Engine("llm", "llm", {"model": "fake"})}
        service.write_bytes(msgspec.json.encode(Service(pipelines(), engines, {}, {"llm-1": ReplicaShare(256)})))
        endpoints.write_bytes(msgspec.json.encode(Endpoints((Endpoint("llm-1", "llm", "127.0.0.1", ports[0]),), 1)))
        spawn = multiprocessing.get_context("spawn").Process
        bare = [spawn(target=serve, args=(ports[at], (None, ports[0])[at]), daemon=True) for at in range(2)]
        for process in bare:
            process.start()
        words = ["--service", str(service), "--endpoints", str(endpoints), "--port", str(ports[2])]
        command = [sys.executable, "-m", "harmonia_compiler.runtime.gateway", *words]
        gateway = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            for port in ports:
                await_port(port)
            pids = bare[0].pid, bare[1].pid, gateway.pid
            one, other, third = (Server(port, psutil.Process(pid)) for port, pid in zip(ports, pids, strict=True))
            yield one, other, third
        finally:
            gateway.terminate()
            gateway.wait()
            for process in bare:
                process.terminate()
                process.join()


def await_port(port: int) -> None:
    """Until somebody listens there."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    sys.exit(f"nobody listens on port {port}")


class Client:
    """Asks servers, and keeps how long each answer took, in milliseconds."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, server: Server, model: str, *, stream: bool = False) -> float:
        """One request."""
        content = "word" if stream else TEXT
        body = {"model": model, "messages": [{"role": "user", "content": content}], "stream": stream}
        began = time.perf_counter()
        url = f"http://127.0.0.1:{server.port}{PATH}"
        async with self._session.post(url, data=msgspec.json.encode(body)) as response:
            said = await response.read()
            if response.status != 200:
                sys.exit(said.decode())
        return (time.perf_counter() - began) * 1000

    async def again(self, server: Server, model: str, seconds: float, *, stream: bool = False) -> list[float]:
        """One request after the other."""
        times = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            times.append(await self.ask(server, model, stream=stream))
        return times

    async def many(self, server: Server, model: str, seconds: float, *, stream: bool = False) -> tuple[float, float]:
        """Requests of many clients: how many a second, and the server's CPU for each in µs."""
        spent, began = server.cpu_s(), time.perf_counter()
        runs = (self.again(server, model, seconds, stream=stream) for _ in range(CLIENTS))
        count = sum(len(times) for times in await asyncio.gather(*runs))
        return count / (time.perf_counter() - began), (server.cpu_s() - spent) / count * 1e6

    async def at_rate(self, server: Server, model: str, rate: int, seconds: float) -> tuple[float, list[float], float]:
        """Requests at a fixed rate: how many were answered a second, their times, the part of a core that was used."""
        spent, began = server.cpu_s(), time.perf_counter()
        asked = []
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            asked.append(asyncio.create_task(self.ask(server, model)))
        times = await asyncio.gather(*asked)
        took = time.perf_counter() - began
        return len(times) / took, times, (server.cpu_s() - spent) / took


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """A client that may have any number of connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Client(session)


async def measure(servers: tuple[Server, Server, Server], seconds: float) -> None:
    """All figures, printed as they come."""
    echo, bare, gateway = servers
    print(f"{'bodies of ten kilobytes':26}{'p50 ms':>8}{'p95 ms':>8}{'a second':>10}{'CPU µs':>8}")
    p50s, cpu_us = [], 0.0
    for name, server, model in (
        ("bare engine", echo, "fake"),
        (f"bare chain, {CALLS} calls", bare, "fake"),
        ("gateway, 1 call", gateway, "one"),
        (f"gateway, {CALLS} calls", gateway, "chain"),
    ):
        async with client() as asking:
            await asking.again(server, model, 0.3)
            times = sorted(await asking.again(server, model, seconds))
            per_second, cpu_us = await asking.many(server, model, seconds)
        p50s.append(statistics.median(times))
        print(
            f"{name:26}{p50s[-1]:8.3f}{times[int(0.95 * len(times))]:8.3f}{per_second:10.0f}{cpu_us:8.0f}", flush=True
        )
    hops = CALLS * p50s[0]
    print(
        f"p50 beyond {CALLS} calls of the engine: gateway {p50s[3] - hops:.3f} ms, bare chain {p50s[1] - hops:.3f} ms"
    )
    print(f"the gateway's CPU for {CALLS} calls lets one core serve {1e6 / cpu_us:.0f} a second")
    async with client() as asking:
        answered, times, cores = await asking.at_rate(gateway, "chain", RATE, seconds)
    p50 = statistics.median(times)
    print(f"at {RATE} a second: {answered:.0f} answered a second, p50 {p50:.1f} ms, {cores:.2f} of a core")
    for name, server, model in (("bare relay", bare, "fake"), ("gateway", gateway, "one")):
        async with client() as asking:
            _, cpu_us = await asking.many(server, model, seconds, stream=True)
        print(
            f"{name}, streams of {WORDS} words that come one by one: {cpu_us / WORDS:.1f} µs of CPU a word", flush=True
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each figure is measured")
    seconds = parser.parse_args().seconds
    with running() as servers:
        asyncio.run(measure(servers, seconds))


if __name__ == "__main__":
    main()
