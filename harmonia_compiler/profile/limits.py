"""What bounds the steps of a language model's engine: the figures that its scheduler works with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """vLLM's settings by other names, and the size of its KV cache.

    `kv_blocks` can be held by sequences, `block_size` tokens each; a step computes `step_tokens` at
    most (`--max-num-batched-tokens`) for `sequences` at most (`--max-num-seqs`), each of `context`
    tokens at most (`--max-model-len`). `ahead`: the next step is decided on while one runs, as vLLM
    does on GPUs and not on CPUs. `by_priority`: the lowest priority value goes first, and not who came first.
    """

    kv_blocks: int
    step_tokens: int
    sequences: int
    context: int
    block_size: int = 16
    ahead: bool = False
    by_priority: bool = False
    prefix_caching: bool = True
