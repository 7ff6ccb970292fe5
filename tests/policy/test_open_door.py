"""Random flows over engines of fixed places, by the schedule and its lines in told time: whom the door keeps out."""

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia_compiler.contract.bundle import Endpoint, ExpectedCalls, ExpectedRequest, ReplicaShare
from harmonia_compiler.contract.component import Component, Port
from harmonia_compiler.contract.program import Call, Parameter, Program
from harmonia_compiler.contract.types import Text
from harmonia_compiler.policy.door import Knock
from harmonia_compiler.policy.events import Send
from harmonia_compiler.policy.journey import Journey, Leg
from harmonia_compiler.policy.limit import Limit
from harmonia_compiler.policy.line import Line, QueueFull
from harmonia_compiler.policy.lookahead import START
from harmonia_compiler.policy.parts import ALL, PLAIN, Parts
from harmonia_compiler.policy.pipeline import Promise
from harmonia_compiler.policy.schedule import Crowded, Ending, Hopeless, Schedule
from tests.examples import examples

#: What one request calls, one after the other: each engine, and for how many seconds with next to nobody else there.
Calls = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Engine:
    """One replica of so many places, on which a call takes so many times longer with all of them taken."""

    places: int
    grows: float = 0.0


@dataclass(frozen=True)
class Flow:
    """Requests of which each makes one of these lists of calls, as often, and is promised one of these times."""

    ways: tuple[tuple[float, Calls], ...]
    promises: tuple[Promise, ...]

    def expected(self) -> dict[str, ExpectedCalls]:
        """What a plan would say."""
        visits, seconds = defaultdict[str, float](float), defaultdict[str, float](float)
        for share, calls in self.ways:
            for engine, takes_s in calls:
                visits[engine] += share
                seconds[engine] += share * takes_s
        return {engine: ExpectedCalls(visits[engine], 1000.0 * seconds[engine] / visits[engine]) for engine in visits}


class Fixed(Limit):
    """A limit that stays as it is."""

    def ended(self, met: object, left: object, part: float, worked: float, least: float = 1.0) -> None:
        pass


@dataclass(eq=False)
class Request:
    """One on its way; `call` is that it makes now, with the replica that has it."""

    flow: str
    promise: Promise
    calls: list[tuple[str, float]]
    came_s: float
    journey: Journey | None = None
    knock: Knock | None = None
    call: Leg | None = None
    endpoint: Endpoint | None = None
    is_over: bool = False


