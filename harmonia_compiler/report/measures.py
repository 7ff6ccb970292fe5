"""Figures of many requests: percentiles, rates and shares within a window, and how sure they are.

Rates are of what happens within the window: arrivals, ends, good ends. Shares and percentiles are of the requests
that arrive within it, whenever they end; what came before is warm-up and counts for neither.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, stdev

import msgspec

from harmonia_compiler.contract.objective import Objective
from harmonia_compiler.report.observation import Observation, Outcome

#: The two-sided 95 % quantiles of Student's distribution, by degrees of freedom.
_STUDENT = dict(
    enumerate(
        (2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093), 4
    )
)
_FEWEST_BATCHES, _MOST_BATCHES = 5, 20
#: How a request may end that keeps a bound. One that was given up in mid-answer began it in time all the same.
_KEEP = {"latency": {Outcome.OK}, "ttft": {Outcome.OK, Outcome.LATE}}
#: How many requests of a batch must lie beyond a quantile for the batch to know it.
_BEYOND = 3


@dataclass(frozen=True, slots=True)
class Window:
    """The time that counts, from its start up to its end."""

    from_ms: float
    to_ms: float

    def holds(self, at_ms: float) -> bool:
        """Whether a time lies in it."""
        return self.from_ms <= at_ms < self.to_ms

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.to_ms - self.from_ms) / 1000.0


class Distribution(msgspec.Struct, frozen=True):
    """Times of many requests, in milliseconds.

    `p95_within` is half the width of the interval that holds the true p95 in 95 of 100 runs; None where there are
    too few requests to say.
    """

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float
    p95_within: float | None = None


class Kept(msgspec.Struct, frozen=True):
    """How an objective was kept: by which part of the requests, and whether that is enough."""

    objective: Objective
    share: float
    met: bool


class Figures(msgspec.Struct, frozen=True):
    """What became of a group of requests.

    Counts are of those that arrived in the window. `attainment` is the part of them that was answered within all that
    it was promised, of those whose end is known; None where there are none. Latency and its like are of answered
    requests. `reasons` says how often what stood in the way of an answer.
    """

    requests: int
    outcomes: dict[str, int]
    offered_rps: float
    throughput_rps: float
    goodput_rps: float
    attainment: float | None
    latency: Distribution | None
    ttft: Distribution | None
    token: Distribution | None
    tokens_in_per_s: float | None
    tokens_out_per_s: float | None
    kept: tuple[Kept, ...] = ()
    reasons: tuple[tuple[str, str, int], ...] = ()


def percentile(ordered: Sequence[float], part: float) -> float:
    """The value below which a part of some ordered values lies, in between where it falls between two (type 7)."""
    place = part * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def distribution(times: Sequence[float]) -> Distribution | None:
    """Figures of times in the order in which their requests arrived; None of none."""
    if not times:
        return None
    ordered = sorted(times)
    p50, p90, p95, p99 = (percentile(ordered, part) for part in (0.5, 0.9, 0.95, 0.99))
    return Distribution(len(times), fmean(times), p50, p90, p95, p99, ordered[-1], within(times, 0.95))


def within(times: Sequence[float], part: float) -> float | None:
    """Half the width of a 95 % confidence interval of a percentile; None where there are too few values.

    By batch means: requests that follow each other meet the same queue and are not independent, so that the spread
    is taken between stretches of the run and not between requests.
    """
    batches = min(_MOST_BATCHES, int(len(times) * (1.0 - part) / _BEYOND))
    if batches < _FEWEST_BATCHES:
        return None
    cuts = [len(times) * number // batches for number in range(batches + 1)]
    found = [percentile(sorted(times[start:end]), part) for start, end in pairwise(cuts)]
    return _STUDENT[batches - 1] * stdev(found) / math.sqrt(batches)


def figures(observed: Iterable[Observation], window: Window, objectives: Sequence[Objective] = ()) -> Figures:
    """The figures of a group of requests."""
    all_ = sorted(observed, key=lambda one: one.arrived_ms)
    arrived = [one for one in all_ if window.holds(one.arrived_ms)]
    ended = [one for one in all_ if window.holds(one.finished_ms) and one.outcome is Outcome.OK]
    answered = [one for one in arrived if one.outcome is Outcome.OK]
    known = [one for one in arrived if not one.is_open]
    outcomes = Counter(one.outcome.value for one in arrived)
    reasons = Counter((one.outcome.value, one.reason) for one in arrived if one.reason)
    return Figures(
        requests=len(arrived),
        outcomes={outcome.value: outcomes[outcome.value] for outcome in Outcome},
        offered_rps=len(arrived) / window.seconds,
        throughput_rps=len(ended) / window.seconds,
        goodput_rps=sum(one.is_good for one in ended) / window.seconds,
        attainment=sum(one.is_good for one in known) / len(known) if known else None,
        latency=distribution([one.latency_ms for one in answered]),
        ttft=distribution([ms for one in answered if (ms := one.ttft_ms) is not None]),
        token=distribution([ms for one in answered if (ms := one.token_ms) is not None]),
        tokens_in_per_s=_per_second([one.tokens_in for one in ended], window),
        tokens_out_per_s=_per_second([one.tokens_out for one in ended], window),
        kept=tuple(_kept(objective, arrived) for objective in objectives),
        reasons=tuple((*key, count) for key, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    )


def _kept(objective: Objective, arrived: Sequence[Observation]) -> Kept:
    """What failed or was refused kept nothing; of what was cut off while it still could, nobody knows."""
    within = Counter(one.outcome for one in arrived if one.is_within(objective.metric, objective.bound_ms))
    kept, unknown = sum(within[outcome] for outcome in _KEEP[objective.metric]), within[Outcome.CANCELLED]
    share = kept / (len(arrived) - unknown) if unknown < len(arrived) else 0.0
    return Kept(objective, share, met=share >= objective.quantile)


def _per_second(tokens: Sequence[int | None], window: Window) -> float | None:
    told = [count for count in tokens if count is not None]
    return sum(told) / window.seconds if told else None
