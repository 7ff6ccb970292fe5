"""All emulated replicas of a rehearsal in one process and on one event loop, each listening on 127.0.0.1."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harmonia_compiler.contract.bundle import Endpoint
from harmonia_compiler.contract.card import Cards
from harmonia_compiler.contract.component import Component, Engine
from harmonia_compiler.contract.plan import Replica
from harmonia_compiler.emulate.behaviour import Behaviour
from harmonia_compiler.emulate.llm.engine import Engine as LlmEngine
from harmonia_compiler.emulate.servers.chat import Chat
from harmonia_compiler.emulate.servers.clock import RealLoop
from harmonia_compiler.emulate.servers.document import Rehearsal, Tally
from harmonia_compiler.emulate.servers.faults import Fault
from harmonia_compiler.emulate.servers.listeners import HOST, HttpListener, Listener, StoreListener, as_worker
from harmonia_compiler.emulate.servers.replica import Condition
from harmonia_compiler.emulate.servers.speech import Speech
from harmonia_compiler.emulate.servers.stations import Counter, Encoder, Function, Visit
from harmonia_compiler.emulate.servers.store import Store
from harmonia_compiler.emulate.times import core_ms, elsewhere_ms
from harmonia_compiler.emulate.uses import Usage
from harmonia_compiler.kinds.kind import Extent, Work
from harmonia_compiler.kinds.openai import CHAT, EMBEDDINGS, RERANK
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.policy.line import EXTERNAL_CONCURRENCY
from harmonia_compiler.profile.serving import Passing, Stepping, Threads, serving
from harmonia_compiler.profile.steps import Slower, StepModel
from harmonia_compiler.report.measures import distribution
from harmonia_compiler.workload.draws import Draws

#: Of how many of the last happenings the lateness is kept.
_KEPT = 200_000


class Works(Protocol):
    """Whatever adds up how long it has worked."""

    @property
    def busy_ms(self) -> float:
        """How long it has worked."""
        ...


@dataclass(slots=True)
class _Emulated:
    """A replica, or somebody else's service. `model` is a language model's engine, and how fast that usually is."""

    engine: str
    works: Works
    condition: Condition
    listener: Listener
    model: "tuple[LlmEngine, StepModel] | None" = None
    before_ms: float = 0.0


@dataclass(slots=True)
class Host:
    """The replicas of a rehearsal, whose time is that of the event loop (`runtime/stretched.py`).

    `start` returns once all listen; those that load weights say so in `/health`.
    """

    rehearsal: Rehearsal
    cards: Cards
    replicas: dict[str, _Emulated] = field(default_factory=dict)
    _behaviour: Behaviour = field(init=False)
    _late: list[float] = field(default_factory=list)
    _happened: int = 0
    _cpu_before_s: float = 0.0
    _timers: list[asyncio.TimerHandle] = field(default_factory=list)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        given = self.rehearsal
        self._behaviour = Behaviour(given.outcomes, kinds(), Draws(given.seed), given.answers, given.lengths)

    async def start(self) -> list[Endpoint]:
        """Let every replica listen; where each does. Services of somebody else's are named after their engine."""
        loop = RealLoop(late=self._tell_late)
        behaviour = self._behaviour
        for replica in self.rehearsal.replicas:
            await self._start(loop, behaviour, replica)
        for engine in self.rehearsal.service.engines.values():
            if kinds()[engine.kind].external:
                await self._start_external(loop, behaviour, engine)
        return [
            Endpoint(name, emulated.engine, HOST, emulated.listener.port) for name, emulated in self.replicas.items()
        ]

    def begin(self) -> None:
        """Requests may come from now on: from here count the times of faults."""
        loop = asyncio.get_running_loop()
        for fault in self.rehearsal.faults:
            for at_s, begins in ((fault.from_s, True), (fault.until_s, False)):
                if at_s is not None:
                    self._timers.append(loop.call_later(at_s, self._change, fault, begins))

    async def stop(self) -> None:
        """Close everything."""
        for timer in self._timers:
            timer.cancel()
        for task in self._tasks:
            task.cancel()
        for emulated in self.replicas.values():
            await emulated.listener.close()

    def reset(self) -> None:
        """Count from now on."""
        self._late.clear()
        self._happened = 0
        self._cpu_before_s = time.process_time()
        for emulated in self.replicas.values():
            emulated.condition.calls = 0
            emulated.before_ms = emulated.works.busy_ms

    def tally(self) -> Tally:
        """What happened since the start, or since `reset`."""
        return Tally(
            {
                name: Usage(one.works.busy_ms - one.before_ms, one.condition.calls)
                for name, one in self.replicas.items()
            },
            distribution(self._late),
            self._happened,
            time.process_time() - self._cpu_before_s,
            self._behaviour.cuts,
        )

    def _tell_late(self, ms: float) -> None:
        # It is this machine that is late, by its own clock.
        ms *= self.rehearsal.factor
        self._happened += 1
        if len(self._late) < _KEPT:
            self._late.append(ms)
        else:
            self._late[self._happened % _KEPT] = ms

    def _condition(self, engine: str) -> Condition:
        return Condition(asyncio.get_running_loop().time, self.rehearsal.start_s.get(engine, 0.0))

    def _components(self, engine: str) -> dict[str, Component]:
        programs = self.rehearsal.service.programs.values()
        return {
            name: component
            for program in programs
            for name, component in program.components.items()
            if component.engine == engine
        }

    async def _start(self, loop: RealLoop, behaviour: Behaviour, replica: Replica) -> None:
        engine = self.rehearsal.service.engines[replica.engine]
        condition, components = self._condition(engine.id), self._components(engine.id)
        found = serving(engine, replica.config, self.cards)
        emulated: _Emulated
        if isinstance(found, Stepping):
            steps = LlmEngine(found.limits, found.steps, self._tell_late)
            speech, model = Speech(behaviour, components), str(engine.settings["model"])
            chat = Chat(model, steps, speech, found.limits.block_size, condition.moving)
            gets = {"/v1/models": chat.models, "/metrics": chat.exported}
            listener = HttpListener(condition, {("POST", CHAT): chat.handle}, gets)
            emulated = _Emulated(engine.id, chat, condition, listener, (steps, found.steps))
        elif isinstance(found, Passing):

            def passes(visits: Sequence[Visit], found: Passing = found) -> float:
                return found.passes.ms(visit.work for visit in visits)

            counter = Counter(loop, passes, condition, batch=found.batch)
            model = str(engine.settings["model"])
            encoder = Encoder(model, counter, behaviour, condition, found.dimension, found.passes.window)
            calls = {("POST", EMBEDDINGS): encoder.embed, ("POST", RERANK): encoder.rerank}
            emulated = _Emulated(
                engine.id, counter, condition, as_worker(condition, calls, str(engine.settings["model"]))
            )
        else:
            counter = Counter(loop, _on_cores(found), condition, servers=found.threads)
            if kinds()[engine.kind].transport == "milvus":
                served = {str(one.settings["collection"]) for one in components.values()}
                records = self.rehearsal.service.collections
                store = Store(
                    counter,
                    behaviour,
                    condition,
                    {name: record for name, record in records.items() if name in served},
                    components,
                    {name: _work(one) for name, one in components.items()},
                )
                emulated = _Emulated(engine.id, counter, condition, StoreListener(store))
            else:
                function = Function(counter, behaviour, components, _work)
                named = str(engine.settings.get("function", engine.id))
                listener = as_worker(condition, {("POST", "/v1/call"): function.call}, named)
                emulated = _Emulated(engine.id, counter, condition, listener)
        await self._listen(replica.id, emulated)

    async def _start_external(self, loop: RealLoop, behaviour: Behaviour, engine: Engine) -> None:
        condition = self._condition(engine.id)
        counter = Counter(loop, _elsewhere, condition, servers=EXTERNAL_CONCURRENCY)
        function = Function(counter, behaviour, self._components(engine.id), _work)
        listener = HttpListener(condition, {("POST", "/"): function.post, ("GET", "/"): function.search}, {})
        await self._listen(engine.id, _Emulated(engine.id, counter, condition, listener))

    async def _listen(self, name: str, emulated: _Emulated) -> None:
        self.replicas[name] = emulated
        await emulated.listener.open()

    def _change(self, fault: Fault, begins: bool) -> None:  # noqa: FBT001 - what a timer passes on
        """Let a fault begin or end."""
        emulated = self.replicas[fault.replica]
        emulated.condition.change(fault, begins=begins)
        if fault.way == "slow" and emulated.model is not None:
            engine, usual = emulated.model
            slowness = emulated.condition.slowness
            engine.use(Slower(usual, slowness, slowness))
        if fault.way == "die" and begins:
            self._do(self._die(emulated))
        if fault.way == "die" and emulated.condition.now("die") is None:
            self._do(self._come_back(emulated))

    def _do(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _die(self, emulated: _Emulated) -> None:
        if emulated.model is not None:
            emulated.model[0].fail()
        await emulated.listener.close()

    async def _come_back(self, emulated: _Emulated) -> None:
        """As a process that was started again: it loads its weights first."""
        emulated.condition.start()
        with contextlib.suppress(OSError):
            await emulated.listener.open()


def _on_cores(found: Threads) -> Callable[[Sequence[Visit]], float]:
    def takes(visits: Sequence[Visit]) -> float:
        (visit,) = visits
        return core_ms(visit.work, visit.uniform, found.speed)

    return takes


def _elsewhere(visits: Sequence[Visit]) -> float:
    (visit,) = visits
    return elsewhere_ms(visit.work, visit.uniform)


def _work(component: Component) -> Work:
    """What a call asks of cores, or elsewhere: the same whatever it is given."""
    return kinds()[component.kind].work(component, {}, Extent(0.0))
