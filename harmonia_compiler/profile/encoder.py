"""Embedders and rerankers, by roofline: a call is one pass over its sequences.

NVIDIA's tables do not say it better. They are of the kernels by which vLLM runs models that write: attention looks
back only, and the shapes that were measured are those of models of billions of parameters. Encoders look both ways, are
much narrower, and run in torch here, where launching their small kernels counts as well.

What is longer than a model's window is cut there, by our worker as by vLLM, and takes no time.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.assumptions import (
    ENCODER_BATCHES,
    ENCODER_CALL_MS,
    ENCODER_EFFICIENCY,
    FP32_RATE,
    GPU_HOST_CORES,
    GPU_HOST_MEMORY_GIB,
    GPU_MEMORY_SHARE,
    GPU_RUNTIME_GIB,
)
from harmonia_compiler.profile.device import CpuPart, GpuPart, cpu_parts, gpu_parts
from harmonia_compiler.profile.memory import encoder_runtime_gib, weight_bytes
from harmonia_compiler.profile.profiles import Asked, Offer, Option, Shortfall
from harmonia_compiler.profile.queueing import with_wait_ms
from harmonia_compiler.profile.sources import CPU_ROOFLINE, ROOFLINE


@dataclass(frozen=True, slots=True)
class Passes:
    """The time of a pass, by roofline: every token once through the layers, every weight read once.

    Of a sequence no more than `window` tokens are read.
    """

    token_flops: float
    weight_bytes: float
    flops_per_ms: float
    bytes_per_ms: float
    call_ms: float
    window: float

    def ms(self, calls: Iterable[Work]) -> float:
        """The time of one pass over all sequences of these calls, in ms; those of one are taken to be equally long."""
        tokens = sum(min(call.encoded_tokens, self.window * call.encoded_items) for call in calls)
        return self.call_ms + max(tokens * self.token_flops / self.flops_per_ms, self.weight_bytes / self.bytes_per_ms)


def passes(engine: Engine, card: Card, part: GpuPart | CpuPart) -> Passes:
    """The passes of an encoder on a part of a GPU or on some cores."""
    each = weight_bytes(engine, card)
    rate = FP32_RATE if each > 2 else 1.0
    # Tables of embeddings are looked up, not multiplied, and make up much of a small encoder.
    multiplied = 12.0 * card.layers * card.hidden**2
    on_gpu = isinstance(part, GpuPart)
    return Passes(
        token_flops=2.0 * multiplied / rate,
        weight_bytes=card.parameters * each,
        flops_per_ms=part.flops_per_ms * (ENCODER_EFFICIENCY if on_gpu else 1.0),
        bytes_per_ms=part.bytes_per_ms,
        call_ms=ENCODER_CALL_MS if isinstance(part, GpuPart) else ENCODER_CALL_MS / min(1.0, part.cores),
        window=window(engine, card),
    )


def window(engine: Engine, card: Card) -> float:
    """The most tokens of a sequence; of a query and a passage together where it scores pairs of them.

    An embedding model that reranks reads each sentence of a passage as a sequence of its own, so that none is cut.
    """
    is_by_sentence = card.role == "embedder" and "reranker" in kinds()[engine.kind].roles
    return math.inf if is_by_sentence else float(card.context)


def offer(asked: Asked, card: Card, inventory: Inventory) -> Offer:
    """Fractions of GPUs and single ones, with several calls in a pass; cores, with one."""
    weights_gib = card.parameters * weight_bytes(asked.engine, card) / 2**30
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
            options.append(_option(asked, configuration, passes(asked.engine, card, part), ROOFLINE))
    memory = round(weights_gib + encoder_runtime_gib(asked.engine) + 0.005, 2)
    largest = max((host.memory_gib for host in inventory.hosts), default=0.0)
    for cores in cpu_parts(inventory) if memory <= largest else ():
        configuration = Configuration(cores=cores.cores, memory_gib=memory)
        options.append(_option(asked, configuration, passes(asked.engine, card, cores), CPU_ROOFLINE))
    return Offer(tuple(options), () if options else (Shortfall("GiB of memory", memory, largest),))


def _option(asked: Asked, configuration: Configuration, model: Passes, provenance: str) -> Option:
    """A pass of as many calls as the configuration takes together."""
    whole = {name: model.ms([work] * configuration.batch) for name, work in asked.work.items()}
    latency = {name: with_wait_ms(one, 1) for name, one in whole.items()}
    busy = {name: one / configuration.batch for name, one in whole.items()}
    return Option(configuration, busy, latency, latency, provenance)
