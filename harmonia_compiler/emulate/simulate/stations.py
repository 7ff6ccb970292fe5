"""Replicas that answer a bounded number of calls at once and let the others wait: all but language models."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeVar

from harmonia_compiler.emulate.simulate.loop import Loop

Job = TypeVar("Job")
Job_contra = TypeVar("Job_contra", contravariant=True)


class Replica(Protocol[Job_contra]):
    """A replica of an engine in virtual time. It says through a callback of its own when a job is done."""

    def submit(self, job: Job_contra, after_ms: float = 0.0) -> None:
        """Take a job in that arrives after so long."""
        ...

    def cancel(self, job: Job_contra) -> None:
        """Nobody awaits a job any more. One that has not begun does not begin."""
        ...

    @property
    def busy_ms(self) -> float:
        """How long it has worked so far, at the most that it can do at once."""
        ...


@dataclass(slots=True)
class Station(Generic[Job]):
    """`servers` that each work on up to `batch` jobs together, first come first served.

    A free server takes all jobs that wait, up to `batch`, and `service_ms` says how long they take
    together. A job that is cancelled while it is worked on is finished for nobody, as in an engine that
    computes a pass at a time. Jobs are told apart by identity.
    """

    loop: Loop
    service_ms: Callable[[Sequence[Job]], float]
    done: Callable[[Job], None]
    servers: int = 1
    batch: int = 1
    busy_ms: float = 0.0
    _waiting: deque[Job] = field(default_factory=deque)
    _working: int = 0
    _left: set[Job] = field(default_factory=set)

    def submit(self, job: Job, after_ms: float = 0.0) -> None:
        """Take a job in that arrives after so long."""
        if after_ms > 0.0:
            self.loop.after(after_ms, partial(self._arrive, job))
        else:
            self._arrive(job)

    def cancel(self, job: Job) -> None:
        """Let a job not arrive, wait no more, or be finished for nobody."""
        try:
            self._waiting.remove(job)
        except ValueError:
            self._left.add(job)

    def _arrive(self, job: Job) -> None:
        if job in self._left:
            self._left.discard(job)
            return
        self._waiting.append(job)
        self._begin()

    def _begin(self) -> None:
        while self._waiting and self._working < self.servers:
            jobs = [self._waiting.popleft() for _ in range(min(self.batch, len(self._waiting)))]
            takes = self.service_ms(jobs)
            self.busy_ms += takes / self.servers
            self._working += 1
            self.loop.after(takes, partial(self._end, jobs))

    def _end(self, jobs: Sequence[Job]) -> None:
        self._working -= 1
        for job in jobs:
            if job in self._left:
                self._left.discard(job)
            else:
                self.done(job)
        self._begin()
