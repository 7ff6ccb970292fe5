"""The role `embedder`: `/v1/embeddings`."""

import argparse
from collections.abc import Sequence

from starlette.responses import Response

from harmonia_compiler.kinds.openai import EMBEDDINGS
from harmonia_compiler.runtime.worker.batching import Batcher, Overloaded
from harmonia_compiler.runtime.worker.encoder import TextEncoder, use_cores
from harmonia_compiler.runtime.worker.encoder_routes import EmbeddingAsk
from harmonia_compiler.runtime.worker.server import Handler, Refusal, json_response, read_body


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
        ask = read_body(body, EmbeddingAsk)
        texts = ask.texts(self.model, self._dimensions)
        try:
            results = await self._batcher.submit(texts)
        except Overloaded as problem:
            raise Refusal(503, "overloaded", "too many texts are waiting") from problem
        tokens = sum(count for _, count in results)
        return json_response(ask.answer(self.model, [vector for vector, _ in results], tokens))


def make_role(arguments: argparse.Namespace) -> Embedder:
    """The role for these arguments."""
    return Embedder(arguments)
