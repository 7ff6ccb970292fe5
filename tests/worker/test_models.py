"""The workers with models, as processes: small models with random weights, through the kinds' own bytes."""

import base64
import json
import shutil
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from harmonia_compiler.contract.component import Component, Engine, Insert, Port
from harmonia_compiler.contract.launch import Piece, Reply, Wire
from harmonia_compiler.contract.types import Bool, Field, Labels, ListOf, Number, Passage, Record, Text, Type, Vector
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.kinds.registry import kinds
from tests.worker.conftest import worker

# Torch takes long to load, four times; `make test` has the embedder and the reranker in the service of real engines.
pytestmark = [pytest.mark.engines, pytest.mark.slow]

QUESTION = Port("question", Text())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("tiny_models.py")
    subprocess.run([sys.executable, str(script), str(folder)], check=True, timeout=240)
    return folder


def serving(role: str, weights: Path, *more: str) -> Iterator[str]:
    with worker(role, "--model", "tiny", "--weights", str(weights), "--cores", "2", *more) as (url, _):
        yield url


@pytest.fixture(scope="module")
def embedder(models: Path) -> Iterator[str]:
    yield from serving("embedder", models / "embedder")


@pytest.fixture(scope="module")
def reranker(models: Path) -> Iterator[str]:
    yield from serving("rerank", models / "embedder")


@pytest.fixture(scope="module")
def llm(models: Path) -> Iterator[str]:
    yield from serving("llm", models / "llm", "--max-model-len", "200")


