"""Brings a running service to the generation that is wished for, without an error for those who use it.

    wished ──▶ members found or started ──▶ all ready ──▶ gateway divides new requests ──▶ the rest has ended ──▶ ended

A process that both generations ask for alike serves both and is not touched. A generation without a share is ended
once the gateway says that it works on nothing for it, or after `DRAIN_S`. Each step looks at what is wished now:
whoever asks for another generation meanwhile has the last word.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from harmonia_compiler.contract.generations import ENDPOINTS, FOLDER, GENERATIONS, Generations, Serving
from harmonia_compiler.contract.readings import GenerationRead, Readings
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import GenerationStatus, RolloutStatus
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S
from harmonia_compiler.runtime.actuators.supervision.gathering import LOOK_EVERY_S, Gathering, GivenUp, heed
from harmonia_compiler.runtime.actuators.supervision.generation import Generation, load
from harmonia_compiler.runtime.actuators.supervision.installing import install
from harmonia_compiler.runtime.actuators.supervision.managed import Managed
from harmonia_compiler.runtime.actuators.supervision.scaling import Scaling
from harmonia_compiler.runtime.actuators.supervision.snapshot import forget, numbers
from harmonia_compiler.runtime.actuators.supervision.spec import Shared
from harmonia_compiler.runtime.actuators.supervision.wish import ROLLOUT, Wish, wish_in
from harmonia_compiler.runtime.bundle import GATEWAY
from harmonia_compiler.runtime.controller.asking import ask

LOG = logging.getLogger(__name__)

#: How long the requests of a generation that gets no new ones may take, in seconds.
DRAIN_S = 600.0
#: How long the gateway has to serve what it is told to, in seconds; one that is being started again is waited for.
FOLLOW_S = 60.0
#: So many generations that served can be gone back to.
MOST_HISTORY = 5


class Rollouts:
    """The generations of one service. `live` are those that have processes, `base` is the one that the service is."""

    def __init__(
        self,
        bundle: Path,
        run: Path,
        first: Generation,
        shared: Shared,
        moved: Callable[[Generation], Awaitable[None]],
        history: Sequence[int],
    ) -> None:
        self.base = first
        self.live = {first.number: first}
        self.scaling = Scaling(first, shared, run)
        self._shares = {first.number: 1.0}
        self._order = [first.number]
        self._epoch = 1
        self._unasked_since: dict[int, float] = {}
        self._bundle, self._run, self._shared, self._moved = bundle, run, shared, moved
        self._gathering = Gathering(self.live, lambda: self.base, self.scaling, shared, run)
        self._history = [*history]
        self._status: RolloutStatus | None = None
        self._heard: dict[int, GenerationRead] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def others(self) -> list[Managed]:
        """The processes that serve, or are to serve, other generations than the base."""
        mine = {*self.base.members.values()}
        found = {one for each in self.live.values() for one in each.members.values()} - mine
        return [*sorted(found, key=lambda one: one.name), *self.scaling.others]

    def documents(self) -> dict[str, bytes]:
        """What the files of the run directory are to hold, by their names there, in the order to write them."""
        found: dict[str, bytes] = {}
        for number, one in self.live.items():
            found |= {f"{FOLDER}/{number}/{name}": content for name, content in one.files.items()}
            found[f"{FOLDER}/{number}/{ENDPOINTS}"] = msgspec.json.encode(one.endpoints())
        serving = tuple(Serving(number, self._shares[number]) for number in self._order)
        found[GENERATIONS] = msgspec.json.encode(Generations(self._epoch, serving))
        return found

    def shown(self) -> tuple[tuple[GenerationStatus, ...], tuple[int, ...], RolloutStatus | None]:
        """The generations, those before, and what was wished last, for the state."""
        heard = {number: self._heard.get(number, GenerationRead(number, 0)) for number in self.live}
        states = (
            GenerationStatus(
                number,
                self._shares[number],
                one is self.base,
                one.since,
                heard[number].arrived,
                heard[number].answered,
            )
            for number, one in self.live.items()
        )
        return tuple(states), tuple(self._history), self._status

    async def follow(self) -> None:
        """See to what is wished, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            wish = wish_in(self._run)
            if wish is not None and (self._status is None or wish.id != self._status.id):
                await self._try(wish)
            if len(self.live) > 1:
                await self._look_at_others()

    async def stop(self) -> None:
        """End all processes of all generations."""
        everyone = {one for each in self.live.values() for one in each.members.values()}
        await asyncio.gather(self.scaling.stop(), *self._ending, *(one.stop(GRACE_S) for one in everyone))

    async def _try(self, wish: Wish) -> None:
        LOG.info("generation %d is wished for %g of new requests", wish.to, wish.share)
        self._say(wish)
        self.scaling.paused = True
        try:
            await self._bring(wish)
        except (GivenUp, Rejected, OSError) as problem:
            process, why = ("", str(problem)) if not isinstance(problem, GivenUp) else (problem.process, problem.why)
            LOG.warning("generation %d is given up: %s", wish.to, problem)
            if wish_in(self._run) == wish:
                (self._run / ROLLOUT).unlink(missing_ok=True)
            self._divide(self.base, 1.0)
            self._gathering.start([spec for spec in self.base.specs if spec.name not in self.base.members], self.base)
            self._say(wish, "failed", process, why)
        else:
            self._say(wish, "done")
        finally:
            self.scaling.paused = len(self.live) > 1

    def _say(self, wish: Wish, phase: str = "starting", process: str = "", why: str = "") -> None:
        self._status = msgspec.convert(
            {"id": wish.id, "to": wish.to, "share": wish.share, "phase": phase, "process": process, "why": why},
            RolloutStatus,
        )
        self._shared.changed()

    async def _bring(self, wish: Wish) -> None:
        target = self.live.get(wish.to)
        if target is None:
            target = load(self._bundle, self._run, wish.to)
            self.live[target.number], self._shares[target.number] = target, 0.0
        await self._gathering.complete(target, wish)
        self._divide(target, wish.share)
        await self._followed(wish)
        if wish.share == 1.0 and target is not self.base:
            await self._move(target)

    def _divide(self, target: Generation, share: float) -> None:
        """Have the gateway give new requests to a generation, and the rest to the base."""
        self._shares = dict.fromkeys(self.live, 0.0)
        self._shares[self.base.number] = 1.0 - share
        self._shares[target.number] = share if target is not self.base else 1.0
        known = {*self._order, target.number, self.base.number}
        first = target.number if share == 1.0 else self.base.number
        self._order = [first, *(number for number in self.live if number in known and number != first)]
        now = time.monotonic()
        idle = {number for number, part in self._shares.items() if part == 0.0}
        self._unasked_since = {number: self._unasked_since.get(number, now) for number in idle}
        self._publish()

    def _publish(self) -> None:
        self._epoch += 1
        self._shared.changed()

    async def _followed(self, wish: Wish) -> None:
        """Wait until the gateway serves what it was told to; raises GivenUp."""
        until = time.monotonic() + FOLLOW_S
        while True:
            read = await self._read()
            if read is not None and read.followed >= self._epoch:
                return
            if read is not None and read.not_followed:
                raise GivenUp(GATEWAY, f"it does not take it up: {read.not_followed}")
            if time.monotonic() > until:
                raise GivenUp(GATEWAY, f"it has not taken it up within {FOLLOW_S:g} s")
            heed(wish, self._run)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _move(self, target: Generation) -> None:
        """Let the service be this generation from now on."""
        self.base = target
        if target.number in self._history:
            del self._history[self._history.index(target.number) + 1 :]
        else:
            self._history = [*self._history, target.number][-MOST_HISTORY:]
        for spec in (*target.specs, *target.further):
            if (member := target.members.get(spec.name)) is not None and member.spec.likeness:
                member.serve(spec)
        self.scaling.follow_another(target)
        # Whoever goes on after this supervisor's death is to know what the service was.
        self._shared.changed()
        try:
            install(self._bundle, self._run, target.number, target.files)
        except (Rejected, OSError) as problem:
            LOG.warning("the folder of the service keeps the files of the generation before: %s", problem)
        await self._moved(target)
        LOG.info("the service is generation %d", target.number)

    async def _look_at_others(self) -> None:
        """Hear how the generations do, and end those that have nothing to do any more."""
        read = await self._read()
        now = time.monotonic()
        for number in [number for number, share in self._shares.items() if share == 0.0]:
            under_way = self._heard[number].under_way if number in self._heard else 0
            is_served = number in self._order
            is_idle = read is not None and read.followed >= self._epoch and under_way == 0
            if not is_served or is_idle or now - self._unasked_since[number] > DRAIN_S:
                self._end(self.live[number])
        self.scaling.paused = len(self.live) > 1

    def _end(self, gone: Generation) -> None:
        del self.live[gone.number], self._shares[gone.number]
        self._unasked_since.pop(gone.number, None)
        kept = {one for each in self.live.values() for one in each.members.values()}
        for one in gone.members.values():
            if one not in kept:
                task = asyncio.create_task(one.stop(GRACE_S))
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        if gone.number in self._order:
            self._order.remove(gone.number)
        self._publish()
        for number in {*numbers(self._run)} - {*self._history, *self.live}:
            # Of a later one somebody may be about to wish something.
            if number <= max(gone.number, *self.live):
                forget(self._run, number)
        LOG.info("generation %d has ended", gone.number)

    async def _read(self) -> Readings | None:
        """What the gateway says of itself; None where it says nothing."""
        read = (await asyncio.to_thread(ask, self._run)).readings
        if read is not None:
            self._heard = {one.number: one for one in read.generations}
        return read
