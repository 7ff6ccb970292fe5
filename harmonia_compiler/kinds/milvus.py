"""`milvus`: finds the passages of a collection that lie nearest to a text.

The text's vector comes from the embedder that the setting of that name gives; the flow shows that
call of its own. All components of a plan share one Milvus server. A search is a typed document
(`Search`) that the gateway's Milvus transport carries out, and `SearchReply` what it gives back.

A hybrid search also looks for the words of the text, by BM25: Milvus keeps a sparse vector of each
passage's words beside the dense one, finds by both, and fuses the two rankings itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.launch import Fill, Launch, Probe, Reply, Wire
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.contract.types import ListOf, Passage, Text, Value
from harmonia_compiler.kinds.filters import slip_in
from harmonia_compiler.kinds.kind import (
    NOTHING,
    Extent,
    Fault,
    Kind,
    MalformedReply,
    Setting,
    Signature,
    Through,
    Work,
    value_of,
)
from harmonia_compiler.kinds.launching import whole_cores
from harmonia_compiler.kinds.openai import checked, post, read

#: The fields of a collection's rows, for whoever writes and whoever searches them.
TEXT_FIELD, SOURCE_FIELD, VECTOR_FIELD, WORDS_FIELD = "text", "source", "vector", "words"

#: How the field of words is indexed and compared, where a collection has one.
WORDS_INDEX, WORDS_METRIC = "SPARSE_INVERTED_INDEX", "BM25"

#: The port at which a hybrid search takes the query's text, beside its vector at `query`.
WORDS_PORT = "words"


class Build(NamedTuple):
    """The index that the server builds, by its own name, and with which parameters."""

    name: str
    parameters: dict[str, int]


#: What is built for each `index`. Others (IVF_PQ, SCANN, DISKANN, GPU_*) milvus-lite accepts in silence and
#: searches by brute force, so that they are refused here.
BUILDS: dict[str, Build] = {
    # One list holds all vectors. milvus-lite's own FLAT compares with all of them too, but scales each to length 1
    # anew at each search, which takes four times as long.
    "FLAT": Build("IVF_FLAT", {"nlist": 1}),
    "HNSW": Build("HNSW", {"M": 16, "efConstruction": 200}),
    "IVF_FLAT": Build("IVF_FLAT", {"nlist": 128}),
    "AUTOINDEX": Build("AUTOINDEX", {}),
}
#: Indices that are graphs of near neighbours, AUTOINDEX by milvus-lite's choice. Among many equal vectors each one's
#: neighbours are the others, and a search that comes past them finds no way out.
GRAPHS = frozenset({"HNSW", "AUTOINDEX"})
#: `nprobe` that looks through every list of any collection of ours.
_ALL_LISTS = BUILDS["IVF_FLAT"].parameters["nlist"]
_SOME_LISTS = 32
#: The most that Milvus takes for `ef`.
WIDEST_EF = 32_768
METRICS = ("COSINE", "IP", "L2")

#: How an image of Milvus's own starts all of it as one process, the variable that tells it its port, and where it keeps
#: everything, also what later releases come to keep.
_STANDALONE, STANDALONE_PORT, STANDALONE_DATA = ("milvus", "run", "standalone"), "PROXY_PORT", "/var/lib/milvus"
#: How its etcd runs, as Milvus's own scripts have it: what was overwritten is dropped, or it would be full some day.
STANDALONE_ETCD: dict[str, str | int] = {
    "listen-client-urls": "http://127.0.0.1:2379",
    "advertise-client-urls": "http://127.0.0.1:2379",
    "quota-backend-bytes": 4 * 2**30,
    "auto-compaction-mode": "revision",
    "auto-compaction-retention": "1000",
}

#: The fields of a passage that a filter may compare; the others are for whoever writes the collection.
FILTERED_FIELDS = (SOURCE_FIELD, TEXT_FIELD)

SETTINGS = (
    Setting(
        "collection",
        "text",
        "the collection to search; another one is searched by a component of its own",
        scope="component",
        required=True,
        pattern=r"[A-Za-z_][A-Za-z0-9_]{0,63}",
        form="at most 64 letters from a to z, digits and `_`, the first no digit",
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
    Setting(
        "filter",
        "text",
        "an expression over `source` and `text` that a passage must satisfy",
        scope="call",
        form="comparisons with texts, such as `source like 'docs/%'` or `source in ['a.md', 'b.md']`, joined by `and`, "
        "`or` and `not`",
        slip_in=partial(slip_in, fields=FILTERED_FIELDS),
    ),
    Setting(
        "hybrid",
        "bool",
        "whether passages are also found by the words of the text, and the two rankings fused; a passage's score is "
        "then that of reciprocal rank fusion",
        scope="component",
        default=False,
    ),
    Setting("metric", "text", "how near is measured", scope="component", default="COSINE", accepts=METRICS),
    Setting(
        "index",
        "text",
        'how the vectors are indexed: a search of `"FLAT"` compares with all of them, the others look at a part',
        scope="component",
        default="FLAT",
        accepts=tuple(BUILDS),
    ),
    Setting(
        "chunk_tokens",
        "tokens",
        "the most tokens of a passage, by the embedder's own count",
        scope="component",
        default=180,
        minimum=16,
        maximum=8192,
    ),
    Setting(
        "chunk_overlap",
        "tokens",
        "how many tokens a passage repeats from the one before",
        scope="component",
        default=30,
        minimum=0,
        maximum=4096,
    ),
    Setting(
        "cores",
        "number",
        "CPU cores of the server; the planner chooses where it is not said",
        minimum=0.25,
        maximum=1024,
    ),
    Setting("memory", "memory", "memory of the server", default=1, minimum=0.25, maximum=65536),
)

#: Time of one core for a search among some ten thousand vectors, gRPC included, as measured on milvus-lite.
_SEARCH_CORE_MS = 7.0
#: The same for a hybrid search, which scores every passage that has a word of the text.
_HYBRID_CORE_MS = 50.0
#: What a filter adds, since the index then looks at every passage.
_FILTER_CORE_MS = 25.0


class Search(msgspec.Struct, frozen=True):
    """Searches of one collection: the `limit` rows nearest to each vector; `parameters` are the index's own.

    With `texts`, one for each vector, the rows are those of a hybrid search.
    """

    collection: str
    vectors: list[list[float]]
    limit: int
    metric: str
    filter: str = ""
    parameters: dict[str, int] = {}
    texts: list[str] = []


class Hit(msgspec.Struct, frozen=True):
    """A row that was found; `score` is Milvus's similarity or, under L2, its distance; a hybrid search's is fused."""

    text: str
    source: str
    score: float


class SearchReply(msgspec.Struct, frozen=True):
    """What each search found, nearest first."""

    hits: list[list[Hit]]


def faults(settings: Mapping[str, Any]) -> Iterator[Fault]:
    """Passages that would repeat all of the one before, so that cutting never came to an end."""
    overlap, most = settings["chunk_overlap"], settings["chunk_tokens"]
    if overlap >= most:
        message = f"`chunk_overlap` is {overlap}, but a passage has {most} tokens at most"
        help = "give a `chunk_overlap` well below `chunk_tokens`"
        yield Fault(("chunk_overlap", "chunk_tokens"), message, help)


def search_parameters(index: str, limit: int, *, filtered: bool = False) -> dict[str, int]:
    """How widely a search looks: at everything under FLAT, else at a part, in which it may miss passages.

    With a filter it looks as widely as it can: milvus-lite filters what it comes past, and of a few
    passages among thousands would come past none. Both parameters are given, of which an index takes its own, since
    a collection has the index of its last ingestion until the next one.
    """
    some = index == "IVF_FLAT" and not filtered
    return {"ef": WIDEST_EF if filtered else max(64, 2 * limit), "nprobe": _SOME_LISTS if some else _ALL_LISTS}


def work(component: Component, inputs: Mapping[str, Extent], result: Extent) -> Work:
    """One search."""
    given = component.settings
    search_ms = _HYBRID_CORE_MS if given.get("hybrid") else _SEARCH_CORE_MS
    return Work(core_ms=search_ms + (_FILTER_CORE_MS if given.get("filter") else 0.0))


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


def standalone(launch: Launch, etcd: str) -> Launch:
    """Milvus itself in place of milvus-lite's server; `etcd` is the file that holds `STANDALONE_ETCD` as YAML.

    Its parts, etcd among them, run as one process, which learns everything from its environment, its port too
    (`STANDALONE_PORT`). It listens on all addresses, whatever it is told.
    """
    told = {
        "DEPLOY_MODE": "STANDALONE",
        "ETCD_USE_EMBED": "true",
        "ETCD_CONFIG_PATH": etcd,
        "ETCD_DATA_DIR": f"{STANDALONE_DATA}/etcd",
        "COMMON_STORAGETYPE": "local",
        "LOCALSTORAGE_PATH": f"{STANDALONE_DATA}/data",
        "MQ_TYPE": "rocksmq",
        "ROCKSMQ_PATH": f"{STANDALONE_DATA}/rdb_data",
    }
    return Launch(_STANDALONE, launch.probe, {**launch.environment, **told})


def is_standalone(launch: Launch) -> bool:
    """Whether this is what `standalone` gives: it runs in an image that has nothing of ours, nor a Python."""
    return launch.command == _STANDALONE


def encode(engine: Engine, component: Component, inputs: Mapping[str, Value], *, stream: bool) -> Wire:
    """A search with the query's vector and, where it is hybrid, its text."""
    return encode_many(engine, component, [inputs])


