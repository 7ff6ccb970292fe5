"""Hands calls to replicas: the line of each engine (`policy/line.py`) with futures for those who wait.

Every `LOOK_S` it looks who makes no progress, and probes whom it suspects of that. Calls that such a replica has are
broken off where they are, so that they can be made elsewhere; what it still says to them reaches nobody.
"""

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.policy.line import GivenUp, Line, NoReplica
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.policy.routing.budget import RetryBudget
from harmonia_compiler.policy.routing.hedge import Hedge
from harmonia_compiler.policy.waiting import IN_TURN, Standing
from harmonia_compiler.runtime.gateway.again import again
from harmonia_compiler.runtime.gateway.common import Common
from harmonia_compiler.runtime.gateway.faults import FAILURES, Stuck
from harmonia_compiler.runtime.gateway.logs import log, log_bug
from harmonia_compiler.runtime.gateway.part import WHOLE, Part
from harmonia_compiler.runtime.gateway.within import Within

#: How often it is looked who makes no progress, in seconds.
LOOK_S = 0.2

#: Takes pieces of an answer's text on; comes back once there is room for the next ones.
Emit = Callable[[Sequence[str]], Awaitable[None]]
#: Makes the smallest call of a replica.
Probe = Callable[[Endpoint], Awaitable[object]]
NO_PROBES: Mapping[str, Probe] = MappingProxyType({})


