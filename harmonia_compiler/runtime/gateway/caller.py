"""Makes one call of a component: waits for a replica, sends, reads the answer, and says what went wrong where it did.

A pure call that fails through its replica's fault (not reached, hung up, no progress, an error of its own) is sent once
more, to another replica, as long as the stage's budget lasts; never after the first piece of a streamed answer.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.launch import CALL_HEADER, REQUEST_HEADER, Reply, Usage, Wire
from harmonia_compiler.contract.types import Text
from harmonia_compiler.kinds.kind import Kind
from harmonia_compiler.policy.events import Send, items_of, show_place
from harmonia_compiler.policy.journey import Leg
from harmonia_compiler.policy.line import GivenUp, NoReplica, QueueFull
from harmonia_compiler.policy.routing.affinity import beginning_of
from harmonia_compiler.policy.schedule import Schedule
from harmonia_compiler.policy.waiting import Standing
from harmonia_compiler.runtime.gateway.arguments import merge_settings
from harmonia_compiler.runtime.gateway.collections import Collections
from harmonia_compiler.runtime.gateway.dispatch import Dispatcher, Emit, EngineQueue
from harmonia_compiler.runtime.gateway.faults import FAILURES, Fault, Stuck, fault_of, problem_of, turned_away
from harmonia_compiler.runtime.gateway.metrics import Metrics
from harmonia_compiler.runtime.gateway.pieces import read_pieces
from harmonia_compiler.runtime.gateway.problem import TIMEOUT
from harmonia_compiler.runtime.gateway.second import Overtaken, Second
from harmonia_compiler.runtime.gateway.stage import Stage
from harmonia_compiler.runtime.gateway.transport import Transport
from harmonia_compiler.runtime.gateway.watch import Watch
from harmonia_compiler.runtime.gateway.within import Within

#: How long a call may take, waiting for a replica included, where its component says nothing, in milliseconds.
DEFAULT_TIMEOUT_MS = 600_000.0


@dataclass(frozen=True, slots=True)
class Caller:
    """What every request's calls share. `clock` is monotonic and in seconds."""

    engines: Mapping[str, Engine]
    kinds: Mapping[str, Kind]
    dispatcher: Dispatcher
    schedule: Schedule
    transports: Mapping[str, Transport]
    collections: Collections
    metrics: Metrics
    clock: Callable[[], float]
    watch: Watch

    async def call(
        self,
        component: Component,
        send: Send,
        options: Mapping[str, Any],
        stage: Stage,
        leg: Leg,
        emit: Emit | None,
        request: str = "",
    ) -> Reply:
        """The call's answer; `stage` is filled in on the way, and the schedule is told of `leg`. Raises Problem.

        `options` are the request's wishes for the sampling of this call. `emit` is handed the
        answer's text as it comes, where the kind can stream. `request` is the id that a replica is told.
        """
        kind = self.kinds[component.kind]
        settings = merge_settings(send.settings, options, kind) if options else send.settings
        standing = self.schedule.standing(leg)
        if kind.priority_setting is not None:
            settings = {**settings, kind.priority_setting: standing.priority}
        dressed = component
        if settings != component.settings:
            dressed = msgspec.structs.replace(component, settings=dict(settings))
        is_written = kind.decode_piece is not None and isinstance(component.result, Text)
        emit = emit if is_written and not send.over else None
        engine = self.engines[component.engine]
        items: list[dict[str, Any]] | None = None
        if send.over:
            assert kind.encode_many is not None
            items = items_of(send)
            wire = kind.encode_many(engine, dressed, items)
        else:
            wire = kind.encode(engine, dressed, send.inputs, stream=emit is not None)
        if not kind.external:
            wire = Wire(wire.path, wire.body, wire.method, (*wire.headers, *_named(request, send)))
        is_asked = options.get("max_tokens") is not None and settings.get("max_tokens") == options["max_tokens"]
        attempt = _Attempt(self, kind, dressed, send.inputs, items, wire, stage, leg, standing, emit, is_asked)
        began = self.clock()
        try:
            reply = await attempt.in_time()
        finally:
            stage.total_ms = (self.clock() - began) * 1000
        stage.usage = reply.usage
        return reply


