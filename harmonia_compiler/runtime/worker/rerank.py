"""The role `rerank`: `/v1/rerank`, with a cross-encoder, or with an embedding model by a passage's best sentence.

A passage is mostly about something else than the one sentence that answers; its vector as a whole
blurs that sentence, which is what the retriever has already seen. Its best sentence is finer, but
loses what the passage is about. The mean of both finds more answers than either. What a passage and
its sentences are encoded to depends on no query, and so is kept for the next that finds it.
"""

import argparse
from collections.abc import Sequence
from typing import Protocol

import torch
from starlette.responses import Response

from harmonia_compiler.kinds.openai import RERANK
from harmonia_compiler.runtime.worker.batching import Batcher, Overloaded
from harmonia_compiler.runtime.worker.encoder import PairScorer, TextEncoder, is_cross_encoder, use_cores
from harmonia_compiler.runtime.worker.encoder_routes import RerankAsk
from harmonia_compiler.runtime.worker.kept import Kept
from harmonia_compiler.runtime.worker.sentences import sentences
from harmonia_compiler.runtime.worker.server import Handler, Refusal, json_response, read_body

#: Texts whose vectors are kept: with 1,024 numbers each, 64 MB.
MOST_KEPT = 16_384


class Scorer(Protocol):
    """Scores pairs of a query and a document; higher is better."""

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
        """A score, and how many tokens were read for it, for each pair."""
        ...


class BestSentence:
    """The mean of the query's similarity to the document and to the document's nearest sentence."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._kept = Kept(self._units, most=MOST_KEPT)

    def scores(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
        """As the protocol says, from -1 to 1; a text that occurs more than once is encoded once."""
        cut = {document: [document, *sentences(document)] for _, document in pairs}
        encoded = self._kept.of([*(query for query, _ in pairs), *(each for parts in cut.values() for each in parts)])
        return [
            (
                _whole_and_best([float(encoded[part][0] @ encoded[query][0]) for part in cut[document]]),
                encoded[query][1] + sum(encoded[part][1] for part in cut[document]),
            )
            for query, document in pairs
        ]

    def _units(self, texts: Sequence[str]) -> list[tuple[torch.Tensor, int]]:
        """Vectors of length 1, each with memory of its own: a row would keep the whole pass that it came from."""
        return [(vector / vector.norm().clamp(min=1e-9), tokens) for vector, tokens in self._encoder.vectors(texts)]


def _whole_and_best(similarities: list[float]) -> float:
    """Of a document followed by its sentences."""
    whole, *parts = similarities
    return (whole + max(parts, default=whole)) / 2


class Reranker:
    """A scorer behind its route; pairs that come in at once are scored at once."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.model = str(arguments.model)
        self._arguments = arguments
        self._batcher: Batcher[tuple[str, str], tuple[float, int]] = Batcher(self._score, most=256)

    def load(self) -> None:
        """Load the model and score one pair."""
        given = self._arguments
        use_cores(given.cores)
        settings = {"device": given.device, "precision": given.precision, "per_pass": given.batch}
        self._scorer: Scorer = (
            PairScorer(given.weights, **settings)
            if is_cross_encoder(given.weights)
            else BestSentence(TextEncoder(given.weights, **settings))
        )
        self._score([("ready?", "Ready.")])

    def routes(self) -> Sequence[tuple[str, Handler]]:
        """The route that Jina, Cohere and vLLM share."""
        return [(RERANK, self._rerank)]

    def _score(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
        return self._scorer.scores(pairs)

    async def _rerank(self, body: bytes) -> Response:
        ask = read_body(body, RerankAsk)
        documents = ask.texts(self.model)
        try:
            scored = await self._batcher.submit([(ask.query, document) for document in documents])
        except Overloaded as problem:
            raise Refusal(503, "overloaded", "too many documents are waiting") from problem
        tokens = sum(count for _, count in scored)
        return json_response(ask.answer(self.model, documents, [score for score, _ in scored], tokens))


def make_role(arguments: argparse.Namespace) -> Reranker:
    """The role for these arguments."""
    return Reranker(arguments)
