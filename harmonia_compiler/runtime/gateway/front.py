"""The generations of a service that one gateway process serves, and which of them a new request goes to.

Each is a `Gateway` of its own, with its Programs, its replicas and what it learned of them; they have their connections
and their counts of requests in common. A request stays with the one that it came to, so that a generation which gets no
new ones ends what it has begun.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harmonia_compiler.contract.program import Program
from harmonia_compiler.runtime.gateway.readiness import Readiness
from harmonia_compiler.runtime.gateway.service import Gateway

#: The golden ratio: its multiples fall evenly between 0 and 1 and never in a rhythm that clients could have.
_TURN = 0.6180339887498949


class Member:
    """One generation, looked after from when it is made until it is ended."""

    def __init__(self, number: int, share: float, gateway: Gateway) -> None:
        self.number, self.share, self.gateway = number, share, gateway
        self.readiness = Readiness(gateway)
        self._looking = asyncio.create_task(gateway.dispatcher.look(gateway.metrics.bug))
        self._reading = asyncio.create_task(gateway.caches.look(gateway.metrics.bug))

    def end(self) -> None:
        """Look after its replicas no more."""
        self._looking.cancel()
        self._reading.cancel()
        self.gateway.leave()


@dataclass(slots=True)
class Front:
    """Owned by one event loop. `members` are in the order of the document: the first is the service's own."""

    members: tuple[Member, ...]
    stopping: bool = False
    epoch: int = 0
    refused: str = ""
    _leaving: tuple[Member, ...] = ()
    _turn: float = 0.0

    @property
    def base(self) -> Gateway:
        """The generation that speaks for the service."""
        return self.members[0].gateway

    @property
    def programs(self) -> Mapping[str, Program]:
        """The pipelines that a new request may name."""
        found: dict[str, Program] = {}
        for member in self._open():
            found = {**member.gateway.service.programs, **found}
        return found

    def replace(self, members: Sequence[Member]) -> None:
        """Serve these from now on; others go on until they have ended what they have begun."""
        gone = [one for one in (*self.members, *self._leaving) if one not in members]
        self.members = tuple(members)
        self._leaving = tuple(one for one in gone if one.gateway.under_way)
        for one in gone:
            if one not in self._leaving:
                one.end()

    def pick(self, pipeline: object) -> Gateway:
        """The generation of a new request, among those that have its pipeline."""
        if len(self.members) == 1:
            return self.members[0].gateway
        named = pipeline if isinstance(pipeline, str) else ""
        having = [one for one in self._open() if named in one.gateway.service.programs]
        if not having:
            return self.base
        self._turn = (self._turn + _TURN) % 1.0
        at = self._turn * sum(one.share for one in having)
        for one in having:
            at -= one.share
            if at < 0.0:
                return one.gateway
        return having[-1].gateway

    async def missing(self) -> list[dict[str, object]]:
        """What stands in the way of new requests, one entry each; see `Readiness`."""
        found = [await one.readiness.missing() for one in self._open()]
        return [entry for entries in found for entry in entries]

    def cut(self) -> None:
        """End whatever still runs, with an error that says why."""
        for one in (*self.members, *self._leaving):
            one.gateway.cut()

    async def close(self) -> None:
        """Close every connection to replicas."""
        for one in (*self.members, *self._leaving):
            one.end()
        await self.base.close()

    def _open(self) -> list[Member]:
        """Those that get new requests."""
        return [one for one in self.members if one.share > 0.0] or [self.members[0]]
