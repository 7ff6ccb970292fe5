"""When requests come: as in a Poisson process, or as recorded, sped up to a rate.

Of a recording the times count alone: how long its prompts and answers were is not what the plans were made for. Where
it is over it begins anew, so that a short one serves a high rate: its bursts come again, in other company.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count
from pathlib import Path

from bench.peers.identity import digest
from harmonia_compiler.workload.arrivals import compressed, mean_rate_rps, poisson, until, window
from harmonia_compiler.workload.request import Arrival
from harmonia_compiler.workload.trace import read_trace

POISSON = "poisson"


def named(trace: Path | None) -> str:
    """What stands for it in the key of a cell."""
    return POISSON if trace is None else f"{trace.stem} {digest(trace.read_bytes())}"


def arrivals(trace: Path | None, rate_rps: float, seed: int, to_ms: float) -> Iterator[Arrival]:
    """The requests until then, at a mean rate; with another seed, other ones, of a recording the next as many."""
    if trace is None:
        return until(poisson(rate_rps, seed), to_ms)
    recorded = _recorded(trace)
    mean = mean_rate_rps(recorded)
    assert mean is not None
    from_ms = (seed - 1) * to_ms
    return window(compressed(_again(recorded, 1000.0 / mean), rate_rps / mean), from_ms, to_ms)


def _again(recorded: Sequence[Arrival], gap_ms: float) -> Iterator[Arrival]:
    """A recording, and the same again for ever, after the gap that there is between requests in the mean."""
    whole_ms = recorded[-1].at_ms - recorded[0].at_ms + gap_ms
    for turn in count():
        for one in recorded:
            yield Arrival(one.at_ms + turn * whole_ms)


@cache
def _recorded(trace: Path) -> list[Arrival]:
    return [Arrival(one.at_ms) for one in read_trace(trace).arrivals]
