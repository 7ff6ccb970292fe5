"""The gateway as one value: the Programs that it serves, the replicas that it knows, what it counts."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus

from harmonia_compiler.contract.bundle import Endpoint, Endpoints, ReplicaShare, Service
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.policy.line import EXTERNAL_CONCURRENCY
from harmonia_compiler.runtime.gateway.caller import Caller
from harmonia_compiler.runtime.gateway.collections import Collections, ReadRecord
from harmonia_compiler.runtime.gateway.dispatch import Dispatcher
from harmonia_compiler.runtime.gateway.driver import Execution
from harmonia_compiler.runtime.gateway.metrics import Metrics
from harmonia_compiler.runtime.gateway.problem import UNAVAILABLE, Problem
from harmonia_compiler.runtime.gateway.transport import Transport

#: How many calls a replica takes at once, where the plan says nothing.
DEFAULT_CONCURRENCY = 16
#: When to try again what a gateway that is being stopped gave up, in seconds: about the time of a restart.
STOPPED_RETRY_S = 10


class Gateway:
    """Owned by one event loop. `clock` is monotonic and in seconds; `transports` are by their names in the kinds."""

    def __init__(
        self,
        service: Service,
        kinds: Mapping[str, Kind],
        transports: Mapping[str, Transport],
        read_record: ReadRecord,
        clock: Callable[[], float],
    ) -> None:
        self.service = service
        self.kinds = kinds
        self.transports = transports
        self.clock = clock
        self.metrics = Metrics(list(service.programs))
        self._external = [
            Endpoint(name, name, "", 0) for name, engine in service.engines.items() if kinds[engine.kind].external
        ]
        usual = {
            name: ReplicaShare(EXTERNAL_CONCURRENCY if kinds[engine.kind].external else DEFAULT_CONCURRENCY)
            for name, engine in service.engines.items()
        }
        self.dispatcher = Dispatcher(usual, service.shares, clock)
        self.dispatcher.set_endpoints(self._external)
        self.collections = Collections(service.collections, read_record, clock)
        self.caller = Caller(service.engines, kinds, self.dispatcher, transports, self.collections, self.metrics, clock)
        self.stopping = False
        self._executions: set[Execution] = set()

    def set_endpoints(self, endpoints: Endpoints) -> None:
        """Route to these replicas from now on."""
        self.collections.forget()
        self.dispatcher.set_endpoints([*endpoints.replicas, *self._external])

    def new_id(self) -> str:
        """A name for a request that no other has."""
        return secrets.token_hex(12)

    @contextmanager
    def running(self, execution: Execution) -> Iterator[None]:
        """Know of an execution while it runs."""
        self._executions.add(execution)
        try:
            yield
        finally:
            self._executions.discard(execution)

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
        for transport in self.transports.values():
            await transport.close()
