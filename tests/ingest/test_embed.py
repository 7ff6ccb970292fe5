"""The client of the embedder: order, batches, patience, and what it says when there is no answer."""

import pytest

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.ingest.embed import Embedder
from tests.ingest.fakes import EmbedderServer, embed

TEXTS = [f"text {number}" for number in range(100)]


def client(*ports: int) -> Embedder:
    engine = Engine("e", "embedder", {"model": "hashes"})
    return Embedder(
        engine, [Endpoint(f"e/{port}", "e", "127.0.0.1", port) for port in ports], "look there", pause_s=0.01
    )


def test_vectors_come_in_the_order_of_the_texts(embedder: EmbedderServer) -> None:
    with client(embedder.port, embedder.port) as vectors_of:
        assert vectors_of(TEXTS) == embed(TEXTS)
        assert vectors_of([]) == []
    assert embedder.requests == 4


def test_a_busy_replica_is_asked_again(embedder: EmbedderServer) -> None:
    embedder.statuses = [503, 429]
    with client(embedder.port) as vectors_of:
        assert vectors_of(TEXTS[:3]) == embed(TEXTS[:3])


def test_another_replica_stands_in(embedder: EmbedderServer) -> None:
    with client(1, embedder.port) as vectors_of:
        assert vectors_of(TEXTS) == embed(TEXTS)


def test_a_refusal_is_not_repeated(embedder: EmbedderServer) -> None:
    embedder.statuses = [400] * 9
    with client(embedder.port) as vectors_of, pytest.raises(Rejected, match=r"E1009: .*status 400"):
        vectors_of(TEXTS[:3])
    assert embedder.requests == 1


def test_no_replica_answers() -> None:
    with client(1) as vectors_of, pytest.raises(Rejected, match=r"E1009: .*127\.0\.0\.1:1 does not answer") as refused:
        vectors_of(TEXTS[:3])
    assert refused.value.found[0].help == "look there; what was written so far is kept"