def send(url: str, wire: Wire) -> bytes:
    request = urllib.request.Request(url + wire.path, wire.body, dict(wire.headers), method=wire.method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        body: bytes = answer.read()
        return body


def refused(url: str, path: str, document: object) -> tuple[int, str]:
    request = urllib.request.Request(url + path, json.dumps(document).encode())
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    with caught.value as problem:
        return problem.code, json.load(problem)["error"]["message"]


def asked(url: str, kind: Kind, component: Component, inputs: dict[str, Any]) -> Reply:
    engine = Engine("e", kind.name, {"model": "tiny"})
    return kind.decode(component, send(url, kind.encode(engine, component, inputs, stream=False)), inputs)


def vector_of(url: str, text: str) -> list[float]:
    component = Component("c", "embedder", "e", (Port("text", Text()),), Vector())
    value = asked(url, kinds()["embedder"], component, {"text": text}).value
    assert isinstance(value, list)
    return value


def answer(url: str, result: Type, **settings: Any) -> Reply:
    component = Component("c", "llm", "e", (QUESTION,), result, prompt=(Insert("question"),), settings=settings)
    return asked(url, kinds()["llm"], component, {"question": "who wrote hamlet"})


@pytest.mark.parametrize("role", ["embedder", "llm"])
def test_a_worker_answers_by_what_it_loaded_whatever_becomes_of_the_file(
    models: Path, tmp_path: Path, role: str
) -> None:
    """The file is overwritten in place, and then cut: neither reaches a worker that is ready."""
    folder = shutil.copytree(models / role, tmp_path / role)
    weights = folder / "model.safetensors"

    def told(url: str) -> object:
        return vector_of(url, "the quick brown fox") if role == "embedder" else answer(url, Text(), max_tokens=20).value

    for url in serving(role, folder):
        before = told(url)
        with weights.open("r+b") as file:
            header = 8 + int.from_bytes(file.read(8), "little")
            file.seek(header)
            file.write(bytes(weights.stat().st_size - header))
            file.flush()
            assert told(url) == before
            file.truncate(header)
        assert told(url) == before


def test_vectors(embedder: str) -> None:
    one, other = vector_of(embedder, "the quick brown fox"), vector_of(embedder, "yes no true")
    assert len(one) == len(other) == 32
    assert sum(part * part for part in one) == pytest.approx(1, abs=1e-5)
    assert one == pytest.approx(vector_of(embedder, "the quick brown fox"), abs=1e-6)
    assert one != pytest.approx(other, abs=1e-3)


def test_a_vector_does_not_depend_on_what_else_is_in_the_batch(embedder: str) -> None:
    texts = ["fox", "the quick brown fox jumps over the lazy dog " * 4, "yes"]
    alone = [vector_of(embedder, text) for text in texts]
    with ThreadPoolExecutor(8) as at_once:
        for text, vector in zip(texts * 8, at_once.map(lambda text: vector_of(embedder, text), texts * 8), strict=True):
            assert vector == pytest.approx(alone[texts.index(text)], abs=1e-5)


def test_the_shorter_encoding_is_the_same_vector(embedder: str) -> None:
    body = json.dumps({"input": "fox", "encoding_format": "base64"}).encode()
    [item] = json.loads(send(embedder, Wire("/v1/embeddings", body)))["data"]
    assert struct.unpack("<32f", base64.b64decode(item["embedding"])) == pytest.approx(vector_of(embedder, "fox"))


def test_what_an_embedder_refuses(embedder: str) -> None:
    path = "/v1/embeddings"
    assert refused(embedder, path, {"input": "a", "model": "other"}) == (
        404,
        "the model `other` is not served here; `tiny` is",
    )
    assert refused(embedder, path, {"input": []})[0] == 400
    assert refused(embedder, path, {"input": [1]})[0] == 400
    assert refused(embedder, path, {"input": ["a"] * 5000})[0] == 400
    for dimensions in (-3, 0, 31, 128):
        assert refused(embedder, path, {"input": "a", "dimensions": dimensions}) == (
            400,
            f"`dimensions` cannot be {dimensions}: the vectors of `tiny` have 32",
        )
    assert refused(embedder, path, {"input": "a", "dimensions": "many"})[0] == 400


def test_an_embedder_gives_the_dimensions_that_it_has(embedder: str) -> None:
    body = json.dumps({"input": "fox", "dimensions": 32}).encode()
    [item] = json.loads(send(embedder, Wire("/v1/embeddings", body)))["data"]
    assert item["embedding"] == pytest.approx(vector_of(embedder, "fox"))


def ranks(url: str) -> None:
    kind = kinds()["reranker"]
    assert kind.signature is not None
    component = Component("c", "reranker", "e", kind.signature.ports, ListOf(Passage()), settings={"top_k": 2})
    texts = ["yes no true false", "it is late. where are vectors stored and why? one two three four", "the lazy dog"]
    passages = [{"text": text, "source": f"{at}", "score": 0.0} for at, text in enumerate(texts)]
    reply = asked(url, kind, component, {"query": "where are vectors stored", "passages": passages})
    assert isinstance(reply.value, list)
    scores = [passage["score"] for passage in reply.value]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert asked(url, kind, component, {"query": "x", "passages": []}).value == []
    assert refused(url, "/v1/rerank", {"query": "x", "documents": [3]})[0] == 400
    for most in (-1, 0):
        ask = {"query": "x", "documents": ["a"], "top_n": most}
        assert refused(url, "/v1/rerank", ask) == (400, f"`top_n` must be 1 or more, not {most}")


def test_an_embedder_ranks(reranker: str) -> None:
    ranks(reranker)


def test_a_scorer_of_pairs_ranks(models: Path) -> None:
    for url in serving("rerank", models / "scorer"):
        ranks(url)


def test_a_passage_is_ranked_by_the_whole_and_by_its_best_sentence(reranker: str, embedder: str) -> None:
    query = "where are vectors stored"
    fox = "the quick brown fox jumps over it."
    documents = [fox, f"{fox} {query}?", "yes no true false"]

    def likeness(text: str) -> float:
        pairs = zip(vector_of(embedder, query), vector_of(embedder, text), strict=True)
        return sum(one * other for one, other in pairs)

    parts = [[fox], [fox, f"{query}?"], [documents[2]]]
    expected = [(likeness(whole) + max(map(likeness, cut))) / 2 for whole, cut in zip(documents, parts, strict=True)]
    body = json.dumps({"query": query, "documents": documents, "return_documents": True}).encode()
    results = json.loads(send(reranker, Wire("/v1/rerank", body)))["results"]
    for result in results:
        assert result["relevance_score"] == pytest.approx(expected[result["index"]], abs=1e-4)
        assert result["document"] == {"text": documents[result["index"]]}
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)


def test_free_text(llm: str) -> None:
    reply = answer(llm, Text(), max_tokens=12)
    assert isinstance(reply.value, str)
    assert reply.usage.prompt_tokens > 5
    assert 0 < reply.usage.completion_tokens <= 12
    assert answer(llm, Text(), max_tokens=12) == reply


def test_an_answer_has_exactly_so_many_tokens_where_its_end_is_ignored(llm: str) -> None:
    for seed in range(5):
        reply = answer(llm, Text(), max_tokens=100, temperature=2.0, seed=seed, ignore_eos=True)
        assert (reply.usage.completion_tokens, reply.finish) == (100, "length")


