"""What the bursts of the recent past need, so that nobody takes away what the next one will.

A burst is a window that the forecast doubts: more than twice the level came. Of so many requests as are promised an
answer within D seconds all are in time where as many are served in D, or as they come where that takes longer. So much
a burst needs, however seldom it comes, and however low the mean of all is. Two windows in a row may be one as well,
since a burst may lie across their border.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from harmonia_compiler.contract.readings import RequestsRead
from harmonia_compiler.policy.control.window import Window

#: For so long a burst is remembered, in seconds.
RECENT_S = 900.0


@dataclass(frozen=True, slots=True)
class Burst:
    """The requests a second that had to be served for a burst to be in time, and how many seconds ago that was."""

    rps: Annotated[float, Meta(ge=0.0)]
    ago_s: Annotated[float, Meta(ge=0.0)] = 0.0


def needed_rps(window: Window, pipeline: str, promised_s: Mapping[str, float]) -> float:
    """The requests a second of a pipeline to serve for those of a window to be in time, by the promise of each class.

    One request needs nothing by this: whatever serves it serves it in time.
    """
    return sum(
        (one.arrived - 1) / max(_within_s(one, window.seconds), promised_s[one.request_class])
        for one in window.requests
        if one.pipeline == pipeline and one.arrived > 1 and one.request_class in promised_s
    )


def _within_s(one: RequestsRead, seconds: float) -> float:
    """Within how long, at least, the requests of a window came, but for the longest time in which none did.

    That one is the mean of all such times and sqrt(n - 1) of their standard deviations at most, by Samuelson; just so
    long it is where all others are alike.
    """
    mean_s = one.gap_s / one.arrived
    deviation_s = math.sqrt(max(0.0, one.gap_s2 / one.arrived - mean_s**2))
    lull_s = mean_s + math.sqrt(one.arrived - 1) * deviation_s
    return min(seconds, max(0.0, one.gap_s - lull_s))


def remembered(known: tuple[Burst, ...], rps: float, seconds: float) -> tuple[Burst, ...]:
    """The bursts that count after a window of so many seconds that needed so much, the largest and oldest one first.

    One that is no larger than a later one will never count again.
    """
    older = (Burst(one.rps, one.ago_s + seconds) for one in known if one.rps > rps)
    return (*(one for one in older if one.ago_s <= RECENT_S), Burst(rps))


def most_rps(known: tuple[Burst, ...]) -> float:
    """What the largest one that is remembered needs."""
    return known[0].rps if known else 0.0
