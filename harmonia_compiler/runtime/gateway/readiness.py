"""Whether every pipeline could answer now, and what is missing where one could not."""

import asyncio
from collections.abc import Callable
from typing import Any

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.collection import CollectionRecord, differences
from harmonia_compiler.contract.program import Call
from harmonia_compiler.runtime.gateway.service import Gateway

#: For how long a finding is given out again before everything is asked anew, in seconds.
FRESH_S = 1.0
#: For how long the record of a collection may take to be read, in seconds.
RECORD_TIMEOUT_S = 5.0

ReadRecord = Callable[[str, str], CollectionRecord | None]


class Readiness:
    """Asks replicas and collections, at most once at a time. `read_record` blocks and is given a thread."""

    def __init__(self, gateway: Gateway, read_record: ReadRecord) -> None:
        self._gateway = gateway
        self._read_record = read_record
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
            for name, expected in self._gateway.service.collections.items():
                reason = await self._collection(endpoint, name, expected)
                if reason is not None:
                    found.append({"collection": name, "pipelines": needs[store], "reason": reason})
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

    async def _collection(self, endpoint: Endpoint, name: str, expected: CollectionRecord) -> str | None:
        uri = f"http://{endpoint.host}:{endpoint.port}"
        try:
            async with asyncio.timeout(RECORD_TIMEOUT_S):
                record = await asyncio.to_thread(self._read_record, uri, name)
        except TimeoutError:
            return f"its record was not read within {RECORD_TIMEOUT_S:g} s"
        except Exception as problem:  # noqa: BLE001 - whatever hinders it, the collection is not ready
            return f"its record cannot be read ({type(problem).__name__})"
        if record is None:
            return "nothing was ingested; `harmoniac ingest` does it"
        return "; ".join(differences(record, expected)) or None


def _needs(gateway: Gateway) -> dict[str, list[str]]:
    """The engines that the pipelines call, with the pipelines that call each."""
    needs: dict[str, list[str]] = {}
    for name, program in gateway.service.programs.items():
        called = {operation.component for operation in program.operations if isinstance(operation, Call)}
        for engine in sorted({program.components[component].engine for component in called}):
            needs.setdefault(engine, []).append(name)
    return needs