@dataclass
class Service:
    """Requests come by chance and are driven as the simulator does, until their promise has passed at most."""

    engines: dict[str, Engine]
    flows: dict[str, Flow]
    seed: int
    parts: Parts = ALL
    limit: float | None = None
    now: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _number: "count[int]" = field(default_factory=count)

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.lines: dict[str, Line[Request]] = {}
        for name, engine in self.engines.items():
            self.lines[name] = Line(ReplicaShare(engine.places, self._carries(name)), {}, parts=self.parts)
            self.lines[name].set_replicas([Endpoint(f"{name}-0", name, "", 0)])
        components = {name: Component(name, "python", name, (Port("q", Text()),), Text()) for name in self.engines}
        calls = (Parameter("q"), Call(next(iter(self.engines)), ("q",), (0,)))
        self.programs = {name: Program(name, (), Text(), calls, 1, components) for name in self.flows}
        expected = {name: flow.expected() for name, flow in self.flows.items()}
        self.schedule = Schedule(self.lines, expected, self.parts, requests=self._requests(expected))
        for program in self.programs.values():
            if self.limit is not None:
                self.schedule.pipeline(program).limit = Fixed(most=self.limit)

    def _requests(self, expected: dict[str, dict[str, ExpectedCalls]]) -> dict[str, ExpectedRequest]:
        """What a plan would say of each flow's requests, all flows being asked as often."""
        calls = defaultdict[str, float](float)
        for flow in expected.values():
            for name, one in flow.items():
                calls[name] += one.visits
        return {
            name: ExpectedRequest(
                sum(one.visits * one.service_ms for one in flow.values()), {engine: calls[engine] for engine in flow}
            )
            for name, flow in expected.items()
        }

    def _carries(self, name: str) -> float:
        """How many calls a second an engine completes by a plan, all of its places taken."""
        called = [one for flow in self.flows.values() if (one := flow.expected().get(name)) is not None]
        busy_s = sum(one.visits * one.service_ms / 1000.0 for one in called) * (1.0 + self.engines[name].grows)
        return self.engines[name].places * sum(one.visits for one in called) / busy_s if called else 1.0

    def capacity_rps(self) -> float:
        """How many of each flow the engines complete a second, all of their places taken."""
        busy = defaultdict[str, float](float)
        for flow in self.flows.values():
            for name, one in flow.expected().items():
                busy[name] += one.visits * one.service_ms / 1000.0
        return min(
            self.engines[name].places / (1.0 + self.engines[name].grows) / busy_s for name, busy_s in busy.items()
        )

    def run(self, load: float, until_s: float) -> "Service":
        """Let requests come at such a part of the capacity for so long, and all of them end."""
        for name in self.flows:
            self._come(name, load * self.capacity_rps(), until_s)
        while self._events:
            self.now, _, event = heapq.heappop(self._events)
            event()
        assert self.schedule.at_door == 0
        assert all(not pipeline.under_way() for pipeline in self.schedule.pipelines.values())
        return self

    def _after(self, seconds: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._number), event))

    def _come(self, name: str, rate_rps: float, until_s: float) -> None:
        if self.now > until_s:
            return
        self._after(self.chance.expovariate(rate_rps), lambda: self._come(name, rate_rps, until_s))
        flow, program = self.flows[name], self.programs[name]
        (way,) = self.chance.choices([calls for _, calls in flow.ways], [share for share, _ in flow.ways])
        calls = [(engine, seconds * self.chance.uniform(0.5, 1.5)) for engine, seconds in reversed(way)]
        request = Request(name, self.chance.choice(flow.promises), calls, self.now)
        self.ends["came"] += 1
        try:
            self._begin(request, self.schedule.arrive(program, request.promise, self.now))
        except Crowded:
            self._knock(program, request)
        except Hopeless:
            request.is_over = True

    def _knock(self, program: Program, request: Request) -> None:
        def let_in(journey: Journey) -> None:
            request.journey = journey
            self._after(0.0, lambda: self._begin(request, journey))

        def refused() -> None:
            request.is_over = True

        try:
            request.knock = self.schedule.knock(program, request.promise, self.now, let_in, refused)
        except Hopeless:
            request.is_over = True
            return
        self._after(request.knock.until_s - self.now, lambda: self._tire(request))

    def _tire(self, request: Request) -> None:
        if request.journey is None and request.knock is not None:
            request.is_over = True
            self.schedule.leave(request.knock)

    def _begin(self, request: Request, journey: Journey) -> None:
        request.journey = journey
        if request.promise.deadline_s is not None:
            self._after(request.came_s + request.promise.deadline_s - self.now, lambda: self._end(request, "late"))
        self._next(request)

    def _next(self, request: Request) -> None:
        """Make the next call, or answer."""
        assert request.journey is not None
        if not request.calls:
            self._end(request, "answered")
            return
        engine, _ = request.calls[-1]
        leg = self.schedule.ask(request.journey, Send(1, engine, {}, {}, site=len(request.calls)), self.now)
        request.call = leg
        try:
            endpoint = self.lines[engine].ask(self.now)
            if endpoint is None:
                self.lines[engine].wait(request, self.schedule.standing(leg))
        except QueueFull:
            self._end(request, "broken")
        else:
            if endpoint is not None:
                self._work(request, leg, endpoint)

    def _work(self, request: Request, leg: Leg, endpoint: Endpoint) -> None:
        self.schedule.works(leg, self.now)
        request.endpoint = endpoint
        engine, (_, seconds) = self.engines[leg.engine], request.calls.pop()
        seconds *= 1.0 + engine.grows * self.lines[leg.engine].occupied / engine.places

        def done() -> None:
            if request.call is leg and not request.is_over:
                self._take_back(request)
                self._next(request)

        self._after(seconds, done)

    def _take_back(self, request: Request) -> None:
        """The call of a request has ended, or nobody awaits it any more; its place is the next one's."""
        leg, endpoint = request.call, request.endpoint
        request.call = request.endpoint = None
        if leg is None:
            return
        line = self.lines[leg.engine]
        if endpoint is None:
            line.leave(request)
        else:
            line.release(endpoint)
            while (given := line.next(self.now)) is not None:
                other, place = given
                assert other.call is not None
                if place is not None:
                    self._work(other, other.call, place)
                else:
                    # Later in this instant, as drivers do.
                    self._after(0.0, partial(self._end, other, "late"))
        self.schedule.ends(leg, self.now)
        self.check()

    def _end(self, request: Request, ending: Ending) -> None:
        if request.is_over:
            return
        request.is_over = True
        self._take_back(request)
        assert request.journey is not None
        self.schedule.end(request.journey, self.now, ending)
        deadline_s = request.promise.deadline_s
        self.ends["in time"] += ending == "answered" and self.now - request.came_s <= (deadline_s or math.inf)
        self.check()

    def check(self) -> None:
        """Once something has ended, nobody waits at the door who could be let in: there are places, and it has time."""
        for pipeline in self.schedule.pipelines.values():
            start = pipeline.lookahead.at(START)
            for group in pipeline.waiting():
                if pipeline.at_work(group.urgency) < pipeline.limit.most:
                    waited_s = self.now - group.door.newest.came_s
                    assert self.schedule._too_long(group, start, waited_s) is not None


