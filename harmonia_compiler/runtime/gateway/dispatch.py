"""Hands calls to replicas: the line of each engine (`policy/line.py`) with futures for those who wait."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.line import GivenUp, Line, NoReplica
from harmonia_compiler.policy.waiting import IN_TURN, Standing


@dataclass(slots=True)
class EngineQueue:
    """The replicas of one engine and the calls that wait for them. Used from one event loop.

    `heard_at` is when each last answered anything.
    """

    line: Line[asyncio.Future[Endpoint]]
    clock: Callable[[], float]
    heard_at: dict[Endpoint, float] = field(default_factory=dict)

    def set_replicas(self, endpoints: Iterable[Endpoint]) -> None:
        """Route to these from now on; calls in flight to others go on, and what waits moves to the new ones."""
        self.line.set_replicas(endpoints)
        still = {load.endpoint for load in self.line.replicas.values()}
        self.heard_at = {endpoint: at for endpoint, at in self.heard_at.items() if endpoint in still}
        self._hand_out()

    def set_shares(self, shares: Mapping[str, ReplicaShare]) -> None:
        """Give replicas these shares from now on."""
        self.line.set_shares(shares)
        self._hand_out()

    async def acquire(self, avoid: Collection[str] = (), standing: Standing = IN_TURN) -> Endpoint:
        """A replica with room for one call, which waits where it stands; every one that is given must be released.

        Raises NoReplica at once where none is running or the last one stops, QueueFull where too
        many wait already, GivenUp where the call's turn comes too late.
        """
        if (endpoint := self.line.ask(self.clock(), avoid)) is not None:
            return endpoint
        future: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self.line.wait(future, standing)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result())
            raise
        finally:
            self.line.leave(future)

    def release(self, endpoint: Endpoint, service_s: float | None = None) -> None:
        """The call has ended, after `service_s` where it was served."""
        self.line.release(endpoint)
        if service_s is not None:
            self.hear(endpoint)
        self._hand_out()

    def hear(self, endpoint: Endpoint) -> None:
        """Note that this replica has answered just now."""
        self.heard_at[endpoint] = self.clock()

    def unreachable(self, endpoint: Endpoint) -> None:
        """Note that this replica could not be reached just now."""
        self.line.unreachable(endpoint, self.clock())

    def _hand_out(self) -> None:
        if not self.line.replicas:
            for future in tuple(self.line.waiting):
                self.line.leave(future)
                if not future.done():
                    future.set_exception(NoReplica())
        while (given := self.line.next(self.clock())) is not None:
            future, endpoint = given
            if future.done():
                if endpoint is not None:
                    self.line.release(endpoint)
            elif endpoint is None:
                future.set_exception(GivenUp())
            else:
                future.set_result(endpoint)


class Dispatcher:
    """The queues of all engines."""

    def __init__(
        self, usual: Mapping[str, ReplicaShare], shares: Mapping[str, ReplicaShare], clock: Callable[[], float]
    ) -> None:
        """`usual` are the shares, by engine, of replicas that are not among the plan's `shares`."""
        self.queues = {engine: EngineQueue(Line(share, shares), clock) for engine, share in usual.items()}

    def set_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Swap in the replicas of every engine; those of engines that nothing calls are left out."""
        given: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            given.setdefault(endpoint.engine, []).append(endpoint)
        for engine, queue in self.queues.items():
            queue.set_replicas(given.get(engine, ()))

    def set_shares(self, shares: Mapping[str, ReplicaShare]) -> None:
        """Give the replicas of every engine these shares from now on."""
        for queue in self.queues.values():
            queue.set_shares(shares)

    def endpoints(self, engine: str) -> list[Endpoint]:
        """The replicas of an engine that calls go to now."""
        return [load.endpoint for load in self.queues[engine].line.replicas.values()]
