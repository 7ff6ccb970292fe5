"""A language model under continuous batching, by whatever says how long its steps take.

A replica with `batch` calls in progress spends, on each call, the time of its prefill alone and of
its decoding steps a `batch`-th part. At the planned utilisation fewer calls are in progress
(`_in_progress`); the latency is that of a call among those.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from harmonia_compiler.profile.device import CpuPart, GpuPart, cpu_parts, gpu_parts, most_gpus, native_precision
from harmonia_compiler.profile.limits import limits_for
from harmonia_compiler.profile.memory import precision_of, weight_bytes
from harmonia_compiler.profile.profiles import Asked, Offer, Option, Shortfall
from harmonia_compiler.profile.queueing import LEVELS, wait_ms
from harmonia_compiler.profile.sources import Sources
from harmonia_compiler.profile.steps import StepLoad, StepModel, chunks

#: To which part of it the number of calls in progress is found.
_NEAR = 1e-4


@dataclass(frozen=True, slots=True)
class Pace:
    """The time of prefilling so many tokens, and of one step of so many calls, in ms.

    `context` is the mean of what a decoding call looks back at, `most` the tokens of a step at most.
    """

    steps: StepModel
    context: float
    most: int

    def prefill(self, tokens: float) -> float:
        """Of a prompt that has the engine to itself."""
        return math.fsum(map(self.steps.step_ms, chunks(max(1.0, tokens), self.most)))

    def prefill_among(self, tokens: float, prompts: int) -> float:
        """Of one of so many prompts that come together, as many of which share a step as it holds."""
        tokens = max(1.0, tokens)
        sharing = min(prompts, int(self.most / tokens))
        if sharing <= 1:
            return self.prefill(tokens)
        return self.steps.step_ms(StepLoad(sharing * tokens, sharing * tokens * tokens / 2)) / sharing

    def step(self, calls: float) -> float:
        """Of a token for each call."""
        return self.steps.step_ms(StepLoad(decodes=calls, decode_context=calls * self.context))


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
        return [], Shortfall("GPUs of one type on one host", float(model.fixed_degree), float(most))
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
    asked, batch = model.asked, configuration.batch
    sourced = model.sources.steps(asked.engine, model.card, part)
    most = limits_for(asked.engine, model.card, configuration).step_tokens
    pace, outside = Pace(sourced.steps, model.decoding_context(), most), sourced.steps.request_ms
    prefill = {name: pace.prefill(work.prompt_tokens) for name, work in asked.work.items()}
    steps = {name: max(0.0, work.output_tokens - 1.0) for name, work in asked.work.items()}
    busy = {name: prefill[name] + steps[name] * pace.step(batch) / batch for name in asked.work}
    mean = _Mix(batch, _mean(asked, busy), _mean(asked, prefill), _mean(asked, steps))
    levels = [_times(mean, pace, level) for level in LEVELS]
    alone = {name: prefill[name] + outside for name in asked.work}
    slower = (pace.step(batch) - pace.step(1)) / (batch - 1) if batch > 1 else 0.0
    return Option(
        configuration=configuration,
        busy_ms=busy,
        latency_ms={
            name: tuple(wait + alone[name] + steps[name] * step for wait, step in levels) for name in asked.work
        },
        first_ms={name: tuple(wait + alone[name] + step for wait, step in levels) for name in asked.work},
        provenance=sourced.provenance,
        adds_ms={
            name: pace.prefill_among(work.prompt_tokens, batch) + steps[name] * slower
            for name, work in asked.work.items()
        },
    )


@dataclass(frozen=True, slots=True)
class _Mix:
    """The mean call of a replica: its part of the replica's time, its prefill in ms, its decoding steps."""

    batch: int
    busy: float
    prefill: float
    steps: float


def _times(mean: _Mix, pace: Pace, utilisation: float) -> tuple[float, float]:
    """The mean wait before a call's own prefill, and the mean time of one of its steps, in ms.

    Steps are stretched by the prefills of the other calls in progress; a call waits for a place in
    the batch, then for the prefills before its own.
    """
    arrivals = utilisation / mean.busy
    others = arrivals * mean.prefill * (mean.batch - 1) / mean.batch
    step = pace.step(_in_progress(mean, pace, arrivals)) / (1.0 - others)
    queue = wait_ms(mean.prefill, 1, others)
    inside = queue + mean.prefill + mean.steps * step
    place = wait_ms(inside, mean.batch, min(0.95, arrivals * inside / mean.batch))
    return place + queue, step


def _in_progress(mean: _Mix, pace: Pace, arrivals: float) -> float:
    """How many calls are in progress when a replica keeps up with so many arrivals a millisecond.

    The fewest at which the time that a call takes of the replica, `prefill + steps · step(k) / k`,
    is the time between arrivals; between 1 and `batch`, found by bisection.
    """
    low, high = 1.0, float(mean.batch)
    while high - low > _NEAR * high:
        middle = (low + high) / 2
        if mean.prefill + mean.steps * pace.step(middle) / middle > 1.0 / arrivals:
            low = middle
        else:
            high = middle
    return high


def _mean(asked: Asked, figures: Mapping[str, float]) -> float:
    """The mean over the engine's calls; plain where nobody knows how many there are."""
    weights = asked.calls if sum(asked.calls.values()) > 0 else dict.fromkeys(figures, 1.0)
    return sum(weights.get(name, 0.0) * figure for name, figure in figures.items()) / sum(weights.values())
