"""What the requests of one pipeline have in common for the schedule: what is promised, what lies ahead, the limit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from harmonia_compiler.contract.program import Program, RequestClass
from harmonia_compiler.policy.door import Door
from harmonia_compiler.policy.limit import Limit
from harmonia_compiler.policy.lookahead import Lookahead
from harmonia_compiler.policy.quantile import Mean
from harmonia_compiler.policy.vacancies import Vacancies

#: A request that nobody promised a time stands in the queue as one that was promised this, in seconds.
UNPROMISED_S = 60.0


@dataclass(frozen=True, slots=True)
class Promise:
    """By when a request wants its answer and the first piece of it, in seconds from its arrival, and how it counts.

    None where nobody promised anything. Requests of a greater `weight` go before others.
    """

    deadline_s: float | None = None
    first_s: float | None = None
    weight: float = 1.0

    @property
    def is_any(self) -> bool:
        """Whether anything is promised."""
        return self.within_s is not None

    @property
    def within_s(self) -> float | None:
        """By when it ends that keeps its promise, or as near as the promise says; None where nothing is promised."""
        return self.deadline_s if self.deadline_s is not None else self.first_s


def promise_of(program: Program, request_class: RequestClass | None, *, streams: bool) -> Promise:
    """What a request is promised: its class's deadline goes before the pipeline's.

    A promise of the first piece holds where the client asked for a stream.
    """
    of_class = None if request_class is None else request_class.deadline_ms
    deadline_ms = program.deadline_ms if of_class is None else of_class
    first_ms = program.ttft_deadline_ms if streams and program.streams else None
    return Promise(
        None if deadline_ms is None else deadline_ms / 1000.0,
        None if first_ms is None else first_ms / 1000.0,
        1.0 if request_class is None else request_class.weight,
    )


@dataclass(slots=True, eq=False)
class Group:
    """Requests of one pipeline with one promise. The least `urgency` goes first; `pending` are calls by engine.

    Those are calls that have no replica yet: that wait, or are expected to come. Of the requests that are `under_way`,
    some wait for a replica, and the others are `at_work`. Those at the `door` are neither.
    """

    promise: Promise
    urgency: float
    under_way: int = 0
    at_work: int = 0
    door: Door = field(default_factory=Door)
    pending: dict[str, float] = field(default_factory=dict)

    def count(self, engine: str, calls: float) -> None:
        """So many calls more, or fewer."""
        self.pending[engine] = max(0.0, self.pending.get(engine, 0.0) + calls)

    def expect(self, before: Mapping[str, float], after: Mapping[str, float]) -> None:
        """Some calls of engines are expected in the place of others. As `count`, without a call for each engine."""
        pending = self.pending
        for engine, calls in before.items():
            pending[engine] = max(0.0, pending.get(engine, 0.0) - calls)
        for engine, calls in after.items():
            pending[engine] = pending.get(engine, 0.0) + calls


@dataclass(slots=True)
class Pipeline:
    """What the requests of one Program have in common; `wide` is how many calls of one are on their way at once."""

    lookahead: Lookahead
    certain: Mapping[str, str]
    wide: Mean = field(default_factory=Mean)
    limit: Limit = field(default_factory=Limit)
    vacancies: Vacancies = field(default_factory=Vacancies)
    groups: dict[Promise, Group] = field(default_factory=dict)

    def group(self, promise: Promise) -> Group:
        """The requests that are promised the same."""
        found = self.groups.get(promise)
        if found is None:
            urgency = (UNPROMISED_S if promise.deadline_s is None else promise.deadline_s) / promise.weight
            found = self.groups[promise] = Group(promise, urgency)
        return found

    def pending(self, engine: str, urgency: float) -> float:
        """How many calls of an engine those have that are at least so urgent and that have no replica yet."""
        return sum(each.pending.get(engine, 0.0) for each in self.groups.values() if each.urgency <= urgency)

    def waiting(self, before: float = math.inf) -> list[Group]:
        """Those of whom somebody waits at the door, the most urgent first, and only who goes before such an urgency."""
        waiting = (each for each in self.groups.values() if each.door and each.urgency < before)
        return sorted(waiting, key=lambda each: each.urgency)

    def at_door(self, urgency: float = math.inf) -> int:
        """How many requests wait at the door that are at least so urgent."""
        return sum(len(each.door) for each in self.groups.values() if each.urgency <= urgency)

    def at_once(self, urgency: float) -> float:
        """How many calls those have on their way at once that are at least so urgent; unbounded as long as unknown."""
        return self.under_way(urgency) * self.wide.value if self.wide.count else math.inf

    def under_way(self, urgency: float = math.inf) -> int:
        """How many requests are under way that are at least so urgent."""
        return sum(each.under_way for each in self.groups.values() if each.urgency <= urgency)

    def at_work(self, urgency: float = math.inf) -> int:
        """How many of those do not wait for a replica."""
        return sum(each.at_work for each in self.groups.values() if each.urgency <= urgency)
