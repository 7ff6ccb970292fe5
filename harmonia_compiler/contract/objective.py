"""What is promised of a pipeline's times, as `slo` says it: `p95 latency <= 4 s, p95 ttft <= 800 ms`."""

import re
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from harmonia_compiler.contract.duration import duration_ms, shown_ms

#: What can be promised.
Metric = Literal["latency", "ttft"]
METRICS: tuple[Metric, ...] = get_args(Metric)

# As the language writes quantiles (`p95`, `p999`), and as people write a part of a hundredth: `p99.9`.
_WRITTEN = re.compile(rf"\s*p(99[0-9]+|[0-9]{{1,2}}(?:\.[0-9]+)?)\s+({'|'.join(METRICS)})\s*(?:<=|<)(?s:(.+))")


class Objective(msgspec.Struct, frozen=True):
    """So large a part of all requests has its answer, or the first piece of it, within `bound_ms`."""

    metric: Metric
    quantile: float
    bound_ms: float

    def describe(self) -> str:
        """As it is written: `p95 latency <= 4 s`."""
        return f"p{self.quantile * 100:g} {self.metric} <= {shown_ms(self.bound_ms)}"


def parse_objectives(written: str) -> tuple[Objective, ...]:
    """The objectives of a text, with commas between. Raises ValueError with a sentence for people."""
    found = []
    for part in written.split(","):
        match = _WRITTEN.fullmatch(part)
        if match is None or float(match[1]) == 0.0:
            raise ValueError(f"{part.strip()!r} is no objective; write it like 'p95 latency <= 4 s'")
        metric = next(one for one in METRICS if one == match[2])
        found.append(Objective(metric, _quantile(match[1]), duration_ms(match[3].strip())))
    return tuple(found)


def _quantile(digits: str) -> float:
    whole, _, part = digits.partition(".")
    return float(f"0.{whole:0>2}{part}")


def bound_ms(objectives: Iterable[Objective], metric: str) -> float | None:
    """What a single request is held to: the bound for the highest quantile; None where nothing is promised."""
    among = [one for one in objectives if one.metric == metric]
    return max(among, key=lambda one: (one.quantile, -one.bound_ms)).bound_ms if among else None
