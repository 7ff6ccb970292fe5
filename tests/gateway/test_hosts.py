"""By which names a gateway is spoken to."""

import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.launch import ALLOWED_HOSTS
from harmonia_compiler.runtime.gateway.hosts import host_of, is_ours
from tests.gateway.processes import SAY, started, write_bundle


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000", "127.0.0.1", "127.0.0.1:80", "[::1]:8000", "[::1]", "::1", "10.1.2.3:80", "gateway:8000",
        "node17", "a.localhost", "LOCALHOST", "localhost.", "", "rag.example.org:443", "RAG.example.org.",
    ],
)  # fmt: skip
def test_addresses_local_names_and_those_that_are_listed_may_come_in(host: str) -> None:
    assert is_ours(host_of(host), {"rag.example.org"})


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "xlocalhost.x",
        "127.0.0.1@evil.example", "rag.example.org.evil.example", "999.1.1.1", "127.0.0.1:80:evil.example",
    ],
)  # fmt: skip
def test_public_names_of_others_may_not(host: str) -> None:
    assert not is_ours(host_of(host), {"rag.example.org"})


def status(url: str, host: str, path: str = "/healthz") -> tuple[int, bytes]:
    request = urllib.request.Request(url + path, headers={"host": host})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, problem.read()


def test_a_gateway_refuses_the_names_of_others_on_every_route(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    write_bundle(bundle, [SAY], {"llm": Engine("llm", "llm", {"model": "tiny"})}, 1)
    with started(bundle, **{ALLOWED_HOSTS: "rag.example.org, other.example"}) as running:
        for path in ("/healthz", "/v1/models", "/metrics", "/readings"):
            code, body = status(running.url, "evil.example", path)
            assert (code, json.loads(body)["error"]["code"]) == (421, "host_not_allowed")
            assert b"`evil.example`" in body
        for host in ("localhost", f"127.0.0.1:{running.port}", "rag.example.org", "other.example:1"):
            assert status(running.url, host)[0] == 200
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")
            client.close()
