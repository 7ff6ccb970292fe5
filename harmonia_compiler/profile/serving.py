"""How one replica works through its calls: what the emulator and the simulator need to know of a configuration.

A plan needs means. Who imitates a replica needs what lies behind them: how long each step or pass takes,
by what is in it, how many calls are worked on together, and how much memory they find.
"""

from dataclasses import dataclass

from harmonia_compiler.contract.card import Card, card_for
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.gpu import GPU_TYPES
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.kinds.llm import context_length, kv_cache_gib
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.assumptions import (
    CPU_STEP_MS,
    EFFICIENCY,
    FP32_RATE,
    GPU_MEMORY_SHARE,
    GPU_RUNTIME_GIB,
    STORE_THREADS,
    WEIGHT_BYTES,
)
from harmonia_compiler.profile.device import CpuPart, GpuPart
from harmonia_compiler.profile.encoder import Passes, passes
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.steps import StepModel, roofline

#: Tokens that vLLM computes in a step where nobody says otherwise (`arg_utils.py` of version 0.32): by the memory of
#: the GPU from which on, in GiB; an A100 and CPUs have the least.
_STEP_TOKENS = ((160.0, 16_384), (70.0, 8_192), (0.0, 2_048))
#: Tokens in a block of vLLM's KV cache where nobody says otherwise.
_BLOCK, _CPU_BLOCK = 16, 128


@dataclass(frozen=True, slots=True)
class Stepping:
    """A language model's engine."""

    steps: StepModel
    limits: Limits


@dataclass(frozen=True, slots=True)
class Passing:
    """An encoder: up to `batch` calls together in a pass."""

    passes: Passes
    batch: int


@dataclass(frozen=True, slots=True)
class Threads:
    """So many threads, each with a call at a time, at this part of a core's speed."""

    threads: int
    speed: float


Serving = Stepping | Passing | Threads


def serving(engine: Engine, configuration: Configuration, cards: dict[str, Card]) -> Serving:
    """How a replica of an engine works in a configuration. Raises Rejected where no card names its model."""
    kind = kinds()[engine.kind]
    if kind.model_setting is None:
        whole = max(1, int(configuration.cores))
        return Threads(min(whole, STORE_THREADS) if kind.stateful else whole, min(1.0, configuration.cores))
    card = card_for(str(engine.settings[kind.model_setting]), cards)
    if card.role != "llm":
        return Passing(passes(engine, card, _part(configuration)), configuration.batch)
    return Stepping(_steps(engine, card, configuration), _limits(engine, card, configuration))


def _part(configuration: Configuration) -> GpuPart | CpuPart:
    return GpuPart(configuration.gpu, configuration.gpus) if configuration.gpu else CpuPart(configuration.cores)


def _steps(engine: Engine, card: Card, configuration: Configuration) -> StepModel:
    precision = str(engine.settings.get("precision", "bf16"))
    rate = FP32_RATE if WEIGHT_BYTES.get(precision, card.weight_bytes) > 2 else 1.0
    part = _part(configuration)
    if isinstance(part, CpuPart):
        fixed = CPU_STEP_MS / min(1.0, part.cores)
        return roofline(card, precision, part.flops_per_ms, part.bytes_per_ms, fixed, rate)
    reached = EFFICIENCY[part.tensor_parallel]
    flops, traffic = part.flops_per_ms * reached.compute, part.bytes_per_ms * reached.bandwidth
    return roofline(card, precision, flops, traffic, reached.step_ms, rate)


def _limits(engine: Engine, card: Card, configuration: Configuration) -> Limits:
    context = context_length(engine, card)
    if configuration.gpu:
        degree = configuration.tensor_parallel
        memory = GPU_TYPES[configuration.gpu].memory_gib
        weights = card.parameters * WEIGHT_BYTES.get(str(engine.settings.get("precision", "bf16")), card.weight_bytes)
        usable = configuration.gpu_memory_gib * GPU_MEMORY_SHARE - GPU_RUNTIME_GIB
        cache_gib = usable * degree - weights / 2**30
        large = 0.0 if configuration.gpu.startswith("a100") else memory
    else:
        cache_gib, large = float(kv_cache_gib(engine, card, configuration)), 0.0
    block = _BLOCK if configuration.gpu else _CPU_BLOCK
    tokens = max(cache_gib * 2**30 / card.kv_bytes_per_token, float(context))
    return Limits(
        kv_blocks=int(tokens // block),
        step_tokens=max(next(most for least, most in _STEP_TOKENS if large >= least), configuration.batch),
        sequences=configuration.batch,
        context=context,
        block_size=block,
        ahead=bool(configuration.gpu),
    )
