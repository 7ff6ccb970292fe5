"""Hands calls to replicas: a bounded queue for each engine, first come first served, by planned capacity.

The choice of a replica is a plain function of what is known about each; the queue holds those for
whom no replica has room.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare

#: How many calls may wait for each call that can run, and the least that may wait for an engine.
WAITING_PER_SLOT = 8
WAITING_AT_LEAST = 64
#: For how long a replica that could not be reached is the last choice, in seconds.
SHUNNED_S = 1.0
RETRY_AFTER_MAX_S = 30
#: The weight of the newest service time in the running mean.
NEWEST = 0.1


class NoReplica(Exception):
    """No replica of the engine is running."""


class QueueFull(Exception):
    """As many calls wait for the engine as may; `retry_after_s` is when there should be room again."""

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting} calls are waiting")
        self.waiting = waiting
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class ReplicaLoad:
    """What is known about a replica: its share, calls in flight, the turn of its last call, when it was unreachable."""

    endpoint: Endpoint
    share: ReplicaShare
    in_flight: int = 0
    last_turn: int = 0
    unreachable_at: float = -math.inf


def choose(replicas: Iterable[ReplicaLoad], now: float, avoid: Collection[str] = ()) -> ReplicaLoad | None:
    """The replica that takes the next call, or None where none has room.

    Of those with fewer calls than their batch: not one to avoid and not one that could just not be
    reached, where there is another; then the one that will have the least to do for its weight,
    this call included; then the one that has waited longest for a call.
    """
    free = [replica for replica in replicas if replica.in_flight < replica.share.batch]
    return min(
        free,
        key=lambda replica: (
            replica.endpoint.replica in avoid,
            now - replica.unreachable_at < SHUNNED_S,
            (replica.in_flight + 1) / replica.share.weight,
            replica.last_turn,
        ),
        default=None,
    )


@dataclass(slots=True)
class EngineQueue:
    """The replicas of one engine and the calls that wait for them. Used from one event loop.

    `shares` are the plan's; a replica that it does not have takes the `usual` share.
    """

    usual: ReplicaShare
    shares: Mapping[str, ReplicaShare]
    clock: Callable[[], float]
    replicas: dict[str, ReplicaLoad] = field(default_factory=dict)
    waiting: deque[asyncio.Future[Endpoint]] = field(default_factory=deque)
    turn: int = 0
    mean_service_s: float = 0.0

    def set_replicas(self, endpoints: Iterable[Endpoint]) -> None:
        """Route to these from now on; calls in flight to others go on, and what waits moves to the new ones."""
        known = self.replicas
        self.replicas = {
            endpoint.replica: known[endpoint.replica]
            if endpoint.replica in known and known[endpoint.replica].endpoint == endpoint
            else ReplicaLoad(endpoint, self.shares.get(endpoint.replica, self.usual))
            for endpoint in endpoints
        }
        self._hand_out()

    async def acquire(self, avoid: Collection[str] = ()) -> Endpoint:
        """A replica with room for one call; every one that is given must be released.

        Raises NoReplica at once where none is running or the last one stops, QueueFull where too
        many wait already.
        """
        if not self.replicas:
            raise NoReplica
        if not self.waiting and (endpoint := self._take(avoid)):
            return endpoint
        slots = sum(load.share.batch for load in self.replicas.values())
        if len(self.waiting) >= max(WAITING_AT_LEAST, WAITING_PER_SLOT * slots):
            raise QueueFull(len(self.waiting), self._retry_after_s(slots))
        future: asyncio.Future[Endpoint] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.release(future.result())
            raise
        finally:
            if future in self.waiting:
                self.waiting.remove(future)

    def release(self, endpoint: Endpoint, service_s: float | None = None) -> None:
        """The call has ended, after `service_s` where it was served."""
        load = self.replicas.get(endpoint.replica)
        if load is not None and load.endpoint == endpoint:
            load.in_flight = max(0, load.in_flight - 1)
        if service_s is not None:
            self.mean_service_s += NEWEST * (service_s - self.mean_service_s)
        self._hand_out()

    def unreachable(self, endpoint: Endpoint) -> None:
        """Note that this replica could not be reached just now."""
        load = self.replicas.get(endpoint.replica)
        if load is not None and load.endpoint == endpoint:
            load.unreachable_at = self.clock()

    def _take(self, avoid: Collection[str] = ()) -> Endpoint | None:
        load = choose(self.replicas.values(), self.clock(), avoid)
        if load is None:
            return None
        self.turn += 1
        load.in_flight += 1
        load.last_turn = self.turn
        return load.endpoint

    def _hand_out(self) -> None:
        while self.waiting:
            if self.waiting[0].done():
                self.waiting.popleft()
            elif not self.replicas:
                self.waiting.popleft().set_exception(NoReplica())
            elif endpoint := self._take():
                self.waiting.popleft().set_result(endpoint)
            else:
                return

    def _retry_after_s(self, slots: int) -> int:
        seconds = len(self.waiting) * self.mean_service_s / slots
        return min(RETRY_AFTER_MAX_S, max(1, math.ceil(seconds)))


class Dispatcher:
    """The queues of all engines."""

    def __init__(
        self, usual: Mapping[str, ReplicaShare], shares: Mapping[str, ReplicaShare], clock: Callable[[], float]
    ) -> None:
        """`usual` are the shares, by engine, of replicas that are not among the plan's `shares`."""
        self.queues = {engine: EngineQueue(share, shares, clock) for engine, share in usual.items()}

    def set_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Swap in the replicas of every engine; those of engines that nothing calls are left out."""
        given: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            given.setdefault(endpoint.engine, []).append(endpoint)
        for engine, queue in self.queues.items():
            queue.set_replicas(given.get(engine, ()))

    def endpoints(self, engine: str) -> list[Endpoint]:
        """The replicas of an engine that calls go to now."""
        return [load.endpoint for load in self.queues[engine].replicas.values()]
