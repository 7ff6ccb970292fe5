"""Works out again what the replicas of models hold, for the verifier: from the models' cards, and not as planned.

Nothing of what makes plans is called here, nor what profiles hold it to be; only constants and cards are shared.
"""

import math
from collections.abc import Iterator

from harmonia_compiler.contract.card import Card, load_cards
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.plan import Configuration, Plan
from harmonia_compiler.kinds.llm import context_length
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.kinds.vllm import CPU_RUNTIME_GIB, is_on_vllm
from harmonia_compiler.plan.recount import near
from harmonia_compiler.profile.assumptions import (
    GPU_MEMORY_SHARE,
    GPU_RUNTIME_GIB,
    TORCH_RUNTIME_GIB,
    VLLM_ENCODER_RUNTIME_GIB,
    WEIGHT_BYTES,
)

_GIB = 2.0**30


def memory_miscounted(plan: Plan) -> Iterator[str]:
    """What is wrong with the memory of a plan that has an entry for each configuration of a model, a sentence each."""
    cards = load_cards()
    used = {(one.engine, one.config.describe()): one.config for one in reversed(plan.replicas)}
    for said in plan.memory:
        engine, config = plan.engines[said.engine], used[said.engine, said.config]
        model = kinds()[engine.kind].model_of(engine)
        card = None if model is None else cards.get(model)
        if card is None:
            yield f"no card says what the model of {said.engine} holds"
            continue
        weights, cache, rest = _gib(engine, card, config)
        counted = {
            "GiB of weights": (said.weights_gib, weights),
            "GiB of cache": (said.cache_gib, cache),
            "tokens in its cache": (said.cache_tokens, cache * _GIB / _token_bytes(engine, card, config)),
            "GiB besides": (said.rest_gib, rest),
        }
        for what, (figure, found) in counted.items():
            if not near(figure, found):
                yield f"a replica of {said.engine} as {said.config} has {found:.6g} {what}, not {figure:.6g}"


def _gib(engine: Engine, card: Card, config: Configuration) -> tuple[float, float, float]:
    """Of weights, of the KV cache, and of the rest: over all devices of a replica, or of its host without any."""
    precision = _precision(engine, card, config)
    weights = WEIGHT_BYTES.get(precision, card.weight_bytes) * card.parameters / _GIB
    if config.gpu:
        whole, rest = (
            config.tensor_parallel * each for each in (config.gpu_memory_gib * GPU_MEMORY_SHARE, GPU_RUNTIME_GIB)
        )
        return weights, whole - weights - rest if card.role == "llm" else 0.0, rest
    if card.role != "llm":
        return weights, 0.0, VLLM_ENCODER_RUNTIME_GIB if is_on_vllm(engine) else TORCH_RUNTIME_GIB
    # The weights as published lie there first; vLLM is told the cache in whole GiB, of which it needs one.
    published = card.weight_bytes * card.parameters / _GIB
    loaded = max(published, (4.0 if precision == "fp32" else 2.0) * card.parameters / _GIB)
    full = config.batch * context_length(engine, card) * _token_bytes(engine, card, config) / _GIB
    left = config.memory_gib - CPU_RUNTIME_GIB - loaded
    cache = max(1.0, float(min(math.ceil(full), math.floor(left))))
    return max(weights, published), cache, CPU_RUNTIME_GIB


def _precision(engine: Engine, card: Card, config: Configuration) -> str:
    """The numbers that its weights are: what the component asks for, or what the hardware takes for such a model."""
    usual = config.precision if card.role == "llm" else "fp32"
    return str(engine.settings.get("precision", usual))


def _token_bytes(engine: Engine, card: Card, config: Configuration) -> float:
    """Bytes of a key and a value of each head in each layer."""
    numbers = 2 * card.layers * card.kv_heads * card.head_dim
    return numbers * (4.0 if _precision(engine, card, config) == "fp32" else 2.0)
