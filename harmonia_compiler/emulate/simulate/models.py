"""A language model's replica in virtual time: the course of the emulated engine's steps, told the simulator's time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from harmonia_compiler.emulate.behaviour import PREFIX_BLOCK
from harmonia_compiler.emulate.llm.course import Course, Step
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.emulate.simulate.loop import Happening, Loop
from harmonia_compiler.emulate.simulate.service import Job
from harmonia_compiler.kinds.kind import value_of
from harmonia_compiler.kinds.llm import SETTINGS
from harmonia_compiler.kinds.openai import has_turns
from harmonia_compiler.profile.serving import Stepping


@dataclass(slots=True)
class Model:
    """One replica. `done` and `failed` are told of jobs, the latter with the reason."""

    loop: Loop
    stepping: Stepping
    done: Callable[[Job], object]
    failed: Callable[[Job, str], object]
    _course: Course = field(init=False)
    _jobs: dict[Sequence, Job] = field(default_factory=dict)
    _sequences: dict[Job, Sequence] = field(default_factory=dict)
    _next: Happening | None = None
    _next_ms: float | None = None

    def __post_init__(self) -> None:
        self._course = Course(Scheduler(self.stepping.limits), self.stepping.steps, leaps=True)

    @property
    def busy_ms(self) -> float:
        """How long its steps have taken."""
        return self._course.busy_ms

    def submit(self, job: Job, after_ms: float = 0.0) -> None:
        """Take a job in that arrives after so long."""
        if not all(has_turns(job.component, inputs) for inputs in job.items):
            self.loop.after(after_ms, partial(self.failed, job, "a conversation has at least one turn"))
            return
        work = job.size.work
        prompt, context = max(1, round(work.prompt_tokens)), self.stepping.limits.context
        most = int(value_of("max_tokens", job.settings, SETTINGS))
        # As an engine refuses it, whether or not the answer would be so long.
        if prompt + most > context or not self._course.scheduler.fits(prompt):
            reason = f"a prompt of {prompt} tokens leaves no room for an answer of {most} in {context}"
            self.loop.after(after_ms, partial(self.failed, job, reason))
            return
        # Names are of small blocks; of a larger one that of its last part stands for all of it.
        every = max(1, self.stepping.limits.block_size // PREFIX_BLOCK)
        prefix = job.size.prefix[every - 1 :: every]
        sequence = Sequence(prompt, max(1, round(work.output_tokens)), prefix, priority=job.priority)
        self._jobs[sequence], self._sequences[job] = job, sequence
        self._course.submit(sequence, self.loop.now_ms + after_ms)
        self._arm()

    def cancel(self, job: Job) -> None:
        """Nobody awaits a job any more: its blocks are free after the step that runs."""
        sequence = self._sequences.pop(job, None)
        if sequence is not None:
            del self._jobs[sequence]
            for ended in self._tell(self._course.cancel(sequence, self.loop.now_ms)):
                # Later in this instant: whoever cancels one is not to hear of others meanwhile.
                self.loop.after(0.0, partial(self.done, ended))
            self._arm()

    def _arm(self) -> None:
        due = self._course.next_ms
        if due == self._next_ms:
            return
        if self._next is not None:
            self._next.call_off()
        self._next_ms = due
        self._next = None if due is None else self.loop.at(due, self._wake)

    def _wake(self) -> None:
        self._next = self._next_ms = None
        ended = self._tell(self._course.advance(self.loop.now_ms))
        self._arm()
        for job in ended:
            self.done(job)

    def _tell(self, steps: list[Step]) -> list[Job]:
        """Say what has begun; the jobs that are done."""
        ended = []
        for step in steps:
            for sequence in step.batch.begun:
                if (job := self._jobs.get(sequence)) is not None and job.begun is not None:
                    job.begun(job)
            for sequence in step.finished:
                if (job := self._jobs.pop(sequence, None)) is not None:
                    del self._sequences[job]
                    ended.append(job)
        return ended
