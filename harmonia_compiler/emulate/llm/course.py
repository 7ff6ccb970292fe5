"""The course of an engine's steps in time, by a scheduler and a step model. It has no clock: it is told the time.

The emulated engine tells it the real one, the simulator a virtual one. A step that ends late for
whoever looks does not delay the next one: each ends when the former's end and the model say.
"""

from collections import deque
from dataclasses import dataclass, field

import msgspec

from harmonia_compiler.emulate.llm.batch import Batch
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.steps import StepModel, run_ms, steps_begun


class Step(msgspec.Struct, frozen=True, eq=False):
    """A step that has ended, or several equal ones: `batch.given` got a token by each, `finished` their last."""

    began_ms: float
    ended_ms: float
    batch: Batch
    finished: list[Sequence]


class _Run(msgspec.Struct, eq=False):
    """Steps that are on: the batch's first, which takes `first_ms`, and as many `more` as nothing should happen in."""

    batch: Batch
    model: StepModel
    began_ms: float
    first_ms: float
    ends_ms: float
    more: int = 0


@dataclass(slots=True, eq=False)
class Course:
    """What one replica works on. With `leaps`, equal steps are one `Step`; otherwise each is one of its own."""

    scheduler: Scheduler
    model: StepModel
    leaps: bool = False
    busy_ms: float = 0.0
    _arriving: deque[tuple[float, Sequence]] = field(default_factory=deque)
    _run: _Run | None = None
    _following: Batch | None = None

    @property
    def next_ms(self) -> float | None:
        """When something happens next if nobody comes or goes; None where nothing will."""
        arrives = self._arriving[0][0] if self._arriving else None
        run = self._run
        if run is None:
            return arrives
        return run.ends_ms if arrives is None else min(arrives, run.ends_ms)

    def submit(self, sequence: Sequence, now_ms: float) -> None:
        """Let a call come in. It reaches the scheduler after what a call takes outside of steps."""
        at = now_ms + self.model.request_ms
        # Calls do not overtake each other in front of the engine, not even where the model has changed.
        at = max(at, self._arriving[-1][0]) if self._arriving else at
        self._arriving.append((at, sequence))

    def cancel(self, sequence: Sequence, now_ms: float) -> list[Step]:
        """Nobody awaits a call any more; what has ended until now."""
        steps = self.advance(now_ms)
        for each in self._arriving:
            if each[1] is sequence:
                self._arriving.remove(each)
                sequence.ended = True
                return steps
        self._interrupt(now_ms)
        self.scheduler.cancel(sequence)
        return steps

    def use(self, model: StepModel, now_ms: float) -> list[Step]:
        """Let steps take other times, from the next one on; what has ended until now."""
        steps = self.advance(now_ms)
        self._interrupt(now_ms)
        self.model = model
        return steps

    def advance(self, now_ms: float) -> list[Step]:
        """Let everything happen that is due by now, in its order; the steps that have ended."""
        steps, arriving = [], self._arriving
        while True:
            run = self._run
            if run is not None and run.ends_ms <= now_ms and not (arriving and arriving[0][0] < run.ends_ms):
                steps.append(self._end(run))
            elif arriving and arriving[0][0] <= now_ms:
                self._arrive(*arriving.popleft())
            else:
                return steps

    def _arrive(self, at_ms: float, sequence: Sequence) -> None:
        self._interrupt(at_ms)
        sequence.arrived_ms = at_ms
        self.scheduler.add(sequence)
        if self._run is None:
            self._begin(self.scheduler.next_batch(), at_ms)

    def _interrupt(self, now_ms: float) -> None:
        """Let equal steps in a row end with the one that is on now: what follows may differ."""
        run = self._run
        if run is None or not run.more:
            return
        most = 1 + run.more
        begun, lasts_ms = steps_begun(run.model, run.batch.load, now_ms - run.began_ms, most, run.first_ms)
        self.scheduler.repeat(run.batch, begun - 1)
        run.ends_ms, run.more = run.began_ms + lasts_ms, 0
        if self.scheduler.limits.ahead:
            # It was decided on when this step began.
            self._following = self.scheduler.next_batch()

    def _begin(self, batch: Batch | None, at_ms: float) -> None:
        if batch is None:
            self._run = None
            return
        if batch.load.begun:
            # Who was admitted by this step stands last.
            for sequence in reversed(batch.tokens):
                if sequence.began_ms is None:
                    sequence.began_ms = at_ms
                elif not sequence.preemptions:
                    break
        more = self.scheduler.repeats(batch) if self.leaps else 0
        first = self.model.step_ms(batch.load)
        ends = at_ms + run_ms(self.model, batch.load, 1 + more, first)
        self._run = _Run(batch, self.model, at_ms, first, ends, more)
        if self.scheduler.limits.ahead and not more:
            self._following = self.scheduler.next_batch()

    def _end(self, run: _Run) -> Step:
        if run.more:
            self.scheduler.repeat(run.batch, run.more)
            if self.scheduler.limits.ahead:
                self._following = self.scheduler.next_batch()
        following, self._following = self._following, None
        finished = self.scheduler.complete(run.batch)
        self.busy_ms += run.ends_ms - run.began_ms
        # Where nothing was decided on ahead, nothing was there to compute: now there may be.
        self._begin(following or self.scheduler.next_batch(), run.ends_ms)
        return Step(run.began_ms, run.ends_ms, run.batch, finished)
