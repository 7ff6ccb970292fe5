"""One milvus-lite for the session, empty for each test, and an embedder over HTTP."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harmonia_compiler.ingest.store import Store
from harmonia_compiler.runtime.milvus import Milvus, StoreFailed
from tests.ingest.fakes import EmbedderServer, MemoryStore
from tests.ports import free_port


class MilvusServer:
    """A milvus-lite process that can be killed and started again over the same data."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        words = ["--data-dir", str(self.data), "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.data / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "milvus_lite", "server", *words], stdout=log, stderr=log
            )
        until = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, (self.data / "log").read_text()
            assert time.monotonic() < until, "milvus-lite did not start"
            time.sleep(0.1)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            with closing(Milvus(self.uri)) as milvus:
                milvus.serving("nothing")
        except (OSError, StoreFailed):
            return False
        return True


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["memory", pytest.param("milvus", marks=pytest.mark.engines)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each test runs on a store in memory and on a real one."""
    if request.param == "memory":
        yield MemoryStore()
        return
    server: MilvusServer = request.getfixturevalue("milvus_server")
    with closing(Milvus(server.uri)) as milvus:
        _empty(milvus)
        yield milvus


def _empty(milvus: Milvus) -> None:
    """The server is shared: what an earlier test left would be a collection that was built otherwise."""
    for collection in ("handbook", "other"):
        for physical in milvus.physicals(collection):
            milvus.drop(physical)


@pytest.fixture
def embedder() -> Iterator[EmbedderServer]:
    server = EmbedderServer()
    yield server
    server.close()
