"""Which of several lives has the service: what `owner.json`, `claim.json` and the queue say together.

Who has the service is named in `owner.json`. Who waits for its vector store is named in `claim.json`, with a greater
epoch. What is said of a life that has ended no longer counts, nor does what is said with an epoch that is passed.

Slurm queues a job anew where it has given its node up, and the processes there may live on: that life is over then, and
is told so in its folder, as is any other that has ended without a word. It may still have the store open: whether one
does is heard of all of them at once, from the beginning on, since what was said before may be of any age.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harmonia_compiler.runtime.actuators.slurm.commands import Queued, SlurmFailed, queue
from harmonia_compiler.runtime.actuators.slurm.folder import Heard, Owner, SharedFolder, job_of
from harmonia_compiler.runtime.actuators.slurm.keeping import written


@dataclass(frozen=True, slots=True)
class Taken:
    """Another life has the service, or waits until this one has closed the store."""

    life: str
    waits_for_store: bool


class Succession:
    """As the life of that name sees it, whose service has these vector stores.

    `queued` gives Slurm's jobs of a name; it raises `SlurmFailed`.
    """

    def __init__(
        self,
        folder: SharedFolder,
        life: str,
        name: str,
        stores: Sequence[str],
        queued: Callable[[str], Sequence[Queued]] = queue,
    ) -> None:
        self._folder, self._life, self._name, self._stores, self._queued = folder, life, name, stores, queued
        self._mine = Owner(life, -1)
        self._before: Owner | None = None
        self._heard: dict[tuple[str, str], Heard] = {}

    async def enter(self) -> None:
        """Begin. Raises OSError."""
        await asyncio.to_thread(self._folder.enter, self._life)
        await self.listen()
        await self._end_what_is_over()

    async def listen(self) -> list[str]:
        """The other lives that have a store open, as far as is heard; to be asked again and again from `enter` on."""
        return await asyncio.to_thread(self._with_open_store)

    async def claim(self) -> None:
        """Ask for the store, after whoever has asked for it or serves. Raises OSError."""
        self._before = await self._other()
        known = [one.epoch for one in (self._folder.owner(), self._before) if one is not None]
        self._mine = Owner(self._life, max(known, default=-1) + 1)
        await asyncio.to_thread(self._folder.set_claim, self._mine)

    async def with_store(self) -> str:
        """Who may have a store open yet, be it that Slurm knows nothing of it any more; empty where nobody has."""
        if self._before is not None and await self.is_alive(self._before.life):
            return self._before.life
        await self._end_what_is_over()
        return next(iter(await self.listen()), "")

    async def take(self) -> None:
        """Say that this life serves, after whoever is said to; not to a run that has begun since. Raises OSError."""
        owner = self._folder.owner()
        if owner is None or owner.epoch >= self._mine.epoch:
            self._mine = Owner(self._life, max(self._mine.epoch, 0 if owner is None else owner.epoch + 1))
        if not self._folder.is_over(self._life):
            await asyncio.to_thread(self._folder.set_owner, self._mine)

    async def taken(self) -> Taken | None:
        """Who takes the service from this life, which has it; what one that has ended said of itself is undone."""
        if self._folder.is_over(self._life):
            # It is not this one's any more, and of another run there is nothing to undo.
            return None
        owner, claim = self._folder.owner(), self._folder.claim()
        if owner is not None and owner.life != self._life:
            if owner.epoch > self._mine.epoch and await self.is_alive(owner.life):
                return Taken(owner.life, waits_for_store=False)
            # It ended before anybody could rely on it, or comes too late.
            with contextlib.suppress(OSError):
                await self.take()
        if claim is not None and claim.life != self._life and claim.epoch >= self._mine.epoch:
            if await self.is_alive(claim.life):
                return Taken(claim.life, waits_for_store=True)
            await written(self._folder.clear_claim)
        return None

    async def is_dispensable(self) -> bool:
        """Whether nobody misses this life where it gives up: the service never was up, or another has it."""
        if self._folder.owner() is None:
            return True
        other = await self._other()
        return other is not None and not self.is_going(other.life)

    async def has_successor(self) -> bool:
        """Whether a job is there that goes on when this one ends. Raises `SlurmFailed`.

        One that is on its way out takes nothing over, nor does one that is suspended, as which the one before this may
        be; and jobs of single replicas bear longer names.
        """
        jobs = await asyncio.to_thread(self._queued, self._name)
        others = [one for one in jobs if one.name == self._name and one.job != job_of(self._life)]
        return any(
            one.is_pending or (one.is_running and not self.is_going(self._folder.last_life(one.job))) for one in others
        )

    def others(self) -> list[str]:
        """All lives that there have been beside this one."""
        return [life for life in self._folder.lives() if life != self._life]

    def is_going(self, life: str) -> bool:
        """Whether a life has said that it ends, or has ended."""
        state = self._folder.state(life)
        return state is not None and state.status.phase in ("stopping", "down", "failed")

    async def is_alive(self, life: str) -> bool:
        """Whether a life has not said that it has ended, nor has been ended without a word.

        One whose job waits in the queue is over: the next will be another.
        """
        state = self._folder.state(life)
        if (state is not None and state.status.phase in ("down", "failed")) or self._folder.is_said_over(life):
            return False
        if life != self._folder.last_life(job_of(life)):
            return False
        try:
            jobs = await asyncio.to_thread(self._queued, self._name)
        except SlurmFailed:
            return True
        return any(one.job == job_of(life) and not one.is_pending for one in jobs)

    async def _other(self) -> Owner | None:
        """Who is to have the store last, or serves, where that is another and it lives."""
        found = [one for one in (self._folder.claim(), self._folder.owner()) if one and one.life != self._life]
        return max([one for one in found if await self.is_alive(one.life)], key=lambda one: one.epoch, default=None)

    async def _end_what_is_over(self) -> None:
        """Tell lives that have ended for Slurm, which ends nothing on a node that it has given up."""
        for life in self.others():
            if not self._folder.is_over(life) and not await self.is_alive(life):
                await written(self._folder.set_over, life)

    def _with_open_store(self) -> list[str]:
        return [life for name in self._stores for life in self.others() if self._is_open(life, name)]

    def _is_open(self, life: str, name: str) -> bool:
        heard = self._heard.setdefault((life, name), Heard(self._folder.of(life, name)))
        return heard.goes_on()
