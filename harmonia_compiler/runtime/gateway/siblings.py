"""The processes of one gateway, as each of them knows the others: whoever is asked what all have counted asks them.

Each listens on a port of its own beside the one that they share. Where one does not answer there is no sum: a count
that goes down and up again would be taken for a restart of everything.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.launch import Wire
from harmonia_compiler.runtime.gateway.problem import UNAVAILABLE, Problem
from harmonia_compiler.runtime.gateway.transport import Broken, Refused, Transport, Unreachable
from harmonia_compiler.runtime.gateway.within import within_s

#: What is asked for of one process alone.
OWN = "own"
#: How long one may take to answer, in seconds.
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Siblings:
    """The ports of the other processes."""

    ports: tuple[int, ...] = ()

    async def all_of(self, transport: Transport, path: str, own: bytes) -> Sequence[bytes]:
        """What is at this path of all processes, this one's own first. Raises Problem (503)."""
        if not self.ports:
            return [own]
        wire = Wire(f"{path}?{OWN}=1", b"", "GET")
        endpoints = [Endpoint(f"gateway:{port}", "gateway", "127.0.0.1", port) for port in self.ports]
        try:
            with within_s(PATIENCE_S):
                others = await asyncio.gather(*(transport.send(endpoint, wire) for endpoint in endpoints))
        except (Unreachable, Broken, Refused, TimeoutError) as problem:
            why = f"another process of the gateway does not answer: {str(problem) or 'it takes too long'}"
            status = HTTPStatus.SERVICE_UNAVAILABLE
            raise Problem(status, UNAVAILABLE, "process_missing", why, retry_after_s=1) from problem
        return [own, *others]


#: Those of a gateway that is one process.
ALONE = Siblings()
