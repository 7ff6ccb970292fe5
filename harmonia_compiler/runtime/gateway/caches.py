"""Reads how well the prefix caches of replicas serve, from what they export for Prometheus.

Apart from requests: over connections of its own, every few seconds, a few replicas at a time. What a replica answers is
looked through as far as it may be of use, and what cannot be read is as if nothing had been said.
"""

import asyncio
import math
import re
from collections.abc import Callable, Iterable, Mapping

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.contract.readings import CacheRead
from harmonia_compiler.kinds.kind import PrefixCache
from harmonia_compiler.runtime.gateway.again import again
from harmonia_compiler.runtime.gateway.http_pool import Pool
from harmonia_compiler.runtime.gateway.transport import Broken, Unreachable
from harmonia_compiler.runtime.gateway.within import within_s

#: How often replicas are asked, how long one may take to answer, in seconds, and how many are asked at once.
EVERY_S, PATIENCE_S, AT_ONCE = 5.0, 2.0, 8
#: The largest page that is read, in bytes: room for vLLM's with several engines in one process.
PAGE_LIMIT = 2**20
#: So many series a counter may have, those whose names begin alike among them, and so many bytes a line.
MOST_SERIES, LINE_LIMIT = 256, 4096
#: The largest count that a document holds.
MOST = 2**53

#: What follows the name: labels, in whose texts anything may stand, the value, and maybe a time or a comment.
_SERIES = re.compile(rb'(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*+")*+\})?[ \t]+([0-9.eE+]{1,32})(?:[ \t].*)?\r?', re.DOTALL)

#: What was looked up, and what was found.
Counted = tuple[int, int]


class Caches:
    """Owned by one event loop. `told` is where replicas tell of their caches, by engine; `endpoints` gives those."""

    def __init__(self, told: Mapping[str, PrefixCache], endpoints: Callable[[str], Iterable[Endpoint]]) -> None:
        self._told = told
        self._endpoints = endpoints
        self._pool = Pool()
        #: What each said last.
        self._last: dict[Endpoint, Counted] = {}
        self._counts: dict[tuple[str, str], Counted] = {}
        self._reading: asyncio.Task[None] | None = None

    async def look(self, bug: Callable[[str], Callable[[], object]]) -> None:
        """Ask again and again until cancelled; `bug` gives what counts the turns of a name that fail."""
        if not self._told:
            return
        try:
            await again("caches", self._turn, EVERY_S, bug("caches"))
        finally:
            if self._reading is not None:
                self._reading.cancel()

    async def read(self) -> None:
        """Ask every replica once."""
        turns = asyncio.Semaphore(AT_ONCE)
        asked = [(one, told) for engine, told in self._told.items() for one in self._endpoints(engine)]
        await asyncio.gather(*(self._ask(one, told, turns) for one, told in asked))
        here = {one for one, _ in asked}
        self._last = {one: counted for one, counted in self._last.items() if one in here}

    def readings(self) -> tuple[CacheRead, ...]:
        """What was looked up and found since each replica was first asked."""
        return tuple(
            CacheRead(replica, engine, *counted) for (engine, replica), counted in sorted(self._counts.items())
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _turn(self) -> None:
        """Begin to ask, unless it is being asked; raises what a bug of ours raised last time."""
        if self._reading is not None:
            if not self._reading.done():
                return
            done, self._reading = self._reading, None
            done.result()
        self._reading = asyncio.create_task(self.read())

    async def _ask(self, endpoint: Endpoint, told: PrefixCache, turns: asyncio.Semaphore) -> None:
        try:
            async with turns:
                with within_s(PATIENCE_S):
                    status, _, page = await self._pool.exchange(endpoint, Wire(told.path, b"", "GET"), PAGE_LIMIT)
        except (Unreachable, Broken, TimeoutError):
            return
        if status // 100 != 2:
            return
        looked_up, found = counted(page, told.looked_up), counted(page, told.found)
        if looked_up is not None and found is not None:
            self._take(endpoint, (looked_up, found))

    def _take(self, endpoint: Endpoint, now: Counted) -> None:
        """Add what has come since a replica was asked last; of one that nobody asked yet, nothing."""
        key = endpoint.engine, endpoint.replica
        before, self._last[endpoint] = self._last.get(endpoint, now), now
        if now[0] < before[0] or now[1] < before[1]:
            # It has started anew, and counts from zero.
            before = (0, 0)
        looked_up, found = self._counts.get(key, (0, 0))
        more = now[0] - before[0]
        # Nothing is found that was not looked for, whatever is said.
        self._counts[key] = min(MOST, looked_up + more), min(MOST, found + min(more, now[1] - before[1]))


def counted(page: bytes, name: str) -> int | None:
    """A counter on a page in Prometheus' text format, as the sum of its series; None where it cannot be read.

    Any bytes may be given, and take a time that grows with their number.
    """
    page, wanted = b"\n" + page, b"\n" + name.encode()
    values: list[float] = []
    at = page.find(wanted)
    for _ in range(MOST_SERIES):
        if at < 0:
            break
        begins = at + len(wanted)
        end = page.find(b"\n", begins)
        line = page[begins : len(page) if end < 0 else end]
        # Another name may begin alike.
        if line[:1] in (b"{", b" ", b"\t"):
            value = _value(line)
            if value is None:
                return None
            values.append(value)
        at = page.find(wanted, begins)
    total = sum(values)
    return round(total) if at < 0 and values and total <= MOST else None


def _value(line: bytes) -> float | None:
    found = _SERIES.fullmatch(line) if len(line) <= LINE_LIMIT else None
    if found is None:
        return None
    try:
        value = float(found[1])
    except ValueError:
        return None
    return value if math.isfinite(value) else None