def flow_of(chance: Random, names: list[str]) -> Flow:
    """A few ways through these engines, some of them much longer than others."""
    ways = []
    for _ in range(chance.randint(1, 3)):
        called = chance.choices(names, k=chance.randint(1, 4))
        ways.append((chance.random() + 0.05, tuple((name, chance.choice((0.02, 0.2, 2.0))) for name in called)))
    whole = sum(share for share, _ in ways)
    longest = max(sum(seconds for _, seconds in calls) for _, calls in ways)
    promises = [Promise(longest * chance.choice((1.5, 4.0)), weight=chance.choice((1.0, 4.0))) for _ in range(2)]
    return Flow(
        tuple((share / whole, calls) for share, calls in ways),
        tuple(promises[: chance.randint(1, 2)]) + (Promise(),) * chance.randint(0, 1),
    )


@given(st.integers(0, 2**32 - 1))
@examples(60)
def test_nobody_waits_at_the_door_who_could_be_let_in(seed: int) -> None:
    chance = Random(seed)
    names = [f"e{at}" for at in range(chance.randint(1, 3))]
    engines = {name: Engine(chance.choice((1, 2, 8, 32)), chance.choice((0.0, 1.0, 3.0))) for name in names}
    flows = {f"p{at}": flow_of(chance, names) for at in range(chance.randint(1, 2))}
    limit = chance.choice((None, None, 1.0, 2.0, 8.0, 24.0))
    service = Service(engines, flows, seed, limit=limit)
    service.run(chance.choice((0.7, 1.5, 3.0)), 400.0 / service.capacity_rps())


#: Six in ten are short work, and the others long; one in ten needs a tool of two places.
BIMODAL = Flow(((0.6, (("triage", 0.02), ("small", 0.05))), (0.4, (("triage", 0.02), ("large", 1.0)))), (Promise(6.0),))
TOOLISH = Flow(((0.9, (("large", 1.0),)), (0.1, (("tool", 0.4), ("large", 1.0)))), (Promise(6.0),))
ENGINES = {"triage": Engine(1), "small": Engine(4), "large": Engine(128, 8.0), "tool": Engine(2)}


@pytest.mark.parametrize("flow", [BIMODAL, TOOLISH])
def test_past_the_capacity_of_requests_that_differ_as_many_are_in_time_as_first_come_first_served(flow: Flow) -> None:
    found, plain = (Service(ENGINES, {"p": flow}, 1, parts).run(1.5, 120.0).ends["in time"] for parts in (ALL, PLAIN))
    assert found >= 0.9 * plain


#: Some go round once more, or three times: one in twelve is late though nobody else is there.
LOOPING = Flow(
    tuple(
        (share, (("find", 0.2), ("say", 1.0)) * rounds) for rounds, share in enumerate((0.216, 0.432, 0.288, 0.064), 1)
    ),
    (Promise(5.0),),
)


def test_a_limit_that_fell_as_the_first_came_does_not_keep_engines_idle() -> None:
    engines = {"find": Engine(16), "say": Engine(64, 1.0)}
    flows = {"p": LOOPING, "q": LOOPING}
    found, plain = (Service(engines, flows, 2, parts).run(0.9, 200.0).ends["in time"] for parts in (ALL, PLAIN))
    assert found >= 0.75 * plain


@pytest.mark.parametrize("late", [0.5, 0.7, 0.9])
def test_who_is_late_whatever_one_does_keeps_nobody_out(late: float) -> None:
    """Engines a third busy, a promise that so many miss alone, and another that all keep."""
    hurried, patient = Promise(3.0, weight=4.0), Promise(120.0)
    calls = {share: (("say", seconds),) for share, seconds in ((late, 8.0), (1.0 - late, 1.5))}
    flows = {"p": Flow(tuple(calls.items()), (hurried, hurried, patient))}
    found, plain = (
        Service({"say": Engine(64, 0.5)}, flows, 3, parts).run(0.3, 600.0).ends["in time"] for parts in (ALL, PLAIN)
    )
    assert found >= 0.97 * plain


@pytest.mark.parametrize("load", [0.6, 0.9])
def test_engines_whose_times_do_not_grow_refuse_nobody_though_most_miss_their_promise(load: float) -> None:
    """Three in four want a first piece that nobody can give them."""
    hopeless, patient = Promise(None, 0.5, weight=4.0), Promise(60.0)
    ways = tuple((0.5, (("say", seconds),)) for seconds in (1.5, 4.5))
    service = Service({"say": Engine(16)}, {"p": Flow(ways, (hopeless, hopeless, hopeless, patient))}, 1)
    ends = service.run(load, 400.0).ends
    assert ends["in time"] >= 0.9 * ends["came"]