def _named(request: str, send: Send) -> tuple[tuple[str, str], ...]:
    """The headers that tell a replica for which request it works, and for which call of it."""
    return ((REQUEST_HEADER, request), (CALL_HEADER, f"{send.component};{show_place(send.path, send.site)}"))


@dataclass(slots=True)
class _Attempt:
    """One call on its way, over as many replicas as it takes. `items` are the inputs of each, where it is for lists."""

    caller: Caller
    kind: Kind
    component: Component
    inputs: Mapping[str, Any]
    items: list[dict[str, Any]] | None
    wire: Wire
    stage: Stage
    leg: Leg
    standing: Standing
    emit: Emit | None
    #: Whether it was the request that said how long the answer may be.
    as_long_as_asked: bool

    async def in_time(self) -> Reply:
        """The answer, within the time that the component gives a call from when it wants a replica."""
        timeout_ms = self.component.settings.get("timeout") or DEFAULT_TIMEOUT_MS
        try:
            return await self._with_one_retry(asyncio.get_running_loop().time() + timeout_ms / 1000)
        except TimeoutError as problem:
            reason = "no answer" if self.stage.sends else "no replica had room for it"
            raise problem_of(
                self.component.name,
                HTTPStatus.GATEWAY_TIMEOUT,
                TIMEOUT,
                "component_timeout",
                f"{reason} within {timeout_ms:g} ms",
            ) from problem

    async def _with_one_retry(self, until: float) -> Reply:
        queue = self.caller.dispatcher.queues[self.component.engine]
        avoid: tuple[str, ...] = ()
        queue.budget.sent()
        while True:
            try:
                with Within(until) as patience:
                    endpoint = await self._replica(queue, avoid)
                    return await self._soonest(queue, endpoint, patience, until)
            except Overtaken as second:
                queue.line.pool.overtaken(endpoint, self.component.name, (self.stage.service_ms or 0.0) / 1000)
                return self._taken(*second.answer)
            except Stuck as failure:
                fault = fault_of(self.component.name, failure, began=self.stage.ttft_ms is not None)
            except Fault as failure:
                fault = failure
            if avoid or not fault.blame or not self._may_retry:
                raise fault.problem from fault
            # What is gone may be back the next moment, as is who closed a connection just when it was used.
            if not queue.may_send_again(endpoint, to_same=fault.blame == "gone"):
                raise fault.problem from fault
            self.caller.schedule.waits(self.leg, self.caller.clock())
            avoid = (endpoint.replica,)
            self.caller.metrics.retries[self.component.name].inc()

    @property
    def _may_retry(self) -> bool:
        """Whether the call may be made again: it changes nothing, and nothing of its answer has left."""
        return self._is_pure and self.stage.ttft_ms is None

    @property
    def _is_pure(self) -> bool:
        return self.component.settings.get("pure", True) is not False

    async def _replica(self, queue: EngineQueue, avoid: tuple[str, ...]) -> Endpoint:
        began = self.caller.clock()
        try:
            standing = self.standing
            if self.kind.has_prompt and self.items is None and len(queue.line.replicas) > 1:
                standing = msgspec.structs.replace(standing, beginning=beginning_of(self.component, self.inputs))
            endpoint = await queue.acquire(avoid, standing)
        except (NoReplica, QueueFull, GivenUp) as problem:
            after_s = queue.line.retry_after_s(len(queue.line.waiting))
            raise turned_away(self.component, problem, after_s) from problem
        now = self.caller.clock()
        self.caller.schedule.works(self.leg, now)
        waited = now - began
        self.stage.queue_ms = (self.stage.queue_ms or 0.0) + waited * 1000
        self.caller.metrics.queueing[self.component.name].observe(waited)
        self.caller.watch.taken(self._pipeline, self.component.name, self.component.engine, endpoint.replica, waited)
        return endpoint

    async def _soonest(self, queue: EngineQueue, endpoint: Endpoint, patience: Within, until: float) -> Reply:
        """The answer of this replica, or of a second one where this takes long and that is worth it."""
        name = self.component.name
        may_hedge = self._is_pure and not self.kind.has_prompt and len(queue.line.replicas) > 1
        after_s = queue.hedge.after_s(name) if may_hedge else None
        if after_s is None:
            reply = await self.on(queue, endpoint, patience)
        else:
            with Second(after_s, lambda: self._beside(queue, endpoint, until), patience) as second:
                try:
                    reply = await self.on(queue, endpoint, patience)
                except Fault:
                    if (answer := await second.answer()) is None:
                        raise
                    return self._taken(*answer)
        if may_hedge:
            queue.hedge.answered(name, (self.stage.service_ms or 0.0) / 1000)
        return reply

    async def _beside(self, queue: EngineQueue, first: Endpoint, until: float) -> tuple[Reply, Stage] | None:
        """The same call at another replica; None where none is to make it."""
        endpoint = queue.second(first)
        if endpoint is None:
            return None
        caller, name = self.caller, self.component.name
        caller.watch.taken(self._pipeline, name, self.component.engine, endpoint.replica, 0.0)
        caller.metrics.seconds[name].inc()
        beside = replace(self, stage=msgspec.structs.replace(self.stage), emit=None)
        with Within(until) as patience:
            return await beside.on(queue, endpoint, patience), beside.stage

    def _taken(self, reply: Reply, stage: Stage) -> Reply:
        """The second call's answer, which is told of as the call's own."""
        self.stage.replica, self.stage.sends, self.stage.service_ms = stage.replica, stage.sends, stage.service_ms
        return reply

    async def on(self, queue: EngineQueue, endpoint: Endpoint, patience: Within) -> Reply:
        """Send to this replica and read its answer; `patience` ends with Stuck where it makes no progress."""
        self.stage.replica = endpoint.replica
        self.stage.sends += 1
        began = self.caller.clock()
        served = None
        try:
            await self.caller.collections.require(endpoint, self.component)
            # What may not be made again is waited for: it may have happened, and nobody could make up for it.
            if self._is_pure:
                queue.bear(endpoint, patience)
            reply = await self._exchange(queue, endpoint, began)
            served = self.caller.clock() - began
            first_s = None if self.stage.ttft_ms is None else self.stage.ttft_ms / 1000
            queue.answered(endpoint, self.component.name, served, first_s)
            self.caller.metrics.service[self.component.name].observe(served)
        except FAILURES as failure:
            began_to_leave, asked = self.stage.ttft_ms is not None, self.as_long_as_asked
            fault = fault_of(self.component.name, failure, began=began_to_leave, as_long_as_asked=asked)
            if fault.blame in {"error", "gone"}:
                queue.failed(endpoint, gone=fault.blame == "gone")
            raise fault from failure
        else:
            return reply
        finally:
            self.stage.service_ms = (self.caller.clock() - began) * 1000
            queue.bear_no_more(endpoint, patience)
            queue.release(endpoint)
            items = 1 if self.items is None else len(self.items)
            self.caller.watch.ended(
                self._pipeline, self.component.name, self.component.engine, endpoint.replica, served, items
            )

    @property
    def _pipeline(self) -> str:
        return self.leg.journey.pipeline.lookahead.program.pipeline

    async def _exchange(self, queue: EngineQueue, endpoint: Endpoint, began: float) -> Reply:
        transport = self.caller.transports[self.kind.transport]
        if self.items is not None:
            assert self.kind.decode_many is not None
            replies = self.kind.decode_many(self.component, await transport.send(endpoint, self.wire), self.items)
            usage = Usage(
                sum(reply.usage.prompt_tokens for reply in replies),
                sum(reply.usage.completion_tokens for reply in replies),
            )
            return Reply([reply.value for reply in replies], usage)
        if self.emit is None or self.kind.decode_piece is None:
            return self.kind.decode(self.component, await transport.send(endpoint, self.wire), self.inputs)
        emit = queue.unblamed(endpoint, self.emit)

        async def forward(texts: Sequence[str]) -> None:
            if self.stage.ttft_ms is None:
                self.stage.ttft_ms = (self.caller.clock() - began) * 1000
            await emit(texts)

        stream = transport.stream(endpoint, self.wire)
        return await read_pieces(stream, self.kind.decode_piece, partial(queue.piece, endpoint), forward)
