"""What the kinds beside the language model send, and how their answers are read."""

import json
from typing import Any

import pytest

from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.launch import Usage, Wire
from harmonia_compiler.contract.types import Field, ListOf, Number, Passage, Record, Text, Type, Value, Vector, show
from harmonia_compiler.kinds.filters import slip_in
from harmonia_compiler.kinds.kind import Extent, MalformedReply, Work
from harmonia_compiler.kinds.milvus import FILTERED_FIELDS
from harmonia_compiler.kinds.registry import kinds

PASSAGES = [{"text": f"passage {at}", "source": f"{at}.md", "score": 0.5} for at in range(3)]


def component(kind: str, result: Type | None = None, **settings: Any) -> Component:
    signature = kinds()[kind].signature
    ports = signature.ports if signature else (Port("text", Text()), Port("to", Text()))
    return Component("c", kind, "e", ports, result or (signature.result if signature else Text()), settings=settings)


def encoded(kind: str, settings: dict[str, Any], of: Component, inputs: dict[str, Value]) -> tuple[Wire, Any]:
    wire = kinds()[kind].encode(Engine("e", kind, settings), of, inputs, stream=False)
    return wire, json.loads(wire.body)


def decoded(kind: str, of: Component, document: object, inputs: dict[str, Value] | None = None) -> Value:
    return kinds()[kind].decode(of, json.dumps(document).encode(), inputs or {}).value


