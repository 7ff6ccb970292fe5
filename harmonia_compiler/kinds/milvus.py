"""`milvus`: finds the passages of a collection that lie nearest to a text.

The text's vector comes from the embedder that the setting of that name gives; the flow shows that
call of its own. All components of a plan share one Milvus server. A search is a typed document
(`Search`) that the gateway's Milvus transport carries out, and `SearchReply` what it gives back.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.launch import Fill, Launch, Probe, Reply, Wire
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import ListOf, Passage, Text, Value
from harmonia_compiler.kinds.kind import NOTHING, Extent, Fault, Kind, Setting, Signature, Work, value_of
from harmonia_compiler.kinds.launching import whole_cores
from harmonia_compiler.kinds.openai import checked, post, read

#: The fields of a collection's rows, for whoever writes and whoever searches them.
TEXT_FIELD, SOURCE_FIELD, VECTOR_FIELD = "text", "source", "vector"

#: Indices that the server really builds, with their parameters. Others (IVF_PQ, SCANN, DISKANN, GPU_*) it
#: accepts in silence and searches by brute force, so that they are refused here.
INDEX_PARAMETERS: dict[str, dict[str, int]] = {
    "FLAT": {},
    "HNSW": {"M": 16, "efConstruction": 200},
    "IVF_FLAT": {"nlist": 128},
    "AUTOINDEX": {},
}
METRICS = ("COSINE", "IP", "L2")

SETTINGS = (
    Setting(
        "collection",
        "text",
        "the collection to search; another one is searched by a component of its own",
        scope="component",
        required=True,
        pattern=r"[A-Za-z_][A-Za-z0-9_]{0,63}",
    ),
    Setting(
        "embedder",
        "component",
        "the embedder that made the collection's vectors, and makes the query's",
        scope="component",
        required=True,
        accepts=("embedder",),
    ),
    Setting("top_k", "integer", "how many passages to find", scope="call", default=8, minimum=1, maximum=1024),
    Setting("filter", "text", "a Milvus expression over `source` that a passage must satisfy", scope="call"),
    Setting("metric", "text", "how near is measured", scope="component", default="COSINE", accepts=METRICS),
    Setting(
        "index",
        "text",
        "how the vectors are indexed",
        scope="component",
        default="HNSW",
        accepts=tuple(INDEX_PARAMETERS),
    ),
    Setting(
        "chunk_tokens",
        "integer",
        "the most tokens of a passage, by the embedder's own count",
        scope="component",
        default=180,
        minimum=16,
        maximum=8192,
    ),
    Setting(
        "chunk_overlap",
        "integer",
        "how many tokens a passage repeats from the one before",
        scope="component",
        default=30,
        minimum=0,
        maximum=4096,
    ),
    Setting("cores", "number", "CPU cores of the server", default=1, minimum=0.25, maximum=1024),
    Setting("memory", "memory", "memory of the server", default=1, minimum=0.25, maximum=65536),
)

#: Time of one core for a search among some ten thousand vectors, gRPC included, as measured on milvus-lite.
_SEARCH_CORE_MS = 7.0


class Search(msgspec.Struct, frozen=True):
    """A search: the `limit` rows nearest to `vector`; `parameters` are the index's own."""

    collection: str
    vector: list[float]
    limit: int
    metric: str
    filter: str = ""
    parameters: dict[str, int] = {}


class Hit(msgspec.Struct, frozen=True):
    """A row that was found; `score` is Milvus's similarity or, under L2, its distance."""

    text: str
    source: str
    score: float


class SearchReply(msgspec.Struct, frozen=True):
    """What was found, nearest first."""

    hits: list[Hit]


def faults(settings: Mapping[str, Any]) -> Iterator[Fault]:
    """Passages that would repeat all of the one before, so that cutting never came to an end."""
    overlap, most = settings["chunk_overlap"], settings["chunk_tokens"]
    if overlap >= most:
        message = f"`chunk_overlap` is {overlap}, but a passage has {most} tokens at most"
        help = "give a `chunk_overlap` well below `chunk_tokens`"
        yield Fault(("chunk_overlap", "chunk_tokens"), message, help)


def search_parameters(index: str, limit: int) -> dict[str, int]:
    """How widely an index looks: wide enough that what it finds hardly differs from an exact search."""
    if index == "HNSW":
        return {"ef": max(64, 2 * limit)}
    if index == "IVF_FLAT":
        return {"nprobe": 32}
    return {}


def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
    """One search."""
    return Work(core_ms=_SEARCH_CORE_MS)


def result_extent(component: Component, inputs: Mapping[str, Extent] = NOTHING) -> Extent:
    """`top_k` passages; on average a passage is somewhat shorter than the most it may be."""
    items = float(component.size or value_of("top_k", component.settings, SETTINGS))
    chunk = component.item_size or 0.8 * float(value_of("chunk_tokens", component.settings, SETTINGS))
    return Extent(items * chunk, items)


def launch(engine: Engine, card: Card | None, configuration: Configuration) -> Launch:
    """The server of milvus-lite, whose data outlives the process."""
    return Launch(
        (
            *(Fill("python"), "-m", "milvus_lite", "server"),
            *("--data-dir", Fill("data"), "--host", Fill("host"), "--port", Fill("port")),
        ),
        Probe("milvus", timeout_s=120.0),
        {"OMP_NUM_THREADS": str(whole_cores(configuration))},
        extra="milvus",
        module="milvus_lite",
    )


def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
    """A search with the query's vector."""
    given: Mapping[str, Any] = component.settings
    limit = value_of("top_k", given, SETTINGS)
    return post(
        "/search",
        Search(
            collection=given["collection"],
            vector=inputs["query"],
            limit=limit,
            metric=value_of("metric", given, SETTINGS),
            filter=given.get("filter") or "",
            parameters=search_parameters(value_of("index", given, SETTINGS), limit),
        ),
    )


def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
    """The passages, nearest first; a higher score is always nearer."""
    sign = -1.0 if value_of("metric", component.settings, SETTINGS) == "L2" else 1.0
    hits = read(body, SearchReply, "a search result").hits
    passages = [{"text": hit.text, "source": hit.source, "score": sign * hit.score} for hit in hits]
    return Reply(checked(passages, ListOf(Passage()), "the search result"))


KIND = Kind(
    name="milvus",
    doc="Finds the passages of a collection whose meaning is nearest to a text.",
    settings=SETTINGS,
    unnamed="collection",
    signature=Signature((Port("query", Text()),), ListOf(Passage())),
    transport="milvus",
    runs_on=("cpu",),
    work=work,
    result_extent=result_extent,
    launch=launch,
    encode=encode,
    decode=decode,
    through={"query": "embedder"},
    stateful=True,
    own_faults=faults,
)
