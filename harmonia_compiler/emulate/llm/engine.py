"""An emulated engine in real time: a library for whoever serves its tokens, here or in a framework's worker.

    engine = Engine(limits, model)
    async for delivered in engine.generate(Sequence(prompt=900, answer=120)):
        ...

Steps end at times that follow from each other and not from when this process got round to them, so that
a busy machine makes tokens late and never the engine slow. How late is told to `late`: whoever
reports must know when the machine, and not the engine, was the limit.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from harmonia_compiler.emulate.llm.course import Course, Step
from harmonia_compiler.emulate.llm.scheduler import Scheduler
from harmonia_compiler.emulate.llm.sequence import Sequence
from harmonia_compiler.profile.limits import Limits
from harmonia_compiler.profile.steps import StepModel

#: Called when a sequence has got a token, and when nothing more will come of it (`sequence.ended`).
Hear = Callable[[Sequence], None]


class EngineFailed(Exception):
    """The engine has failed or was stopped while it worked on a call."""


class CallRefused(Exception):
    """The engine cannot take a call, which it has not begun; its other calls go on."""


class Engine:
    """One replica on the running event loop. Times are the loop's, in ms."""

    def __init__(self, limits: Limits, model: StepModel, late: Callable[[float], None] | None = None) -> None:
        self.scheduler = Scheduler(limits)
        self._course = Course(self.scheduler, model)
        self._late = late
        self._watch: Callable[[Step], None] | None = None
        self._heard: dict[Sequence, Hear] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def busy_ms(self) -> float:
        """How long its steps have taken, also those before it failed."""
        return self._course.busy_ms

    def watch(self, told: Callable[[Step], None]) -> None:
        """Tell somebody of each step that has ended."""
        self._watch = told

    def submit(self, sequence: Sequence, hear: Hear) -> None:
        """Begin a call. `hear` may submit and cancel itself.

        An answer ends with the context. Raises CallRefused where a prompt leaves no room for an answer, where the
        prompt or the answer has no token, and where the sequence is of a call that was begun before.
        """
        # Not only when it reaches the scheduler: nobody would hear of it there, and the others would wait for it.
        if (why := self._refusal(sequence)) is not None:
            raise CallRefused(why)
        self._heard[sequence] = hear
        self._course.submit(sequence, self._now_ms())
        self._arm()

    def cancel(self, sequence: Sequence) -> None:
        """Nobody awaits a call any more, and nobody hears of it. Of no consequence where it has ended."""
        if self._heard.pop(sequence, None) is not None:
            # Not at once: whoever hears of a step may cancel a call that is yet to hear of it.
            self._loop.call_soon(self._drop, sequence)

    def use(self, model: StepModel) -> None:
        """Let steps take other times from the next one on."""
        now = self._now_ms()
        self._catch_up(now)
        self._course.use(model, now)
        self._arm()

    def fail(self) -> None:
        """Lose all calls in progress and the KV cache, as a process does that dies; the engine can take other calls."""
        self.scheduler = Scheduler(self.scheduler.limits)
        # How long it works is counted from outside, where its failures are of no consequence.
        self._course = Course(self.scheduler, self._course.model, busy_ms=self._course.busy_ms)
        lost, self._heard = self._heard, {}
        self._arm()
        for sequence, hear in lost.items():
            sequence.ended = True
            hear(sequence)

    async def generate(self, sequence: Sequence) -> AsyncIterator[int]:
        """How many tokens of the answer there are, each time that there is one more.

        Raises CallRefused as `submit` does, and EngineFailed where the call is lost. A consumer that leaves cancels it.
        """
        heard: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
        self.submit(sequence, lambda each: heard.put_nowait((each.delivered, each.ended)))
        told = 0
        try:
            ended = False
            while not ended:
                delivered, ended = await heard.get()
                if delivered > told:
                    told = delivered
                    yield told
            if told < sequence.answer:
                raise EngineFailed(f"the call was lost after {told} tokens")
        finally:
            self.cancel(sequence)

    def _refusal(self, sequence: Sequence) -> str | None:
        if sequence in self._heard or sequence.delivered or sequence.ended:
            return "a sequence is one call, and this one was begun before"
        if sequence.prompt < 1 or sequence.answer < 1:
            return (
                f"a prompt and an answer have at least one token, and these are to have {sequence.prompt} and "
                f"{sequence.answer}"
            )
        if not self.scheduler.fits(sequence.prompt):
            most = self.scheduler.room(0)
            return f"a prompt of {sequence.prompt:,} tokens leaves no room for an answer in {most:,}"
        return None

    def _now_ms(self) -> float:
        return self._loop.time() * 1000.0

    def _drop(self, sequence: Sequence) -> None:
        if sequence.ended:
            return
        now = self._now_ms()
        self._catch_up(now)
        self._course.cancel(sequence, now)
        self._arm()

    def _arm(self) -> None:
        due = self._course.next_ms
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if due is None else self._loop.call_at(due / 1000.0, self._wake, due)

    def _wake(self, due: float) -> None:
        # A loop may call a little early, by the resolution of its clock.
        self._catch_up(max(due, self._now_ms()))
        self._arm()

    def _catch_up(self, now_ms: float) -> None:
        """Let happen what is due, and tell of each step before the next one."""
        while (due := self._course.next_ms) is not None and due <= now_ms:
            for step in self._course.advance(due):
                if self._late is not None:
                    self._late(now_ms - step.ended_ms)
                if self._watch is not None:
                    self._watch(step)
                self._tell(step)

    def _tell(self, step: Step) -> None:
        for sequence in step.batch.given:
            hear = self._heard.get(sequence)
            if hear is not None:
                if sequence.ended:
                    del self._heard[sequence]
                hear(sequence)
