"""What happened between two readings of one gateway."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harmonia_compiler.contract.readings import CacheRead, CallsRead, Readings, ReplicaRead, RequestsRead


@dataclass(frozen=True, slots=True)
class Window:
    """So many `seconds`: the requests that came and the calls that ended in them; replicas and queues at its end.

    `caches` are what was looked for in the replicas' prefix caches meanwhile, and what was in them.
    """

    seconds: float
    requests: tuple[RequestsRead, ...] = ()
    calls: tuple[CallsRead, ...] = ()
    replicas: tuple[ReplicaRead, ...] = ()
    waiting: Mapping[str, int] = field(default_factory=dict)
    caches: tuple[CacheRead, ...] = ()

    def arrived(self, pipeline: str) -> int:
        """How many requests for a pipeline came, those that were refused among them."""
        return sum(one.arrived for one in self.requests if one.pipeline == pipeline)

    def answered(self, pipeline: str) -> int:
        """How many requests for a pipeline were answered."""
        return sum(one.answered for one in self.requests if one.pipeline == pipeline)

    def visits(self, pipeline: str, component: str) -> int:
        """How many calls of a component were made for those that were answered."""
        return sum(one.visits.get(component, 0) for one in self.requests if one.pipeline == pipeline)

    def burstiness(self, pipeline: str) -> float:
        """The squared variation of the times between arrivals: 1 where they come by chance, more in bursts."""
        rows = [one for one in self.requests if one.pipeline == pipeline]
        gaps = sum(one.arrived for one in rows)
        whole_s = sum(one.gap_s for one in rows)
        if gaps < 2 or whole_s <= 0.0:
            return 1.0
        return max(0.0, gaps * sum(one.gap_s2 for one in rows) / whole_s**2 - 1.0)


def between(before: Readings, after: Readings) -> Window | None:
    """The difference of two readings; None where they are not of one gateway, or not in this order.

    A count that is lower than before is no count of this gateway's: then nothing is believed either.
    """
    seconds = after.at_s - before.at_s
    if before.gateway != after.gateway or seconds <= 0.0:
        return None
    requests = {(one.pipeline, one.request_class): one for one in before.requests}
    calls = {(one.pipeline, one.component, one.replica): one for one in before.calls}
    caches = {(one.engine, one.replica): one for one in before.caches}
    try:
        return Window(
            seconds,
            tuple(_less(one, requests.get((one.pipeline, one.request_class))) for one in after.requests),
            tuple(_less_calls(one, calls.get((one.pipeline, one.component, one.replica))) for one in after.calls),
            after.replicas,
            after.waiting,
            tuple(_less_caches(one, caches.get((one.engine, one.replica))) for one in after.caches),
        )
    except _Backwards:
        return None


class _Backwards(Exception):
    """A count went down."""


def _less(after: RequestsRead, before: RequestsRead | None) -> RequestsRead:
    if before is None:
        return after
    arrived, let_in = after.arrived - before.arrived, after.let_in - before.let_in
    answered = after.answered - before.answered
    visits = {name: count - before.visits.get(name, 0) for name, count in after.visits.items()}
    _forward((arrived, let_in, answered, *visits.values()))
    gap_s, gap_s2 = max(0.0, after.gap_s - before.gap_s), max(0.0, after.gap_s2 - before.gap_s2)
    return RequestsRead(after.pipeline, after.request_class, arrived, let_in, answered, visits, gap_s, gap_s2)


def _less_calls(after: CallsRead, before: CallsRead | None) -> CallsRead:
    if before is None:
        return after
    served, failed, items = after.served - before.served, after.failed - before.failed, after.items - before.items
    _forward((served, failed, items))
    service_s, queue_s = max(0.0, after.service_s - before.service_s), max(0.0, after.queue_s - before.queue_s)
    return CallsRead(after.pipeline, after.component, after.replica, served, failed, items, service_s, queue_s)


def _less_caches(after: CacheRead, before: CacheRead | None) -> CacheRead:
    if before is None:
        return after
    looked_up, found = after.looked_up - before.looked_up, after.found - before.found
    _forward((looked_up, found))
    return CacheRead(after.replica, after.engine, looked_up, found)


def _forward(counts: Iterable[int]) -> None:
    if any(count < 0 for count in counts):
        raise _Backwards
