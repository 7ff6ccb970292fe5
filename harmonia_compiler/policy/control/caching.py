"""How well the prefix caches of an engine's replicas serve: the part of the prompts' tokens that was in them lately.

It is told, and corrects nothing by itself: what a cache saves is in the times of calls already.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from harmonia_compiler.policy.control.window import Window

#: After so long what was counted weighs half, in seconds: a window holds few calls, and the rate of one jumps.
HALF_LIFE_S = 60.0

Tokens = Annotated[float, Meta(ge=0.0, le=1e24)]


@dataclass(frozen=True, slots=True)
class Cached:
    """Tokens of prompts that were looked for in the caches, and those that were in them; old ones weigh less."""

    looked_up: Tokens = 0.0
    found: Tokens = 0.0

    @property
    def hit_rate(self) -> float | None:
        """The part that was found, from 0 to 1; None where nothing was looked for lately."""
        return min(1.0, self.found / self.looked_up) if self.looked_up >= 1.0 else None


def cached(known: Mapping[str, Cached], window: Window, engines: Iterable[str]) -> dict[str, Cached]:
    """What is known of the caches of these engines after a window, without those whose replicas tell of none."""
    left = 0.5 ** (window.seconds / HALF_LIFE_S)
    found: dict[str, Cached] = {}
    for engine in engines:
        rows = [one for one in window.caches if one.engine == engine]
        if rows or engine in known:
            before = known.get(engine, Cached())
            found[engine] = Cached(
                before.looked_up * left + sum(one.looked_up for one in rows),
                before.found * left + sum(one.found for one in rows),
            )
    return found
