"""What the measured systems have in common: where emulated engines listen, and how one of several is chosen.

A system is told by `peer.json` which replicas it may use of each engine. A call says for which request and for which
component it is made, so that an emulated engine answers it as it answers the same call of any other system.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REQUEST_HEADER, CALL_HEADER = "x-request-id", "x-harmonia-call"


@dataclass
class Pool:
    """The replicas of one engine behind a load balancer that picks the one with the fewest calls (`least_conn`)."""

    urls: list[str]
    running: list[int] = field(init=False)
    turn: int = 0

    def __post_init__(self) -> None:
        self.running = [0] * len(self.urls)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[int]:
        """The number of a replica, which counts as busy until the end of the context."""
        count = len(self.urls)
        self.turn += 1
        at = min(range(count), key=lambda number: (self.running[number], (number - self.turn) % count))
        self.running[at] += 1
        try:
            yield at
        finally:
            self.running[at] -= 1


def told(path: str) -> dict[str, Any]:
    """`peer.json`: by each engine its replicas' ids and addresses, and settings of the system."""
    return dict(json.loads(Path(path).read_text()))


def whose(request: str, component: str) -> dict[str, str]:
    """The headers that say for whom a call is made."""
    return {REQUEST_HEADER: request, CALL_HEADER: f"{component};"}


def shown(passages: list[dict[str, Any]]) -> str:
    """Passages as they stand in a prompt."""
    return "\n".join(f"[{at}] {one['text']} ({one['source']})" for at, one in enumerate(passages, 1))
