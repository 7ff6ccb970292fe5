"""A scenario in virtual time: the service is built as its gateway would build it, and requests come in."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from harmonia_compiler.contract.bundle import Endpoint, ReplicaShare
from harmonia_compiler.contract.card import Cards
from harmonia_compiler.contract.garbage import uncollected
from harmonia_compiler.contract.plan import Replica as Placed
from harmonia_compiler.contract.program import Program
from harmonia_compiler.emulate.scenario import Coming, Scenario
from harmonia_compiler.emulate.simulate.loop import Loop
from harmonia_compiler.emulate.simulate.models import Model
from harmonia_compiler.emulate.simulate.request import Request
from harmonia_compiler.emulate.simulate.room import further
from harmonia_compiler.emulate.simulate.service import Job, Service
from harmonia_compiler.emulate.simulate.stations import Replica, Station
from harmonia_compiler.emulate.simulate.steering import Steering, last_words
from harmonia_compiler.emulate.simulate.worked import Worked
from harmonia_compiler.emulate.times import core_ms, elsewhere_ms
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.policy.control.planned import planned
from harmonia_compiler.policy.events import show_place
from harmonia_compiler.policy.line import EXTERNAL_CONCURRENCY, Line
from harmonia_compiler.policy.parts import ALL, PLAIN, Parts
from harmonia_compiler.policy.pipeline import Promise, promise_of
from harmonia_compiler.policy.schedule import Schedule
from harmonia_compiler.profile.serving import Passing, Stepping, serving
from harmonia_compiler.report.document import Decision
from harmonia_compiler.report.measures import Window
from harmonia_compiler.runtime.controller.dividing import ByProgram
from harmonia_compiler.workload.draws import Uniform


@dataclass(slots=True)
class Simulation:
    """One run of a scenario. `overhead_ms` is what the gateway adds to each call.

    `parts` of the scheduling are on. A `patient` run gives no request up at its deadline and has none of them but the
    order of calls: only so is it known how late a request would have been. Where it `resizes`, its controller may
    change numbers of replicas; else it divides calls alone, as in a rehearsal. What replicas do is counted within
    the `window`, or all the time where there is none.
    """

    scenario: Scenario
    cards: Cards
    overhead_ms: float = 0.0
    patient: bool = False
    parts: Parts = ALL
    resizes: bool = True
    window: Window | None = None

    def run(self, coming: Iterable[Coming], ended: Callable[[Request, Coming], object]) -> "Ran":
        """Let requests come in, in the order of their times, until all have ended; `ended` is told of each."""
        parts = replace(PLAIN, slack=self.parts.slack) if self.patient else self.parts
        loop, programs = Loop(), self.scenario.service.programs
        replicas: dict[str, Replica[Job]] = {}
        service = self._service(loop, parts, replicas)
        steering = self._steering(service, replicas) if parts.controller else None
        arrivals = iter(coming)
        under_way: set[int] = set()

        def next_one() -> None:
            # One at a time, so that an hour of them need not be there at once.
            if (one := next(arrivals, None)) is not None:
                under_way.add(one.number)
                loop.at(one.at_ms, partial(arrive, one))

        def arrive(one: Coming) -> None:
            next_one()
            if one.answer_tokens is not None:
                service.behaviour.lengths[str(one.number)] = one.answer_tokens
            program = programs[one.pipeline]
            promise = _promise(program, one)
            deadline_ms = None if self.patient or promise.deadline_s is None else promise.deadline_s * 1000.0
            told = partial(finish, one)
            request = Request(service, program, one.number, deadline_ms, promise, told, one.request_class or "")
            request.start(one.arguments)

        def finish(one: Coming, request: Request) -> None:
            under_way.remove(one.number)
            if steering is not None and not under_way:
                steering.end()
            ended(request, one)

        worked = Worked(service, steering)
        if self.window is not None:
            loop.at(self.window.from_ms, worked.begin)
            loop.at(self.window.to_ms, worked.end)
        next_one()
        with uncollected():
            if steering is not None and under_way:
                steering.begin()
            loop.run()
        if self.window is None:
            worked.end()
        ran = Ran(loop.happened, worked, len(service.behaviour.lengths), service.behaviour.cuts)
        return ran if steering is None else replace(ran, decisions=tuple(steering.told), last=last_words(steering.last))

    def _service(self, loop: Loop, parts: Parts, replicas: dict[str, Replica[Job]]) -> Service:
        """The service as planned; its replicas are put into the mapping."""
        scenario = self.scenario
        lines: dict[str, Line[Job]] = {}
        schedule = Schedule(lines, scenario.service.expected, parts, requests=scenario.service.requests)
        # What is recorded of this run's requests is not of another's.
        behaviour = replace(scenario.behaviour, lengths={}, cut={})
        service = Service(loop, lines, replicas, behaviour, schedule, self.overhead_ms)
        for name, engine in scenario.service.engines.items():
            if kinds()[engine.kind].external:
                lines[name] = Line(ReplicaShare(EXTERNAL_CONCURRENCY), {})
                lines[name].set_replicas([Endpoint(name, name, "", 0)])
                replicas[name] = Station(loop, self._elsewhere_ms, service.finished, servers=EXTERNAL_CONCURRENCY)
                continue
            lines[name] = Line(ReplicaShare(1), scenario.service.shares, parts=parts)
            lines[name].set_replicas(
                [Endpoint(one.id, name, one.host, 0) for one in scenario.plan.replicas if one.engine == name]
            )
        for replica in scenario.plan.replicas:
            replicas[replica.id] = self._replica(loop, service, replica)
        return service

    def _steering(self, service: Service, replicas: dict[str, Replica[Job]]) -> Steering:
        scenario = self.scenario
        room = further(scenario) if self.resizes else {}
        facts = planned(
            scenario.plan, scenario.service, {name: [one.id for one in some] for name, some in room.items()}
        )
        placed = {
            name: (*(one for one in scenario.plan.replicas if one.engine == name), *some)
            for name, some in room.items()
            if name in facts.engines
        }

        def bring(one: Placed) -> None:
            if one.id not in replicas:
                replicas[one.id] = self._replica(service.loop, service, one)

        return Steering(service, facts, ByProgram(), placed, bring, scenario.service.shares)

    def _replica(self, loop: Loop, service: Service, placed: Placed) -> Replica[Job]:
        found = serving(self.scenario.service.engines[placed.engine], placed.config, self.cards)
        if isinstance(found, Stepping):
            return Model(loop, found, service.finished, service.failed)
        if isinstance(found, Passing):

            def pass_ms(jobs: "Iterable[Job]") -> float:
                return found.passes.ms(job.size.work for job in jobs)

            return Station(loop, pass_ms, service.finished, batch=found.batch)
        return Station(loop, partial(self._core_ms, speed=found.speed), service.finished, servers=found.threads)

    def _core_ms(self, jobs: "Iterable[Job]", speed: float) -> float:
        (job,) = jobs
        return core_ms(job.size.work, self._uniform(job), speed)

    def _elsewhere_ms(self, jobs: "Iterable[Job]") -> float:
        (job,) = jobs
        return elsewhere_ms(job.size.work, self._uniform(job))

    def _uniform(self, job: Job) -> Uniform:
        return self.scenario.draws.of(job.request, job.component.name, show_place(job.path, job.site))


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run came to: in how many events, and how long each replica worked.

    Of so many requests it was `recorded` how long their answers are; `cut` counts those that were longer than their
    component allows, by component. `decisions` are the controller's, and `last` is what it said last.
    """

    events: int
    worked: Worked
    recorded: int
    cut: Mapping[str, int]
    decisions: tuple[Decision, ...] = ()
    last: str = ""


def _promise(program: Program, one: Coming) -> Promise:
    """What the gateway holds a request to; every client takes a stream where there is one."""
    named = next((each for each in program.classes if each.name == one.request_class), None)
    return promise_of(program, named, streams=True)
