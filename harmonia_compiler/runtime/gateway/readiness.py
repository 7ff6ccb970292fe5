"""Whether every pipeline could answer now, and what is missing where one could not.

A replica under load may leave a probe waiting while it answers calls; taken for missing, it would take the whole
service out of a load balancer at its busiest moment. So silence counts only where nothing was heard for a while.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, TypeVar

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Component
from harmonia_compiler.runtime.gateway.collections import Fit
from harmonia_compiler.runtime.gateway.service import Gateway

#: For how long a finding is given out again before everything is asked anew, in seconds.
FRESH_S = 1.0
#: How long a replica may take to say that it is ready, in seconds.
PROBE_TIMEOUT_S = 2.0
#: For how long a replica that leaves a probe waiting is busy, counted from its last answer to anything, in seconds.
BUSY_S = 30.0

_NOBODY = "no replica is running"

Need = TypeVar("Need", str, tuple[str, str])


class Readiness:
    """Asks replicas and collections, at most once at a time."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = asyncio.Lock()
        self._known: tuple[float, list[dict[str, Any]]] | None = None

    async def missing(self) -> list[dict[str, Any]]:
        """What stands in the way, one entry each: what it is, which pipelines need it, and why it is not there."""
        async with self._lock:
            now = self._gateway.clock()
            if self._known is None or now - self._known[0] >= FRESH_S:
                self._known = (now, await self._ask())
            return self._known[1]

    async def _ask(self) -> list[dict[str, Any]]:
        needs = self._needed(lambda component: component.engine)
        reasons = await asyncio.gather(*(self._engine(engine) for engine in needs))
        found: list[dict[str, Any]] = [
            {"engine": engine, "pipelines": pipelines, "reason": reason}
            for (engine, pipelines), reason in zip(needs.items(), reasons, strict=True)
            if reason is not None
        ]
        gone = {entry["engine"] for entry in found}
        for (store, name), pipelines in self._needed(self._searched).items():
            # It may have stopped since it answered.
            endpoints = self._gateway.dispatcher.endpoints(store)
            if not endpoints and store not in gone:
                gone.add(store)
                found.append({"engine": store, "pipelines": needs[store], "reason": _NOBODY})
            if store in gone:
                continue
            finding = await self._gateway.collections.look(endpoints[0], name)
            if finding.fit is not Fit.FITS:
                found.append({"collection": name, "pipelines": pipelines, "reason": finding.reason})
        return found

    def _needed(self, of: Callable[[Component], Need | None]) -> dict[Need, list[str]]:
        """What the components that pipelines call need, by `of`, with the pipelines that need each.

        A Program has every component that it calls, be it only in a loop, for a list or as what stands in.
        """
        needed: dict[Need, list[str]] = {}
        for pipeline, program in self._gateway.service.programs.items():
            found = {need for component in program.components.values() if (need := of(component)) is not None}
            for need in sorted(found):
                needed.setdefault(need, []).append(pipeline)
        return needed

    def _searched(self, component: Component) -> tuple[str, str] | None:
        """The engine and the collection that calls of a component search; None where they search none."""
        name = self._gateway.collections.searched_by(component)
        return None if name is None else (component.engine, name)

    def _transport(self, engine: str) -> str:
        return self._gateway.kinds[self._gateway.service.engines[engine].kind].transport

    async def _engine(self, engine: str) -> str | None:
        """Why no replica of the engine answers; None where one does, or where it is somebody else's."""
        if self._gateway.kinds[self._gateway.service.engines[engine].kind].external:
            return None
        endpoints = self._gateway.dispatcher.endpoints(engine)
        if not endpoints:
            return _NOBODY
        reasons = await asyncio.gather(*(self._replica(engine, endpoint) for endpoint in endpoints))
        return None if None in reasons else f"`{endpoints[0].replica}`: {reasons[0]}"

    async def _replica(self, engine: str, endpoint: Endpoint) -> str | None:
        """Why this replica is not there; None where it is, or is only too busy to say so."""
        queue = self._gateway.dispatcher.queues[engine]
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                reason = await self._gateway.transports[self._transport(engine)].answers(endpoint)
        except TimeoutError:
            heard_at = queue.heard_at.get(endpoint, -math.inf)
            busy = self._gateway.clock() - heard_at < BUSY_S
            return None if busy else f"it does not answer within {PROBE_TIMEOUT_S:g} s"
        if reason is None:
            queue.hear(endpoint)
        return reason
