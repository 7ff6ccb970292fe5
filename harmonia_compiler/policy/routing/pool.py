"""The replicas of one engine: who takes a call, what came of each, and who is left out.

Left out is, for a time that grows (`health.py`),

- who was not reached or hung up on `GONE_IN_A_ROW` calls in a row, as long as another one is in;
- who answered a larger share of its calls with errors than `FAILING` and than `MORE` times the others', once that is no
  chance, and as long as half of all are in: where all fail, the fault is not with one of them;
- who has had calls for longer than anybody usually keeps silent and nothing came from it, whatever it says of its
  health: no answer, and of no stream a piece. Time in which a client leaves unread what came does not count.

Where the driver can make a small call of its own, a *probe*, that is made at who has had calls and kept silent for
`SUSPECT_S`, however long calls take here, and at who was found gone by a call: who does not answer it is left out as
well. So where calls are seldom, not two of them have to fail. And one whose time is over is brought back by a probe,
and not by a call that somebody waits for.

So one is always in. Where nobody who is in does well, all are asked again, and the first who answers is back: no time
need pass while there is nobody else. Owned by one driver, who tells the time and what happens.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.policy.quantile import Mean, Quantiles
from harmonia_compiler.policy.routing.affinity import Given, first_two
from harmonia_compiler.policy.routing.choice import APART, ReplicaLoad, choose, in_turn, sooner, times_worse
from harmonia_compiler.policy.routing.places import Occupied

#: So many calls in a row that found a replica gone put it out.
GONE_IN_A_ROW = 2
#: So large a share of failed calls does, if it is so many times the others'.
FAILING, MORE = 0.1, 2.0
#: From so many calls on a share says something, and so many errors in a row do.
FEWEST, ERRORS_IN_A_ROW = 10.0, 5
#: A replica may be silent for so many times what nearly all calls take, and for so long at least, in seconds.
PATIENCE, LEAST_PATIENCE_S = 3.0, 1.0
#: The part of calls that nearly all are.
NEARLY_ALL = 0.99
#: After so long a silence a replica is probed, and it may take so long to answer that, in seconds.
SUSPECT_S, PROBE_S = 3.0, 5.0
#: For so long where fewer calls were seen than say anything, in seconds.
UNKNOWN_PATIENCE_S, KNOWN_FROM = 30.0, 20
#: So many of those that were left out are told of where nobody asks for long.
NEWS = 64


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A replica was left out, for so long, and why."""

    replica: str
    for_s: float
    why: str


