"""Attention of several sequences in one step, for transformers' continuous batching where no flash-attn is installed.

What transformers does there by itself lets each token look at the tokens of all sequences and masks most of
them: a step takes longer by its tokens times all of its context, which no engine that people
serve with does. These let a sequence look at its own tokens alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "packed"


@dataclass(frozen=True, slots=True)
class Packed:
    """Sequences one after the other, as (tokens, heads, numbers): where each ends, and the most tokens of one.

    Of each, the queries are those of its last tokens.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    query_ends: torch.Tensor
    key_ends: torch.Tensor
    most_queries: int
    most_keys: int
    scale: float | None = None


Attend = Callable[[Packed], torch.Tensor]


def flash(packed: Packed) -> torch.Tensor:
    """All sequences in one kernel, which torch has for GPUs."""
    attended: torch.Tensor = torch.ops.aten._flash_attention_forward(  # noqa: SLF001
        packed.query.contiguous(),
        packed.key.contiguous(),
        packed.value.contiguous(),
        packed.query_ends,
        packed.key_ends,
        packed.most_queries,
        packed.most_keys,
        dropout_p=0.0,
        is_causal=True,
        return_debug_mask=False,
        scale=packed.scale,
    )[0]
    return attended


def one_by_one(packed: Packed) -> torch.Tensor:
    """A sequence after the other, on any device."""
    # A step of a fixed size has tokens after the last sequence's, which are nobody's.
    attended = torch.zeros_like(packed.query)
    spans = zip(pairwise(packed.query_ends.tolist()), pairwise(packed.key_ends.tolist()), strict=True)
    for (query_begin, query_end), (key_begin, key_end) in spans:
        new, all_of_it = query_end - query_begin, key_end - key_begin
        # Each new token looks at what was before all of them, and at the new ones up to itself.
        mask = torch.ones(new, all_of_it, dtype=torch.bool, device=packed.query.device).tril(all_of_it - new)
        found = scaled_dot_product_attention(
            packed.query[query_begin:query_end].transpose(0, 1).unsqueeze(0),
            packed.key[key_begin:key_end].transpose(0, 1).unsqueeze(0),
            packed.value[key_begin:key_end].transpose(0, 1).unsqueeze(0),
            attn_mask=None if new == 1 else mask,
            scale=packed.scale,
            enable_gqa=True,
        )
        attended[query_begin:query_end] = found.squeeze(0).transpose(0, 1)
    return attended


def register(device: str) -> str:
    """Let models on a device find it under `NAME`; which of the two it is."""
    attend: Attend = flash if device == "cuda" and _agrees(flash) else one_by_one

    def forward(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,  # noqa: ARG001
        *,
        cache: Any,
        scaling: float | None = None,
        **given: Any,
    ) -> tuple[torch.Tensor, None]:
        """What a layer of the model calls. The cache gives the keys and values of before, and adds to `given`."""
        key, value = cache.update(key_states=key, value_states=value, layer_idx=module.layer_idx, kwargs=given)
        query, key, value = (part.squeeze(0).transpose(0, 1) for part in (query, key, value))
        ends = given["cu_seq_lens_q"].to(torch.int32), given["cu_seq_lens_k"]
        packed = Packed(query, key, value, *ends, given["max_length_q"], given["max_length_k"], scaling)
        return attend(packed).unsqueeze(0), None

    AttentionInterface.register(NAME, forward)
    return attend.__name__.replace("_", " ")


def _agrees(attend: Attend) -> bool:
    """Whether it computes on this GPU what `one_by_one` does, for prompts, their parts and decoding tokens together."""
    generator = torch.Generator("cuda").manual_seed(3)
    new, before = [1, 1, 130, 7], [900, 3, 0, 60]
    keys = list(map(int.__add__, new, before))

    def ends(lengths: list[int]) -> torch.Tensor:
        return torch.tensor([0, *lengths], device="cuda").cumsum(0).to(torch.int32)

    def drawn(tokens: int, heads: int) -> torch.Tensor:
        return torch.randn(tokens, heads, 64, device="cuda", dtype=torch.bfloat16, generator=generator)

    packed = Packed(
        drawn(sum(new), 8), drawn(sum(keys), 2), drawn(sum(keys), 2), ends(new), ends(keys), max(new), max(keys)
    )
    try:
        found = attend(packed).float()
    except (RuntimeError, TypeError) as refused:
        print(f"{attend.__name__} does not work here: {refused}")
        return False
    wanted = one_by_one(packed).float()
    off = float(torch.linalg.vector_norm(found - wanted) / torch.linalg.vector_norm(wanted))
    print(f"{attend.__name__} is off by {off:.1e}")
    return off < 0.01
