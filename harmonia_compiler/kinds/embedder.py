"""`embedder`: turns a text into a vector, on our own worker or, with `server: "vllm"`, on vLLM's pooling runner.

Both pool and normalise as the model's own files say, so that vectors agree with those of
sentence-transformers; a text longer than the model's window is cut there. Which of the two serves is
no part of what a collection was made with: their vectors are the same.
"""

from collections.abc import Mapping, Sequence

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.launch import Launch, Reply, Usage, Wire
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import Text, Value, Vector
from harmonia_compiler.kinds import vllm
from harmonia_compiler.kinds.kind import NOTHING, REVISION, Extent, Kind, Signature, Work, model_setting
from harmonia_compiler.kinds.launching import ENCODER_PRECISION, ENCODER_SERVER, encoder
from harmonia_compiler.kinds.openai import decode_embeddings, encode_embeddings

SETTINGS = (
    model_setting("the embedding model, by the name of its card"),
    REVISION,
    ENCODER_PRECISION,
    ENCODER_SERVER,
)


def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
    """One sequence as long as the text."""
    text = inputs["text"]
    return Work(encoded_tokens=text.tokens, encoded_items=text.items)


def result_extent(component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
    """A vector holds no tokens."""
    return Extent(tokens=0.0)


def launch(engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
    """The torch worker with the model's weights, or vLLM."""
    if vllm.is_on_vllm(engine):
        return vllm.pooling(engine, card, configuration, warm_up=(encode_texts(engine, ["1"]),))
    return encoder("embedder", engine, card, configuration)


def encode_texts(engine: Engine, texts: Sequence[str]) -> Wire:
    """What asks an embedder's replica for the vectors of texts."""
    return encode_embeddings(str(engine.settings["model"]), texts, cut=vllm.is_on_vllm(engine))


def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
    """A request for the vector of one text."""
    return encode_many(engine, component, [inputs])


def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
    """The vector."""
    vectors, usage = decode_embeddings(body, count=1)
    return Reply(vectors[0], usage)


def encode_many(engine: Engine, component: Component, inputs: Sequence[Mapping[str, Value]]) -> Wire:
    """A request for the vectors of many texts."""
    return encode_texts(engine, [each["text"] for each in inputs])


def decode_many(component: Component, body: bytes, inputs: Sequence[Mapping[str, Value]]) -> list[Reply]:
    """The vector of each text; the engine counts tokens for all together, and the first reply has them."""
    vectors, usage = decode_embeddings(body, count=len(inputs))
    return [Reply(vector, Usage() if at else usage) for at, vector in enumerate(vectors)]


def probe(engine: Engine) -> Wire | None:
    """The shortest text: what `/health` says of vLLM is that its front is there, and not that its engine works."""
    return encode_texts(engine, ["1"]) if vllm.is_on_vllm(engine) else None


KIND = Kind(
    name="embedder",
    doc="Turns a text into a vector that lies near those of texts with the same meaning.",
    settings=SETTINGS,
    unnamed="model",
    signature=Signature((Port("text", Text()),), Vector()),
    transport="http",
    runs_on=("gpu", "cpu"),
    work=work,
    result_extent=result_extent,
    launch=launch,
    encode=encode,
    decode=decode,
    encode_many=encode_many,
    decode_many=decode_many,
    model_setting="model",
    roles=("embedder",),
    probe=probe,
    example='component minilm = embedder("all-MiniLM-L6-v2")',
)
