"""The supervisor of a `local` bundle: a process of its own that starts the others and keeps them up.

    python -m harmonia_compiler.runtime.actuators.supervisor DIR [--port N] [--reembed]

It holds `DIR/run/lock` as long as it lives, so that a bundle has one supervisor at most, and says in
`DIR/run/state.json` how things stand; what somebody removes or changes there it puts back. SIGTERM ends
the service: the gateway first, then all replicas at once, since none calls another. Where it is killed
itself, its children end with it (see `child.py`).

A replica that does not come up at the first start ends the start: everything is stopped again and
the state says which process it was and why. Once the service has been up, replicas are restarted for ever.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import Address
from harmonia_compiler.contract.generations import folder_of
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime import bundle as bundles
from harmonia_compiler.runtime.actuators.actuator import Failure, Phase, Status
from harmonia_compiler.runtime.actuators.supervision import pids, rundir, scratch
from harmonia_compiler.runtime.actuators.supervision.beside import controller_of, keep_beside
from harmonia_compiler.runtime.actuators.supervision.ending import (
    FAILED,
    GRACE_S,
    HELD_BY_ANOTHER,
    ORPHAN_GRACE_S,
    STOPPED,
)
from harmonia_compiler.runtime.actuators.supervision.entering import enter
from harmonia_compiler.runtime.actuators.supervision.generation import Generation, load, pinned
from harmonia_compiler.runtime.actuators.supervision.holding import Holding
from harmonia_compiler.runtime.actuators.supervision.installing import complete
from harmonia_compiler.runtime.actuators.supervision.managed import Managed, StartFailed
from harmonia_compiler.runtime.actuators.supervision.orphans import left_behind
from harmonia_compiler.runtime.actuators.supervision.ports import LOOPBACK
from harmonia_compiler.runtime.actuators.supervision.rollout import Rollouts
from harmonia_compiler.runtime.actuators.supervision.scaling import want, wanted_in
from harmonia_compiler.runtime.actuators.supervision.snapshot import files_of, keep, numbers
from harmonia_compiler.runtime.actuators.supervision.spec import Shared, Spec

LOG = logging.getLogger(__name__)

#: How often the run directory is compared with what was written into it, in seconds.
_HEAL_EVERY_S = 1.0


class Supervisor:
    """One service from start to stop. Everything it holds belongs to one event loop."""

    def __init__(
        self, bundle: Path, run: rundir.RunDirectory, lock: int, asked: rundir.Asked, history: Sequence[int]
    ) -> None:
        self._asked, self._bundle = asked, bundle
        self._phase: Phase = "starting"
        self._failure: Failure | None = None
        me = pids.identify(os.getpid())
        assert me is not None
        self._me = me
        self._holding = Holding(run, lock, me)
        self._shared = Shared(run, self._holding.logs, dict(os.environ), self._write)
        first = load(bundle, run.path, history[-1], reembed=asked.reembed)
        held = pinned(first.specs)
        first.specs = tuple(replace(spec, cpus=held.get(spec.name, ())) for spec in first.specs)
        first.members.update({spec.name: Managed(spec, self._shared) for spec in first.specs})
        self._rollouts = Rollouts(bundle, run.path, first, self._shared, self._moved, history)
        gateway = Spec(bundles.GATEWAY, "", first.documents.processes.gateway, bundle, port=asked.port)
        self._gateway = Managed(gateway, self._shared)
        self._beside: list[Managed] = []
        self._address: Address | None = None

    async def serve(self, stop: asyncio.Event) -> int:
        """Start everything, keep it up until told to stop, and stop it; gives the exit code."""
        self._write()
        keeping = asyncio.create_task(self._keep_run_directory(stop))
        replicas = [*self._rollouts.base.members.values()]
        following: list[asyncio.Task[None]] = []
        stopping = asyncio.create_task(stop.wait())
        try:
            for replica in replicas:
                replica.task = asyncio.create_task(replica.run())
            if await self._all_ready(replicas, stopping):
                self._gateway.task = asyncio.create_task(self._gateway.run())
                if await self._all_ready([self._gateway], stopping):
                    self._phase = "running"
                    self._control()
                    following = [
                        asyncio.create_task(self._rollouts.scaling.follow()),
                        asyncio.create_task(self._rollouts.follow()),
                    ]
                    self._write()
                    await self._look_after(stopping)
        except StartFailed as failed:
            self._failure = Failure(failed.process, failed.reason)
            LOG.warning("%s", failed)
        finally:
            await self._stop([keeping, *following, stopping])
        if self._holding.is_lost:
            return HELD_BY_ANOTHER
        return STOPPED if self._failure is None else FAILED

    def _everyone(self) -> list[Managed]:
        """All processes: those that the service is made of, of other generations, and beside it."""
        mine = (*self._rollouts.base.members.values(), self._gateway)
        return [*mine, *self._rollouts.others, *self._beside]

    def _tasks(self) -> list[asyncio.Task[None]]:
        """What keeps up the processes that the service is made of."""
        mine = (*self._rollouts.base.members.values(), self._gateway)
        return [managed.task for managed in mine if managed.task is not None]

    async def _all_ready(self, wanted: Sequence[Managed], stopping: asyncio.Task[bool]) -> bool:
        """Wait until these were all ready; False when told to stop. Raises `StartFailed`."""
        everyone = asyncio.gather(*(managed.was_ready.wait() for managed in wanted))
        try:
            awaited: list[asyncio.Future[Any]] = [everyone, stopping, *self._tasks()]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            _raise_what_failed(self._tasks())
            return everyone.done()
        finally:
            everyone.cancel()
            # What is cancelled and never looked at would be told in the log, with a traceback.
            await asyncio.gather(everyone, return_exceptions=True)

    async def _look_after(self, stopping: asyncio.Task[bool]) -> None:
        """Let the processes run until told to stop; which ones, changes with what is wanted and wished."""
        while not stopping.done():
            await asyncio.wait([stopping, *self._tasks()], return_when=asyncio.FIRST_COMPLETED, timeout=_HEAL_EVERY_S)
            _raise_what_failed(self._tasks())

    async def _moved(self, generation: Generation) -> None:
        """The service is another generation, with a controller of its own, which goes on from what is remembered."""
        beside, self._beside = self._beside, []
        await asyncio.gather(*(one.stop(GRACE_S) for one in beside))
        run = self._holding.run
        changeable = wanted_in(run.path).keys()
        run.clear_control()
        # Until that controller says how many it wants, those that run are wanted: also by whoever goes back at once.
        counts = Counter(one.spec.engine for one in generation.members.values() if one.spec.engine in changeable)
        try:
            want(run, counts)
        except OSError as problem:
            LOG.warning("how many replicas are wanted cannot be written: %s", problem)
        self._control(generation)

    def _control(self, generation: Generation | None = None) -> None:
        """Have a controller beside the service, where its plan says something that it could correct."""
        spec = controller_of(self._bundle, (generation or self._rollouts.base).documents)
        if spec is not None:
            controller = Managed(spec, self._shared)
            controller.task = asyncio.create_task(keep_beside(controller))
            self._beside = [controller]

    async def _keep_run_directory(self, stop: asyncio.Event) -> None:
        """Put back what somebody else removed or changed there: without it nobody could see or stop this service.

        Where that cannot be, since the folder is gone or another supervisor took the lock, the service stops by itself.
        """
        while not stop.is_set():
            await asyncio.sleep(_HEAL_EVERY_S)
            if not self._holding.run.path.is_dir():
                LOG.warning("the folder of the bundle has been removed")
                stop.set()
                return
            try:
                for one in self._everyone():
                    one.keep()
                self._holding.keep()
                self._write()
            except OSError as problem:
                LOG.warning("the run directory cannot be put in order: %s", problem)
            if self._holding.is_lost:
                LOG.warning("the lock was removed, and another supervisor has it now")
                stop.set()

    async def _stop(self, tasks: Sequence[asyncio.Task[None] | asyncio.Task[bool]]) -> None:
        """The gateway first, so that no request loses its engines, then all replicas at once."""
        if self._phase != "failed":
            self._phase = "stopping"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(self._gateway.stop(GRACE_S), *(one.stop(GRACE_S) for one in self._beside))
        await self._rollouts.stop()
        self._holding.leave()
        if self._failure is not None:
            self._phase = "failed"
            self._write()

    def _write(self) -> None:
        """Say in the run directory how things stand; a disk that is full must not take the service down."""
        try:
            self._holding.write(self._documents())
        except OSError as problem:
            LOG.warning("the state cannot be written: %s", problem)
            if self._phase == "starting":
                raise

    def _documents(self) -> dict[str, bytes]:
        """What the files of the run directory are to hold: those of which there is something to say."""
        found = self._rollouts.documents()
        endpoints = self._rollouts.base.endpoints()
        if endpoints.epoch:
            found[rundir.ENDPOINTS] = msgspec.json.encode(endpoints)
        gateway = self._gateway.status
        # Its last address stays while it is away; after a restart it may listen on another port.
        if gateway.phase == "ready" and gateway.port is not None:
            self._address = Address(LOOPBACK, gateway.port)
        if self._address is not None:
            found[rundir.ADDRESS] = msgspec.json.encode(self._address)
        here = self._holding.run.identity
        state = rundir.State(self._me, self._status(), self._asked, here, seen=time.monotonic())
        found[rundir.STATE] = msgspec.json.encode(state)
        return found

    def _status(self) -> Status:
        everyone = [managed.status for managed in (*self._rollouts.base.members.values(), self._gateway)]
        url = "" if self._address is None else f"http://{self._address.host}:{self._address.port}"
        generations, history, rollout = self._rollouts.shown()
        return Status(
            self._phase,
            tuple(everyone),
            self._failure,
            url,
            beside=tuple(one.status for one in (*self._rollouts.others, *self._beside)),
            generations=generations,
            history=history,
            rollout=rollout,
        )


def _raise_what_failed(running: Sequence[asyncio.Task[None]]) -> None:
    for task in running:
        if task.done():
            task.result()


async def _serve(bundle: Path, run: rundir.RunDirectory, lock: int, asked: rundir.Asked, history: Sequence[int]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await Supervisor(bundle, run, lock, asked, history).serve(stop)


def begun(bundle: Path, run: rundir.RunDirectory) -> Sequence[int]:
    """The generations that served, the one to start last.

    Where a supervisor was killed and the folder holds what its service was, that goes on, and what was wished of it.
    Otherwise the folder is the first generation of a service. Raises `Rejected` or OSError.
    """
    files = files_of(bundle)
    with contextlib.suppress(rundir.Damaged, Rejected):
        state = run.read_state()
        if state is not None and state.status.history:
            history = [number for number in state.status.history if number in numbers(run.path)]
            if history and _without_listing(files_of(folder_of(run.path, history[-1]))) == _without_listing(files):
                return history
    run.clear_generations()
    return [keep(run.path, files)]


def _without_listing(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files that a bundle consists of; what lists them is written anew wherever they are put."""
    return {name: content for name, content in files.items() if name != bundles.CONTENTS}


def supervise(bundle: Path, asked: rundir.Asked) -> int:
    """Look after a bundle until told to stop; gives the exit code."""
    run = rundir.RunDirectory(bundle)
    run.prepare()
    lock = run.lock()
    if lock is None:
        return HELD_BY_ANOTHER
    me = pids.identify(os.getpid())
    assert me is not None
    earlier = run.last_supervisor()
    if earlier is not None and earlier != me and pids.is_alive(earlier):
        # Somebody removed its lock, which it takes again once this one is left alone.
        os.close(lock)
        return HELD_BY_ANOTHER
    run.sign(lock, me)
    pids.adopt_orphans()
    pids.end(left_behind(bundle, run), ORPHAN_GRACE_S)
    scratch.remove_left(bundle, os.environ)
    complete(bundle, run.path)
    history = begun(bundle, run)
    run.clear_state()
    for log in run.logs.glob("*.log"):
        if log != run.log_of(bundles.SUPERVISOR):
            log.replace(log.with_suffix(".log.1"))
    code = asyncio.run(_serve(bundle, run, lock, asked, history))
    if code == STOPPED:
        run.clear()
    return code


if __name__ == "__main__":
    enter("harmonia_compiler.runtime.actuators.supervisor", supervise)