def test_sampling_follows_its_seed(llm: str) -> None:
    settings = {"max_tokens": 12, "temperature": 1.5, "top_p": 0.95}
    assert answer(llm, Text(), seed=1, **settings) == answer(llm, Text(), seed=1, **settings)
    assert len({str(answer(llm, Text(), seed=seed, **settings).value) for seed in range(5)}) > 1


@pytest.mark.parametrize(
    "result",
    [
        Labels(("yes", "no")),
        Labels(("none", "no", "not one")),
        Bool(),
        Number(),
        Record((Field("sure", Bool()), Field("grade", Labels(("full", "part"))))),
    ],
)
def test_typed_results_hold_whatever_the_model_thinks(llm: str, result: Type) -> None:
    """A model of random weights knows nothing, so that only the constraint can make the value fit."""
    if isinstance(result, Number | Record) and find_spec("xgrammar") is None:
        pytest.skip("xgrammar is not installed")
    answer(llm, result, max_tokens=60, temperature=1.0, seed=4)


def test_a_streamed_answer_is_the_whole_in_pieces(llm: str) -> None:
    kind = kinds()["llm"]
    assert kind.decode_piece is not None
    settings = {"max_tokens": 24}
    component = Component("c", "llm", "e", (QUESTION,), Text(), prompt=(Insert("question"),), settings=settings)
    wire = kind.encode(Engine("e", "llm", {"model": "tiny"}), component, {"question": "who wrote hamlet"}, stream=True)
    events = send(llm, wire).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    pieces = [piece for event in events if (piece := kind.decode_piece(event)) is not None]
    whole = answer(llm, Text(), max_tokens=24)
    assert "".join(piece.text for piece in pieces) == whole.value
    assert [piece.finish for piece in pieces if piece.finish] == [whole.finish]
    assert pieces[-1] == Piece("", whole.usage)


def test_a_stop_text_is_left_out(llm: str) -> None:
    whole = str(answer(llm, Text(), max_tokens=40).value)
    stop = whole[len(whole) // 2 : len(whole) // 2 + 3]
    assert answer(llm, Text(), max_tokens=40, stop=stop).value == whole[: whole.index(stop)]


def test_what_a_language_model_refuses(llm: str) -> None:
    path, messages = "/v1/chat/completions", [{"role": "user", "content": "one " * 300}]
    status, message = refused(llm, path, {"messages": messages})
    assert status == 400
    assert "with an answer it may have 200" in message
    assert refused(llm, path, {"messages": [], "model": "other"})[0] == 404
    assert refused(llm, path, {"messages": "hello"})[0] == 400
    turns = [{"role": "user", "content": "x"}]
    assert refused(llm, path, {"messages": turns, "seed": 2**70}) == (400, "`seed` must be a whole number of 64 bits")
    assert refused(llm, path, {"messages": turns, "top_p": 0})[0] == 400
    ask = {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "xml"}}
    assert refused(llm, path, ask) == (400, "the response format `xml` is not supported")


def said(url: str, document: object) -> str:
    [choice] = json.loads(send(url, Wire("/v1/chat/completions", json.dumps(document).encode())))["choices"]
    text: str = choice["message"]["content"]
    return text


def test_the_coldest_sampling_and_the_least_share_take_the_likeliest_token(llm: str) -> None:
    ask = {"messages": [{"role": "user", "content": "who wrote hamlet"}], "max_tokens": 12}
    likeliest = said(llm, {**ask, "temperature": 0})
    assert said(llm, {**ask, "temperature": 2, "top_p": 1e-300}) == likeliest
    assert said(llm, {**ask, "temperature": 1e-300, "seed": 1}) == said(llm, {**ask, "temperature": 0.01, "seed": 1})


def test_a_turn_in_parts_is_read_as_one(llm: str) -> None:
    parts = [{"type": "text", "text": "who wrote"}, {"type": "text", "text": "hamlet"}]
    asks = [{"messages": [{"role": "user", "content": content}]} for content in (parts, "who wrote\nhamlet")]
    one, other = (said(llm, {**ask, "max_tokens": 12, "temperature": 0}) for ask in asks)
    assert one == other


def test_a_client_that_leaves_ends_its_generation(llm: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "max_tokens": 150, "stream": True}).encode()
    for _ in range(5):
        with urllib.request.urlopen(urllib.request.Request(f"{llm}/v1/chat/completions", body), timeout=60) as answer_:
            answer_.read(10)
    assert answer(llm, Text(), max_tokens=2).usage.completion_tokens <= 2
