"""Emulated replicas of one small application over the wire, and how they are called."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from openai import AsyncOpenAI

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.card import load_cards
from harmonia_compiler.contract.launch import CALL_HEADER, REQUEST_HEADER
from harmonia_compiler.contract.types import Value
from harmonia_compiler.emulate.scenario import Scenario
from harmonia_compiler.emulate.servers.document import Rehearsal
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.servers.host import Host as Replicas
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.gateway.http_transport import HttpTransport
from harmonia_compiler.runtime.gateway.milvus_transport import MilvusTransport

MODEL = "meta-llama/Llama-3.2-3B-Instruct"
SOURCE = f"""
component minilm = embedder("all-MiniLM-L6-v2")
component search = milvus("docs", embedder: minilm, top_k: 4)
component rank = reranker("all-MiniLM-L6-v2", top_k: 2)
component walk(question: text) -> [text] ~ 3 = python("code:walk", takes: 5 ms)
component web = web_search("http://127.0.0.1:1/", top_k: 2, takes: 10 ms)
component model = llm("{MODEL}")
component grade(question: text) -> "yes" | "no" = model("Is it clear? {{question}}", max_tokens: 4)
component answer(question: text, passages: [passage], more: [text]) -> text ~ 30 tokens = model(max_tokens: 60, \"\"\"
    {{passages}}
    {{more}}
    {{question}}
    \"\"\")

pipeline ask(question: text ~ 20 tokens) -> text {{
    load 1 rps
    found = rank(question, search(question))
    if grade(question) == "no" ~ 0.4 {{ found = web(question) }}
    return stream answer(question, found, walk(question))
}}
"""


@asynccontextmanager
async def emulated(
    planned: Scenario, *faults: Fault, start_s: dict[str, float] | None = None
) -> AsyncIterator[tuple[Replicas, dict[str, Endpoint]]]:
    """Running replicas, and where each engine's first one listens."""
    outcomes = dict(planned.behaviour.outcomes)
    document = Rehearsal(planned.service, planned.plan.replicas, outcomes, 3, 1.0, start_s or {}, faults)
    # As it travels between processes.
    document = msgspec.json.decode(msgspec.json.encode(document), type=Rehearsal)
    replicas = Replicas(document, load_cards())
    endpoints = await replicas.start()
    replicas.begin()
    # What begins at once has begun.
    await asyncio.sleep(0.01)
    try:
        yield replicas, {endpoint.engine: endpoint for endpoint in reversed(endpoints)}
    finally:
        await replicas.stop()


def client(endpoint: Endpoint) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://127.0.0.1:{endpoint.port}/v1", api_key="unused", max_retries=0)


async def called(
    planned: Scenario, endpoint: Endpoint, component: str, request: str, place: str = "", **inputs: Value
) -> Value:
    """The value that a component's call gives, by the kind's own bytes and the gateway's own transports."""
    made = next(
        program.components[component]
        for program in planned.service.programs.values()
        if component in program.components
    )
    kind: Kind = kinds()[made.kind]
    engine = planned.service.engines[made.engine]
    if kind.external:
        engine = msgspec.structs.replace(engine, settings={"url": f"http://127.0.0.1:{endpoint.port}/"})
    wire = kind.encode(engine, made, inputs, stream=False)
    wire = msgspec.structs.replace(
        wire, headers=(*wire.headers, (REQUEST_HEADER, request), (CALL_HEADER, f"{component};{place}"))
    )
    transport = MilvusTransport() if kind.transport == "milvus" else HttpTransport()
    try:
        return kind.decode(made, await transport.send(endpoint, wire), inputs).value
    finally:
        await transport.close()
