"""A step model that was measured: how an observed engine's time depends on the work of a step.

The time is a base, a part that grows with the step's tokens in stretches of different slopes (arithmetic: of
the first few tokens the weights' traffic is the greater part), and parts for attention, for each
decoding sequence and for the context that these read. A call that comes in takes time of its own, and
where the API server computes on the cores of the engine, also time of everybody's. Nothing has a negative part.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from harmonia_compiler.profile.fit import non_negative
from harmonia_compiler.profile.steps import StepLoad

#: Where the slope of the time over a step's tokens may change.
KNOTS = (1, 4, 16, 64, 256, 1024)


class MeasuredSteps(msgspec.Struct, frozen=True):
    """A `StepModel` by coefficients, all in ms: `slopes_ms[i]` a token from `knots[i]` on, and so forth."""

    base_ms: float
    knots: tuple[int, ...]
    slopes_ms: tuple[float, ...]
    pair_ms: float
    decode_ms: float
    context_ms: float
    request_ms: float
    #: By how much a call that comes in holds up the steps that are on: its own first one, as this model counts it.
    begin_ms: float = 0.0

    def step_ms(self, load: StepLoad, /) -> float:
        """The time of one step, in ms."""
        tokens = load.prefill_tokens + load.decodes
        ms = self.base_ms + self.pair_ms * load.prefill_pairs
        ms += self.decode_ms * load.decodes + self.context_ms * load.decode_context + self.begin_ms * load.begun
        for knot, slope, following in zip(self.knots, self.slopes_ms, (*self.knots[1:], math.inf), strict=True):
            if tokens <= knot:
                break
            ms += slope * (min(tokens, following) - knot)
        return ms


@dataclass(frozen=True, slots=True)
class Observation:
    """Steps that took `ms` together, and how many calls' time outside of steps is part of it. `what` is for people."""

    what: str
    loads: tuple[StepLoad, ...]
    ms: float
    requests: int = 0


def fitted(observations: Sequence[Observation]) -> MeasuredSteps:
    """The model that makes the squares of the relative errors least."""
    most = max(load.prefill_tokens + load.decodes for each in observations for load in each.loads)
    # A stretch that nobody has seen has the slope of the one before.
    knots = tuple(knot for knot in KNOTS if knot == 1 or knot < most)
    rows = [[value / each.ms for value in _features(each, knots)] for each in observations]
    base, request, pair, decode, context, begin, *slopes = non_negative(rows, [1.0] * len(rows))
    return MeasuredSteps(base, knots, tuple(slopes), pair, decode, context, request, begin)


def residuals(model: MeasuredSteps, observations: Iterable[Observation]) -> list[float]:
    """The relative error of the model in each observation, signed: above 0 where it says too much."""
    return [predicted_ms(model, each) / each.ms - 1.0 for each in observations]


def predicted_ms(model: MeasuredSteps, observation: Observation) -> float:
    """What the model says of an observation."""
    steps = math.fsum(model.step_ms(load) for load in observation.loads)
    return steps + model.request_ms * observation.requests


def _features(observation: Observation, knots: tuple[int, ...]) -> list[float]:
    stretches = [*pairwise(knots), (knots[-1], math.inf)]
    sums = [0.0] * (6 + len(knots))
    for load in observation.loads:
        tokens = load.prefill_tokens + load.decodes
        parts = [max(0.0, min(tokens, high) - low) for low, high in stretches]
        row = (1.0, 0.0, load.prefill_pairs, load.decodes, load.decode_context, load.begun, *parts)
        sums = [one + other for one, other in zip(sums, row, strict=True)]
    sums[1] = float(observation.requests)
    return sums
