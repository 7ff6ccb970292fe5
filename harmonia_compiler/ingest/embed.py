"""Texts to vectors through the replicas of a running embedder."""

import http.client
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.kinds.embedder import encode_texts
from harmonia_compiler.kinds.kind import MalformedReply
from harmonia_compiler.kinds.openai import decode_embeddings

_TEXTS_AT_ONCE = 32
_REQUESTS_PER_REPLICA = 2
_TIMEOUT_S = 120.0
_ATTEMPTS = 5
_RETRIED = {429, 500, 502, 503, 504}


class EmbedderFailed(Exception):
    """Why a request was not answered with vectors, as a phrase."""


class Embedder:
    """Sends batches to all replicas at once; a replica that is restarting is waited for, some seconds long."""

    def __init__(self, engine: Engine, endpoints: Sequence[Endpoint], see: str, *, pause_s: float = 1.0) -> None:
        """`see` is where a user sees more where none of them answers."""
        self._engine = engine
        self._endpoints = endpoints
        self._see, self._pause_s = see, pause_s
        self._pool = ThreadPoolExecutor(_REQUESTS_PER_REPLICA * len(endpoints), thread_name_prefix="embed")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """The vectors in the order of the texts; raises `Rejected` where the embedder does not give them."""
        batches = [texts[at : at + _TEXTS_AT_ONCE] for at in range(0, len(texts), _TEXTS_AT_ONCE)]
        try:
            parts = list(self._pool.map(self._embed, range(len(batches)), batches))
        except EmbedderFailed as failure:
            advice = f"{self._see}; what was written so far is kept"
            message = f"the embedder `{self._engine.settings['model']}` failed: {failure}"
            raise Rejected([Diagnostic("E1009", message, help=advice)]) from failure
        return [vector for part in parts for vector in part]

    def _embed(self, turn: int, texts: Sequence[str]) -> list[list[float]]:
        wire = encode_texts(self._engine, texts)
        failure = ""
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(self._pause_s * attempt)
            endpoint = self._endpoints[(turn + attempt) % len(self._endpoints)]
            try:
                status, body = _send(endpoint, wire)
            except (OSError, http.client.HTTPException) as problem:
                failure = f"{endpoint.host}:{endpoint.port} does not answer ({type(problem).__name__}: {problem})"
                continue
            if status == 200:
                return _decode(body, len(texts))
            failure = f"status {status}: {body[:200].decode(errors='replace')}"
            if status not in _RETRIED:
                break
        raise EmbedderFailed(failure)


def _send(endpoint: Endpoint, wire: Wire) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/json", **dict(wire.headers)}
        connection.request(wire.method, wire.path, wire.body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def _decode(body: bytes, count: int) -> list[list[float]]:
    try:
        return decode_embeddings(body, count)[0]
    except MalformedReply as problem:
        raise EmbedderFailed(str(problem)) from problem
