"""Which replica takes which call, and which calls wait: the queue in front of one engine, without clock or socket.

Replicas by `routing/`, calls by where they stand (`waiting.py`); those that have become hopeless are handed back.
The gateway drives it with futures, the simulator with events of its own: a call is whatever ticket the driver knows it
by.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import InitVar, dataclass, field
from typing import Generic, TypeVar

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.program import MOST_ITEMS
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.policy.quantile import Mean
from harmonia_compiler.policy.routing.choice import ReplicaLoad
from harmonia_compiler.policy.routing.pool import Pool
from harmonia_compiler.policy.waiting import IN_TURN, Standing, Waiting

#: How many requests may wait before another one for each call that can run, and the least that may for an engine.
WAITING_PER_SLOT = 8
WAITING_AT_LEAST = 64
#: How many calls may wait in any case, whosever: as many as a list of the longest lists has items. A gateway has some
#: 6 KB for each.
MOST_CALLS = MOST_ITEMS * MOST_ITEMS
#: How many calls a service of somebody else's is sent at once, where the plan says nothing.
EXTERNAL_CONCURRENCY = 64
RETRY_AFTER_MAX_S = 30

Ticket = TypeVar("Ticket")


class NoReplica(Exception):
    """No replica of the engine is running."""


class QueueFull(Exception):
    """So many calls of so many requests wait for the engine; `retry_after_s` is when there should be room again."""

    def __init__(self, calls: int, requests: int, retry_after_s: int) -> None:
        super().__init__(f"{calls} calls of {requests} {'request' if requests == 1 else 'requests'} wait")
        self.retry_after_s = retry_after_s


class GivenUp(Exception):
    """The request of a call would be late in all likelihood, though a replica took it now."""


@dataclass(slots=True)
class Line(Generic[Ticket]):
    """The replicas of one engine and the calls that wait for them. Times are in seconds, by the driver's clock.

    Whenever a place may have become free, or a time has passed for which a replica was left out, the driver asks `next`
    until it gives nothing. `held_s` is how long a call has its place, `pool` who takes one (`routing/pool.py`), with
    these `parts` of the scheduling. `slots` are the places of all replicas, `carries` the calls a second that these
    complete by the plan.
    """

    usual: InitVar[ReplicaShare]
    shares: InitVar[Mapping[str, ReplicaShare]]
    seed: InitVar[int] = 0
    parts: InitVar[Parts] = ALL
    pool: Pool = field(init=False)
    waiting: Waiting[Ticket] = field(default_factory=Waiting)
    slots: int = 0
    carries: float = 0.0
    held_s: Mean = field(default_factory=Mean)

    def __post_init__(self, usual: ReplicaShare, shares: Mapping[str, ReplicaShare], seed: int, parts: Parts) -> None:
        self.pool = Pool(usual, shares, seed, parts=parts)

    @property
    def replicas(self) -> Mapping[str, ReplicaLoad]:
        """What is known of each replica, by its name."""
        return self.pool.loads

    @property
    def in_flight(self) -> int:
        """How many calls replicas work on."""
        return sum(load.in_flight for load in self.pool.loads.values())

    @property
    def occupied(self) -> int:
        """How many calls replicas work on, of all that route to them: generations of one service share replicas."""
        return sum(load.places.taken for load in self.pool.loads.values())

    def set_replicas(self, endpoints: Iterable[Endpoint]) -> None:
        """Route to these from now on; calls in flight to others go on."""
        self.pool.set_replicas(endpoints)
        self._count()

    def set_shares(self, shares: Mapping[str, ReplicaShare]) -> None:
        """Give replicas these shares from now on; what is in flight goes on."""
        self.pool.set_shares(shares)
        self._count()

    def ask(self, now: float, avoid: Collection[str] = (), beginning: int = 0) -> Endpoint | None:
        """A replica with room for one more call, unless others wait already; every one that is given is released.

        Raises NoReplica where none is running.
        """
        if not self.pool.loads:
            raise NoReplica
        return None if self.waiting else self.pool.take(now, avoid, beginning)

    def wait(self, ticket: Ticket, standing: Standing = IN_TURN) -> None:
        """Let a call wait. Raises QueueFull where too many wait of those that were promised a time, or of all.

        So who may wait for ever takes no place from who may not. What counts are requests that came before, and not
        calls: nobody is refused for the length of a list of its own, nor for who came later, save where `MOST_CALLS`
        wait.
        """
        waiting = self.waiting
        most = max(WAITING_AT_LEAST, WAITING_PER_SLOT * self.slots)
        calls = waiting.promised.calls if standing.promised else len(waiting)
        # Fewer calls than that are of fewer requests as well.
        if calls >= most and (calls >= max(MOST_CALLS, most) or waiting.before(standing) >= most):
            raise QueueFull(len(waiting), waiting.requests, self.retry_after_s(len(waiting)))
        waiting.add(ticket, standing)

    def leave(self, ticket: Ticket) -> None:
        """A call waits no more, if it did."""
        self.waiting.leave(ticket)

    def next(self, now: float) -> tuple[Ticket, Endpoint | None] | None:
        """The call that goes next and the replica that takes it, if there is one with room.

        None in its place says that the call is hopeless: its request would be late in all likelihood.
        """
        first = self.waiting.first()
        if first is None:
            return None
        ticket, standing = first
        endpoint = None if now > standing.hopeless_at else self.pool.take(now, beginning=standing.beginning)
        if endpoint is None and now <= standing.hopeless_at:
            return None
        self.waiting.leave(ticket)
        return ticket, endpoint

    def release(self, endpoint: Endpoint) -> None:
        """A call has ended, or is not made after all."""
        self.pool.release(endpoint)

    def seconds_for(self, calls: float) -> float:
        """How long the replicas take for so many calls while all of their places are taken."""
        return calls * self.held_s.value / self.slots if self.slots else 0.0

    def retry_after_s(self, calls: float) -> int:
        """When to come back, as a number of whole seconds, where so many calls are to be served before."""
        return min(RETRY_AFTER_MAX_S, max(1, math.ceil(self.seconds_for(calls))))

    def _count(self) -> None:
        self.slots = sum(load.share.batch for load in self.pool.loads.values())
        self.carries = sum(load.share.weight for load in self.pool.loads.values())
