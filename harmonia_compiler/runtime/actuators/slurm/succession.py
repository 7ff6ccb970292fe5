"""Which of several jobs has the service: what `owner.json`, `claim.json` and the queue say together.

The job that has the service is named in `owner.json`. One that waits for its vector store is named in `claim.json`,
with a greater epoch. What is said of a job that has ended no longer counts.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harmonia_compiler.runtime.actuators.slurm.commands import Queued, SlurmFailed, queue
from harmonia_compiler.runtime.actuators.slurm.folder import Owner, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.keeping import written


@dataclass(frozen=True, slots=True)
class Taken:
    """Another job has the service, or waits until this one has closed the store."""

    job: str
    waits_for_store: bool


class Succession:
    """As the job with this number sees it. `queued` gives Slurm's jobs of a name; it raises `SlurmFailed`."""

    def __init__(
        self, folder: SharedFolder, number: str, name: str, queued: Callable[[str], Sequence[Queued]] = queue
    ) -> None:
        self._folder, self._number, self._name, self._queued = folder, number, name, queued

    async def other(self) -> Owner | None:
        """Who is to have the store last, or serves, where that is another and it lives."""
        found = [one for one in (self._folder.claim(), self._folder.owner()) if one and one.job != self._number]
        return max([one for one in found if await self.is_alive(one.job)], key=lambda one: one.epoch, default=None)

    def next_epoch(self, other: Owner | None) -> int:
        """The epoch of a job that comes after all of these."""
        known = [one.epoch for one in (self._folder.owner(), other) if one is not None]
        return max(known, default=-1) + 1

    async def taken_from(self, mine: Owner) -> Taken | None:
        """Who takes the service from this job, which has it; what one that has ended said of itself is undone."""
        owner, claim = self._folder.owner(), self._folder.claim()
        if owner is not None and owner.job != self._number:
            if await self.is_alive(owner.job):
                return Taken(owner.job, waits_for_store=False)
            # It ended before anybody could rely on it.
            await written(self._folder.set_owner, mine)
        if claim is not None and owner is not None and claim.epoch > owner.epoch:
            if await self.is_alive(claim.job):
                return Taken(claim.job, waits_for_store=True)
            await written(self._folder.clear_claim)
        return None

    async def is_dispensable(self) -> bool:
        """Whether nobody misses this job where it gives up: the service never was up, or another has it."""
        if self._folder.owner() is None:
            return True
        other = await self.other()
        return other is not None and not self.is_going(other.job)

    async def has_successor(self) -> bool:
        """Whether a job is there that goes on when this one ends. Raises `SlurmFailed`.

        One that is on its way out takes nothing over, and jobs of single replicas bear longer names.
        """
        jobs = await asyncio.to_thread(self._queued, self._name)
        others = [one for one in jobs if one.name == self._name and one.job != self._number]
        return any(one.is_pending or not self.is_going(one.job) for one in others)

    def is_going(self, job: str) -> bool:
        """Whether a job has said that it ends, or has ended."""
        state = self._folder.state(job)
        return state is not None and state.status.phase in ("stopping", "down", "failed")

    async def is_alive(self, job: str) -> bool:
        """Whether a job has not said that it has ended, nor has been ended without a word."""
        state = self._folder.state(job)
        if state is not None and state.status.phase in ("down", "failed"):
            return False
        try:
            return job in {queued.job for queued in await asyncio.to_thread(self._queued, self._name)}
        except SlurmFailed:
            return True
