"""How much each step of a pipeline counts for a quantile of its latency: what makes the quantile linear in times.

A request takes one of its pipeline's paths. How long one that takes path k lasts is taken to be normal. Along the
longest chain of steps that wait for each other means add up, and so do the squares of deviations, which are LATENCY_CV
of the means. With the times u that steps usually take, the quantile q is the t that as many exceed as may be late:

    mean[k] = sum over s of u[s];  deviation[k] = LATENCY_CV root[k];  root[k]^2 = sum over s of u[s]^2
    sum over k of likely[k] max(LEAST_PART (1 - q), P(normal > z[k])) = 1 - q;  z[k] = (t - mean[k]) / deviation[k]

What steps really take depends on the plan, and rows of the integer program are to be linear. So each path keeps that
part of its requests that may be late, and each step what it adds to the deviation: the gradient of that sum.

    weight[k,s] = 1 + z[k] LATENCY_CV u[s] / root[k]

The quantile is the longest of all chains of weight[k,s] time[s]. What is given up when its time has passed hardly
deviates: GIVEN_UP_SPREAD of what others do. What keeps a time that others exceed counts and deviates by a part of
itself.

Where steps take u, or all so many times as long, that is the quantile itself, but for LEAST_PART. In other proportions
no path exceeds its part, so that the quantile is rather too long. A path that is far shorter than t would have next to
no part, and a plan in which it is longer than usual nothing to spare: hence LEAST_PART.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from harmonia_compiler.plan.problem import Path, Pipeline, Step
from harmonia_compiler.plan.queueing import GIVEN_UP_SPREAD, LATENCY_CV, LEAST_PART, QUANTILES

#: A step takes no less than this, in ms: proportions of nothing would be none.
_INSTANT_MS = 1e-6

#: What weighs less weighs nothing: such a coefficient is none to the solver.
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True)
class Weights:
    """What the steps of one path count, by position; 0 where they are not on it.

    `whole` is of a step until it ends. A path has ended with all of its steps; or, where there are any in `first`, as
    soon as each of these has given its first piece, which counts so much. Steps in `given_up` last so many ms a round.
    """

    whole: tuple[float, ...]
    first: Mapping[int, float]
    given_up: Mapping[int, float]


class _Chain(NamedTuple):
    """The means of a chain of steps, and the squares of what of these deviates, added up."""

    ms: float = 0.0
    squares: float = 0.0

    def then(self, other: "_Chain") -> "_Chain":
        return _Chain(self.ms + other.ms, self.squares + other.squares)


_NONE = _Chain(-math.inf, 0.0)


def weights(pipeline: Pipeline, metric: str, quantile: float) -> tuple[Weights, ...]:
    """What the steps count on each path for a quantile of a metric; without paths that another one always outlasts."""
    pieces = pipeline.streamed if metric == "ttft" else ()
    return _weights(pipeline.steps, pipeline.paths, pieces, quantile)


@lru_cache(maxsize=256)
def _weights(
    steps: tuple[Step, ...], paths: tuple[Path, ...], streamed: tuple[int, ...], quantile: float
) -> tuple[Weights, ...]:
    paths = paths or (Path(1.0, frozenset(range(len(steps)))),)
    courses = [_Course(steps, path, path.steps.intersection(streamed)) for path in paths]
    late = 1.0 - min(max(quantile, QUANTILES[0]), QUANTILES[1])
    at = _at([(path.likely, course.longest) for path, course in zip(paths, courses, strict=True)], late)
    most = NormalDist().inv_cdf(1.0 - LEAST_PART * late)
    return tuple(_outlasting([course.weights(at, most) for course in courses]))


class _Course:
    """How a path takes its course in usual times: the longest chain up to each of its steps, and from there on."""

    def __init__(self, steps: Sequence[Step], path: Path, pieces: Collection[int]) -> None:
        self.path = path.steps
        self.given_up = {s: ms for s, ms in path.given_up if s in path.steps}
        self.parts = [1.0] * len(steps)
        self.spreads = [1.0] * len(steps)
        for s, part, spread in path.kept:
            self.parts[s], self.spreads[s] = part, spread
        self.pieces = pieces
        self.took = [self._round(step, s) if s in path.steps else _Chain() for s, step in enumerate(steps)]
        self.first = {
            s: _chain(self.given_up.get(s, steps[s].usual_first_ms), GIVEN_UP_SPREAD if s in self.given_up else 1.0)
            for s in sorted(pieces)
        }
        self.begins: list[_Chain] = []
        for step in steps:
            self.begins.append(max((self.begins[at].then(self.took[at]) for at in step.after), default=_Chain()))
        # From the end of each step; nothing is where no chain leads to a first piece.
        self.rest = [_NONE if pieces else _Chain() for _ in steps]
        for s in reversed(range(len(steps))):
            after = max(self.took[s].then(self.rest[s]), self.first.get(s, _NONE))
            for before in steps[s].after:
                self.rest[before] = max(self.rest[before], after)

    def _round(self, step: Step, s: int) -> _Chain:
        """All rounds of a step."""
        if s in self.given_up:
            return _chain(self.given_up[s], GIVEN_UP_SPREAD, step.rounds)
        return _chain(step.usual_ms * self.parts[s], self.spreads[s], step.rounds)

    @property
    def longest(self) -> _Chain:
        """The chain that the path lasts for."""
        if self.pieces:
            return max(self.begins[s].then(piece) for s, piece in self.first.items())
        return max((begins.then(took) for begins, took in zip(self.begins, self.took, strict=True)), default=_Chain())

    def weights(self, at: float, most: float) -> Weights:
        """What the steps count where the quantile of all paths is there, and none is more deviations above its mean."""
        longest = self.longest
        deviations = min(most, (at - longest.ms) / _deviation(longest)) if longest.ms else 0.0

        def weight(own: _Chain, through: _Chain) -> float:
            weight = 1.0 + deviations * LATENCY_CV * own.squares / own.ms / math.sqrt(through.squares)
            return weight if weight > _NOTHING else 0.0

        whole = [
            self.parts[s] * weight(took, begins.then(took).then(rest))
            if s in self.path and rest.ms > -math.inf
            else 0.0
            for s, (begins, took, rest) in enumerate(zip(self.begins, self.took, self.rest, strict=True))
        ]
        first = {s: weight(piece, self.begins[s].then(piece)) for s, piece in self.first.items()}
        return Weights(tuple(whole), first, self.given_up)


def _chain(ms: float, spread: float, rounds: float = 1.0) -> _Chain:
    ms = max(ms, _INSTANT_MS) * rounds
    return _Chain(ms, (spread * ms) ** 2)


def _deviation(chain: _Chain) -> float:
    return LATENCY_CV * math.sqrt(chain.squares)


def _at(paths: Sequence[tuple[float, _Chain]], late: float) -> float:
    """The time that this part of the requests exceeds, of paths that are so likely and take so long."""

    def beyond(at: float) -> float:
        parts = (
            likely * max(LEAST_PART * late, math.erfc((at - chain.ms) / _deviation(chain) / math.sqrt(2.0)) / 2.0)
            for likely, chain in paths
            if chain.ms
        )
        return math.fsum(parts)

    most = NormalDist().inv_cdf(1.0 - LEAST_PART * late)
    low, high = 0.0, max((chain.ms + most * _deviation(chain) for _, chain in paths), default=0.0)
    while high - low > 1e-12 * high:
        middle = (low + high) / 2.0
        low, high = (middle, high) if beyond(middle) > late else (low, middle)
    return high


def _outlasting(paths: Iterable[Weights]) -> list[Weights]:
    """The paths without those that one of them outlasts, whatever steps take; the first of equals stays."""
    kept: list[Weights] = []
    for one in paths:
        if not any(_outlasts(other, one) for other in kept):
            kept = [other for other in kept if not _outlasts(one, other)]
            kept.append(one)
    return kept


def _outlasts(longer: Weights, other: Weights) -> bool:
    return (
        bool(longer.first) == bool(other.first)
        and _lasts_as_long(longer, other)
        and all(one >= two for one, two in zip(longer.whole, other.whole, strict=True))
        and all(longer.first.get(s, -1.0) >= weight for s, weight in other.first.items())
    )


def _lasts_as_long(longer: Weights, other: Weights) -> bool:
    """Whether what one gives up is given up by the other as well, and not earlier."""
    counted = {s for s, weight in enumerate(other.whole) if weight} | {*other.first}
    return longer.given_up.keys() & counted == other.given_up.keys() & counted and all(
        longer.given_up[s] >= other.given_up[s] for s in other.given_up.keys() & counted
    )
