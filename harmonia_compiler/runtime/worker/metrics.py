"""What a worker of ours exports: requests by path and status, their times, and how many are worked on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


@dataclass(slots=True)
class Watched:
    """A request that is worked on; its `status` once it is answered, 0 where its client left before."""

    status: int = 0


class WorkerMetrics:
    """The series of one worker. `clock` is monotonic and in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "harmonia_worker_requests", "Requests that were answered", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "harmonia_worker_request_seconds", "Time to answer a request", ["path"], registry=self._registry
        )
        self._running = Gauge("harmonia_worker_requests_running", "Requests being worked on", registry=self._registry)

    @contextmanager
    def watch(self, path: str) -> Iterator[Watched]:
        """Count and time a request for as long as the context lasts; one that is given a status was answered."""
        began, watched = self._clock(), Watched()
        self._running.inc()
        try:
            yield watched
        finally:
            self._running.dec()
            self._seconds.labels(path).observe(self._clock() - began)
        if watched.status:
            self._requests.labels(path, str(watched.status)).inc()

    def exported(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)
