"""The two first samples as what checking makes of them, so that planning is tested on its own."""

from msgspec.structs import replace

from harmonia_compiler.contract.component import Component, Engine, Insert, Port
from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.contract.program import Call, Compare, Constant, Parameter, Select
from harmonia_compiler.contract.types import Labels, ListOf, Passage, Text, Vector
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.flow.graph import Application, Flow, Load, Node
from harmonia_compiler.flow.passes.registry import optimise

QUESTION = Port("question", Text())
PASSAGES = Port("passages", ListOf(Passage()))

ENGINES = {
    "minilm": Engine("minilm", "embedder", {"model": "all-MiniLM-L6-v2"}),
    "milvus": Engine("milvus", "milvus", {}),
    "rerank": Engine("rerank", "reranker", {"model": "ms-marco-MiniLM-L-6-v2"}),
    "small": Engine("small", "llm", {"model": "SmolLM2-135M-Instruct", "max_model_len": 4096}),
    "library": Engine("library", "python", {"function": "library:search", "cores": 0.5, "memory": 0.5}),
}

_PROMPT = (Insert("passages"), "\n\nQuestion: ", Insert("question"))

COMPONENTS = {
    one.name: one
    for one in (
        Component("minilm", "embedder", "minilm", (Port("text", Text()),), Vector()),
        Component(
            "search",
            "milvus",
            "milvus",
            (Port("query", Text()),),
            ListOf(Passage()),
            settings={"collection": "docs", "embedder": "minilm", "top_k": 20},
        ),
        Component(
            "rerank", "reranker", "rerank", (Port("query", Text()), PASSAGES), ListOf(Passage()), settings={"top_k": 5}
        ),
        Component("grade", "llm", "small", (QUESTION, PASSAGES), Labels(("yes", "no")), prompt=_PROMPT),
        Component("rewrite", "llm", "small", (QUESTION,), Text(), size=12.0, prompt=(Insert("question"),)),
        Component("library", "python", "library", (Port("query", Text()),), ListOf(Passage()), size=4.0),
        Component(
            "answer",
            "llm",
            "small",
            (QUESTION, PASSAGES),
            Text(),
            size=60.0,
            prompt=_PROMPT,
            settings={"max_tokens": 128, "temperature": 0},
        ),
    )
}

_FOUND = (
    Node(Parameter("question"), Text()),
    Node(Call("search", ("query",), (0,)), ListOf(Passage())),
    Node(Call("rerank", ("query", "passages"), (0, 1)), ListOf(Passage())),
)

_QUICKSTART = Flow(
    "quickstart",
    (Port("question", Text(), 15.0),),
    Text(),
    (*_FOUND, Node(Call("answer", ("question", "passages"), (0, 2)), Text())),
    3,
    streams=True,
    objectives=(Objective("latency", 0.95, 60_000.0), Objective("ttft", 0.95, 30_000.0)),
    load=Load(0.05, 0.05),
)

_CORRECTIVE = Flow(
    "corrective",
    (Port("question", Text(), 15.0),),
    Text(),
    (
        *_FOUND,
        Node(Call("grade", ("question", "passages"), (0, 2)), Labels(("yes", "no"))),
        Node(Constant("no"), Labels(("no",))),
        Node(Compare("==", 3, 4), Text()),
        Node(Call("rewrite", ("question",), (0,)), Text()),
        Node(Call("library", ("query",), (6,)), ListOf(Passage())),
        Node(Select(5, 7, 2), ListOf(Passage()), share=0.3),
        Node(Call("answer", ("question", "passages"), (0, 8)), Text()),
    ),
    9,
    streams=True,
    objectives=(Objective("latency", 0.95, 120_000.0),),
    load=Load(0.02, 0.02),
)


def quickstart(
    *, load: Load | None = _QUICKSTART.load, objectives: tuple[Objective, ...] = _QUICKSTART.objectives
) -> Application:
    """Retrieve, rerank, generate."""
    return application(replace(_QUICKSTART, load=load, objectives=objectives))


def corrective() -> Application:
    """The same with a graded branch."""
    return application(_CORRECTIVE)


def application(*flows: Flow) -> Application:
    """Flows over these components, after the passes."""
    return optimise(Application(ENGINES, COMPONENTS, flows, (Source("samples/sample.rag", "text"),)))
