"""A store in memory, a store that dies, an embedder that hashes, and a server that speaks for it."""

import hashlib
import json
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harmonia_compiler.contract.collection import CollectionRecord, Row, StoredChunk, is_physical_of
from harmonia_compiler.ingest.store import Store

DIMENSION = 8
RECORD = CollectionRecord("hashes", "1", DIMENSION, "COSINE", "markdown-v1:60:10")


def embed(texts: Sequence[str]) -> list[list[float]]:
    """A unit vector for each text that equal texts share."""
    return [_vector(text) for text in texts]


def _vector(text: str) -> list[float]:
    digest = hashlib.sha256(text.encode()).digest()[:DIMENSION]
    raw = [byte - 127.5 for byte in digest]
    length = math.sqrt(sum(number * number for number in raw))
    return [number / length for number in raw]


@dataclass
class Held:
    """A physical collection in memory."""

    record: CollectionRecord | None
    rows: dict[str, Row] = field(default_factory=dict)
    loaded: bool = False


@dataclass
class MemoryStore:
    """The same promises as Milvus, kept by dictionaries."""

    held: dict[str, Held] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def serving(self, collection: str) -> str | None:
        return self.aliases.get(collection, collection if collection in self.held else None)

    def physicals(self, collection: str) -> list[str]:
        return sorted(name for name in self.held if is_physical_of(name, collection))

    def record(self, physical: str) -> CollectionRecord | None:
        return self.held[physical].record

    def create(self, physical: str, record: CollectionRecord) -> None:
        assert physical not in self.held
        self.held[physical] = Held(record)

    def load(self, physical: str, index: str | None = None) -> None:
        self.held[physical].loaded = True

    def chunks(self, physical: str) -> Iterator[StoredChunk]:
        assert self.held[physical].loaded
        yield from [row.chunk for row in self.held[physical].rows.values()]

    def rows(self, physical: str) -> Iterator[Row]:
        assert self.held[physical].loaded
        yield from [row for _, row in sorted(self.held[physical].rows.items())]

    def upsert(self, physical: str, rows: Sequence[Row]) -> None:
        self.held[physical].rows.update({row.chunk.id: row for row in rows})

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        for key in ids:
            self.held[physical].rows.pop(key, None)

    def flush(self, physical: str) -> None:
        assert physical in self.held

    def point(self, collection: str, physical: str) -> None:
        assert physical in self.held
        self.aliases[collection] = physical

    def drop(self, physical: str) -> None:
        assert physical not in self.aliases.values()
        del self.held[physical]


class Died(BaseException):
    """What stands for kill -9: nothing in the code under test can catch it."""


@dataclass
class DyingStore:
    """Passes everything on, until its process dies before the change numbered `dies_at`."""

    store: Store
    dies_at: int
    changes: int = 0

    def _change(self) -> None:
        if self.changes == self.dies_at:
            raise Died
        self.changes += 1

    def serving(self, collection: str) -> str | None:
        return self.store.serving(collection)

    def physicals(self, collection: str) -> list[str]:
        return self.store.physicals(collection)

    def record(self, physical: str) -> CollectionRecord | None:
        return self.store.record(physical)

    def create(self, physical: str, record: CollectionRecord) -> None:
        self._change()
        self.store.create(physical, record)

    def load(self, physical: str, index: str | None = None) -> None:
        self._change()
        self.store.load(physical, index)

    def chunks(self, physical: str) -> Iterator[StoredChunk]:
        return self.store.chunks(physical)

    def rows(self, physical: str) -> Iterator[Row]:
        return self.store.rows(physical)

    def upsert(self, physical: str, rows: Sequence[Row]) -> None:
        for row in rows:
            self._change()
            self.store.upsert(physical, [row])

    def delete(self, physical: str, ids: Sequence[str]) -> None:
        for key in ids:
            self._change()
            self.store.delete(physical, [key])

    def flush(self, physical: str) -> None:
        self._change()
        self.store.flush(physical)

    def point(self, collection: str, physical: str) -> None:
        self._change()
        self.store.point(collection, physical)

    def drop(self, physical: str) -> None:
        self._change()
        self.store.drop(physical)


class EmbedderServer:
    """`/v1/embeddings` over HTTP; `statuses` are given out first, one a request; after `hold_after` no answer comes."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.requests = 0
        self.hold_after: int | None = None
        self._closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests += 1
                if outer.hold_after is not None and outer.requests > outer.hold_after:
                    outer._closing.wait(60)
                    self.close_connection = True
                    return
                status = outer.statuses.pop(0) if outer.statuses else 200
                vectors = embed(asked["input"])
                answer: dict[str, Any] = {"data": [{"embedding": vector} for vector in vectors]}
                body = json.dumps(answer if status == 200 else {"error": {"message": "no"}}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Tests are quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Answer what comes from now on; what is held ends without an answer."""
        self.hold_after = None
        self._closing.set()

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
