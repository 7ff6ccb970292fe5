"""Searches of a SearXNG: what is asked, how its answers are read, and both over a real connection."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.types import ListOf, Passage
from harmonia_compiler.kinds.kind import Extent, MalformedReply, Work
from harmonia_compiler.kinds.web_search import KIND
from harmonia_compiler.runtime.gateway.http_transport import HttpTransport
from harmonia_compiler.runtime.gateway.transport import Refused

#: An answer as SearXNG gives it, less what it says about each engine.
ANSWER = {
    "query": "a & b",
    "number_of_results": 0,
    "results": [
        {"url": "https://a.example/1", "title": "One", "content": "First excerpt.", "engine": "x", "score": 2.5},
        {"url": "https://b.example/2", "title": "Two", "content": "", "score": None, "publishedDate": None},
        {"url": "https://c.example/3", "title": "", "content": None},
        {"url": "https://d.example/4", "title": " Four ", "content": "Fourth. "},
    ],
    "answers": [],
    "suggestions": ["c"],
}
FOUND = [
    {"text": "One\nFirst excerpt.", "source": "https://a.example/1", "score": 2.5},
    {"text": "Two", "source": "https://b.example/2", "score": 0.5},
    {"text": "Four\nFourth.", "source": "https://d.example/4", "score": 0.25},
]


def component(**settings: Any) -> Component:
    return Component("web", "web_search", "web", (), ListOf(Passage()), settings=settings)


class Searx:
    """A server that answers searches as SearXNG does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, list[str]], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.asked.append((self.command, url.path, query, headers))
                allowed = query.get("format") == ["json"] and headers.get("authorization") == "Bearer k"
                body = json.dumps(ANSWER).encode() if allowed else b"<html>Forbidden</html>"
                self.send_response(200 if allowed else 403)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/search"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def searx() -> Iterator[Searx]:
    server = Searx()
    yield server
    server.close()


async def sent(engine: Engine, query: str) -> bytes:
    transport = HttpTransport()
    try:
        wire = KIND.encode(engine, component(), {"query": query}, stream=False)
        return await transport.send(Endpoint("web", "web", "", 0), wire)
    finally:
        await transport.close()


async def test_a_search_over_a_real_connection(searx: Searx) -> None:
    body = await sent(Engine("web", "web_search", {"url": searx.url, "key": "k"}), "a & b = ü?")
    assert KIND.decode(component(), body).value == FOUND
    ((method, path, query, headers),) = searx.asked
    assert (method, path, query) == ("GET", "/search", {"q": ["a & b = ü?"], "format": ["json"]})
    assert "content-type" not in headers
    assert headers.get("content-length", "0") == "0"


async def test_a_server_that_does_not_allow_it(searx: Searx) -> None:
    with pytest.raises(Refused) as refused:
        await sent(Engine("web", "web_search", {"url": searx.url}), "x")
    assert refused.value.status == 403


async def test_what_the_url_asks_already_stays(searx: Searx) -> None:
    url = f"{searx.url}?language=de&categories=science#top"
    await sent(Engine("web", "web_search", {"url": url, "key": "k"}), "x")
    assert searx.asked[0][2] == {"language": ["de"], "categories": ["science"], "q": ["x"], "format": ["json"]}


def test_no_more_are_kept_than_asked_for() -> None:
    assert KIND.decode(component(top_k=2), json.dumps(ANSWER).encode()).value == FOUND[:2]


def test_nothing_found_is_no_failure() -> None:
    assert KIND.decode(component(), b'{"results": []}').value == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"results": 3}', b'{"results": [{"url": 3}]}'])
def test_a_malformed_answer(body: bytes) -> None:
    with pytest.raises(MalformedReply, match="is not a SearXNG result"):
        KIND.decode(component(), body)


def test_its_time_is_spent_elsewhere() -> None:
    assert KIND.work(component(), {}, Extent(1)) == Work(elsewhere_ms=1000)
    assert KIND.work(component(takes=300), {}, Extent(1)) == Work(elsewhere_ms=300)


def test_its_result() -> None:
    assert KIND.result_extent(component(top_k=3)) == Extent(180, 3)
