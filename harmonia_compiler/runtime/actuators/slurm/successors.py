"""The jobs that go on when this one's wall time is over: submitted in time, and followed where they end before."""

import asyncio
import os
import time
from pathlib import Path

from harmonia_compiler.contract.slurm import SCRIPT, SlurmSite
from harmonia_compiler.runtime.actuators.slurm.commands import SlurmFailed, outside, submit
from harmonia_compiler.runtime.actuators.slurm.folder import SharedFolder
from harmonia_compiler.runtime.actuators.slurm.keeping import LOG
from harmonia_compiler.runtime.actuators.slurm.succession import Succession
from harmonia_compiler.runtime.actuators.supervision import placing

#: How often it is seen whether a job is there that is to take over, in seconds; a delay after each is added.
SUCCESSOR_S = 5.0


class Successors:
    """What one life sees to of those that come after it. `note` and `trouble` say how that stands, if anything."""

    def __init__(self, bundle: Path, name: str, site: SlurmSite, succession: Succession) -> None:
        self._bundle, self._name, self._site = bundle, name, site
        self._folder, self._succession = SharedFolder(bundle), succession
        self._submitted: list[str] = []
        self.note = self.trouble = ""
        self._see_after: float | None = None
        if site.handover_s:
            self._see_after = time.monotonic() + site.wall_time_s - site.drain_s - site.handover_s

    async def see(self, *, at_once: bool = False) -> None:
        """From its time on, see that a job is there that is to take over: one that is refused or ends is followed.

        Which there are, the queue says.
        """
        if self._see_after is None or (time.monotonic() < self._see_after and not at_once):
            return
        try:
            if not await self._succession.has_successor():
                await self._submit()
            self.trouble = ""
        except SlurmFailed as failed:
            self.trouble = f"no job that is to take over can be submitted: {failed}"
            LOG.warning("%s", self.trouble)
        self._see_after = time.monotonic() + SUCCESSOR_S + placing.delay_s(max(1, len(self._submitted)))

    async def _submit(self) -> None:
        """Submit one, and say how the one before it ended. Raises `SlurmFailed`."""
        ended = ""
        if self._submitted:
            state = self._folder.state(self._folder.last_life(self._submitted[-1]))
            failure = None if state is None else state.status.failure
            why = "" if failure is None else f", since `{failure.process}` did not become ready: {failure.reason}"
            ended = f"job {self._submitted[-1]} was to take over and ended before it did{why}"
        environment = outside(os.environ, self._site)
        number = await asyncio.to_thread(submit, self._bundle, SCRIPT, self._name, (), environment)
        self._submitted.append(number)
        self.note = f"{ended}; job {number} follows" if ended else ""
        LOG.info("job %s is to take over%s", number, f", after {ended}" if ended else "")
