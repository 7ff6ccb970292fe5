"""A scenario in virtual time: the service is built as its gateway would build it, and requests come in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.garbage import uncollected
from harmonia_compiler.contract.plan import Replica as Planned
from harmonia_compiler.contract.program import Program
from harmonia_compiler.emulate.scenario import Coming, Scenario
from harmonia_compiler.emulate.simulate.loop import Loop
from harmonia_compiler.emulate.simulate.models import Model
from harmonia_compiler.emulate.simulate.service import Job, Request, Service
from harmonia_compiler.emulate.simulate.stations import Replica, Station
from harmonia_compiler.emulate.times import core_ms, elsewhere_ms
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.policy.events import show_path
from harmonia_compiler.policy.line import EXTERNAL_CONCURRENCY, Line
from harmonia_compiler.policy.parts import ALL, NONE, Parts
from harmonia_compiler.policy.pipeline import Promise, promise_of
from harmonia_compiler.policy.schedule import Schedule
from harmonia_compiler.profile.serving import Passing, Stepping, serving
from harmonia_compiler.workload.draws import Uniform


@dataclass(slots=True)
class Simulation:
    """One run of a scenario. `overhead_ms` is what the gateway adds to each call.

    A `patient` one gives no request up at its deadline: only so is it known how late it would have been. `parts` are
    those of the scheduling that are on.
    """

    scenario: Scenario
    cards: dict[str, Card]
    overhead_ms: float = 0.0
    patient: bool = False
    parts: Parts = ALL

    def run(self, coming: Iterable[Coming], ended: Callable[[Request, Coming], object]) -> "Ran":
        """Let requests come in, in the order of their times, until all have ended; `ended` is told of each."""
        loop = Loop()
        lines: dict[str, Line[Job]] = {}
        replicas: dict[str, Replica[Job]] = {}
        for name, engine in self.scenario.service.engines.items():
            if kinds()[engine.kind].external:
                lines[name] = Line(ReplicaShare(EXTERNAL_CONCURRENCY), {})
                lines[name].set_replicas([Endpoint(name, name, "", 0)])
                continue
            lines[name] = Line(ReplicaShare(1), self.scenario.service.shares)
            lines[name].set_replicas(
                [Endpoint(one.id, name, one.host, 0) for one in self.scenario.plan.replicas if one.engine == name]
            )
        programs = self.scenario.service.programs
        parts = NONE if self.patient else self.parts
        schedule = Schedule(lines, self.scenario.service.expected, parts)
        service = Service(loop, lines, replicas, self.scenario.behaviour, schedule, self.overhead_ms)
        for replica in self.scenario.plan.replicas:
            replicas[replica.id] = self._replica(loop, service, replica)
        for name, engine in self.scenario.service.engines.items():
            if kinds()[engine.kind].external:
                replicas[name] = Station(loop, self._elsewhere_ms, service.finished, servers=EXTERNAL_CONCURRENCY)
        arrivals = iter(coming)

        def next_one() -> None:
            # One at a time, so that an hour of them need not be there at once.
            if (one := next(arrivals, None)) is not None:
                loop.at(one.at_ms, partial(arrive, one))

        def arrive(one: Coming) -> None:
            next_one()
            if one.answer_tokens is not None:
                self.scenario.behaviour.lengths[str(one.number)] = one.answer_tokens
            program = programs[one.pipeline]
            promise = _promise(program, one)
            deadline_ms = None if self.patient or promise.deadline_s is None else promise.deadline_s * 1000.0
            request = Request(service, program, one.number, deadline_ms, promise, partial(_told, ended, one))
            request.start(one.arguments)

        next_one()
        with uncollected():
            loop.run()
        return Ran(loop.now_ms, loop.happened, {name: replica.busy_ms for name, replica in replicas.items()})

    def _replica(self, loop: Loop, service: Service, planned: Planned) -> Replica[Job]:
        found = serving(self.scenario.service.engines[planned.engine], planned.config, self.cards)
        if isinstance(found, Stepping):
            return Model(loop, found, service.finished, service.failed)
        if isinstance(found, Passing):

            def pass_ms(jobs: "Iterable[Job]") -> float:
                return found.passes.ms(sum(job.size.work.encoded_tokens for job in jobs))

            return Station(loop, pass_ms, service.finished, batch=found.batch)
        return Station(loop, partial(self._core_ms, speed=found.speed), service.finished, servers=found.threads)

    def _core_ms(self, jobs: "Iterable[Job]", speed: float) -> float:
        (job,) = jobs
        return core_ms(job.size.work, self._uniform(job), speed)

    def _elsewhere_ms(self, jobs: "Iterable[Job]") -> float:
        (job,) = jobs
        return elsewhere_ms(job.size.work, self._uniform(job))

    def _uniform(self, job: Job) -> Uniform:
        return self.scenario.draws.of(job.request, job.component.name, show_path(job.path))


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run came to: until when, in how many events, and how long each replica worked."""

    until_ms: float
    events: int
    busy_ms: Mapping[str, float]


def _told(ended: Callable[[Request, Coming], object], one: Coming, request: Request) -> None:
    ended(request, one)


def _promise(program: Program, one: Coming) -> Promise:
    """What the gateway holds a request to; every client takes a stream where there is one."""
    named = next((each for each in program.classes if each.name == one.request_class), None)
    return promise_of(program, named, streams=True)
