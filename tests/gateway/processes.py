"""The gateway as the process that a target starts, with a model and a translator behind it."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaShare, Service
from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.program import Call, Parameter, ProgramParameter
from harmonia_compiler.contract.types import Number
from tests.gateway.fakes import TEXT, program
from tests.ports import free_port

SAY = program("say", (Parameter("question"), Call("say", ("question",), (0,))))
OTHER = program(
    "other",
    (Parameter("question"), Parameter("limit"), Call("say", ("question",), (0,))),
    parameters=(ProgramParameter("question", TEXT), ProgramParameter("limit", Number(), 3)),
)
TRANSLATE = Component("translate", "http", "mt", (Port("text", TEXT),), TEXT)
OUTSIDE = program(
    "outside", (Parameter("question"), Call("translate", ("text",), (0,))), components={"translate": TRANSLATE}
)


class Handler(BaseHTTPRequestHandler):
    """A model that says three words slowly, and a translator that shouts; both in one."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str | None]] = []  # noqa: RUF012 - shared by all requests on purpose

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.seen.append((self.path, self.headers.get("authorization")))
        if self.path == "/translate":
            self._send(json.dumps(body["text"].upper()).encode())
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for word in ("One", " two", " \x1b[31mthree"):
            time.sleep(0.1)
            self.wfile.write(b"data: " + json.dumps({"choices": [{"delta": {"content": word}}]}).encode() + b"\n\n")
        self.wfile.write(b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
        self.close_connection = True

    def do_GET(self) -> None:
        self._send(b"ok")

    def _send(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def model_server() -> Iterator[int]:
    """Gives the port of the model and the translator."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@dataclass
class Running:
    bundle: Path
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def write_bundle(
    bundle: Path, programs: list[Any], engines: dict[str, Engine], port: int, concurrency: int = 4
) -> None:
    (bundle / "run").mkdir(parents=True)
    service = Service({one.pipeline: one for one in programs}, engines, {}, {"llm-1": ReplicaShare(concurrency)})
    (bundle / "service.json").write_bytes(msgspec.json.encode(service))
    endpoints = Endpoints((Endpoint("llm-1", "llm", "127.0.0.1", port),), 1)
    (bundle / "run" / "endpoints.json").write_bytes(msgspec.json.encode(endpoints))


def command(bundle: Path, port: int) -> list[str]:
    files = ["--service", str(bundle / "service.json"), "--endpoints", str(bundle / "run" / "endpoints.json")]
    return [sys.executable, "-m", "harmonia_compiler.runtime.gateway", *files, "--port", str(port)]


@contextlib.contextmanager
def started(bundle: Path, *words: str, **environment: str) -> Iterator[Running]:
    port = free_port()
    process = subprocess.Popen(
        [*command(bundle, port), *words], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        until = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                assert time.monotonic() < until
                time.sleep(0.05)
        (bundle / "run" / "gateway.json").write_text(json.dumps({"host": "127.0.0.1", "port": port}))
        yield Running(bundle, port, process)
    finally:
        process.terminate()
        process.communicate(timeout=15)
