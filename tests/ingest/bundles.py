"""A running bundle as far as ingestion sees one."""

import json
from pathlib import Path
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import Contents, Endpoint, Endpoints, Service
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.contract.component import Component, Engine, Port
from harmonia_compiler.contract.program import Parameter, Program, ProgramParameter
from harmonia_compiler.contract.types import ListOf, Passage, Text, Vector
from tests.ingest.fakes import RECORD


def write_bundle(
    folder: Path, *, record: CollectionRecord = RECORD, milvus: int | None = 1, embedder: int | None = 1
) -> Path:
    """A bundle whose component `search` fills `handbook`; ports say what is ready, None what is not."""
    components = {
        "minilm": Component("minilm", "embedder", "embedder-1", (Port("text", Text()),), Vector()),
        "search": Component(
            "search",
            "milvus",
            "milvus-1",
            (Port("query", Text()),),
            ListOf(Passage()),
            settings={"collection": "handbook", "embedder": "minilm"},
        ),
    }
    program = Program(
        "ask", (ProgramParameter("question", Text()),), Text(), (Parameter("question"),), 0, components=components
    )
    engines = {
        "embedder-1": Engine("embedder-1", "embedder", {"model": "hashes"}),
        "milvus-1": Engine("milvus-1", "milvus", {}),
    }
    ready = [("milvus-1", milvus), ("embedder-1", embedder)]
    endpoints = tuple(Endpoint(f"{engine}/0", engine, "127.0.0.1", port) for engine, port in ready if port is not None)
    documents: dict[str, Any] = {
        "bundle.json": Contents("local", ()),
        "service.json": Service({"ask": program}, engines, {"handbook": record}, {}),
        "run/endpoints.json": Endpoints(endpoints, 1),
    }
    for name, document in documents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(msgspec.json.encode(document))
    return folder


def parsed(output: str) -> dict[str, Any]:
    """A command's JSON."""
    document: dict[str, Any] = json.loads(output)
    return document
