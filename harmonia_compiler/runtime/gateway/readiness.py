"""Whether every pipeline could answer now, and what is missing where one could not."""

import asyncio
from typing import Any

from harmonia_compiler.contract.program import Call
from harmonia_compiler.runtime.gateway.collections import Fit
from harmonia_compiler.runtime.gateway.service import Gateway

#: For how long a finding is given out again before everything is asked anew, in seconds.
FRESH_S = 1.0


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
            endpoint = self._gateway.dispatcher.endpoints(store)[0]
            for name in self._gateway.service.collections:
                finding = await self._gateway.collections.look(endpoint, name)
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
            return "no replica is running"
        transport = self._gateway.transports[self._transport(engine)]
        reasons = await asyncio.gather(*(transport.answers(endpoint) for endpoint in endpoints))
        return None if None in reasons else f"`{endpoints[0].replica}`: {reasons[0]}"


def _needs(gateway: Gateway) -> dict[str, list[str]]:
    """The engines that the pipelines call, with the pipelines that call each."""
    needs: dict[str, list[str]] = {}
    for name, program in gateway.service.programs.items():
        called = {operation.component for operation in program.operations if isinstance(operation, Call)}
        for engine in sorted({program.components[component].engine for component in called}):
            needs.setdefault(engine, []).append(name)
    return needs
