"""The parameters of each shipped card, counted anew from what its card and the model's config.json say."""

from dataclasses import dataclass

import pytest

from harmonia_compiler.contract.card import SHIPPED, Card, read_card


@dataclass(frozen=True)
class Decoder:
    """A decoder in the manner of Llama: RMS norms, a gated feed-forward part, keys and values in groups."""

    vocabulary: int
    feed_forward: int
    tied: bool = False
    biased: bool = False

    def count(self, card: Card) -> int:
        queries, keys = card.heads * card.head_dim, card.kv_heads * card.head_dim
        attention = 2 * card.hidden * queries + 2 * card.hidden * keys + (queries + 2 * keys if self.biased else 0)
        layer = attention + 3 * card.hidden * self.feed_forward + 2 * card.hidden
        return self.vocabulary * card.hidden * (1 if self.tied else 2) + card.layers * layer + card.hidden


@dataclass(frozen=True)
class Encoder:
    """An encoder in the manner of BERT: learnt positions, layer norms, biases everywhere, and a head."""

    vocabulary: int
    feed_forward: int
    positions: int = 512
    types: int = 2
    pooler: bool = True
    classifier: bool = False

    def count(self, card: Card) -> int:
        wide, norm, square = card.hidden, 2 * card.hidden, card.hidden * card.hidden + card.hidden
        embeddings = (self.vocabulary + self.positions + self.types) * wide + norm
        forward = 2 * wide * self.feed_forward + self.feed_forward + wide
        layers = card.layers * (4 * square + norm + forward + norm)
        return embeddings + layers + square * self.pooler + (wide + 1) * self.classifier


#: Figures of the published config.json that a card does not hold.
CONFIGS: dict[str, Decoder | Encoder] = {
    "all-minilm-l6-v2": Encoder(30_522, 1_536),
    "bge-base-en-v1.5": Encoder(30_522, 3_072),
    "bge-small-en-v1.5": Encoder(30_522, 1_536),
    # XLM-RoBERTa keeps two positions for padding; its head has a dense layer where BERT has the pooler.
    "bge-reranker-base": Encoder(250_002, 3_072, positions=514, types=1, classifier=True),
    "ms-marco-minilm-l6-v2": Encoder(30_522, 1_536, classifier=True),
    "llama-3.1-8b-instruct": Decoder(128_256, 14_336),
    "llama-3.2-3b-instruct": Decoder(128_256, 8_192, tied=True),
    "meta-llama-3-8b": Decoder(128_256, 14_336),
    "meta-llama-3-8b-instruct": Decoder(128_256, 14_336),
    "memorag-qwen2-7b-inst": Decoder(152_064, 18_944, biased=True),
    "mistral-7b-instruct-v0.2": Decoder(32_000, 14_336),
    "mistral-7b-instruct-v0.3": Decoder(32_768, 14_336),
    "qwen2.5-7b-instruct": Decoder(152_064, 18_944, biased=True),
    "smollm2-135m-instruct": Decoder(49_152, 1_536, tied=True),
}


def test_every_shipped_card_is_counted() -> None:
    assert {path.stem for path in SHIPPED.glob("*.toml")} == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_parameters_are_those_of_the_published_configuration(name: str) -> None:
    card = read_card(SHIPPED / f"{name}.toml")
    assert CONFIGS[name].count(card) == card.parameters
    assert card.vocabulary == (CONFIGS[name].vocabulary if card.role == "llm" else None)
