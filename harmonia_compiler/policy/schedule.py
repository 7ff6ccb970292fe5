"""Which requests are let in, and in which order their calls go: by slack, the time that a request can still lose.

The slack of a call is its request's deadline, less now, less what lies ahead of it (`lookahead.py`). Under a promise of
the first piece, it is the lesser of the two. Three parts, each of which can be turned off:

- *admission*: a request is refused as it comes where the wait ahead takes too much of its chance to be in time
  (`WORTH`), or where as many are worked on as can be in time together (`limit.py`). Its wait is that at the engine that
  keeps it longest: of each on its way, what is pending there before it, whoever has yet to come included, less the time
  that it works before it is there. What a request would miss also without a wait is no reason to refuse it: nobody else
  would be helped, and what was learned wrongly would keep everybody out for good. Where as many are worked on as may
  be, it may wait at the door until one ends (`door.py`).
- *shedding*: a call whose turn has come, and whose request is late in all likelihood (`LIKELY`), is handed back.
- *slack*: the least slack goes first, divided by the weight of the request's class, or times it where none is left.
  Since arrival counts as well, who waits comes nearer to its turn with time.

Owned by one driver, the gateway or the simulator, who tells the time and what happens to each call.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harmonia_compiler.contract.bundle import ExpectedCalls, ExpectedRequest
from harmonia_compiler.contract.program import Program
from harmonia_compiler.policy.certain import certain_calls
from harmonia_compiler.policy.door import MOST_AT_DOOR, Knock, patience_s
from harmonia_compiler.policy.events import Send
from harmonia_compiler.policy.journey import MOST_REMEMBERED, Journey, Leg
from harmonia_compiler.policy.line import RETRY_AFTER_MAX_S, Line
from harmonia_compiler.policy.lookahead import START, UNPLANNED, Ahead, Lookahead, point_of
from harmonia_compiler.policy.parts import ALL, Parts
from harmonia_compiler.policy.pipeline import UNPROMISED_S, Group, Pipeline, Promise
from harmonia_compiler.policy.quantile import Quantiles
from harmonia_compiler.policy.vacancies import EMPTY, LEAST_WORTH
from harmonia_compiler.policy.waiting import Standing

#: A request is let in where waiting leaves so large a part of the chance that it would have without.
WORTH = 0.9
#: A call whose turn has come is given up where fewer than this part of those before would still have been in time.
LIKELY = 0.5
#: So large a part of the requests that are worked on by the plan, with replicas as busy as plans let them be, may be in
#: any case: what was learned of a few requests keeps no engines idle for which the plan says otherwise.
BY_PLAN = 0.5

#: How a request that was let in ended: with its answer, because of the time, or for another reason.
Ending = Literal["answered", "late", "broken"]


class Hopeless(Exception):
    """A request is not let in, since it would hardly be in time; `retry_after_s` is when another one could be."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = max(1, math.ceil(min(RETRY_AFTER_MAX_S, after_s)))


class Crowded(Hopeless):
    """As many are worked on as can be in time: who has time left may wait at the door (`Schedule.knock`)."""


class Stopped(Exception):
    """A component that the request calls in any case has no replica."""

    def __init__(self, component: str, engine: str) -> None:
        super().__init__(f"no replica of its engine `{engine}` is running")
        self.component, self.engine = component, engine


