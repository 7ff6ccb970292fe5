"""The choice between replicas: of two that have room, drawn by lot, the one that should be done sooner.

Two are enough to keep all equally busy, and unlike a look at all of them, the lot keeps several gateways with the same
view from running to the same replica at once. Of the two, the one that has less to do for its capacity, as the plan
reckons it, counted

- as so much more where its answers took much longer of late than the other's (`APART`): what differs less is noise,
  since answers are not equally long, and would only make the load uneven;
- as so much more as it is likely to fail: what fails in a moment is free at once, and would be sent everything.

A time that nobody has measured lately says nothing. Of a replica that was slow then, one call finds out.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.routing.health import STALE_S, Health
from harmonia_compiler.policy.routing.places import Places

#: How many times longer the answers of one must take than the other's to count.
APART = 2.0
#: The least part of its calls that a replica is taken to answer.
LEAST_WELL = 0.05

_MASK = 2**64 - 1


@dataclass(slots=True)
class ReplicaLoad:
    """What is known about a replica: its share, calls in flight, the turn of its last call, and how it is doing.

    `heard_at` is when anything came from it last while it had calls, or when it was given the first of them; `held` of
    its calls wait for nothing from it. A probe of it may be on its way; it is `doubtful` where one is due since a call
    found it gone. `places` are also those that others took who route to it. `calls` is how many it has had in all.
    `mark` is a number for its name.
    """

    endpoint: Endpoint
    share: ReplicaShare
    in_flight: int = 0
    last_turn: int = 0
    health: Health = field(default_factory=Health)
    heard_at: float = 0.0
    held: int = 0
    probed: bool = False
    doubtful: bool = False
    places: Places = field(default_factory=Places)
    calls: int = 0
    mark: int = field(init=False)

    def __post_init__(self) -> None:
        self.mark = zlib.crc32(self.endpoint.replica.encode())

    def has_room(self, now: float, *, tries: bool = True) -> bool:
        """Whether it may be given one more call; on trial, where calls are what it is tried with, one at a time."""
        health = self.health
        most = int(tries) if health.on_trial else self.share.batch
        return self.places.taken < most and not health.is_out(now)

    @property
    def is_full(self) -> bool:
        """Whether it works on as many calls as it may."""
        return self.places.taken >= self.share.batch

    def is_silent(self, now: float, for_s: float) -> bool:
        """Whether it has calls that wait for something from it, and nothing has come for so long."""
        return self.in_flight > self.held and now - self.heard_at > for_s

    def pace(self, now: float) -> float | None:
        """How long its answers take, in parts of what is usual; None where nothing is known, or nothing new.

        Who is asked after a long time gets one call; until it is answered, what was known before counts again.
        """
        health = self.health
        if not health.pace.count or (not self.in_flight and now - health.answered_at >= STALE_S):
            return None
        return health.pace.value


def choose(free: Sequence[ReplicaLoad], now: float, lot: int) -> ReplicaLoad | None:
    """Which of those with room takes the next call, if there is one; `lot` is any number, another each time."""
    if not free:
        return None
    if len(free) == 1:
        return free[0]
    one, other = _two(free, lot)
    return sooner(one, other, now, by_turn=True)


def in_turn(free: Sequence[ReplicaLoad]) -> ReplicaLoad | None:
    """Which of those with room takes the next call where none is to be told from another: who waits for one longest."""
    return min(free, key=lambda load: load.last_turn, default=None)


def _two(free: Sequence[ReplicaLoad], lot: int) -> tuple[ReplicaLoad, ReplicaLoad]:
    """Two different ones."""
    count = len(free)
    if count == 2:
        return free[0], free[1]
    number = mixed(lot)
    first = number % count
    return free[first], free[(first + 1 + number // count % (count - 1)) % count]


def sooner(one: ReplicaLoad, other: ReplicaLoad, now: float, *, by_turn: bool = False) -> ReplicaLoad:
    """Of two the one that should be done sooner; of equals the first, or the one whose turn is longer ago."""
    ours = (one.in_flight + 1) / one.share.weight * times_worse(one, other, now)
    theirs = (other.in_flight + 1) / other.share.weight
    return one if ours < theirs or (ours == theirs and not (by_turn and other.last_turn < one.last_turn)) else other


def times_worse(one: ReplicaLoad, other: ReplicaLoad, now: float) -> float:
    """How many times as long one takes for what it has to do as the other does, whatever that is."""
    pace, other_pace = one.pace(now), other.pace(now)
    worse = _well(other, now) / _well(one, now)
    if pace and other_pace and not 1.0 / APART < pace / other_pace < APART:
        return worse * pace / other_pace
    return worse


def _well(load: ReplicaLoad, now: float) -> float:
    """How well it does, squared: a failure costs the time until it, and that of the second call.

    On trial it is to show that anew, or it would never get the call with which it could.
    """
    if load.health.on_trial and not load.health.is_out(now):
        return 1.0
    well = max(LEAST_WELL, 1.0 - load.health.failing.value)
    return well * well


def mixed(number: int) -> int:
    """A number of 64 bits in which those of another one are well mixed (the last steps of splitmix64)."""
    number = (number * 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)
