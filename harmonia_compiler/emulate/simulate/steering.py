"""The controller of a simulated service: in virtual time, by the pure code and the linear program of the real one.

It is to the simulator what `runtime/controller` is to a service. What it reads is counted by the gateway's own counts,
and what it decides is followed at once: how calls are divided, how many of them a replica gets at once, and how many
replicas there are. One more takes calls after the time that the controller itself takes starting for; one that goes
ends the calls that it has.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.decision import Decision, Reason
from harmonia_compiler.contract.plan import Replica as Placed
from harmonia_compiler.emulate.simulate.loop import Happening
from harmonia_compiler.emulate.simulate.service import Service
from harmonia_compiler.emulate.uses import Further
from harmonia_compiler.policy.control.counts import COLD_S
from harmonia_compiler.policy.control.decide import begun, decide
from harmonia_compiler.policy.control.division import Divide
from harmonia_compiler.policy.control.planned import Planned
from harmonia_compiler.policy.control.state import State
from harmonia_compiler.report.document import Decision as Told
from harmonia_compiler.runtime.controller.controller import EVERY_S
from harmonia_compiler.runtime.gateway.decisions import bounded


@dataclass(slots=True)
class _Engine:
    """How many replicas are wanted and how many take calls, since when, and for how long further ones have."""

    wanted: int
    working: int
    since_ms: float = 0.0
    there_ms: float = 0.0


@dataclass(slots=True)
class Steering:
    """Looks after a service from `begin` to `end`. `bring` makes the replica of a place ready to take calls.

    `placed` are the replicas that each engine may have, the plan's first; an engine that is not named keeps those that
    it has. `shares` are those of the plan's replicas, which hold where nothing else was decided. `told` is what was
    changed, and `last` what was said in the last window.
    """

    service: Service
    planned: Planned
    divide: Divide
    placed: Mapping[str, Sequence[Placed]]
    bring: Callable[[Placed], object]
    shares: Mapping[str, ReplicaShare]
    told: list[Told] = field(default_factory=list)
    last: tuple[Reason, ...] = ()
    _state: State = field(init=False)
    _engines: dict[str, _Engine] = field(init=False)
    _awaited: list[Happening] = field(default_factory=list)
    _next: Happening | None = None

    def __post_init__(self) -> None:
        self._state = begun(self.planned)
        counts = {name: self.planned.engines[name].count for name in self.placed}
        self._engines = {name: _Engine(count, count) for name, count in counts.items()}

    def begin(self) -> None:
        """Look now, and every few seconds from then on."""
        self._next = self.service.loop.after(EVERY_S * 1000.0, self.begin)
        service, now = self.service, self.service.now
        readings = service.watch.readings(service.lines)
        self._state, decision = decide(self.planned, self._state, readings, now, now, self.divide)
        self.last = decision.reasons
        if decision.epoch > service.watch.epoch:
            service.watch.epoch = decision.epoch
            self._follow(decision)

    def end(self) -> None:
        """Look no more: nobody asks anything of the service."""
        for one in (self._next, *self._awaited):
            if one is not None:
                one.call_off()

    def recount(self) -> None:
        """Count anew from now on how long replicas beside the plan's are there."""
        for name, each in self._engines.items():
            self._count(name)
            each.there_ms = 0.0

    @property
    def further(self) -> tuple[Further, ...]:
        """The replicas beside the plan's that worked, and for how long those of each engine did together until now."""
        for name in self._engines:
            self._count(name)
        return tuple(
            Further(name, tuple(one.id for one in self.placed[name][self.planned.engines[name].count :]), each.there_ms)
            for name, each in self._engines.items()
            if each.there_ms > 0.0
        )

    def _follow(self, decision: Decision) -> None:
        at_ms = self.service.loop.now_ms
        self.told += [Told(at_ms, one.about or "division of calls", one.why) for one in decision.reasons if one.acted]
        self.service.set_shares(bounded(self.shares, decision))
        for name, each in self._engines.items():
            before, each.wanted = each.wanted, decision.replicas[name]
            if each.wanted < before:
                self._route(name, min(each.working, each.wanted))
            elif each.wanted > before:
                up = partial(self._started, name, each.wanted)
                self._awaited.append(self.service.loop.after(COLD_S * 1000.0, up))

    def _started(self, name: str, count: int) -> None:
        each = self._engines[name]
        # Some of them may no longer be wanted.
        count = min(count, each.wanted)
        if count > each.working:
            for one in self.placed[name][each.working : count]:
                self.bring(one)
            self._route(name, count)

    def _route(self, name: str, count: int) -> None:
        """Let the first so many take calls."""
        self._count(name)
        self._engines[name].working = count
        self.service.set_replicas(name, [Endpoint(one.id, name, one.host, 0) for one in self.placed[name][:count]])

    def _count(self, name: str) -> None:
        """Account for the time since the number of replicas last changed."""
        each, now_ms = self._engines[name], self.service.loop.now_ms
        each.there_ms += max(0, each.working - self.planned.engines[name].count) * (now_ms - each.since_ms)
        each.since_ms = now_ms


def last_words(reasons: Sequence[Reason]) -> str:
    """Why a controller did nothing in the end, as a note; empty where it said nothing."""
    found = "; ".join(f"{one.about}: {one.why}" if one.about else one.why for one in reasons)
    return f"The controller's last words: {found}." if found else ""