@dataclass(slots=True)
class Pool:
    """What `Line` knows of the replicas. `shares` are the plan's; a replica that it does not have takes the `usual`.

    `seed` sets apart the lots of several gateways; `probes` says that the driver can probe; `occupied` are the places
    of all pools that may have replicas in common; `news` are those that were left out last, until somebody takes them.
    Of the `parts` of scheduling, those that choose a replica are its.
    """

    usual: ReplicaShare
    shares: Mapping[str, ReplicaShare]
    seed: int = 0
    probes: bool = False
    occupied: Occupied = field(default_factory=Occupied)
    parts: Parts = ALL
    loads: dict[str, ReplicaLoad] = field(default_factory=dict)
    left_out: int = 0
    news: deque[LeftOut] = field(default_factory=lambda: deque(maxlen=NEWS))
    _given: Given = field(default_factory=Given)
    _turn: int = 0
    _times: dict[str, Mean] = field(default_factory=dict)
    _silences: Quantiles = field(default_factory=Quantiles)
    _seen: int = 0

    def set_replicas(self, endpoints: Iterable[Endpoint]) -> None:
        """Route to these from now on. One that listens elsewhere than before is another one."""
        known = self.loads
        self.loads = {
            endpoint.replica: known[endpoint.replica]
            if endpoint.replica in known and known[endpoint.replica].endpoint == endpoint
            else ReplicaLoad(endpoint, self.shares.get(endpoint.replica, self.usual), places=self.occupied.at(endpoint))
            for endpoint in endpoints
        }

    def set_shares(self, shares: Mapping[str, ReplicaShare]) -> None:
        """Give replicas these shares from now on."""
        self.shares = shares
        for name, load in self.loads.items():
            load.share = shares.get(name, self.usual)

    def take(
        self, now: float, avoid: Collection[str] = (), beginning: int = 0, *, others_only: bool = False
    ) -> Endpoint | None:
        """A replica with room, which has one more call from now on; None where there is none.

        It is none of those to avoid where there is another, or at all where it must be one of the others, and one that
        has how a call begins at hand (`affinity.py`) unless that one does much worse.
        """
        free = self._with_room(now)
        if avoid:
            others = [load for load in free if load.endpoint.replica not in avoid]
            free = others if others or others_only else free
        load = self._chosen(free, beginning if self.parts.affinity else 0, now) if free else None
        if load is None:
            return None
        self._turn += 1
        load.calls += 1
        if beginning and self.parts.affinity:
            self._given.add(beginning, load)
        if not load.in_flight:
            load.heard_at = now
        load.in_flight += 1
        load.places.taken += 1
        load.last_turn = self._turn
        return load.endpoint

    def release(self, endpoint: Endpoint) -> None:
        """A call has ended, or is not made after all."""
        load = self.load(endpoint)
        if load is not None:
            load.in_flight = max(0, load.in_flight - 1)
        # Where this pool routes to it no more, another one may.
        places = self.occupied.known(endpoint) if load is None else load.places
        if places is not None:
            places.taken = max(0, places.taken - 1)

    def heard(self, endpoint: Endpoint, now: float) -> None:
        """A piece of an answer came."""
        load = self.load(endpoint)
        if load is not None:
            load.heard_at = now

    def answered(self, endpoint: Endpoint, component: str, service_s: float, silent_s: float, now: float) -> None:
        """A call of a component was answered, of which nothing was heard for `silent_s` at first."""
        usual = self._times.setdefault(component, Mean())
        usual.add(service_s)
        self._silences.add(silent_s)
        self._seen += 1
        load = self.load(endpoint)
        if load is not None:
            load.heard_at = now
            if load.health.on_trial and self._nobody_does_well(now):
                load.health.bring_back(now)
            load.health.answered(service_s / usual.value if usual.value > 0.0 else 1.0, now)
            self._judge(load, now)

    def overtaken(self, endpoint: Endpoint, component: str, service_s: float) -> None:
        """A call was given up after so long, since a second one was answered first: so slow it is at least."""
        load, usual = self.load(endpoint), self._times.get(component)
        if load is not None and usual is not None and usual.value > 0.0:
            load.health.pace.add(service_s / usual.value)

    def failed(self, endpoint: Endpoint, now: float, *, gone: bool) -> None:
        """A call failed through the replica's fault: it answered with an error, or was `gone`."""
        load = self.load(endpoint)
        if load is None:
            return
        load.heard_at = now
        load.health.failed()
        if load.health.on_trial or (gone and load.health.in_a_row >= GONE_IN_A_ROW):
            why = "it cannot be reached" if gone else "it failed its trial"
            self._leave_out(load, now, why, least_in=1)
        else:
            load.doubtful = gone
            self._judge(load, now)

    def silent(self, now: float) -> list[Endpoint]:
        """Leave out those that make no progress; who they are."""
        patience_s = self.patience_s
        found = []
        for load in self.loads.values():
            if load.is_silent(now, patience_s) and not load.health.is_out(now):
                load.health.failed()
                if self._leave_out(load, now, f"it made no progress for {patience_s:.1f} s", least_in=1):
                    found.append(load.endpoint)
        return found

    def pardon(self, seconds: float) -> None:
        """Leave out of account so long a time, in which the driver itself did not run and could hear nobody."""
        for load in self.loads.values():
            load.heard_at += seconds

    def to_probe(self, now: float) -> list[Endpoint]:
        """Who is to be probed now, once each until `probed` says what came of it.

        Who is as full as may be is not asked: its answer would say nothing but that.
        """
        found = []
        for load in self.loads.values():
            is_back = load.health.on_trial and not load.health.is_out(now)
            is_suspect = (load.doubtful or load.is_silent(now, SUSPECT_S)) and load.health.is_in(now)
            if self.probes and not load.probed and (is_back or (is_suspect and not load.is_full)):
                load.probed, load.doubtful = True, False
                found.append(load.endpoint)
        return found

    def probed(self, endpoint: Endpoint, now: float, *, answered: bool) -> bool:
        """A probe was answered in time, or was not; whether the replica is left out for that."""
        load = self.load(endpoint)
        if load is None:
            return False
        load.probed = False
        if answered:
            load.heard_at = now
            if load.health.on_trial and not load.health.is_out(now):
                load.health.bring_back(now)
            return False
        load.health.failed()
        return self._leave_out(load, now, "it did not answer a probe", least_in=1)

    @property
    def probe_patience_s(self) -> float:
        """How long a replica may take to answer a probe: as any call may in the usual course."""
        return PROBE_S if self._seen < KNOWN_FROM else max(PROBE_S, self._silences.at(NEARLY_ALL))

    def hold(self, endpoint: Endpoint, calls: int, now: float) -> None:
        """So many more calls, or fewer, wait for their client to read what came, and for nothing from the replica."""
        load = self.load(endpoint)
        if load is not None:
            load.held = max(0, load.held + calls)
            load.heard_at = now

    @property
    def patience_s(self) -> float:
        """For how long a replica with calls may be silent."""
        if self._seen < KNOWN_FROM:
            return UNKNOWN_PATIENCE_S
        return max(LEAST_PATIENCE_S, PATIENCE * self._silences.at(NEARLY_ALL))

    def has_other(self, endpoint: Endpoint, now: float) -> bool:
        """Whether another replica takes calls."""
        return any(load.endpoint != endpoint and load.health.is_in(now) for load in self.loads.values())

    def load(self, endpoint: Endpoint) -> ReplicaLoad | None:
        """What is known of a replica, if it is still the one that it was."""
        load = self.loads.get(endpoint.replica)
        return load if load is not None and load.endpoint == endpoint else None

    def _chosen(self, free: Sequence[ReplicaLoad], beginning: int, now: float) -> ReplicaLoad | None:
        """Which of those with room takes a call that begins so, by what is known of its beginning and of them."""
        is_known = beginning in self._given
        if not self.parts.routing:
            load = in_turn(free)
        elif beginning and not is_known and len(free) > 1:
            one, other = first_two(free, beginning)
            return sooner(one, other, now)
        else:
            load = choose(free, now, self.seed + self._turn)
        near = self._given.nearest(free, beginning) if is_known else None
        return near if near is not None and load is not None and times_worse(near, load, now) < APART else load

    def _with_room(self, now: float) -> list[ReplicaLoad]:
        """Those that may be given one more call."""
        if self._nobody_does_well(now):
            return [load for load in self.loads.values() if not load.is_full]
        return [load for load in self.loads.values() if load.has_room(now, tries=not self.probes)]

    def _nobody_does_well(self, now: float) -> bool:
        """Whether none is in that did not fail its last calls."""
        return not any(
            load.health.is_in(now) and load.health.in_a_row < ERRORS_IN_A_ROW for load in self.loads.values()
        )

    def _judge(self, load: ReplicaLoad, now: float) -> None:
        """Leave a replica out that fails more of its calls than the others do."""
        failing = load.health.failing
        if failing.value < FAILING or (failing.count < FEWEST and load.health.in_a_row < ERRORS_IN_A_ROW):
            return
        others = [other.health.failing.value for other in self.loads.values() if other is not load]
        if others and failing.value > MORE * sum(others) / len(others):
            self._leave_out(load, now, "it fails more than the others", least_in=(len(self.loads) + 1) // 2)

    def _leave_out(self, load: ReplicaLoad, now: float, why: str, least_in: int) -> bool:
        """Leave it out if enough others are in, who are not on trial themselves; whether it is out then."""
        others_in = sum(other is not load and other.health.is_in(now) for other in self.loads.values())
        if others_in < least_in:
            return False
        if not load.health.is_out(now):
            load.health.leave_out(now)
            self.left_out += 1
            self.news.append(LeftOut(load.endpoint.replica, load.health.out_until - now, why))
        return True
