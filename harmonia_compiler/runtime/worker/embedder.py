"""The role `embedder`: `/v1/embeddings`."""

import argparse
import base64
import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from starlette.responses import Response

from harmonia_compiler.kinds.openai import EMBEDDINGS
from harmonia_compiler.runtime.worker.batching import Batcher, Overloaded
from harmonia_compiler.runtime.worker.encoder import TextEncoder, use_cores
from harmonia_compiler.runtime.worker.server import Handler, Refusal, check_model, json_response, read_body, texts_of

MOST_TEXTS = 2048


class _Ask(msgspec.Struct):
    input: Any
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


class Embedder:
    """A text encoder behind its route; what comes in at once is encoded at once."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model = str(arguments.model)
        self._arguments = arguments
        self._batcher: Batcher[str, tuple[list[float], int]] = Batcher(self._encode, most=256)

    def load(self) -> None:
        """Load the model and encode one text."""
        given = self._arguments
        use_cores(given.cores)
        self._encoder = TextEncoder(given.weights, device=given.device, precision=given.precision, per_pass=given.batch)
        [(vector, _)] = self._encode(["ready"])
        self._dimensions = len(vector)

    def routes(self) -> Sequence[tuple[str, Handler]]:
        """The OpenAI route."""
        return [(EMBEDDINGS, self._embeddings)]

    def _encode(self, texts: Sequence[str]) -> list[tuple[list[float], int]]:
        return [(vector.tolist(), tokens) for vector, tokens in self._encoder.vectors(texts)]

    async def _embeddings(self, body: bytes) -> Response:
        ask = read_body(body, _Ask)
        check_model(self, ask.model)
        if ask.dimensions not in (None, self._dimensions):
            message = f"`dimensions` cannot be {ask.dimensions}: the vectors of `{self.model}` have {self._dimensions}"
            raise Refusal(400, "invalid_request_error", message)
        texts = texts_of(ask.input, MOST_TEXTS)
        try:
            results = await self._batcher.submit(texts)
        except Overloaded as problem:
            raise Refusal(503, "overloaded", "too many texts are waiting") from problem
        tokens = sum(count for _, count in results)
        return json_response(
            {
                "object": "list",
                "model": self.model,
                "data": [
                    {"object": "embedding", "index": at, "embedding": _written(vector, ask.encoding_format)}
                    for at, (vector, _) in enumerate(results)
                ],
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )


def _written(vector: list[float], encoding: str) -> list[float] | str:
    """A vector as numbers, or as base64 of little-endian 32-bit numbers."""
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def make_role(arguments: argparse.Namespace) -> Embedder:
    """The role for these arguments."""
    return Embedder(arguments)
