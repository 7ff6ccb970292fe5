"""What still lies ahead of a request at a point of its flow: how long it works from there on, and whom it calls.

Learned from requests that passed the point. A point is a call of the flow that is about to be made, in a loop that of
a round; before the first one it is the start. Time is counted while the request *works*: while at least one of its
calls is with a replica, or none is on its way. So what is learned does not hold the waits of those who were there
before, and queues that grow or shrink do not make it wrong.

Of a Program at most `MOST_POINTS` are kept apart, about 3 KB each; what is beyond is one point together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harmonia_compiler.contract.bundle import ExpectedCalls, ExpectedRequest
from harmonia_compiler.contract.program import Program
from harmonia_compiler.policy.events import Send
from harmonia_compiler.policy.quantile import Mean, Quantiles

MOST_POINTS = 64
#: As how many requests that were served the plan's figures count.
PLANNED_COUNTS = 5.0

#: The requests of a pipeline of which no plan says anything.
UNPLANNED = ExpectedRequest(0.0, {})

#: A call of the flow: its component, its position among its operations, and the rounds that it is in.
Point = tuple[str, int, tuple[int, ...]]
#: Before the first call.
START: Point = ("", -1, ())
_OTHERS: Point = ("", -2, ())


@dataclass(slots=True)
class Ahead:
    """What lies ahead of one point, in seconds of work.

    `whole` is the time to the end, `first` that to the first piece of a streamed answer. By engine, `calls` says how
    many calls of it are still to come, the one at the point included, and `after_s` how long before the first of them.
    """

    whole: Quantiles
    first: Quantiles
    calls: dict[str, Mean] = field(default_factory=dict)
    after_s: dict[str, Mean] = field(default_factory=dict)

    def learn(self, calls: Mapping[str, int], after_s: Mapping[str, float]) -> None:
        """One more request has passed and was answered."""
        known, times = self.calls, self.after_s
        for engine in calls:
            if engine not in known:
                known[engine] = Mean()
        for engine, mean in known.items():
            mean.add(float(calls.get(engine, 0)))
        for engine, seconds in after_s.items():
            if engine not in times:
                times[engine] = Mean()
            times[engine].add(seconds)


@dataclass(slots=True)
class Lookahead:
    """What lies ahead of every point of one Program; until somebody has passed it, what the plan expects.

    `expected` are the calls of each component that the plan reckons with, and `request` what they make together.
    """

    program: Program
    expected: Mapping[str, ExpectedCalls]
    request: ExpectedRequest = UNPLANNED
    _points: dict[Point, Ahead] = field(default_factory=dict)

    def at(self, point: Point) -> Ahead:
        """What lies ahead of a point."""
        found = self._points.get(point)
        if found is None:
            if len(self._points) >= MOST_POINTS and point != _OTHERS:
                return self.at(_OTHERS)
            found = self._points[point] = self._planned(point)
        return found

    def _planned(self, point: Point) -> Ahead:
        """Of the start all that the plan expects; of a call itself alone, so that nobody is taken for lost too soon."""
        coming, works_ms = self.expected, self.request.works_ms
        if point != START:
            one = self.expected.get(point[0], ExpectedCalls(0.0, 0.0))
            coming, works_ms = {point[0]: ExpectedCalls(1.0, one.service_ms)}, one.service_ms
        calls = dict[str, Mean]()
        for name, each in coming.items():
            if name in self.expected and name in self.program.components:
                mean = calls.setdefault(self.program.components[name].engine, Mean(0.0, PLANNED_COUNTS))
                mean.value += each.visits
        whole = Quantiles(works_ms / 1000.0, PLANNED_COUNTS) if calls else Quantiles()
        return Ahead(whole, Quantiles(), calls)


def point_of(send: Send) -> Point:
    """The point at which a request is when it makes this call."""
    return send.component, send.site, tuple(number for kind, number in send.path if kind == "round")