def encode_many(engine: Engine, component: Component, inputs: Sequence[Mapping[str, Value]]) -> Wire:
    """A search for each query, as one request."""
    given: Mapping[str, Any] = component.settings
    limit = value_of("top_k", given, SETTINGS)
    return post(
        "/search",
        Search(
            collection=given["collection"],
            vectors=[each["query"] for each in inputs],
            limit=limit,
            metric=value_of("metric", given, SETTINGS),
            filter=given.get("filter") or "",
            parameters=search_parameters(value_of("index", given, SETTINGS), limit, filtered=bool(given.get("filter"))),
            texts=[each[WORDS_PORT] for each in inputs] if given.get("hybrid") else [],
        ),
    )


def decode(component: Component, body: bytes, inputs: Mapping[str, Value] = NOTHING) -> Reply:
    """The passages, nearest first; a higher score is always nearer."""
    return decode_many(component, body, [inputs])[0]


def decode_many(component: Component, body: bytes, inputs: Sequence[Mapping[str, Value]]) -> list[Reply]:
    """The passages of each query."""
    sign = sign_of(component)
    found = read(body, SearchReply, "a search result").hits
    if len(found) != len(inputs):
        raise MalformedReply(f"{len(found)} search results came back for {len(inputs)} queries")
    every = [[{"text": hit.text, "source": hit.source, "score": sign * hit.score} for hit in hits] for hits in found]
    return [Reply(checked(passages, ListOf(Passage()), "the search result")) for passages in every]


def sign_of(component: Component) -> float:
    """By what a figure of how near a passage is becomes its score: that of a distance is its negative."""
    is_distance = value_of("metric", component.settings, SETTINGS) == "L2" and not component.settings.get("hybrid")
    return -1.0 if is_distance else 1.0


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
    encode_many=encode_many,
    decode_many=decode_many,
    through={"query": Through("embedder", plain=WORDS_PORT, wherever="hybrid")},
    stateful=True,
    own_faults=faults,
    example='component minilm = embedder("all-MiniLM-L6-v2")\n'
    'component search = milvus("handbook", embedder: minilm, top_k: 8)',
)
