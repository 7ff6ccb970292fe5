"""Brings the number of each engine's replicas to what is wanted, in a service that runs.

One more is started beside the service, and counts among its replicas once it is ready: one that does not come up takes
nothing down. One fewer leaves the endpoints first, so that the gateway sends it nothing more, and ends once the gateway
says that it works on nothing, or after `DRAIN_S`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

import msgspec

from harmonia_compiler.contract.decision import WANTED, Wanted
from harmonia_compiler.contract.document import decode_document
from harmonia_compiler.contract.regular import MOST_TEXT_BYTES, read_regular
from harmonia_compiler.runtime.actuators.supervision.beside import keep_beside
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S
from harmonia_compiler.runtime.actuators.supervision.generation import Generation
from harmonia_compiler.runtime.actuators.supervision.managed import Managed
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.spec import Shared, Spec
from harmonia_compiler.runtime.controller.asking import ask

LOG = logging.getLogger(__name__)

#: How often it is looked up what is wanted, in seconds.
LOOK_EVERY_S = 1.0
#: A gateway sends a replica nothing more so long after it left the endpoints, in seconds.
UNROUTED_S = 1.5
#: How long a replica may take for what it still works on, in seconds.
DRAIN_S = 120.0


class Scaling:
    """The replicas of one generation as they come and go, looked after by its controller.

    While it is `paused` their number stays.
    """

    def __init__(self, generation: Generation, shared: Shared, run: Path) -> None:
        self.paused = False
        self._shared, self._run = shared, run
        self.replicas: dict[str, Managed] = {}
        self._specs: dict[str, list[Spec]] = {}
        self._joining: dict[str, Managed] = {}
        self._leaving: dict[str, tuple[Managed, asyncio.Task[None]]] = {}
        self.follow_another(generation)

    @property
    def others(self) -> list[Managed]:
        """Those that are on their way in or out."""
        return [*self._joining.values(), *(managed for managed, _ in self._leaving.values())]

    def follow_another(self, generation: Generation) -> None:
        """Look after the members of this generation from now on; those that were about to join another go."""
        self.replicas, self._specs = generation.members, {}
        while self._joining:
            name, managed = self._joining.popitem()
            self._leaving[name] = managed, asyncio.create_task(end_drained(managed, self._run))
        for spec in (*generation.specs, *generation.further):
            self._specs.setdefault(spec.engine, []).append(spec)

    async def follow(self) -> None:
        """Look what is wanted, and see to it, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for name, managed in tuple(self._joining.items()):
                if managed.was_ready.is_set():
                    self.replicas[name] = self._joining.pop(name)
                    self._shared.changed()
            for name, (_, task) in tuple(self._leaving.items()):
                if task.done():
                    del self._leaving[name]
                    self._shared.changed()
            for engine, count in () if self.paused else wanted_in(self._run).items():
                await self._bring(engine, count)

    async def stop(self) -> None:
        """End those that are on their way in or out; who serves is ended by whoever started it."""
        leaving = [*self._leaving.values()]
        for _, task in leaving:
            task.cancel()
        await asyncio.gather(*(task for _, task in leaving), return_exceptions=True)
        await asyncio.gather(*(managed.stop(GRACE_S) for managed in self.others))

    async def _bring(self, engine: str, count: int) -> None:
        """One engine to so many replicas, as far as there may be."""
        specs = self._specs.get(engine, [])
        for spec in specs[:count]:
            if spec.name not in {*self.replicas, *self._joining, *self._leaving}:
                LOG.info("%s is started, so that %s has %d replicas", spec.name, engine, count)
                self._joining[spec.name] = managed = Managed(spec, self._shared)
                managed.task = asyncio.create_task(keep_beside(managed))
        for spec in specs[max(1, count) :]:
            if spec.name not in {*self.replicas, *self._joining}:
                continue
            managed = (self.replicas if spec.name in self.replicas else self._joining).pop(spec.name)
            LOG.info("%s is ended, so that %s has %d replicas", spec.name, engine, count)
            self._leaving[spec.name] = managed, asyncio.create_task(end_drained(managed, self._run))


async def end_drained(managed: Managed, run: Path) -> None:
    """Have a replica do what it has begun and nothing more, and end it then."""
    if managed.task is not None:
        managed.task.cancel()
        await asyncio.gather(managed.task, return_exceptions=True)
    managed.drain()
    await asyncio.sleep(UNROUTED_S)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while await _works(managed.spec.name, run):  # noqa: ASYNC110 - another process says so
                await asyncio.sleep(LOOK_EVERY_S)
    await managed.stop(GRACE_S)


async def _works(name: str, run: Path) -> bool:
    """Whether the gateway still awaits anything of a replica; a gateway that is not there awaits nothing."""
    heard = await asyncio.to_thread(ask, run)
    replicas = () if heard.readings is None else heard.readings.replicas
    return any(one.in_flight > 0 for one in replicas if one.replica == name)


def wanted_in(run: Path) -> Mapping[str, int]:
    """How many replicas each engine shall have; none are named where nobody said so, or nothing that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return decode_document(read_regular(run / WANTED, MOST_TEXT_BYTES), Wanted).replicas
    return {}


def want(run: RunDirectory, replicas: Mapping[str, int]) -> None:
    """Say how many replicas each engine shall have; raises OSError."""
    if wanted_in(run.path) != replicas:
        run.write(WANTED, msgspec.json.encode(Wanted(dict(replicas))))
