"""What the routes of embedders and rerankers take and give, whoever encodes: a worker or an emulated one."""

import base64
import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from harmonia_compiler.runtime.worker.server import check_model, texts_of, unfit

MOST_TEXTS, MOST_DOCUMENTS = 2048, 1024


class EmbeddingAsk(msgspec.Struct):
    """`POST /v1/embeddings`: OpenAI's."""

    input: Any
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None

    def texts(self, model: str, dimensions: int) -> list[str]:
        """What `model` is to encode to vectors of so many `dimensions`; raises Refusal for what it cannot."""
        check_model(model, self.model)
        if self.dimensions not in (None, dimensions):
            message = f"`dimensions` cannot be {self.dimensions}: the vectors of `{model}` have {dimensions}"
            raise unfit(message, "dimensions")
        return texts_of(self.input, MOST_TEXTS)

    def answer(self, model: str, vectors: Sequence[list[float]], tokens: int) -> dict[str, Any]:
        """The vectors of the texts in their order, for which so many tokens were read."""
        return {
            "object": "list",
            "model": model,
            "data": [
                {"object": "embedding", "index": at, "embedding": _written(vector, self.encoding_format)}
                for at, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }


class RerankAsk(msgspec.Struct):
    """`POST /v1/rerank`: what Jina, Cohere and vLLM share."""

    query: str
    documents: list[Any]
    model: str | None = None
    top_n: int | None = None
    return_documents: bool = False

    def texts(self, model: str) -> list[str]:
        """The documents that `model` is to score; raises Refusal for what it cannot."""
        check_model(model, self.model)
        if self.top_n is not None and self.top_n < 1:
            raise unfit(f"`top_n` must be 1 or more, not {self.top_n}", "top_n")
        documents = [_text(document) for document in self.documents]
        return texts_of(documents, MOST_DOCUMENTS) if documents else []

    def answer(self, model: str, documents: Sequence[str], scores: Sequence[float], tokens: int) -> dict[str, Any]:
        """The documents that were asked for, the best first and of equal ones the first, after so many tokens."""
        order = sorted(range(len(documents)), key=lambda at: (-scores[at], at))[: self.top_n]
        results = [
            {"index": at, "relevance_score": scores[at]}
            | ({"document": {"text": documents[at]}} if self.return_documents else {})
            for at in order
        ]
        return {"model": model, "results": results, "usage": {"total_tokens": tokens}}


def _text(document: Any) -> Any:
    """A document is a text, or an object that has one."""
    return document.get("text") if isinstance(document, dict) else document


def _written(vector: list[float], encoding: str) -> list[float] | str:
    """A vector as numbers, or as base64 of little-endian 32-bit numbers."""
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
