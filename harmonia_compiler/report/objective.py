"""What is promised of a pipeline's times, as `slo` says it: `p95 latency <= 4 s, p95 ttft <= 800 ms`."""

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from harmonia_compiler.contract.duration import duration_ms, shown_ms

_WRITTEN = re.compile(r"\s*p(\d{1,2}(?:\.\d+)?)\s+(latency|ttft)\s*(?:<=|<)\s*(.+)")


class Objective(msgspec.Struct, frozen=True):
    """So large a part of all requests has its answer, or the first piece of it, within `bound_ms`."""

    metric: Literal["latency", "ttft"]
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
        metric: Literal["latency", "ttft"] = "latency" if match[2] == "latency" else "ttft"
        found.append(Objective(metric, float(f"{match[1]}e-2"), duration_ms(match[3])))
    return tuple(found)


def bound_ms(objectives: Iterable[Objective], metric: str) -> float | None:
    """What a single request is held to: the bound for the highest quantile; None where nothing is promised."""
    among = [one for one in objectives if one.metric == metric]
    return max(among, key=lambda one: (one.quantile, -one.bound_ms)).bound_ms if among else None
