"""`reranker`: puts passages in the order of how well they answer a query, and keeps the best.

The route carries only texts and answers with indices, so that any server that speaks it can stand
in; source and text of a passage come from the call's own inputs, its score becomes the reranker's.
With a cross-encoder a score is how well the passage answers, from 0 to 1; with an embedding model
it is the similarity of the query to the passage's best sentence.

It runs on our own worker or, with a cross-encoder and `server: "vllm"`, on vLLM's pooling runner. What vLLM
would make of an embedding model is the plain similarity, another score, so that the checker refuses that.
"""

from collections.abc import Mapping

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.launch import Launch, Reply, Wire
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import ListOf, Passage, Text, Value
from harmonia_compiler.kinds import vllm
from harmonia_compiler.kinds.extents import item_of
from harmonia_compiler.kinds.kind import (
    NOTHING,
    REVISION,
    Extent,
    Kind,
    Narrowing,
    Setting,
    Signature,
    Work,
    model_setting,
    value_of,
)
from harmonia_compiler.kinds.launching import ENCODER_PRECISION, ENCODER_SERVER, encoder
from harmonia_compiler.kinds.openai import decode_rerank, encode_rerank

SETTINGS = (
    model_setting("the reranking or embedding model, by the name of its card"),
    REVISION,
    ENCODER_PRECISION,
    ENCODER_SERVER,
    Setting("top_k", "integer", "how many passages to keep", scope="call", default=5, minimum=1, maximum=1024),
)

#: Has vLLM give the one logit of a cross-encoder from 0 to 1, whatever the model's own file would have made of it.
_FROM_0_TO_1 = ("--hf-overrides", '{"problem_type":"single_label_classification"}')
#: Tokens of a passage whose length nothing tells.
_USUAL_PASSAGE = 200.0


def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
    """A cross-encoder reads the query once with every passage."""
    query, passages = inputs["query"], inputs["passages"]
    return Work(encoded_tokens=query.tokens * passages.items + passages.tokens, encoded_items=passages.items)


def result_extent(component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
    """The kept passages, as long on average as those that came in."""
    kept = float(value_of("top_k", component.settings, SETTINGS))
    passages = inputs.get("passages")
    if passages is None:
        return Extent(kept * (component.item_size or _USUAL_PASSAGE), kept, guessed=component.item_size is None)
    kept = min(kept, passages.items)
    one = item_of(passages, ListOf(Passage()))
    return Extent(kept * one.tokens, kept, passages.guessed)


def launch(engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
    """The torch worker with the model's weights, or vLLM."""
    if vllm.is_on_vllm(engine):
        return vllm.pooling(engine, card, configuration, _FROM_0_TO_1, warm_up=(_shortest(engine),))
    return encoder("rerank", engine, card, configuration)


def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
    """A request to order the passages' texts."""
    texts = [passage["text"] for passage in inputs["passages"]]
    return _request(engine, inputs["query"], texts, value_of("top_k", component.settings, SETTINGS))


def _request(engine: Engine, query: str, texts: list[str], top_k: int) -> Wire:
    is_on_vllm = vllm.is_on_vllm(engine)
    # vLLM refuses to order nothing; what it says of a text that nobody sent, `decode` leaves out.
    documents = texts or ([""] if is_on_vllm else [])
    return encode_rerank(str(engine.settings["model"]), query, documents, top_k, cut=is_on_vllm)


def _shortest(engine: Engine) -> Wire:
    return _request(engine, "1", ["1"], 1)


def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
    """The best passages with their new scores, best first."""
    passages = inputs.get("passages", [])
    ranked, usage = decode_rerank(body, max(1, len(passages)))
    if not passages:
        return Reply([], usage)
    kept = ranked[: value_of("top_k", component.settings, SETTINGS)]
    return Reply([{**passages[index], "score": score} for index, score in kept], usage)


def probe(engine: Engine) -> Wire | None:
    """The shortest pair: what `/health` says of vLLM is that its front is there, and not that its engine works."""
    return _shortest(engine) if vllm.is_on_vllm(engine) else None


KIND = Kind(
    name="reranker",
    doc="Puts passages in the order of how well they answer a query, and keeps the best.",
    settings=SETTINGS,
    unnamed="model",
    signature=Signature((Port("query", Text()), Port("passages", ListOf(Passage()))), ListOf(Passage())),
    transport="http",
    runs_on=("gpu", "cpu"),
    work=work,
    result_extent=result_extent,
    launch=launch,
    encode=encode,
    decode=decode,
    model_setting="model",
    roles=("reranker", "embedder"),
    narrowings=(Narrowing(ENCODER_SERVER.name, "vllm", ("reranker",)),),
    probe=probe,
    example='component rerank = reranker("BAAI/bge-reranker-base", top_k: 4)',
)
