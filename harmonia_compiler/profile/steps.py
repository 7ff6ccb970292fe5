"""How long one step of a language model's engine takes: one model for planning, emulating and simulating.

An engine works in steps. In each, some sequences get prompt tokens computed and others one token
decoded. A `StepLoad` says how much that is; a `StepModel` says how long it takes. Whether a roofline,
NVIDIA's tables or a measurement answers makes no difference to whoever asks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from harmonia_compiler.contract.card import Card
from harmonia_compiler.profile.assumptions import CPU_STEP_MS, EFFICIENCY, FP32_RATE, WEIGHT_BYTES, Efficiency
from harmonia_compiler.profile.device import CpuPart, GpuPart

#: Two evaluations that differ by less than this part of them are equal.
_ROUNDING = 1e-9


class StepLoad(NamedTuple):
    """The work of one step. A tuple, since a simulation makes millions of them.

    `prefill_tokens` are those of chunks of more than one token; `prefill_pairs` is the attention work
    of these, the sum of `new · (before + new / 2)`, as each new token looks at all before it. `decodes`
    are sequences with one token each, and `decode_context` the tokens that these look at together. `begun`
    are the calls that the step is the first of. All may be means, of which a plan is made.
    """

    prefill_tokens: float = 0
    prefill_pairs: float = 0.0
    decodes: float = 0
    decode_context: float = 0.0
    begun: float = 0

    def later(self, steps: float) -> "StepLoad":
        """The load so many steps on, when each decoding sequence has grown by a token a step."""
        tokens, pairs, decodes, context, begun = self
        return StepLoad(tokens, pairs, decodes, context + steps * decodes, begun)


class StepModel(Protocol):
    """The time of steps, and of what else a call takes."""

    @property
    def request_ms(self) -> float:
        """What a call takes outside of steps, in ms: the API server, the tokeniser."""
        ...

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, from one token given out to the next."""
        ...


def chunks(prompt: float, most: int) -> Iterator[StepLoad]:
    """The steps in which a prompt is computed that has the engine to itself, `most` tokens in each."""
    before: float = 0
    while before < prompt:
        new = min(most, prompt - before)
        yield StepLoad(new, new * (before + new / 2), begun=int(before == 0))
        before += new


@dataclass(frozen=True, slots=True)
class Slower:
    """A model whose steps take so many times as long, as where processes take turns on a GPU.

    What a call takes outside of steps, which is not the GPU's work, does so many times as `outside`.
    """

    whole: StepModel
    times: float
    outside: float = 1.0

    @property
    def request_ms(self) -> float:
        """What a call takes outside of steps, in ms."""
        return self.whole.request_ms * self.outside

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, in ms."""
        return self.whole.step_ms(load) * self.times


def run_ms(model: StepModel, load: StepLoad, steps: int, first_ms: float | None = None) -> float:
    """The time of so many steps in a row, of which `load` is the first and nothing changes but the context.

    `first_ms` is that of the first one, where it is known. Where the time grows evenly, by three evaluations; a stretch
    that bends is cut in half. A bend that lies in the same place of both halves is not seen, and every step but the
    ends then counts as between them.
    """
    first = model.step_ms(load) if first_ms is None else first_ms
    if steps == 1:
        return first
    last = model.step_ms(load.later(steps - 1))
    if steps == 2:
        return first + last
    middle = model.step_ms(load.later((steps - 1) / 2))
    if abs(first + last - 2 * middle) <= _ROUNDING * (first + last):
        return steps * (first + last) / 2
    half = steps // 2
    return run_ms(model, load, half, first) + run_ms(model, load.later(half), steps - half)


def steps_begun(model: StepModel, load: StepLoad, ms: float, most: int, first_ms: float) -> tuple[int, float]:
    """How many of these steps have begun after so long, at least one and at most `most`, and how long those take.

    `first_ms` is how long the first one does.
    """
    low, high, high_ms = 1, most, None
    # They take nearly the same time each: mostly it is where the first one says, or beside that.
    near = int(ms / first_ms) if ms < first_ms * most else 0
    while low < high:
        middle = near if low <= near < high else (low + high) // 2
        if (lasts_ms := run_ms(model, load, middle, first_ms)) <= ms:
            low = middle + 1
            near = low if near == middle else 0
        else:
            high, high_ms = middle, lasts_ms
            near = middle - 1 if near == middle else 0
    return low, run_ms(model, load, low, first_ms) if high_ms is None else high_ms


@dataclass(frozen=True, slots=True)
class Roofline:
    """A step by data sheet: the slower of arithmetic and memory traffic.

    Weights are read once a step, the keys and values of a decoding sequence's context once for it.
    `fixed_ms` is what no hardware takes off a step; under a long prefill it is hidden, since the next
    kernels are launched while the former compute.
    """

    parameters: float
    weight_bytes: float
    kv_bytes_per_token: float
    pair_flops: float
    flops_per_ms: float
    bytes_per_ms: float
    fixed_ms: float
    request_ms: float = 0.0

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, in ms."""
        prefill = 2.0 * self.parameters * load.prefill_tokens + self.pair_flops * load.prefill_pairs
        decode = 2.0 * self.parameters * load.decodes + self.pair_flops * load.decode_context
        read = self.weight_bytes + self.kv_bytes_per_token * load.decode_context
        least = self.fixed_ms + max(read / self.bytes_per_ms, decode / self.flops_per_ms)
        return max((prefill + decode) / self.flops_per_ms, least)


def roofline(card: Card, precision: str, part: GpuPart | CpuPart) -> Roofline:
    """The roofline of a model on a part of the hardware, of which engines reach as much as is assumed."""
    parameters = card.active_parameters or card.parameters
    weight_bytes = WEIGHT_BYTES.get(precision, card.weight_bytes)
    if isinstance(part, GpuPart):
        reached = EFFICIENCY[part.tensor_parallel]
    else:
        reached = Efficiency(1.0, 1.0, CPU_STEP_MS / min(1.0, part.cores))
    return Roofline(
        parameters=parameters,
        weight_bytes=parameters * weight_bytes,
        kv_bytes_per_token=card.kv_bytes_per_token(precision),
        # A query times a key, and its weight times a value: two operations each for every number of a head.
        pair_flops=4.0 * card.layers * card.heads * card.head_dim,
        flops_per_ms=part.flops_per_ms * reached.compute * (FP32_RATE if weight_bytes > 2 else 1.0),
        bytes_per_ms=part.bytes_per_ms * reached.bandwidth,
        fixed_ms=reached.step_ms,
    )
