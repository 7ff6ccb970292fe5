"""What bounds the steps of a language model's engine: the figures that its scheduler works with."""

from dataclasses import dataclass

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.llm import context_length
from harmonia_compiler.kinds.vllm import step_tokens
from harmonia_compiler.profile.memory import memory_of, precision_of

#: The contexts that an engine is measured with, in tokens: a sweep needs some room, and no model has so many.
LEAST_CONTEXT, MOST_CONTEXT = 64, 2**24
#: Tokens in a block of vLLM's KV cache where nobody says otherwise.
_BLOCK, _CPU_BLOCK = 16, 128


@dataclass(frozen=True, slots=True)
class Limits:
    """vLLM's settings by other names, and the size of its KV cache.

    `kv_blocks` can be held by sequences, `block_size` tokens each; a step computes `step_tokens` at
    most (`--max-num-batched-tokens`) for `sequences` at most (`--max-num-seqs`), each of `context`
    tokens at most (`--max-model-len`). `ahead`: the next step is decided on while one runs, as vLLM
    does on GPUs and not on CPUs. `by_priority`: the lowest priority value goes first, and not who came first.
    A prompt that does not fit into a step is computed in several (`--enable-chunked-prefill`), and what prompts begin
    with alike is computed once (`prefix_caching`, `--enable-prefix-caching`).
    """

    kv_blocks: int
    step_tokens: int
    sequences: int
    context: int
    block_size: int = 16
    ahead: bool = False
    by_priority: bool = False
    prefix_caching: bool = True


def limits_for(engine: Engine, card: Card, configuration: Configuration) -> Limits:
    """The limits of a language model's engine as it is launched in a configuration."""
    context = context_length(engine, card)
    block = _BLOCK if configuration.gpu else _CPU_BLOCK
    cache_bytes = memory_of(engine, card, configuration).cache_gib * 2**30
    each = card.kv_bytes_per_token(precision_of(engine, card, configuration.precision))
    tokens = max(cache_bytes / each, float(context))
    return Limits(
        kv_blocks=int(tokens // block),
        step_tokens=step_tokens(configuration),
        sequences=configuration.batch,
        context=context,
        block_size=block,
        ahead=bool(configuration.gpu),
        by_priority=True,
    )
