"""Workers for tests: an application on a free port, and real processes."""

import asyncio
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette

from harmonia_compiler.runtime.heads import BoundedHeads
from tests.ports import free_port

Running = Callable[[Starlette], AbstractAsyncContextManager[str]]


@pytest.fixture
def running() -> Running:
    """Runs an application; gives where it listens."""

    @asynccontextmanager
    async def run(app: Starlette) -> AsyncIterator[str]:
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, http=BoundedHeads, ws="none", log_level="warning"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
            listening.close()

    return run


@contextmanager
def worker(*arguments: str, ready_within_s: float = 120) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A worker process that is ready; ended at the end."""
    port = free_port()
    command = [sys.executable, "-m", "harmonia_compiler.runtime.worker", *arguments, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + ready_within_s
        while not _is_ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                pytest.fail(f"the worker did not start: {process.communicate()[1][-2000:]}")
            time.sleep(0.05)
        yield url, process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
