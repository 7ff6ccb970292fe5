"""The gateway as one value: the Programs that it serves, the replicas that it knows, what it counts."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from http import HTTPStatus

from starlette.types import Scope

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaShare, Service
from harmonia_compiler.contract.program import Program, RequestClass
from harmonia_compiler.kinds.kind import Kind, PrefixCache
from harmonia_compiler.policy.journey import Journey
from harmonia_compiler.policy.line import EXTERNAL_CONCURRENCY
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.policy.pipeline import Promise, promise_of
from harmonia_compiler.policy.schedule import Crowded, Hopeless, Schedule, Stopped
from harmonia_compiler.runtime.among import Among
from harmonia_compiler.runtime.gateway.at_door import AtDoor
from harmonia_compiler.runtime.gateway.body import ClientGone
from harmonia_compiler.runtime.gateway.caches import Caches
from harmonia_compiler.runtime.gateway.caller import Caller
from harmonia_compiler.runtime.gateway.collections import Collections, ReadRecord
from harmonia_compiler.runtime.gateway.common import Common
from harmonia_compiler.runtime.gateway.dispatch import Dispatcher, Probe
from harmonia_compiler.runtime.gateway.driver import Execution
from harmonia_compiler.runtime.gateway.metrics import Metrics
from harmonia_compiler.runtime.gateway.part import WHOLE, Part
from harmonia_compiler.runtime.gateway.problem import OVERLOADED, UNAVAILABLE, Problem, no_replica
from harmonia_compiler.runtime.gateway.stage import Stage
from harmonia_compiler.runtime.gateway.transport import Transport
from harmonia_compiler.runtime.gateway.watch import Watch
from harmonia_compiler.runtime.heads import told_when_gone

#: How many calls a replica takes at once, where the plan says nothing.
DEFAULT_CONCURRENCY = 16
#: When to try again what a gateway that is being stopped gave up, in seconds: about the time of a restart.
STOPPED_RETRY_S = 10


class Gateway:
    """Owned by one event loop. `clock` is monotonic and in seconds; `transports` are by their names in the kinds.

    `parts` of the scheduling are on; it has its `part` of the plan where several processes are the gateway.
    """

    def __init__(
        self,
        service: Service,
        kinds: Mapping[str, Kind],
        transports: Mapping[str, Transport],
        read_record: ReadRecord,
        clock: Callable[[], float],
        parts: Parts = ALL,
        metrics: Metrics | None = None,
        part: Part = WHOLE,
        common: Common | None = None,
    ) -> None:
        common = common or Common()
        self.service = service
        self.kinds = kinds
        self.transports = transports
        self.clock = clock
        self.metrics = metrics or Metrics([])
        self.metrics.know(service.programs)
        self.watch = Watch(clock)
        self._external = [
            Endpoint(name, name, "", 0) for name, engine in service.engines.items() if kinds[engine.kind].external
        ]
        usual = {
            name: ReplicaShare(EXTERNAL_CONCURRENCY if kinds[engine.kind].external else DEFAULT_CONCURRENCY)
            for name, engine in service.engines.items()
        }
        self.dispatcher = Dispatcher(usual, service.shares, clock, self._probes(), part, common, parts)
        self.dispatcher.set_endpoints(self._external)
        self.collections = Collections(service.collections, read_record, clock)
        lines = {name: queue.line for name, queue in self.dispatcher.queues.items()}
        self._common = common
        self.schedule = Schedule(lines, service.expected, parts, beside=common.schedules, requests=service.requests)
        common.schedules.append(self.schedule)
        self.caller = Caller(
            service.engines,
            kinds,
            self.dispatcher,
            self.schedule,
            transports,
            self.collections,
            self.metrics,
            clock,
            self.watch,
        )
        self.caches = Caches(self._told_of(part), self.dispatcher.endpoints)
        self._executions: set[Execution | AtDoor] = set()

    def leave(self) -> None:
        """Nobody is served here any more."""
        self.dispatcher.leave()
        if self.schedule in self._common.schedules:
            self._common.schedules.remove(self.schedule)

    def _probes(self) -> dict[str, Probe]:
        """What makes the smallest call of a replica, by engine, where its kind has one."""
        found: dict[str, Probe] = {}
        for name, engine in self.service.engines.items():
            kind = self.kinds[engine.kind]
            if kind.probe is not None and (wire := kind.probe(engine)) is not None:
                found[name] = partial(self.transports[kind.transport].send, wire=wire)
        return found

    def _told_of(self, part: Part) -> dict[str, PrefixCache]:
        """Where replicas tell of their prefix caches, by engine; of several processes the first one asks for all."""
        if part.number:
            return {}
        engines = self.service.engines.items()
        return {name: told for name, engine in engines if (told := self.kinds[engine.kind].prefix_cache) is not None}

    def set_endpoints(self, endpoints: Endpoints) -> None:
        """Route to these replicas from now on."""
        self.collections.forget()
        self.dispatcher.set_endpoints([*endpoints.replicas, *self._external])

    async def arrive(
        self, program: Program, request_class: RequestClass | None, scope: Scope, *, streams: bool
    ) -> Journey:
        """Let a request in, at once or when it has waited at the door.

        Raises Problem where a component that it needs is gone, or it would be late, and ClientGone.
        """
        promise = promise_of(program, request_class, streams=streams)
        named = "" if request_class is None else request_class.name
        self.watch.arrived(program.pipeline, named)
        try:
            journey = await self._let_in(program, promise, scope)
        except Stopped as problem:
            raise no_replica(problem.component, problem.engine) from problem
        except Hopeless as problem:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                OVERLOADED,
                "overloaded",
                f"the service has more to do than it can: {problem}",
                retry_after_s=problem.retry_after_s,
                shed=True,
            ) from problem
        self.watch.let_in(program.pipeline, named)
        return journey

    async def _let_in(self, program: Program, promise: Promise, scope: Scope) -> Journey:
        try:
            return self.schedule.arrive(program, promise, self.clock())
        except Crowded:
            waiting, counted = AtDoor(self.schedule, self.clock), self.metrics.at_door[program.pipeline]
            counted.inc()
            try:
                with told_when_gone(scope, lambda: waiting.interrupt(ClientGone())), self.running(waiting):
                    return await waiting.let_in(program, promise)
            finally:
                counted.dec()

    def answered(self, program: Program, request_class: RequestClass | None, stages: Iterable[Stage]) -> None:
        """Count a request that has its answer, with the calls that were made for it."""
        named = "" if request_class is None else request_class.name
        self.watch.answered(program.pipeline, named, [stage.component for stage in stages if stage.sends])

    @property
    def under_way(self) -> int:
        """How many requests it executes, or has at the door."""
        return len(self._executions)

    def running(self, execution: Execution | AtDoor) -> Among[Execution | AtDoor]:
        """Know of an execution while it runs."""
        return Among(self._executions, execution)

    def cut(self) -> None:
        """End whatever still runs, with an error that says why."""
        for execution in self._executions:
            execution.interrupt(
                Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    UNAVAILABLE,
                    "stopping",
                    "the gateway is being stopped",
                    retry_after_s=STOPPED_RETRY_S,
                )
            )

    async def close(self) -> None:
        """Close every connection to replicas."""
        self.caches.close()
        for transport in self.transports.values():
            await transport.close()