@dataclass(slots=True, eq=False)
class Schedule:
    """What the requests of one service have in common. `lines` are those of every engine.

    `expected` are the calls that the plan reckons with, by pipeline and component; `let_in` is how many requests were.
    `beside` are those of all generations of the service, this one among them: they may route to the same replicas.
    `at_door` is how many requests wait at the door, and `requests` say by pipeline what the plan expects of one.
    """

    lines: Mapping[str, Line[Any]]
    expected: Mapping[str, Mapping[str, ExpectedCalls]] = field(default_factory=dict)
    parts: Parts = ALL
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    let_in: int = 0
    beside: Sequence["Schedule"] = ()
    at_door: int = 0
    requests: Mapping[str, ExpectedRequest] = field(default_factory=dict)

    def pipeline(self, program: Program) -> Pipeline:
        """What is known of a Program. One of the same name that takes its place starts with nothing.

        Whoever waited at the door of the former one is refused: nobody would open it.
        """
        found = self.pipelines.get(program.pipeline)
        if found is not None and found.lookahead.program is program:
            return found
        for group in found.waiting() if found is not None else ():
            self._refuse(group.door.late(0.0, -math.inf))
        certain = certain_calls(program)
        usual = {component: ExpectedCalls(1.0, 0.0) for component in certain}
        expected = {**usual, **self.expected.get(program.pipeline, {})}
        for component, one in expected.items():
            if component in program.components:
                held_s = self.lines[program.components[component].engine].held_s
                held_s.add(one.service_ms / 1000.0)
        lookahead = Lookahead(program, expected, self.requests.get(program.pipeline, UNPLANNED))
        found = self.pipelines[program.pipeline] = Pipeline(lookahead, certain)
        return found

    def arrive(self, program: Program, promise: Promise, now: float) -> Journey:
        """Let a request in. Raises Stopped, Hopeless, or Crowded where it may `knock`."""
        pipeline = self.pipeline(program)
        for component, engine in pipeline.certain.items():
            if not self.lines[engine].replicas:
                raise Stopped(component, engine)
        group = pipeline.group(promise)
        start = pipeline.lookahead.at(START)
        if promise.within_s is not None:
            pipeline.limit.came(now, promise.within_s)
            if self.parts.admission:
                if self.at_door:
                    # Who comes passes nobody who is more urgent and could be let in as well. Calls that wait and
                    # replicas that are new make room too, and nobody opened the door for that.
                    self._open(pipeline, now, before=group.urgency)
                self._refuse_late(pipeline, group, start)
        return self._begin(pipeline, group, now, now)

    def knock(
        self,
        program: Program,
        promise: Promise,
        now: float,
        let_in: Callable[[Journey], object],
        refused: Callable[[], object],
    ) -> Knock:
        """Let a request wait at the door that met a crowd just now; one of both is called, at once or later.

        Not called any more once it has left. Raises Hopeless where it can expect no place in time.
        """
        pipeline = self.pipeline(program)
        group, start = pipeline.group(promise), pipeline.lookahead.at(START)
        patience = self._patience_s(pipeline, group) - self._delay_s(group, start)
        most = min(MOST_AT_DOOR, int(pipeline.vacancies.coming(now, patience, pipeline.at_work(group.urgency))))
        ahead = pipeline.at_door(group.urgency) - len(group.door)
        if ahead >= most:
            why = "more wait for a place among those that are worked on than will get one in time"
            raise Hopeless(why, self.place_after_s(program, promise, now))
        until_s = now + patience_s(_bounds(group.promise, start), LEAST_WORTH)
        knock = Knock(group.door, now, until_s, let_in, refused)
        group.door[knock] = None
        self.at_door += 1
        while ahead + len(group.door) > most:
            self._refuse([group.door.popitem(last=False)[0]])
        return knock

    def place_after_s(self, program: Program, promise: Promise, now: float) -> float:
        """Within how many seconds those will have had a place that wait at the door before who comes, and one more."""
        pipeline = self.pipelines[program.pipeline]
        urgency = pipeline.group(promise).urgency
        return pipeline.vacancies.after_s(now, pipeline.at_door(urgency) + 1, pipeline.at_work(urgency))

    def leave(self, knock: Knock) -> None:
        """A request waits no more at the door, if it did."""
        if knock.door.pop(knock, knock) is None:
            self.at_door -= 1

    def ask(self, journey: Journey, send: Send, now: float) -> Leg:
        """A request is about to make a call, which waits until a replica takes it."""
        journey.tick(now, on_way=1)
        ahead = journey.pipeline.lookahead.at(point_of(send))
        engine = journey.pipeline.lookahead.program.components[send.component].engine
        if len(journey.passed) < MOST_REMEMBERED:
            journey.passed.append((ahead, journey.worked_s, engine))
        coming = {each: mean.value for each, mean in ahead.calls.items()}
        coming[engine] = max(0.0, coming.get(engine, 1.0) - 1.0)
        journey.expect(coming)
        journey.group.count(engine, 1.0)
        return Leg(journey, ahead, engine)

    def puts_off(self, journey: Journey, component: str, calls: int) -> None:
        """So many more calls of a component, or fewer, will be asked for once others of the request have ended."""
        journey.group.count(journey.pipeline.lookahead.program.components[component].engine, float(calls))

    def standing(self, leg: Leg, beginning: int = 0) -> Standing:
        """Where a call stands among those that wait for its engine; its prompt begins so (`routing/affinity.py`)."""
        journey, promise = leg.journey, leg.journey.group.promise
        slack_s = UNPROMISED_S
        hopeless_at = math.inf
        if promise.deadline_s is not None:
            whole_s = leg.ahead.whole.at(LIKELY)
            slack_s = promise.deadline_s - whole_s
            if self.parts.shedding:
                hopeless_at = journey.arrived_s + slack_s
        if promise.first_s is not None and journey.first_worked_s is None:
            slack_s = min(slack_s, promise.first_s - leg.ahead.first.at(LIKELY))
        # Who is late in all likelihood is so many times more urgent, and not less.
        weight = promise.weight if slack_s > 0.0 else 1.0 / promise.weight
        order = journey.arrived_s + slack_s / weight if self.parts.slack else 0.0
        return Standing(order, hopeless_at, promise.deadline_s is not None, beginning, journey.number)

    def works(self, leg: Leg, now: float) -> None:
        """A replica has taken a call."""
        leg.journey.tick(now, working=1)
        leg.journey.group.count(leg.engine, -1.0)
        leg.works, leg.began_s = True, now
        # Until it is told, a call that has its place seems to wait for one as well.
        self._open_doors(now)

    def waits(self, leg: Leg, now: float) -> None:
        """A call that a replica had taken waits for another one."""
        leg.journey.tick(now, working=-1)
        leg.journey.group.count(leg.engine, 1.0)
        leg.works = False

    def ends(self, leg: Leg, now: float) -> None:
        """A call has ended, or nobody awaits it any more. Of no consequence where it has ended before."""
        if leg.ended:
            return
        leg.ended = True
        leg.journey.tick(now, on_way=-1, working=-int(leg.works))
        if leg.works:
            # Also of calls that nobody awaited any more: those were the long ones, and had their place as well.
            self.lines[leg.engine].held_s.add(now - leg.began_s)
        else:
            leg.journey.group.count(leg.engine, -1.0)
        self._open_doors(now)

    def first(self, journey: Journey, now: float) -> None:
        """The first piece of a request's answer leaves."""
        journey.tick(now)
        journey.first_worked_s, journey.first_at_s = journey.worked_s, now

    def end(self, journey: Journey, now: float, ending: Ending) -> None:
        """A request has ended, all of its calls before it. An answer that left as a whole is its own first piece."""
        journey.tick(now)
        if ending == "answered" and journey.first_at_s is None and journey.group.promise.first_s is not None:
            self.first(journey, now)
        journey.expect({})
        pipeline, group = journey.pipeline, journey.group
        left = pipeline.limit.crowd(now, max(1, pipeline.at_work()))
        group.under_way -= 1
        group.at_work -= journey.works
        if ending == "answered":
            _learn(journey)
        elif ending == "late":
            _learn_at_least(journey)
        if ending != "broken" and group.promise.is_any:
            part = journey.part(now) if ending == "answered" else 1.0
            pipeline.limit.ended(journey.met, left, part, min(part, journey.worked_part), self._least(pipeline))
        if group.promise.within_s is not None:
            empty = not pipeline.at_door() and pipeline.at_work() < EMPTY * pipeline.limit.most
            pipeline.vacancies.freed(now, group.promise.within_s, journey.worked_s, empty=empty)
        self._open_doors(now)

    def _least(self, pipeline: Pipeline) -> float:
        """How many requests of a pipeline may be worked on in any case, by the plan and the replicas that are there.

        Of an engine that several pipelines call each has the part that the plan gives it. One of which the plan says no
        time says nothing.
        """
        request, lines = pipeline.lookahead.request, self.lines
        rates = (lines[engine].carries / calls for engine, calls in request.calls.items() if engine in lines)
        return BY_PLAN * min(rates, default=0.0) * request.works_ms / 1000.0

    def open(self, now: float) -> None:
        """Let in from the door who finds a place, and refuse those who have waited too long."""
        for pipeline in self.pipelines.values():
            self._open(pipeline, now)

    def _open(self, pipeline: Pipeline, now: float, before: float = math.inf) -> None:
        """Let in those of a pipeline that go before such an urgency: of the same promise, who comes goes first."""
        start, is_full = pipeline.lookahead.at(START), False
        for group in pipeline.waiting(before):
            # Where one finds no place, who is less urgent finds none either.
            is_full = is_full or not self._has_place(pipeline, group)
            if not is_full or now >= group.door.late_at_s:
                self._refuse(group.door.late(now, self._patience_s(pipeline, group)))
            while not is_full and group.door and self._too_long(group, start, now - group.door.newest.came_s) is None:
                self.at_door -= 1
                knock = group.door.popitem()[0]
                knock.let_in(self._begin(pipeline, group, knock.came_s, now))
                is_full = not self._has_place(pipeline, group)

    def _refuse(self, late: Iterable[Knock]) -> None:
        for knock in late:
            self.at_door -= 1
            knock.refused()

    def _begin(self, pipeline: Pipeline, group: Group, came: float, now: float) -> Journey:
        """Let a request in now that came then."""
        start = pipeline.lookahead.at(START)
        self.let_in += 1
        met = pipeline.limit.crowd(now, pipeline.at_work() + 1)
        journey = Journey(pipeline, group, came, met, self.let_in, since_s=now)
        group.under_way += 1
        group.at_work += 1
        if group.promise.is_any:
            pipeline.vacancies.taken(now)
        journey.passed.append((start, 0.0, ""))
        journey.expect({engine: mean.value for engine, mean in start.calls.items()})
        return journey

    def _open_doors(self, now: float) -> None:
        """There may be a place, or the wait for an engine is less, for others of whatever generation."""
        for each in self.beside or (self,):
            if each.at_door:
                each.open(now)

    def _has_place(self, pipeline: Pipeline, group: Group) -> bool:
        return pipeline.at_work(group.urgency) < pipeline.limit.most

    def _patience_s(self, pipeline: Pipeline, group: Group) -> float:
        """How long one of a group may wait at the door."""
        return patience_s(_bounds(group.promise, pipeline.lookahead.at(START)), pipeline.vacancies.worth)

    def _refuse_late(self, pipeline: Pipeline, group: Group, start: Ahead) -> None:
        if not self._has_place(pipeline, group):
            at_work = pipeline.at_work(group.urgency)
            raise Crowded(f"{at_work} requests are being worked on, and with more of them most would be late")
        too_long = self._too_long(group, start)
        if too_long is not None:
            delay_s, after_s = too_long
            raise Hopeless(f"it would wait for about {delay_s:.1f} s, and its answer would be late", after_s)

    def _too_long(self, group: Group, start: Ahead, waited_s: float = 0.0) -> tuple[float, float] | None:
        """How long one that has waited for so long would wait in front of engines, where that is too long.

        With it, after how many seconds it would not be.
        """
        delay_s = self._delay_s(group, start)
        if delay_s <= 0.0:
            return None
        for bound_s, ahead in _bounds(group.promise, start):
            if bound_s is None:
                continue
            left_s = bound_s - waited_s
            if ahead.below(left_s - delay_s) < WORTH * ahead.below(left_s):
                return delay_s, delay_s - max(0.0, left_s - ahead.at(WORTH))
        return None

    def _delay_s(self, group: Group, start: Ahead) -> float:
        """How long a request of this group that came now would wait, all engines on its way together."""
        longest = 0.0
        for engine, mean in start.calls.items():
            line = self.lines[engine]
            before, at_once = float(line.occupied), 0.0
            for pipeline, each, part in self._routing_to(line, engine):
                pending = part * pipeline.pending(each, group.urgency)
                if pending > 0.0:
                    before += pending
                    at_once += part * pipeline.at_once(group.urgency)
            # Calls that one request makes after the other are not there together: as many requests as there are places
            # do not wait for each other, however many calls are still to come from each.
            at_once = min(before, max(at_once, line.occupied))
            wait_s = line.seconds_for((at_once + 1.0 - line.slots) * (before / at_once if at_once else 1.0))
            if wait_s > 0.0:
                after = start.after_s.get(engine)
                longest = max(longest, min(1.0, mean.value) * (wait_s - (after.value if after is not None else 0.0)))
        return longest

    def _routing_to(self, line: Line[Any], engine: str) -> Iterator[tuple[Pipeline, str, float]]:
        """The pipelines whose calls of an engine may wait for the places of this line, and which part of those calls.

        Of another generation, the part of its engine's places that it has in common with the line.
        """
        yield from ((pipeline, engine, 1.0) for pipeline in self.pipelines.values())
        others = [each for each in self.beside if each is not self]
        own = {load.places for load in line.replicas.values()} if others else set()
        for other in others:
            for name, theirs in other.lines.items():
                loads = theirs.replicas.values()
                common = sum(load.share.batch for load in loads if load.places in own)
                if common:
                    yield from ((pipeline, name, common / theirs.slots) for pipeline in other.pipelines.values())


def _bounds(promise: Promise, ahead: Ahead) -> tuple[tuple[float | None, Quantiles], ...]:
    """What is promised, in seconds, with how long requests work until then."""
    return (promise.deadline_s, ahead.whole), (promise.first_s, ahead.first)


def _learn(journey: Journey) -> None:
    """Let every point that was passed know what lay ahead of it."""
    journey.pipeline.wide.add(float(journey.widest))
    calls: dict[str, int] = {}
    firsts: dict[str, float] = {}
    for ahead, at_s, engine in reversed(journey.passed):
        if engine:
            calls[engine] = calls.get(engine, 0) + 1
            firsts[engine] = at_s
        ahead.learn(calls, {each: first - at_s for each, first in firsts.items()})
        ahead.whole.add(journey.worked_s - at_s)
        if journey.first_worked_s is not None and journey.first_worked_s >= at_s:
            ahead.first.add(journey.first_worked_s - at_s)


def _learn_at_least(journey: Journey) -> None:
    """Of a request that got no answer only this is known: that more lay ahead than it had worked."""
    for ahead, at_s, _ in journey.passed:
        worked_s = journey.worked_s - at_s
        if worked_s > ahead.whole.at(WORTH):
            ahead.whole.add(worked_s)