@dataclass(slots=True)
class EngineQueue:
    """The replicas of one engine and the calls that wait for them. Used from one event loop.

    `heard_at` is when each last answered anything; `probe`, where calls of this engine can be probed, makes the
    smallest of them and raises what a call may.
    """

    line: Line[asyncio.Future[Endpoint]]
    clock: Callable[[], float]
    heard_at: dict[Endpoint, float] = field(default_factory=dict)
    budget: RetryBudget = field(default_factory=RetryBudget)
    hedge: Hedge = field(default_factory=Hedge)
    probe: Probe | None = None
    common: Common = field(default_factory=Common)
    _bearing: dict[Endpoint, set[Within]] = field(default_factory=dict)
    _looked_at: float = math.inf
    _probing: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.line.pool.probes = self.probe is not None
        self.line.pool.occupied = self.common.occupied

    def set_replicas(self, endpoints: Iterable[Endpoint]) -> None:
        """Route to these from now on; calls in flight to others go on, and what waits moves to the new ones."""
        self.line.set_replicas(endpoints)
        still = {load.endpoint for load in self.line.replicas.values()}
        self.heard_at = {endpoint: at for endpoint, at in self.heard_at.items() if endpoint in still}
        self.hand_out()

    def set_shares(self, shares: Mapping[str, ReplicaShare]) -> None:
        """Give replicas these shares from now on."""
        self.line.set_shares(shares)
        self.hand_out()

    async def acquire(self, avoid: Collection[str] = (), standing: Standing = IN_TURN) -> Endpoint:
        """A replica with room for one call, which waits where it stands; every one that is given must be released.

        Raises NoReplica at once where none is running or the last one stops, QueueFull where too
        many wait already, GivenUp where the call's turn comes too late.
        """
        if (endpoint := self.line.ask(self.clock(), avoid, standing.beginning)) is not None:
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

    def release(self, endpoint: Endpoint) -> None:
        """The call has ended, whatever came of it."""
        self.line.release(endpoint)
        self.common.hand_out(self)

    @property
    def next_order(self) -> float | None:
        """Where whoever goes next stands; None where nobody waits."""
        first = self.line.waiting.first()
        return None if first is None else first[1].order

    def answered(self, endpoint: Endpoint, component: str, service_s: float, first_s: float | None) -> None:
        """A call of this component was answered after `service_s`, its first piece after `first_s` where it has one."""
        silent_s = service_s if first_s is None else first_s
        self.line.pool.answered(endpoint, component, service_s, silent_s, self.clock())
        self.hear(endpoint)

    def failed(self, endpoint: Endpoint, *, gone: bool) -> None:
        """A call failed through the replica's fault; it is `gone` where it could not be reached, or hung up."""
        self.line.pool.failed(endpoint, self.clock(), gone=gone)
        self._probe_whom_it_must()

    def piece(self, endpoint: Endpoint) -> None:
        """A piece of a streamed answer came."""
        self.line.pool.heard(endpoint, self.clock())

    def unblamed(self, endpoint: Endpoint, emit: Emit) -> Emit:
        """`emit` for the answer of a call at this replica, whose time with it is not a silence of the replica's."""
        pool = self.line.pool

        async def held(texts: Sequence[str]) -> None:
            pool.hold(endpoint, 1, self.clock())
            try:
                await emit(texts)
            finally:
                pool.hold(endpoint, -1, self.clock())

        return held

    def hear(self, endpoint: Endpoint) -> None:
        """Note that this replica has answered just now, be it a probe."""
        self.heard_at[endpoint] = self.clock()

    def may_send_again(self, endpoint: Endpoint, *, to_same: bool) -> bool:
        """Whether a call that failed at this replica may be made again, which the budget is charged for.

        At another one, or `to_same` where there is none.
        """
        return (to_same or self.line.pool.has_other(endpoint, self.clock())) and self.budget.spend()

    def second(self, first: Endpoint) -> Endpoint | None:
        """Another replica for a second call beside one that takes long, to be released; None where none is made."""
        # A stage in trouble is sent no more for being asked twice as well: both budgets pay.
        if self.line.waiting or min(self.hedge.budget.left, self.budget.left) < 1.0:
            return None
        other = self.line.pool.take(self.clock(), (first.replica,), others_only=True)
        if other is not None:
            self.hedge.budget.spend()
            self.budget.spend()
        return other

    def bear(self, endpoint: Endpoint, patience: Within) -> None:
        """A call at this replica: its patience ends with Stuck once the replica is found to make no progress."""
        self._bearing.setdefault(endpoint, set()).add(patience)

    def bear_no_more(self, endpoint: Endpoint, patience: Within) -> None:
        """The call has ended."""
        bearing = self._bearing.get(endpoint)
        if bearing is not None:
            bearing.discard(patience)
            if not bearing:
                del self._bearing[endpoint]

    def look(self) -> None:
        """Break off the calls of replicas that make no progress, and go on with those whose time out is over.

        Where this comes late, the whole process did not run for a while: that was no silence of anybody else.
        """
        news, now = self.line.pool.news, self.clock()
        late_s = now - self._looked_at - LOOK_S
        if late_s > LOOK_S:
            self.line.pool.pardon(late_s)
        self._looked_at = now
        for endpoint in self.line.pool.silent(now):
            self._break_off(endpoint)
        self._probe_whom_it_must()
        self.hand_out()
        while news:
            one = news.popleft()
            log("replica_left_out", replica=one.replica, for_s=round(one.for_s, 3), reason=one.why)

    def _probe_whom_it_must(self) -> None:
        for endpoint in self.line.pool.to_probe(self.clock()):
            task = asyncio.create_task(self._probe(endpoint))
            self._probing.add(task)
            task.add_done_callback(self._probing.discard)

    async def _probe(self, endpoint: Endpoint) -> None:
        """Make a small call of our own at a replica that is under suspicion, or is to come back."""
        assert self.probe is not None
        answered = False
        try:
            async with asyncio.timeout(self.line.pool.probe_patience_s):
                await self.probe(endpoint)
            answered = True
        except (*FAILURES, TimeoutError):
            pass
        except Exception as bug:  # noqa: BLE001 - whatever it is, the replica has not answered
            log_bug("probe_bug", bug, replica=endpoint.replica)
        if self.line.pool.probed(endpoint, self.clock(), answered=answered):
            self._break_off(endpoint)
        self.hand_out()

    def stop_probing(self) -> None:
        """Wait for no probe any more."""
        for task in self._probing:
            task.cancel()

    def _break_off(self, endpoint: Endpoint) -> None:
        for patience in self._bearing.get(endpoint, ()):
            patience.end(Stuck(f"it made no progress for {self.line.pool.patience_s:.1f} s"))

    def hand_out(self) -> None:
        """Give places that are free to those who wait."""
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
        self,
        usual: Mapping[str, ReplicaShare],
        shares: Mapping[str, ReplicaShare],
        clock: Callable[[], float],
        probes: Mapping[str, Probe] = NO_PROBES,
        part: Part = WHOLE,
        common: Common | None = None,
        parts: Parts = ALL,
    ) -> None:
        """`usual` are the shares, by engine, of replicas that are not among the plan's `shares`; `probes` by engine.

        Of all shares this process has its `part`, and its generations have what is `common` to them. `parts` of the
        scheduling are on.
        """
        self._part, self._common = part, common or Common()
        own = part.shares(shares)
        self.queues = {
            engine: EngineQueue(
                Line(part.share(engine, share), own, secrets.randbits(32), parts),
                clock,
                probe=probes.get(engine),
                common=self._common,
            )
            for engine, share in usual.items()
        }
        self._own = tuple(self.queues.values())
        self._common.join(self._own)

    def leave(self) -> None:
        """Nobody is served here any more."""
        self._common.leave(self._own)

    def set_endpoints(self, endpoints: Iterable[Endpoint]) -> None:
        """Swap in the replicas of every engine; those of engines that nothing calls are left out."""
        given: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            given.setdefault(endpoint.engine, []).append(endpoint)
        for engine, queue in self.queues.items():
            queue.set_replicas(given.get(engine, ()))

    def set_shares(self, shares: Mapping[str, ReplicaShare]) -> None:
        """Give the replicas of every engine these shares from now on."""
        own = self._part.shares(shares)
        for queue in self.queues.values():
            queue.set_shares(own)

    def endpoints(self, engine: str) -> list[Endpoint]:
        """The replicas of an engine that calls go to now."""
        return [load.endpoint for load in self.queues[engine].line.replicas.values()]

    async def look(self, bug: Callable[[str], Callable[[], object]]) -> None:
        """Look after the replicas of every engine, until cancelled: each by itself, so that none waits for another's.

        `bug` gives what counts the turns of a name that fail.
        """
        turns = {f"look {engine}": queue.look for engine, queue in self.queues.items()}
        try:
            await asyncio.gather(*(again(name, look, LOOK_S, bug(name)) for name, look in turns.items()))
        finally:
            for queue in self.queues.values():
                queue.stop_probing()
