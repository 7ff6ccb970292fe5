"""Gives a generation the processes that it needs: those of others that are like its own, and new ones beside them."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harmonia_compiler.profile.detect import usable_cpus, usable_memory_gib
from harmonia_compiler.runtime.actuators.supervision.command import basics
from harmonia_compiler.runtime.actuators.supervision.fitting import first_fitting, lacking
from harmonia_compiler.runtime.actuators.supervision.generation import Generation, as_many, pinned
from harmonia_compiler.runtime.actuators.supervision.managed import Managed, StartFailed
from harmonia_compiler.runtime.actuators.supervision.scaling import Scaling, end_drained, wanted_in
from harmonia_compiler.runtime.actuators.supervision.spec import Shared, Spec
from harmonia_compiler.runtime.actuators.supervision.store import open_on
from harmonia_compiler.runtime.actuators.supervision.wish import Wish, wish_in

LOG = logging.getLogger(__name__)

#: How often it is looked how things stand, in seconds.
LOOK_EVERY_S = 0.3


class GivenUp(Exception):
    """A wish that comes to nothing: because of which process, and why."""

    def __init__(self, process: str, why: str) -> None:
        super().__init__(f"{process}: {why}")
        self.process, self.why = process, why


def heed(wish: Wish, run: Path) -> None:
    """Raise GivenUp where somebody wishes something else by now."""
    now = wish_in(run)
    if now is not None and now.id != wish.id:
        raise GivenUp("", "another command asked for something else meanwhile")


class Gathering:
    """The members of one service's generations: `live` are those that have processes, by their numbers.

    `base` gives the one that the service is, `scaling` looks after its members.
    """

    def __init__(
        self,
        live: Mapping[int, Generation],
        base: Callable[[], Generation],
        scaling: Scaling,
        shared: Shared,
        run: Path,
    ) -> None:
        self._live, self._base, self._scaling = live, base, scaling
        self._shared, self._run = shared, run

    async def complete(self, target: Generation, wish: Wish) -> None:
        """Give a generation the members that it needs for its share; raises GivenUp."""
        free = [one for each in self._live.values() for one in each.members.values()]
        free = [one for one in dict.fromkeys(free) if one not in target.members.values()]
        for spec in (*target.specs, *target.further):
            like = [one for one in free if one.spec.likeness == spec.likeness and one.was_ready.is_set()]
            if spec.name not in target.members and like:
                found = next((one for one in like if one.spec.name == spec.name), like[0])
                free.remove(found)
                await self._check_store(found, spec)
                target.members[spec.name] = found
        needed = as_many(target, wish.share, wanted_in(self._run))
        missing = [spec for spec in needed if spec.name not in target.members]
        planned = [spec for spec in missing if spec in target.specs]
        if wish.make_room:
            for spec in planned:
                await self._make_room(spec, target)
                self.start([spec], target)
                await self._ready([spec.name], target, wish)
        else:
            self.start(planned, target)
        self.start(self._with_room([spec for spec in missing if spec not in planned]), target)
        await self._ready([spec.name for spec in missing if spec.name in target.members], target, wish)

    def start(self, specs: Iterable[Spec], target: Generation) -> None:
        """Start processes for a generation, on cores that nobody has to himself."""
        wanted = [*specs]
        taken = frozenset(cpu for one in self._running() if one.spec.need.cores >= 1.0 for cpu in one.spec.cpus)
        held = pinned(wanted, taken)
        for spec in wanted:
            target.members[spec.name] = one = Managed(replace(spec, cpus=held.get(spec.name, ())), self._shared)
            one.task = asyncio.create_task(one.run())

    def _with_room(self, further: Sequence[Spec]) -> Sequence[Spec]:
        """Those of the replicas beside the plan's that find memory here.

        Their cores they have from those whose place they take, who work the less the more requests go to these.
        """
        there = [one.spec.need for one in (*self._running(), *self._scaling.others)]
        needs = [spec.need for spec in further]
        return further[: first_fitting(there, needs, math.inf, usable_memory_gib())]

    async def _check_store(self, store: Managed, spec: Spec) -> None:
        """Open the collections of another plan in a store that runs; raises GivenUp where one does not fit."""
        if not spec.collections or store.status.port is None:
            return
        log = self._shared.run.log_of(store.name)
        opened = await open_on(store.status.port, spec.collections, basics(self._shared.outer), log)
        if opened.problems:
            raise GivenUp(store.name, "; ".join(opened.problems))

    async def _ready(self, names: Sequence[str], target: Generation, wish: Wish) -> None:
        """Wait until these members were ready; raises GivenUp."""
        members = [target.members[name] for name in names]
        while not all(one.was_ready.is_set() for one in members):
            for one in members:
                if one.task is not None and one.task.done():
                    problem = one.task.exception()
                    raise GivenUp(one.name, problem.reason if isinstance(problem, StartFailed) else str(problem))
            heed(wish, self._run)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _make_room(self, spec: Spec, target: Generation) -> None:
        """End members of other generations, one after the other, until a process has its place."""
        while lacking([one.spec.need for one in self._running()], [spec.need], usable_cpus(), usable_memory_gib()):
            kept = {*target.members.values()}
            spare = [one for one in self._base().members.values() if one not in kept]
            if not spare:
                return
            counts = {one.spec.engine: sum(other.spec.engine == one.spec.engine for other in spare) for one in spare}
            # Of those of whom there are several first, so that their engine goes on; then whose place it takes.
            victim = min(spare, key=lambda one: (counts[one.spec.engine] == 1, one.spec.engine != spec.engine))
            LOG.info("%s is ended to make room for %s", victim.name, spec.name)
            for each in self._live.values():
                each.members = {name: one for name, one in each.members.items() if one is not victim}
            self._scaling.follow_another(self._base())
            await end_drained(victim, self._run)

    def _running(self) -> list[Managed]:
        return [*dict.fromkeys(one for each in self._live.values() for one in each.members.values())]
