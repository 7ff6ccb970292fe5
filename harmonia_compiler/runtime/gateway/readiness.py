"""Whether every pipeline could answer now, and what is missing where one could not.

A replica under load may leave a probe waiting while it answers calls; taken for missing, it would take the whole
service out of a load balancer at its busiest moment. So silence counts only where nothing was heard for a while.
"""

import asyncio
import math
from typing import Any

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.program import Call
from harmonia_compiler.runtime.gateway.collections import Fit
from harmonia_compiler.runtime.gateway.service import Gateway

#: For how long a finding is given out again before everything is asked anew, in seconds.
FRESH_S = 1.0
#: How long a replica may take to say that it is ready, in seconds.
PROBE_TIMEOUT_S = 2.0
#: For how long a replica that leaves a probe waiting is busy, counted from its last answer to anything, in seconds.
BUSY_S = 30.0

_NOBODY = "no replica is running"


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
        needs = _needs(self._gateway)
        reasons = await asyncio.gather(*(self._engine(engine) for engine in needs))
        found: list[dict[str, Any]] = [
            {"engine": engine, "pipelines": pipelines, "reason": reason}
            for (engine, pipelines), reason in zip(needs.items(), reasons, strict=True)
            if reason is not None
        ]
        stores = [engine for engine in needs if self._transport(engine) == "milvus"]
        if any(entry["engine"] in stores for entry in found):
            return found
        for store in stores:
            # It may have stopped since it answered.
            endpoints = self._gateway.dispatcher.endpoints(store)
            if not endpoints:
                found.append({"engine": store, "pipelines": needs[store], "reason": _NOBODY})
                continue
            for name in self._gateway.service.collections:
                finding = await self._gateway.collections.look(endpoints[0], name)
                if finding.fit is not Fit.FITS:
                    found.append({"collection": name, "pipelines": needs[store], "reason": finding.reason})
        return found

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


def _needs(gateway: Gateway) -> dict[str, list[str]]:
    """The engines that the pipelines call, with the pipelines that call each."""
    needs: dict[str, list[str]] = {}
    for name, program in gateway.service.programs.items():
        called = {operation.component for operation in program.operations if isinstance(operation, Call)}
        for engine in sorted({program.components[component].engine for component in called}):
            needs.setdefault(engine, []).append(name)
    return needs
