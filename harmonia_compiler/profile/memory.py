"""What a replica of a model holds in memory: as it is planned, as it is shown, and as it is imitated."""

from dataclasses import dataclass

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.llm import kv_cache_gib
from harmonia_compiler.kinds.vllm import CPU_RUNTIME_GIB, is_on_vllm
from harmonia_compiler.profile.assumptions import (
    GPU_MEMORY_SHARE,
    GPU_RUNTIME_GIB,
    TORCH_RUNTIME_GIB,
    VLLM_ENCODER_RUNTIME_GIB,
    WEIGHT_BYTES,
)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one replica, over all of its devices, in GiB. `rest_gib` is for activations and the engine itself."""

    weights_gib: float
    cache_gib: float
    rest_gib: float


def precision_of(engine: Engine, card: Card, native: str = "bf16") -> str:
    """The numbers of an engine's weights: as it says, or what its kind takes on hardware with `native` ones."""
    return str(engine.settings.get("precision", native if card.role == "llm" else "fp32"))


def weight_bytes(engine: Engine, card: Card, native: str = "bf16") -> float:
    """Bytes of a weight as the engine holds it on hardware that has `native` numbers."""
    return WEIGHT_BYTES.get(precision_of(engine, card, native), card.weight_bytes)


def encoder_runtime_gib(engine: Engine) -> float:
    """Memory of an encoder's server on cores, beside the weights."""
    return VLLM_ENCODER_RUNTIME_GIB if is_on_vllm(engine) else TORCH_RUNTIME_GIB


def memory_of(engine: Engine, card: Card, configuration: Configuration) -> Memory:
    """The memory of a replica in a configuration. On GPUs the KV cache is given what the rest leaves."""
    weights = card.parameters * weight_bytes(engine, card, configuration.precision) / 2**30
    writes = card.role == "llm"
    if not configuration.gpu:
        if not writes:
            return Memory(weights, 0.0, encoder_runtime_gib(engine))
        # The weights lie there as published before they are of another precision.
        cache = float(kv_cache_gib(engine, card, configuration))
        return Memory(max(weights, card.weights_gib), cache, CPU_RUNTIME_GIB)
    rest = GPU_RUNTIME_GIB * configuration.tensor_parallel
    usable = configuration.gpu_memory_gib * GPU_MEMORY_SHARE * configuration.tensor_parallel
    return Memory(weights, usable - rest - weights if writes else 0.0, rest)
