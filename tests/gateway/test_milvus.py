"""Searches on a real Milvus server, through the gateway's transport."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.collection import CollectionRecord, Row, StoredChunk, physical_name
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.kinds.milvus import Search, SearchReply
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport
from harmonia_compiler.runtime.gateway.transport import Refused, Unreachable
from harmonia_compiler.runtime.milvus import Milvus, load, read_record
from tests.gateway.fakes import FakeEngine, serving
from tests.gateway.test_endpoints import RAG
from tests.ports import free_port

pytestmark = pytest.mark.engines

RECORD = CollectionRecord("minilm", "r1", 3, "COSINE", "markdown-v1:180:30")


@contextmanager
def server(data: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """milvus-lite on this port; waiting for it is the caller's."""
    words = ["server", "--data-dir", str(data), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "milvus_lite", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def up(transport: MilvusTransport, endpoint: Endpoint) -> None:
    async with asyncio.timeout(30):
        while await transport.answers(endpoint) is not None:
            await asyncio.sleep(0.1)


def fill(uri: str) -> None:
    """Three passages whose vectors are the axes, served as `docs`."""
    milvus = Milvus(uri)
    physical = physical_name("docs", RECORD)
    milvus.create(physical, RECORD)
    rows = [
        Row(StoredChunk(f"c{at}", f"doc{at}.md", "d", at, 3), f"passage {at}", [float(at == axis) for axis in range(3)])
        for at in range(3)
    ]
    milvus.upsert(physical, rows)
    milvus.flush(physical)
    milvus.load(physical, "HNSW")
    milvus.point("docs", physical)
    milvus.close()


def search(**changed: Any) -> Wire:
    asked = Search("docs", [[0.0, 1.0, 0.1]], 2, "COSINE", parameters={"ef": 64})
    return Wire("/search", msgspec.json.encode(msgspec.structs.replace(asked, **changed)))


@pytest.fixture
async def transport() -> AsyncIterator[MilvusTransport]:
    made = MilvusTransport()
    yield made
    await made.close()


async def test_finds_refuses_and_comes_back(tmp_path: Path, transport: MilvusTransport) -> None:
    port = free_port()
    endpoint, uri = Endpoint("store-1", "store", "127.0.0.1", port), f"http://127.0.0.1:{port}"
    assert await transport.answers(endpoint) == "it cannot be reached"
    with server(tmp_path, port):
        await up(transport, endpoint)
        await asyncio.to_thread(fill, uri)
        (hits,) = msgspec.json.decode(await transport.send(endpoint, search()), type=SearchReply).hits
        assert [(hit.text, hit.source) for hit in hits] == [("passage 1", "doc1.md"), ("passage 2", "doc2.md")]
        assert hits[0].score == pytest.approx(0.995, abs=0.001)
        only = await transport.send(endpoint, search(filter='source == "doc0.md"'))
        assert [hit.source for hit in msgspec.json.decode(only, type=SearchReply).hits[0]] == ["doc0.md"]
        two = await transport.send(endpoint, search(vectors=[[1.0, 0.0, 0.1], [0.0, 0.1, 1.0]], limit=1))
        found = msgspec.json.decode(two, type=SearchReply).hits
        assert [[hit.source for hit in hits] for hits in found] == [["doc0.md"], ["doc2.md"]]
        with pytest.raises(Refused, match="no collection `nothing`") as absent:
            await transport.send(endpoint, search(collection="nothing"))
        assert absent.value.status == 404
        with pytest.raises(Refused):
            await transport.send(endpoint, search(vectors=[[1.0]]))
        many = await asyncio.gather(*(transport.send(endpoint, search()) for _ in range(50)))
        assert len(set(many)) == 1
    with pytest.raises(Unreachable):
        await transport.send(endpoint, search())
    with server(tmp_path, port):
        await up(transport, endpoint)
        with pytest.raises(Refused, match="not loaded yet") as unloaded:
            await transport.send(endpoint, search())
        assert unloaded.value.status == 503
        await asyncio.to_thread(load, uri, "docs")
        assert await transport.send(endpoint, search()) == many[0]


#: A server that takes a client's pings for an attack, as one does when it is idle for some minutes.
OFFENDED = """
import socket
import threading
%s
import grpc

def serve(listening):
    client, _ = listening.accept()
    client.recv(4096)
    client.sendall(bytes.fromhex("000000040000000000"))  # settings
    client.recv(4096)
    said = bytes.fromhex("000000000000000b") + b"too_many_pings"
    client.sendall(len(said).to_bytes(3) + bytes.fromhex("070000000000") + said)  # go away: enhance your calm
    client.recv(4096)

with socket.create_server(("127.0.0.1", 0)) as listening:
    threading.Thread(target=serve, args=(listening,), daemon=True).start()
    with grpc.insecure_channel(f"127.0.0.1:{listening.getsockname()[1]}") as channel:
        try:
            channel.unary_unary("/a/b")(b"", timeout=1)
        except grpc.RpcError:
            print("failed")
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["runtime.milvus", "runtime.gateway.milvus_transport"])
def test_what_befalls_a_connection_is_not_written_to_the_terminal(module: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    script = OFFENDED % f"import harmonia_compiler.{module}"
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("failed\n", "")


async def test_clients_do_not_ping(tmp_path: Path, transport: MilvusTransport) -> None:
    port = free_port()
    endpoint = Endpoint("store-1", "store", "127.0.0.1", port)
    with server(tmp_path, port):
        await up(transport, endpoint)
        milvus = Milvus(f"http://127.0.0.1:{port}")
        handlers = [milvus._client._handler, (await transport._client(endpoint))._handler]
        milvus.close()
    # Nothing but waiting for minutes shows it from outside.
    assert [handler._grpc_options["grpc.keepalive_time_ms"] for handler in handlers] == [600_000, 600_000]


async def test_a_replica_that_moved_keeps_no_channel_to_where_it_was(
    tmp_path: Path, transport: MilvusTransport
) -> None:
    ports = (free_port(), free_port())
    places = [Endpoint("store-1", "store", "127.0.0.1", port) for port in ports]
    with server(tmp_path / "a", ports[0]), server(tmp_path / "b", ports[1]):
        for place in (*places, *places):
            await up(transport, place)
        assert [place for place, _ in transport._clients.values()] == [places[1]]


async def test_a_pipeline_searches_it_and_readiness_reads_its_record(
    tmp_path: Path, transport: MilvusTransport, engine: FakeEngine
) -> None:
    port = free_port()
    with server(tmp_path, port):
        await up(transport, Endpoint("store-1", "store", "127.0.0.1", port))
        replicas = {"llm": engine.port, "embedder": engine.port, "store": port}
        async with serving([RAG], replicas, milvus=MilvusTransport(), read_record=read_record) as served:
            status, body, _ = await served.client.post("/v1/pipelines/rag", {"inputs": {"question": "x"}})
            assert (status, body["error"]["component"]) == (502, "search")
            assert "`harmoniac ingest` makes it" in body["error"]["message"]
            assert (await served.client.get("/readyz"))[1]["missing"][0]["collection"] == "docs"
            await asyncio.to_thread(fill, f"http://127.0.0.1:{port}")
            status, body, _ = await served.client.post("/v1/pipelines/rag", {"inputs": {"question": "x"}})
            assert body["passages"][0]["source"] == "doc0.md"
            async with asyncio.timeout(5):
                while (await served.client.get("/readyz"))[0] != 200:
                    await asyncio.sleep(0.2)
