"""Embedders and rerankers, by roofline: a call is one pass over its sequences."""

from collections.abc import Mapping

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.profile.assumptions import (
    ENCODER_BATCHES,
    ENCODER_CALL_MS,
    ENCODER_EFFICIENCY,
    FP32_RATE,
    GPU_HOST_CORES,
    GPU_HOST_MEMORY_GIB,
    GPU_MEMORY_SHARE,
    GPU_RUNTIME_GIB,
    TORCH_RUNTIME_GIB,
    WEIGHT_BYTES,
)
from harmonia_compiler.profile.device import cpu_parts, gpu_parts
from harmonia_compiler.profile.llm import CPU_ROOFLINE, ROOFLINE
from harmonia_compiler.profile.profiles import Asked, Offer, Option, Shortfall
from harmonia_compiler.profile.queueing import with_wait_ms


def offer(asked: Asked, card: Card, inventory: Inventory) -> Offer:
    """Fractions of GPUs and single ones, with several calls in a pass; cores, with one."""
    weight_bytes = WEIGHT_BYTES.get(str(asked.engine.settings.get("precision", "fp32")), card.weight_bytes)
    weights_gib = card.parameters * weight_bytes / 2**30
    rate = FP32_RATE if weight_bytes > 2 else 1.0
    # Tables of embeddings are looked up, not multiplied, and make up much of a small encoder.
    multiplied = 12.0 * card.layers * card.hidden**2
    flops = {name: 2.0 * multiplied * work.encoded_tokens / rate for name, work in asked.work.items()}
    weights = card.parameters * weight_bytes
    options: list[Option] = []
    for part in gpu_parts(inventory, (1,)):
        if weights_gib + GPU_RUNTIME_GIB > part.device_memory_gib * GPU_MEMORY_SHARE:
            continue
        for batch in ENCODER_BATCHES:
            configuration = Configuration(
                cores=GPU_HOST_CORES,
                memory_gib=GPU_HOST_MEMORY_GIB,
                gpu=part.type,
                gpus=part.gpus,
                gpu_memory_gib=part.device_memory_gib,
                batch=batch,
            )
            passes = {
                name: ENCODER_CALL_MS
                + max(batch * one / (part.flops_per_ms * ENCODER_EFFICIENCY), weights / part.bytes_per_ms)
                for name, one in flops.items()
            }
            options.append(_option(configuration, passes, ROOFLINE))
    memory = round(weights_gib + TORCH_RUNTIME_GIB + 0.005, 2)
    largest = max((host.memory_gib for host in inventory.hosts), default=0.0)
    for cores in cpu_parts(inventory) if memory <= largest else ():
        passes = {
            name: ENCODER_CALL_MS / min(1.0, cores.cores) + max(one / cores.flops_per_ms, weights / cores.bytes_per_ms)
            for name, one in flops.items()
        }
        options.append(_option(Configuration(cores=cores.cores, memory_gib=memory), passes, CPU_ROOFLINE))
    return Offer(tuple(options), () if options else (Shortfall("GiB of memory", memory, largest),))


def _option(configuration: Configuration, passes: Mapping[str, float], provenance: str) -> Option:
    latency = {name: with_wait_ms(one, 1) for name, one in passes.items()}
    busy = {name: one / configuration.batch for name, one in passes.items()}
    return Option(configuration, busy, latency, latency, provenance)