class TestEmbedder:
    def test_a_call(self) -> None:
        wire, document = encoded("embedder", {"model": "m"}, component("embedder"), {"text": "hello"})
        assert wire.path == "/v1/embeddings"
        assert document == {"model": "m", "input": ["hello"], "encoding_format": "float"}

    def test_an_answer(self) -> None:
        document = {"data": [{"index": 0, "embedding": [0.5, -1]}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
        reply = kinds()["embedder"].decode(component("embedder"), json.dumps(document).encode())
        assert (reply.value, reply.usage) == ([0.5, -1.0], Usage(3))

    @pytest.mark.parametrize("data", [[], [{"embedding": []}], [{"embedding": ["x"]}], [{"embedding": [1]}] * 2])
    def test_a_malformed_answer(self, data: object) -> None:
        with pytest.raises(MalformedReply):
            decoded("embedder", component("embedder"), {"data": data})

    def test_many_calls_are_one_request(self) -> None:
        kind, texts = kinds()["embedder"], [{"text": "hello"}, {"text": "there"}]
        assert kind.encode_many is not None
        assert kind.decode_many is not None
        wire = kind.encode_many(Engine("e", "embedder", {"model": "m"}), component("embedder"), texts)
        assert json.loads(wire.body)["input"] == ["hello", "there"]
        document = {"data": [{"embedding": [1, 2]}, {"embedding": [3, 4]}], "usage": {"prompt_tokens": 5}}
        replies = kind.decode_many(component("embedder"), json.dumps(document).encode(), texts)
        assert [reply.value for reply in replies] == [[1.0, 2.0], [3.0, 4.0]]
        assert sum(reply.usage.prompt_tokens for reply in replies) == 5
        with pytest.raises(MalformedReply, match="2 embeddings came back for 3 texts"):
            kind.decode_many(component("embedder"), json.dumps(document).encode(), [*texts, {"text": "you"}])

    def test_vllm_is_asked_to_cut_what_is_too_long(self) -> None:
        settings = {"model": "m", "server": "vllm"}
        wire, document = encoded("embedder", settings, component("embedder"), {"text": "hello"})
        assert wire.path == "/v1/embeddings"
        assert document == {"model": "m", "input": ["hello"], "encoding_format": "float", "truncate_prompt_tokens": -1}

    def test_its_work(self) -> None:
        work = kinds()["embedder"].work(component("embedder"), {"text": Extent(15)}, Extent(0))
        assert work == Work(encoded_tokens=15, encoded_items=1)


class TestReranker:
    def test_a_call(self) -> None:
        inputs = {"query": "why?", "passages": PASSAGES}
        wire, document = encoded("reranker", {"model": "m"}, component("reranker", top_k=2), inputs)
        assert wire.path == "/v1/rerank"
        texts = ["passage 0", "passage 1", "passage 2"]
        assert document == {"model": "m", "query": "why?", "documents": texts, "top_n": 2}

    def test_an_answer_brings_back_the_passages_that_were_sent(self) -> None:
        document = {"results": [{"index": 0, "relevance_score": 0.2}, {"index": 2, "relevance_score": 0.9}]}
        assert decoded("reranker", component("reranker", top_k=2), document, {"query": "", "passages": PASSAGES}) == [
            {"text": "passage 2", "source": "2.md", "score": 0.9},
            {"text": "passage 0", "source": "0.md", "score": 0.2},
        ]

    def test_a_server_that_gives_all_is_cut(self) -> None:
        document = {"results": [{"index": at, "relevance_score": at} for at in range(3)]}
        kept = decoded("reranker", component("reranker", top_k=1), document, {"query": "", "passages": PASSAGES})
        assert [passage["source"] for passage in kept] == ["2.md"]

    def test_vllm_is_asked_to_cut_and_never_to_order_nothing(self) -> None:
        settings, of = {"model": "m", "server": "vllm"}, component("reranker", top_k=2)
        ask = {"model": "m", "query": "why?", "top_n": 2, "truncate_prompt_tokens": -1}
        wire, document = encoded("reranker", settings, of, {"query": "why?", "passages": PASSAGES[:1]})
        assert wire.path == "/v1/rerank"
        assert document == {**ask, "documents": ["passage 0"]}
        _, document = encoded("reranker", settings, of, {"query": "why?", "passages": []})
        assert document == {**ask, "documents": [""]}
        answer = {"results": [{"index": 0, "relevance_score": 0.2}]}
        assert decoded("reranker", of, answer, {"query": "why?", "passages": []}) == []

    @pytest.mark.parametrize("kind", ["embedder", "reranker"])
    def test_only_vllm_is_probed_by_a_call(self, kind: str) -> None:
        probe = kinds()[kind].probe
        assert probe is not None
        assert probe(Engine("e", kind, {"model": "m"})) is None
        wire = probe(Engine("e", kind, {"model": "m", "server": "vllm"}))
        assert wire is not None
        assert json.loads(wire.body)["truncate_prompt_tokens"] == -1

    def test_nothing_in_nothing_out(self) -> None:
        assert decoded("reranker", component("reranker"), {"results": []}, {"query": "", "passages": []}) == []

    @pytest.mark.parametrize(
        ("passages", "expected"),
        [
            (Extent(0.0, 0.0), Extent(0.0, 0.0)),
            (Extent(50.0, 0.5), Extent(50.0, 0.5)),
            (Extent(300.0, 3.0), Extent(200.0, 2.0)),
        ],
    )
    def test_no_more_is_expected_than_comes_in(self, passages: Extent, expected: Extent) -> None:
        expects = kinds()["reranker"].result_extent
        assert expects(component("reranker", top_k=2), {"query": Extent(10.0), "passages": passages}) == expected
        assert expects(component("reranker", top_k=2)) == Extent(400.0, 2.0, guessed=True)

    @pytest.mark.parametrize("indices", [[3], [-1], [1, 1]])
    def test_an_answer_about_other_documents(self, indices: list[int]) -> None:
        document = {"results": [{"index": at, "relevance_score": 1} for at in indices]}
        with pytest.raises(MalformedReply, match="outside the 3"):
            decoded("reranker", component("reranker"), document, {"query": "", "passages": PASSAGES})

    def test_its_work_and_result(self) -> None:
        kind, inputs = kinds()["reranker"], {"query": Extent(15), "passages": Extent(2000, 20)}
        work = kind.work(component("reranker"), inputs, Extent(0))
        assert work == Work(encoded_tokens=15 * 20 + 2000, encoded_items=20)
        assert kind.result_extent(component("reranker", top_k=5), inputs) == Extent(500, 5)
        assert kind.result_extent(component("reranker", top_k=50), inputs) == Extent(2000, 20)
        assert kind.result_extent(component("reranker", top_k=5)).guessed


class TestMilvus:
    def test_a_call(self) -> None:
        of = component("milvus", collection="docs", top_k=4, filter='source like "a%"')
        wire, document = encoded("milvus", {}, of, {"query": [0.5, 1.0]})
        assert wire.path == "/search"
        assert document == {
            "collection": "docs",
            "vectors": [[0.5, 1.0]],
            "limit": 4,
            "metric": "COSINE",
            "filter": 'source like "a%"',
            "parameters": {"ef": 32_768, "nprobe": 128},
            "texts": [],
        }

    @pytest.mark.parametrize(
        ("settings", "parameters"),
        [
            ({}, {"ef": 64, "nprobe": 128}),
            ({"index": "FLAT"}, {"ef": 64, "nprobe": 128}),
            ({"index": "IVF_FLAT"}, {"ef": 64, "nprobe": 32}),
            ({"index": "HNSW"}, {"ef": 64, "nprobe": 128}),
            ({"index": "AUTOINDEX", "top_k": 100}, {"ef": 200, "nprobe": 128}),
            ({"index": "FLAT", "filter": "x"}, {"ef": 32_768, "nprobe": 128}),
            ({"index": "IVF_FLAT", "filter": "x"}, {"ef": 32_768, "nprobe": 128}),
        ],
    )
    def test_how_widely_an_index_looks(self, settings: dict[str, Any], parameters: dict[str, int]) -> None:
        _, document = encoded("milvus", {}, component("milvus", collection="docs", **settings), {"query": [1.0]})
        assert document["parameters"] == parameters

    def test_an_answer(self) -> None:
        found = {"hits": [[{"text": "t", "source": "a.md", "score": 0.75}]]}
        of = component("milvus", collection="docs")
        assert decoded("milvus", of, found, {"query": [1.0]}) == [{"text": "t", "source": "a.md", "score": 0.75}]

    @pytest.mark.parametrize(("hybrid", "given"), [(False, (0.5, 2.0)), (True, (0.03, 0.02))])
    def test_a_higher_score_is_nearer_under_every_metric(self, *, hybrid: bool, given: tuple[float, float]) -> None:
        found = {
            "hits": [[{"text": name, "source": name, "score": score} for name, score in zip("tu", given, strict=True)]]
        }
        of = component("milvus", collection="d", metric="L2", hybrid=hybrid)
        scores = [hit["score"] for hit in decoded("milvus", of, found, {"query": [1.0]})]
        assert scores == sorted(scores, reverse=True)

    def test_a_hybrid_search_takes_the_text_as_well(self) -> None:
        of = component("milvus", collection="docs", hybrid=True)
        _, document = encoded("milvus", {}, of, {"query": [0.5], "words": "P419"})
        assert (document["vectors"], document["texts"]) == ([[0.5]], ["P419"])
        assert kinds()["milvus"].work(of, {}, Extent(1)).core_ms > 7

    @pytest.mark.parametrize("hybrid", [False, True])
    def test_many_queries_are_one_request(self, *, hybrid: bool) -> None:
        kind, of = kinds()["milvus"], component("milvus", collection="docs", hybrid=hybrid)
        assert kind.encode_many is not None
        assert kind.decode_many is not None
        queries = [{"query": [float(at)], "words": f"word{at}"} for at in range(3)]
        document = json.loads(kind.encode_many(Engine("e", "milvus", {}), of, queries).body)
        assert document["vectors"] == [[0.0], [1.0], [2.0]]
        assert document["texts"] == (["word0", "word1", "word2"] if hybrid else [])
        found = {"hits": [[{"text": "t", "source": f"{at}.md", "score": 0.5}] * at for at in range(3)]}
        replies = kind.decode_many(of, json.dumps(found).encode(), queries)
        assert [len(list(reply.value)) for reply in replies] == [0, 1, 2]  # type: ignore[call-overload]
        with pytest.raises(MalformedReply, match="3 search results came back for 2 queries"):
            kind.decode_many(of, json.dumps(found).encode(), queries[:2])

    def test_indices_that_the_server_only_pretends_to_build_are_not_offered(self) -> None:
        setting = kinds()["milvus"].setting("index")
        assert setting is not None
        assert set(setting.accepts) == {"FLAT", "HNSW", "IVF_FLAT", "AUTOINDEX"}

    def test_its_result(self) -> None:
        extent = kinds()["milvus"].result_extent(component("milvus", top_k=10, chunk_tokens=100))
        assert extent == Extent(800, 10)


class TestPython:
    def test_a_call(self) -> None:
        wire, document = encoded("python", {"function": "m:f"}, component("python"), {"text": "a", "to": "b"})
        assert (wire.path, document) == ("/v1/call", {"inputs": {"text": "a", "to": "b"}})

    def test_an_answer(self) -> None:
        of = component("python", ListOf(Passage()))
        extra = [{**PASSAGES[0], "rank": 1}]
        assert decoded("python", of, {"result": extra}) == [PASSAGES[0]]

    @pytest.mark.parametrize("document", [{"result": 3}, {}, [], {"result": None}])
    def test_a_malformed_answer(self, document: object) -> None:
        with pytest.raises(MalformedReply):
            decoded("python", component("python"), document)

    def test_its_work(self) -> None:
        kind = kinds()["python"]
        assert kind.work(component("python", takes=250), {}, Extent(1)) == Work(core_ms=250)
        assert kind.work(component("python"), {}, Extent(1)) == Work(core_ms=10)


class TestHttp:
    def test_a_call_goes_to_the_users_url_with_their_key(self) -> None:
        settings = {"url": "https://mt.internal/v1", "key": "k"}
        wire, document = encoded("http", settings, component("http"), {"text": "a", "to": "b"})
        assert (wire.path, document) == ("https://mt.internal/v1", {"text": "a", "to": "b"})
        assert dict(wire.headers)["authorization"] == "Bearer k"

    def test_without_a_key_none_is_sent(self) -> None:
        wire, _ = encoded("http", {"url": "http://x"}, component("http"), {"text": "a", "to": "b"})
        assert "authorization" not in dict(wire.headers)

    @pytest.mark.parametrize("document", ["Hallo", {"result": "Hallo"}])
    def test_an_answer(self, document: object) -> None:
        assert decoded("http", component("http"), document) == "Hallo"

    def test_a_record_of_one_field_named_result_is_taken_as_it_is(self) -> None:
        of = component("http", Record((Field("result", Text()),)))
        assert decoded("http", of, {"result": "Hallo"}) == {"result": "Hallo"}

    @pytest.mark.parametrize("document", [3, {"result": 3}, {"text": "Hallo"}, None])
    def test_a_malformed_answer(self, document: object) -> None:
        with pytest.raises(MalformedReply):
            decoded("http", component("http"), document)

    def test_its_time_is_spent_elsewhere(self) -> None:
        assert kinds()["http"].work(component("http"), {}, Extent(1)) == Work(elsewhere_ms=200)


def test_a_vector_has_no_tokens() -> None:
    assert kinds()["python"].result_extent(component("python", Vector())).tokens == 0


@pytest.mark.parametrize("value", ["[" * 5000 + "]" * 5000, "[" * 900 + "]" * 900, "1" * 400, "1" * 9000, "1e999"])
@pytest.mark.parametrize("kind", ["http", "python"])
@pytest.mark.parametrize("result", [Number(), ListOf(Number()), Text(), Vector()], ids=show)
def test_values_that_no_float_and_no_stack_holds_are_malformed(kind: str, result: Type, value: str) -> None:
    for body in (value, f"[{value}]", f'{{"result": {value}}}', f'{{"result": [{value}]}}'):
        with pytest.raises(MalformedReply):
            kinds()[kind].decode(component(kind, result), body.encode())


@pytest.mark.parametrize(
    "text",
    [
        "",
        'source == "a.md"',
        "source like 'docs/%' and not (source in ['docs/a.md', \"docs/b.md\"])",
        "source != 'a' || source > 'b' && source <= 'c' OR NOT source LIKE 'd'",
        'source == "an \\" and a \' within"',
        "'a' == source",
        "source not in ['a'] and text == 'b'",
    ],
)
def test_an_expression_over_the_fields_of_passages_is_a_filter(text: str) -> None:
    assert slip_in(text, FILTERED_FIELDS) is None


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("source source", 7, "expected a sign such as `==`, `like` or `in`, found `source`"),
        ("source == == 'x'", 10, "expected a text, found `==`"),
        ("frobnicate ===", 0, "a passage has no field `frobnicate`"),
        ("source = 'a'", 7, "expected a sign such as `==`, `like` or `in`, found `=`"),
        ("source == 'a", 10, "expected a text, found `'`"),
        ("source == 'a\\d'", 10, "expected a text, found `'`"),
        ("sources == 'a'", 0, "a passage has no field `sources`"),
        ("source == 'a' source", 14, "expected `and`, `or` or its end, found `source`"),
        ("(source == 'a'", 14, "expected `)`, found its end"),
        ("source in []", 11, "expected a text, found `]`"),
        ("source == 3", 10, "expected a text, found `3`"),
        ("'a' == 'b'", 7, "expected a field, found `'b'`"),
        ("  ", 2, "expected a comparison, found its end"),
        ("not " * 5_000, 260, "expected less nesting, found `not`"),
        ("(" * 5_000, 65, "expected less nesting, found `(`"),
        # To look for each quote's partner would take minutes.
        ("source == '" + "\\'" * 200_000, 10, "expected a text, found `'`"),
    ],
)
def test_what_is_wrong_with_a_filter_is_said_at_its_place(text: str, at: int, message: str) -> None:
    slip = slip_in(text, FILTERED_FIELDS)
    assert slip is not None
    assert (slip.start, slip.message) == (at, message)
    assert slip.help
