"""The steps of one job: started, started again where they end, and asked to end."""

import asyncio
import contextlib
import os
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence

import msgspec

from harmonia_compiler.runtime.actuators.actuator import ProcessPhase, ProcessStatus
from harmonia_compiler.runtime.actuators.slurm.folder import Heard, ProcessFolder
from harmonia_compiler.runtime.actuators.slurm.keeping import JOB_LOG, LOG, LOOK_EVERY_S
from harmonia_compiler.runtime.actuators.slurm.srun import step_environment
from harmonia_compiler.runtime.actuators.supervision import placing
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S, describe_exit

#: How long a launcher has to end beyond what it gives its own process, in seconds.
_BEYOND_S = 8.0


class KeptStep:
    """One step, however often it is started. `waits_for` is what must happen before it is, in words.

    Where Slurm gives a node up, its step ends here, and its launcher there may live on. So what is said after a step
    has ended is a launcher's that Slurm has lost: as long as that goes on, its replica is in use, and is not started
    again but for the first try, which would wait on its node until the other has gone.
    """

    def __init__(self, name: str, engine: str, words: Sequence[str], folder: ProcessFolder) -> None:
        self.name, self._engine, self._words, self._folder = name, engine, words, folder
        self.failure = ""
        self.waits_for = "Slurm to start its step"
        self._heard = Heard(folder)
        self._unwanted = asyncio.Event()
        self._was_ready = False
        self._restarts = 0
        self._since = time.time()
        self._last_exit = ""
        self._process: Process | None = None

    @property
    def wanted(self) -> bool:
        """Whether it shall run."""
        return not self._unwanted.is_set()

    @property
    def status(self) -> ProcessStatus:
        """How it stands, in the words of its launcher while that lives."""
        said = self._heard.status() if self._process is not None or self._heard.goes_on() else None
        if said is None:
            phase: ProcessPhase = "restarting" if self._was_ready or self.failure else "waiting"
            waits = self.waits_for
            if not self.wanted:
                phase, waits = "stopped", ""
            return ProcessStatus(
                self.name, self._engine, phase, self._since, last_exit=self._last_exit, waiting_for=waits
            )
        self._was_ready = self._was_ready or said.phase == "ready"
        # What ended last is the step, until its next launcher sees something else end.
        last_exit = said.last_exit or self._last_exit
        return msgspec.structs.replace(said, restarts=said.restarts + self._restarts, last_exit=last_exit)

    async def keep(self) -> None:
        """Keep it up until it is not wanted; a life that ends before it was ever ready is its `failure` meanwhile."""
        failures = 0
        self._unwanted.clear()
        self._folder.want()
        while True:
            began = time.monotonic()
            self._since, self.waits_for = time.time(), "Slurm to start its step"
            self._process = await asyncio.create_subprocess_exec(
                *self._words, stdin=DEVNULL, env=step_environment(os.environ), start_new_session=True
            )
            code = await self._process.wait()
            last = self.status
            self._process = None
            self._heard.forget()
            if self._unwanted.is_set():
                return
            self._last_exit = describe_exit(code)
            # Of a step that Slurm did not start, as on a node that has left the job, only `srun` says why.
            ended = f"its step ended with {self._last_exit}; the log of `{JOB_LOG}` says more"
            why = last.waiting_for if last.phase == "failed" else ended
            if not self._was_ready:
                self.failure = why
            failures = placing.failures_after(failures, time.monotonic() - began)
            delay = placing.delay_s(failures)
            self._since, self.waits_for = time.time(), f"the next start, {delay:g} s after: {why}"
            LOG.warning("%s: %s", self.name, why)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._unwanted.wait(), delay)
            while failures > 1 and self._heard.goes_on() and self.wanted:  # noqa: ASYNC110 - another process says so
                await asyncio.sleep(LOOK_EVERY_S)
            if not self.wanted:
                return
            LOG.info("%s starts again", self.name)
            self._restarts += 1

    async def stop(self, *, drain_s: float = 0.0, grace_s: float = GRACE_S) -> None:
        """Have it end; where it has time for that, what it has begun first."""
        self._unwanted.set()
        process = self._process
        with contextlib.suppress(OSError):
            self._folder.ask_to_stop(drain=drain_s > 0.0)
        patience_s = grace_s + _BEYOND_S + drain_s
        if process is not None:
            await self._end(process, patience_s)
        until = time.monotonic() + patience_s
        while self._heard.goes_on() and time.monotonic() < until:  # noqa: ASYNC110 - another process says so
            await asyncio.sleep(LOOK_EVERY_S)

    async def _end(self, process: Process, patience_s: float) -> None:
        for limit_s, end in ((patience_s, process.terminate), (_BEYOND_S, process.kill)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), limit_s)
            if process.returncode is not None:
                return
            LOG.warning("%s does not end", self.name)
            with contextlib.suppress(ProcessLookupError):
                end()
        await process.wait()
