"""Which replica takes which call, and which calls wait: the queue in front of one engine, without clock or socket.

First come first served, by planned capacity. The gateway drives it with futures, the simulator with
events of its own: a call is whatever ticket the driver knows it by.
"""

import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare

#: How many calls may wait for each call that can run, and the least that may wait for an engine.
WAITING_PER_SLOT = 8
WAITING_AT_LEAST = 64
#: How many calls a service of somebody else's is sent at once, where the plan says nothing.
EXTERNAL_CONCURRENCY = 64
#: For how long a replica that could not be reached is the last choice, in seconds.
SHUNNED_S = 1.0
RETRY_AFTER_MAX_S = 30
#: The weight of the newest service time in the running mean.
NEWEST = 0.1

Ticket = TypeVar("Ticket")


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
class Line(Generic[Ticket]):
    """The replicas of one engine and the calls that wait for them. Times are in seconds, by the driver's clock.

    `shares` are the plan's; a replica that it does not have takes the `usual` share. Whenever a place
    may have become free, the driver asks `next` until it gives nothing.
    """

    usual: ReplicaShare
    shares: Mapping[str, ReplicaShare]
    replicas: dict[str, ReplicaLoad] = field(default_factory=dict)
    waiting: deque[Ticket] = field(default_factory=deque)
    turn: int = 0
    mean_service_s: float = 0.0

    def set_replicas(self, endpoints: Iterable[Endpoint]) -> None:
        """Route to these from now on; calls in flight to others go on."""
        known = self.replicas
        self.replicas = {
            endpoint.replica: known[endpoint.replica]
            if endpoint.replica in known and known[endpoint.replica].endpoint == endpoint
            else ReplicaLoad(endpoint, self.shares.get(endpoint.replica, self.usual))
            for endpoint in endpoints
        }

    def ask(self, now: float, avoid: Collection[str] = ()) -> Endpoint | None:
        """A replica with room for one more call, unless others wait already; every one that is given is released.

        Raises NoReplica where none is running.
        """
        if not self.replicas:
            raise NoReplica
        return None if self.waiting else self._take(now, avoid)

    def wait(self, ticket: Ticket) -> None:
        """Let a call wait. Raises QueueFull where too many do."""
        slots = sum(load.share.batch for load in self.replicas.values())
        if len(self.waiting) >= max(WAITING_AT_LEAST, WAITING_PER_SLOT * slots):
            raise QueueFull(len(self.waiting), self._retry_after_s(slots))
        self.waiting.append(ticket)

    def leave(self, ticket: Ticket) -> None:
        """A call waits no more, if it did."""
        if ticket in self.waiting:
            self.waiting.remove(ticket)

    def next(self, now: float) -> tuple[Ticket, Endpoint] | None:
        """The call that has waited longest and the replica that takes it, if there is one with room."""
        endpoint = self._take(now) if self.waiting else None
        return None if endpoint is None else (self.waiting.popleft(), endpoint)

    def release(self, endpoint: Endpoint, service_s: float | None = None) -> None:
        """A call has ended, after `service_s` where it was served."""
        load = self._load(endpoint)
        if load is not None:
            load.in_flight = max(0, load.in_flight - 1)
        if service_s is not None:
            self.mean_service_s += NEWEST * (service_s - self.mean_service_s)

    def unreachable(self, endpoint: Endpoint, now: float) -> None:
        """Note that this replica could not be reached just now."""
        load = self._load(endpoint)
        if load is not None:
            load.unreachable_at = now

    def _load(self, endpoint: Endpoint) -> ReplicaLoad | None:
        load = self.replicas.get(endpoint.replica)
        return load if load is not None and load.endpoint == endpoint else None

    def _take(self, now: float, avoid: Collection[str] = ()) -> Endpoint | None:
        load = choose(self.replicas.values(), now, avoid)
        if load is None:
            return None
        self.turn += 1
        load.in_flight += 1
        load.last_turn = self.turn
        return load.endpoint

    def _retry_after_s(self, slots: int) -> int:
        seconds = len(self.waiting) * self.mean_service_s / slots
        return min(RETRY_AFTER_MAX_S, max(1, math.ceil(seconds)))
