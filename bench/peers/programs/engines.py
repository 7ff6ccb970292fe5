"""What the measured systems have in common: where emulated engines listen, how one is called, and how one is chosen.

A system is told by `peer.json` which replicas it may use of each engine, and by each component its prompt. A call says
for which request, for which component and in which round it is made, so that an emulated engine answers it as
it answers the same call of any other peer and, where the component stands once in the pipeline, of Harmonia. Where it
stands several times, Harmonia's calls say at which, and what they are answered is drawn anew from the same outcomes.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from pymilvus import AsyncMilvusClient

REQUEST_HEADER, CALL_HEADER = "x-request-id", "x-harmonia-call"
Passage = dict[str, Any]
Peer = dict[str, Any]


@dataclass(frozen=True)
class Who:
    """For which request a call is made, and where it stands in loops and lists: `2/5` is item 5 of round 2."""

    request: str
    place: str = ""

    def headers(self, component: str) -> dict[str, str]:
        """The headers that say so."""
        return {REQUEST_HEADER: self.request, CALL_HEADER: f"{component};{self.place}"}


@dataclass
class Pool:
    """The replicas of one engine behind a load balancer that picks the one with the fewest calls (`least_conn`)."""

    urls: list[str]
    running: list[int] = field(init=False)
    turn: int = 0

    def __post_init__(self) -> None:
        self.running = [0] * len(self.urls)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[int]:
        """The number of a replica, which counts as busy until the end of the context."""
        count = len(self.urls)
        self.turn += 1
        at = min(range(count), key=lambda number: (self.running[number], (number - self.turn) % count))
        self.running[at] += 1
        try:
            yield at
        finally:
            self.running[at] -= 1


class Client:
    """One replica of an engine, called over HTTP; the store by Milvus's own client."""

    def __init__(self, peer: Peer, engine: str, url: str) -> None:
        self.peer, self.url, self.model = peer, url, peer["models"].get(engine)
        self._session: aiohttp.ClientSession | None = None
        self._store: AsyncMilvusClient | None = None

    def _client(self) -> aiohttp.ClientSession:
        """Connections to the engine, opened on the loop that uses them."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self.peer["timeout_s"])
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout)
        return self._session

    async def embed(self, who: Who, text: str) -> list[float]:
        """The vector of one text."""
        body = {"model": self.model, "input": [text]}
        headers = who.headers(self.peer["embedder"])
        async with self._client().post(f"{self.url}v1/embeddings", json=body, headers=headers) as got:
            got.raise_for_status()
            return list((await got.json())["data"][0]["embedding"])

    async def search(self, vector: list[float]) -> list[Passage]:
        """The passages nearest to a vector."""
        if self._store is None:
            self._store = AsyncMilvusClient(self.url.rstrip("/"))
        fields = ["text", "source"]
        found = await self._store.search(
            self.peer["collection"], [vector], limit=self.peer["found"], output_fields=fields
        )
        return [dict(hit["entity"]) for hit in found[0]]

    async def say(self, who: Who, component: str, prompt: str) -> str:
        """A whole answer of a model."""
        headers, body = who.headers(component), self._body(component, prompt)
        async with self._client().post(f"{self.url}v1/chat/completions", json=body, headers=headers) as got:
            got.raise_for_status()
            return str((await got.json())["choices"][0]["message"]["content"])

    async def stream(self, who: Who, component: str, prompt: str) -> AsyncIterator[str]:
        """An answer token by token."""
        headers, body = who.headers(component), self._body(component, prompt) | {"stream": True}
        async with self._client().post(f"{self.url}v1/chat/completions", json=body, headers=headers) as got:
            got.raise_for_status()
            async for line in got.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        if text := choice["delta"].get("content"):
                            yield text

    async def web(self, who: Who, keywords: str) -> list[Passage]:
        """Pages of the web as passages."""
        async with self._client().get(self.url, params={"q": keywords}, headers=who.headers("web")) as got:
            got.raise_for_status()
            return pages(self.peer, await got.json())

    def _body(self, component: str, prompt: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": prompt}]
        return {"model": self.model, "messages": turns, "max_tokens": self.peer["components"][component]["most"]}


def told(path: str) -> Peer:
    """`peer.json`: by each engine its replicas' ids and addresses, by each component its prompt, and settings."""
    return dict(json.loads(Path(path).read_text()))


def pages(peer: Peer, said: dict[str, Any]) -> list[Passage]:
    """What a search of the web said, as passages."""
    return [{"text": page["content"], "source": page["url"]} for page in said["results"][: peer["found_in_web"]]]


def prompt(peer: Peer, component: str, **inputs: Any) -> str:
    """The prompt of a component with its inputs in their places, passages numbered."""
    shown = {name: value if isinstance(value, str) else _shown(value) for name, value in inputs.items()}
    return str(peer["components"][component]["prompt"].format(**shown))


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['text']} ({value['source']})"
    return "\n".join(f"[{at}] {_shown(one)}" for at, one in enumerate(value, 1))
