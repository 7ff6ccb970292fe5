"""A language model under continuous batching, by whatever says how long its steps take.

Which configurations there are: what fits into memory, on groups and parts of GPUs, and on cores. What calls take in
each of them, by what they do to each other in a batch, is said in `batching.py`.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.kinds.llm import context_length
from harmonia_compiler.kinds.vllm import CPU_RUNTIME_GIB
from harmonia_compiler.profile.assumptions import (
    BATCHES,
    EFFICIENCY,
    GPU_HOST_CORES,
    GPU_HOST_MEMORY_GIB,
    GPU_MEMORY_SHARE,
    GPU_RUNTIME_GIB,
)
from harmonia_compiler.profile.batching import Batching, Size
from harmonia_compiler.profile.device import CpuPart, GpuPart, cpu_parts, gpu_parts, most_gpus, native_precision
from harmonia_compiler.profile.limits import limits_for
from harmonia_compiler.profile.memory import precision_of, weight_bytes
from harmonia_compiler.profile.profiles import Asked, Offer, Option, Shortfall
from harmonia_compiler.profile.sources import Sources


def offer(asked: Asked, card: Card, inventory: Inventory, sources: Sources) -> Offer:
    """Fractions and groups of GPUs, and cores, with every batch that the memory holds."""
    gpu, short = _on_gpus(_Model(asked, card, sources), inventory)
    cpu, also_short = _on_cpus(_Model(asked, card, sources, native_precision(inventory)), inventory)
    return Offer((*gpu, *cpu), tuple(one for one in (short, also_short) if one is not None))


class _Model:
    """What the engine's card and work say: what must fit into memory, and what a step is made of.

    `native` are the numbers that the hardware multiplies fast; of 16-bit ones all take the same memory.
    """

    def __init__(self, asked: Asked, card: Card, sources: Sources, native: str = "bf16") -> None:
        self.asked = asked
        self.card = card
        self.sources = sources
        self.weights_gib = card.parameters * weight_bytes(asked.engine, card, native) / 2**30
        self.kv_bytes_per_token = card.kv_bytes_per_token(precision_of(asked.engine, card, native))
        self.longest = context_length(asked.engine, card)
        self.context = min(float(self.longest), max((_context(work) for work in asked.work.values()), default=1.0))
        self.fixed_degree: int | None = asked.engine.settings.get("tensor_parallel")

    def degrees(self) -> tuple[int, ...]:
        """The tensor-parallel degrees that divide the model's heads."""
        wanted = EFFICIENCY if self.fixed_degree is None else [int(self.fixed_degree)]
        return tuple(degree for degree in wanted if degree in EFFICIENCY and self.card.heads % degree == 0)

    def kv_gib(self, calls: int) -> float:
        """The KV cache for so many calls, and at least for one of full length, which the engine insists on."""
        tokens = max(calls * self.context, float(self.longest))
        return tokens * self.kv_bytes_per_token / 2**30

    def decoding_context(self) -> float:
        """What a call looks back at in the mean of its steps, over the calls' steps."""
        steps = {name: max(0.0, work.output_tokens - 1.0) for name, work in self.asked.work.items()}
        total = _mean(self.asked, steps)
        if total <= 0.0:
            return self.context
        looked = {
            name: steps[name] * (work.prompt_tokens + work.output_tokens / 2) for name, work in self.asked.work.items()
        }
        return min(self.context, _mean(self.asked, looked) / total)


def _context(work: Work) -> float:
    return max(1.0, work.prompt_tokens + work.output_tokens)


def _on_gpus(model: _Model, inventory: Inventory) -> tuple[list[Option], Shortfall | None]:
    options: list[Option] = []
    largest = 0.0
    needs = float("inf")
    for part in gpu_parts(inventory, model.degrees()):
        degree = part.tensor_parallel
        least = (model.weights_gib + model.kv_gib(1)) / degree + GPU_RUNTIME_GIB
        largest, needs = max(largest, part.device_memory_gib * GPU_MEMORY_SHARE), min(needs, least)
        for batch in _batches(model, degree, part.device_memory_gib * GPU_MEMORY_SHARE):
            configuration = Configuration(
                cores=GPU_HOST_CORES,
                memory_gib=GPU_HOST_MEMORY_GIB,
                gpu=part.type,
                gpus=part.gpus,
                gpu_memory_gib=_up(part.device_memory_gib, 4),
                tensor_parallel=degree,
                batch=batch,
            )
            options.append(_option(model, configuration, part))
    if options:
        return options, None
    if largest:
        return [], Shortfall("GiB of memory on each GPU", needs, largest)
    most = max(map(partial(most_gpus, inventory), GPU_TYPES))
    if model.fixed_degree is not None and model.fixed_degree > most:
        return [], Shortfall(
            "GPUs of one type on one host", float(model.fixed_degree), float(most), "a smaller `tensor_parallel`"
        )
    return [], None


def _batches(model: _Model, degree: int, usable_gib: float) -> Iterator[int]:
    for batch in BATCHES:
        if (model.weights_gib + model.kv_gib(batch)) / degree + GPU_RUNTIME_GIB <= usable_gib:
            yield batch


def _on_cpus(model: _Model, inventory: Inventory) -> tuple[list[Option], Shortfall | None]:
    if model.fixed_degree not in (None, 1):
        return [], None
    options: list[Option] = []
    largest = max((host.memory_gib for host in inventory.hosts), default=0.0)
    for part in cpu_parts(inventory):
        for batch in BATCHES:
            memory = _cpu_memory_gib(model, batch)
            if memory <= largest:
                configuration = Configuration(part.cores, memory, batch=batch, processor=part.processor, bf16=part.bf16)
                options.append(_option(model, configuration, part))
    return options, None if options else Shortfall("GiB of memory", _cpu_memory_gib(model, 1), largest)


def _cpu_memory_gib(model: _Model, batch: int) -> float:
    return _up(max(model.weights_gib, model.card.weights_gib) + CPU_RUNTIME_GIB + math.ceil(model.kv_gib(batch)), 2)


def _up(figure: float, digits: int) -> float:
    scale = float(10**digits)
    return math.ceil(figure * scale - 1e-6) / scale


def _option(model: _Model, configuration: Configuration, part: GpuPart | CpuPart) -> Option:
    asked = model.asked
    sourced = model.sources.steps(asked.engine, model.card, part)
    outside = sourced.steps.request_ms
    sizes = {name: Size(work.prompt_tokens, max(0.0, work.output_tokens - 1.0)) for name, work in asked.work.items()}
    batching = Batching(
        sourced.steps,
        limits_for(asked.engine, model.card, configuration),
        sizes,
        {name: asked.calls.get(name, 0.0) for name in sizes},
        model.decoding_context(),
    )
    levels = batching.times()
    return Option(
        configuration=configuration,
        busy_ms=batching.busy_ms(),
        latency_ms={name: tuple(times[name].whole + outside for times in levels) for name in sizes},
        first_ms={name: tuple(times[name].first + outside for times in levels) for name in sizes},
        provenance=sourced.provenance,
        adds_ms=batching.adds_ms(),
    )


def _mean(asked: Asked, figures: Mapping[str, float]) -> float:
    """The mean over the engine's calls; plain where nobody knows how many there are."""
    weights = asked.calls if sum(asked.calls.values()) > 0 else dict.fromkeys(figures, 1.0)
    return sum(weights.get(name, 0.0) * figure for name, figure in figures.items()) / sum(weights.values())
