"""What the batch script becomes: `python -m …slurm.head DIR`. It starts every step, keeps them up, and hands over.

A step that does not come up at the first start of a service ends the job, and the job's state says which it was and
why. Once the service has been up, steps are started again for ever.

Where another job has the service when this one starts, it is this one's to take over: it brings everything up beside
the other, and then says in `owner.json` that it serves. The other sees that, lets clients find the new gateway, ends
what it has begun, for which it has until its wall time, and goes. A vector store cannot be open twice: where there is
one, the other is asked to go first, and the service is away until the store is open again.

A job that Slurm queues anew begins another life, and ends the one that may go on where its node was given up. Either is
another job's for all that is said here.

As long as the other serves, a step that does not come up ends the one that was to take over, and the other submits the
next. Once the other has gone nobody else has the service, and this one starts its steps until they come up.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from harmonia_compiler.contract.launch import GATEWAY_PROCESSES
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.actuators.actuator import Failure, Phase, Status
from harmonia_compiler.runtime.actuators.slurm.commands import SlurmFailed
from harmonia_compiler.runtime.actuators.slurm.folder import JobState, SharedFolder, job_of, life_here
from harmonia_compiler.runtime.actuators.slurm.keeping import (
    GATEWAY_GRACE_S,
    JOB_LOG,
    LOG,
    LOOK_EVERY_S,
    Ending,
    longest_drain_s,
    main,
    read_job,
    signalled,
    written,
)
from harmonia_compiler.runtime.actuators.slurm.scaling import bring
from harmonia_compiler.runtime.actuators.slurm.srun import find_nodes, front_words, step_words
from harmonia_compiler.runtime.actuators.slurm.steps import KeptStep
from harmonia_compiler.runtime.actuators.slurm.succession import Succession, Taken
from harmonia_compiler.runtime.actuators.slurm.successors import Successors
from harmonia_compiler.runtime.actuators.supervision.ending import FAILED, STOPPED
from harmonia_compiler.runtime.actuators.supervision.rundir import ADDRESS
from harmonia_compiler.runtime.actuators.supervision.scaling import DRAIN_S, wanted_in
from harmonia_compiler.runtime.bundle import CONTROLLER, GATEWAY

#: How long clients have to find the gateway that took over before the old one goes, in seconds.
LINGER_S = 5.0
#: So much earlier than it is asked for, in seconds, Slurm may tell a job of its end: a minute, and what lies before
#: this process, as modules that are loaded.
EARLIER_S = 120.0
#: How often it is seen whether the jobs of replicas that came on top are still there, in seconds.
FURTHER_S = 20.0


class Head:
    """One life of a job of the service, from its start to its end."""

    def __init__(self, bundle: Path, life: str, name: str) -> None:
        self._bundle, self._life = bundle, life
        self._folder = SharedFolder(bundle)
        self._name = name
        self._documents, self._job = read_job(bundle)
        self._stores = [step.replica for step in self._job.steps if self._is_stateful(step.replica)]
        self._succession = Succession(self._folder, life, name, self._stores)
        nodes = find_nodes(self._job, os.environ)
        self._node = nodes.addresses[self._job.components[0].hosts[0]]
        self._replicas = {
            step.replica: KeptStep(
                step.replica,
                launch.engine,
                step_words(self._job, step, nodes, str(bundle), life, launch.launch.model),
                self._folder.of(life, step.replica),
            )
            for step, launch in zip(self._job.steps, self._documents.processes.replicas, strict=True)
        }
        # `up` has seen that it is a number.
        words = front_words(self._job, nodes, str(bundle), life, int(os.environ.get(GATEWAY_PROCESSES) or 1))
        self._front = KeptStep(GATEWAY, "", words, self._folder.of(life, GATEWAY))
        self._front.waits_for = "all replicas"
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._phase: Phase = "starting"
        self._failure: Failure | None = None
        self._began = time.monotonic()
        self._successors = Successors(bundle, name, self._job.site, self._succession)
        self._note = ""
        self._stop = asyncio.Event()
        self._is_over = False

    async def serve(self) -> int:
        """Until told to end, or another took over, or a step does not come up; gives the exit code."""
        self._stop = signalled()
        await self._succession.enter()
        beside = [asyncio.create_task(self._say()), asyncio.create_task(self._see_end())]
        try:
            if await self._come_up():
                self._phase = "running"
                LOG.info("the service is up")
                taken = await self._look_after()
                if taken is not None and taken.waits_for_store:
                    LOG.info("job %s takes over, and waits for the store", job_of(taken.life))
                elif taken is not None:
                    LOG.info("job %s has taken over", job_of(taken.life))
                    await self._drain()
            if self._stop.is_set() and self._phase != "stopping" and not self._is_over:
                await self._told()
        finally:
            await self._end()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            await written(self._folder.set_state, self._life, self._state())
        return STOPPED if self._failure is None else FAILED

    async def _see_end(self) -> None:
        """End where this life is over, or the service, and nobody can say so to this process."""
        ending = Ending(self._folder, self._life)
        while not await ending.is_over():  # noqa: ASYNC110 - the folder says so
            await asyncio.sleep(LOOK_EVERY_S)
        LOG.warning("the service that it belongs to has ended, or its job has begun anew")
        self._is_over = True
        self._stop.set()

    async def _come_up(self) -> bool:
        """Start everything in its order; False where it is told to end before, or something does not come up."""
        last = [self._replicas[name] for name in self._stores] if self._succession.others() else []
        if not await self._start(step for step in self._replicas.values() if step not in last):
            return False
        if last and not (await self._have_store(last) and await self._start(last)):
            return False
        if not await self._start([self._front]):
            return False
        await self._succession.take()
        while not (self._stop.is_set() or self._is_found() or await self._succession.taken()):  # noqa: ASYNC110 - its step
            await asyncio.sleep(LOOK_EVERY_S)
        return not self._stop.is_set()

    async def _have_store(self, stores: Sequence[KeptStep]) -> bool:
        """Ask for the store and wait until nobody has it; False where it is told to end before."""
        await self._succession.claim()
        while not self._stop.is_set() and (life := await self._succession.with_store()):
            who = "what this job was before" if job_of(life) == job_of(self._life) else f"job {job_of(life)}"
            for step in stores:
                step.waits_for = f"{who} to close it"
            await asyncio.sleep(LOOK_EVERY_S)
        return not self._stop.is_set()

    def _is_found(self) -> bool:
        """Whether clients find this life's gateway where they look."""
        with contextlib.suppress(FileNotFoundError):
            mine = self._folder.of(self._life, GATEWAY).path / ADDRESS
            return mine.read_bytes() == (self._bundle / "run" / ADDRESS).read_bytes()
        return False

    async def _start(self, steps: Iterable[KeptStep]) -> bool:
        """Start these and wait until all are ready."""
        waiting = list(steps)
        for step in waiting:
            self._keep(step)
        while waiting and not self._stop.is_set():
            waiting = [step for step in waiting if step.status.phase != "ready"]
            failed = next((step for step in waiting if step.failure), None)
            if failed is not None and await self._succession.is_dispensable():
                self._failure = Failure(failed.name, failed.failure)
                return False
            await self._successors.see()
            await self._succession.listen()
            await asyncio.sleep(LOOK_EVERY_S)
        return not self._stop.is_set()

    def _keep(self, step: KeptStep) -> None:
        self._keeping[step.name] = asyncio.create_task(step.keep())

    async def _look_after(self) -> Taken | None:
        """Until told to end or another takes over, who: what the controller wants, and the successor in time."""
        leaving: dict[str, asyncio.Task[None]] = {}
        bringing = asyncio.create_task(self._bring_further())
        try:
            while not self._stop.is_set():
                if taken := await self._succession.taken():
                    return taken
                await self._successors.see()
                for engine, count in wanted_in(self._bundle / "run").items():
                    self._bring(engine, count, leaving)
                await asyncio.sleep(LOOK_EVERY_S)
            return None
        finally:
            bringing.cancel()
            await asyncio.gather(bringing, return_exceptions=True)

    async def _drain(self) -> None:
        """Let clients find the gateway that took over, and have this one's end what it has begun, until told to end."""
        told = asyncio.create_task(self._stop.wait())
        await asyncio.wait([told], timeout=LINGER_S)
        self._phase = "stopping"
        draining = asyncio.create_task(self._front.stop(drain_s=longest_drain_s(self._job.site)))
        await asyncio.wait([told, draining], return_when=asyncio.FIRST_COMPLETED)
        for task in (told, draining):
            task.cancel()
        await asyncio.gather(told, draining, return_exceptions=True)

    async def _told(self) -> None:
        """Say why this job is to end; where its time is over, see to it that another is there that goes on."""
        lasted_s, site = time.monotonic() - self._began, self._job.site
        if not site.wall_time_s or lasted_s < site.wall_time_s - site.drain_s - EARLIER_S:
            LOG.info("told to end after %.0f s", lasted_s)
            return
        LOG.warning("told to end after %.0f s: the wall time is nearly over", lasted_s)
        if await asyncio.to_thread(self._folder.owner) is None:
            late = next((one for one in (*self._replicas.values(), self._front) if one.status.phase != "ready"), None)
            what = "" if late is None else f": `{late.name}` still waits for {late.status.waiting_for}"
            self._failure = Failure(
                JOB_LOG, f"its wall time was nearly over before all was up, after {lasted_s:.0f} s{what}"
            )
            return
        self._phase = "stopping"
        await self._successors.see(at_once=True)
        self._note = f"job {job_of(self._life)} ended with its wall time"

    def _bring(self, engine: str, count: int, leaving: dict[str, asyncio.Task[None]]) -> None:
        """Of the plan's replicas of an engine the first ones stay; those that came on top are jobs of their own."""
        of_engine = [one.replica for one in self._documents.processes.replicas if one.engine == engine]
        for at, name in enumerate(of_engine):
            step, task = self._replicas[name], leaving.get(name)
            if at < max(1, count) and not step.wanted and (task is None or task.done()):
                self._keep(step)
            elif at >= max(1, count) and step.wanted:
                leaving[name] = asyncio.create_task(step.stop(drain_s=DRAIN_S))

    async def _bring_further(self) -> None:
        """Have the jobs of the replicas that are to come on top; where Slurm refuses, it is asked again later.

        Slurm may take its time for that, in which all else goes on.
        """
        brought, again_at = None, 0.0
        while self._job.further:
            wanted = wanted_in(self._bundle / "run")
            if wanted != brought or time.monotonic() >= again_at:
                try:
                    await asyncio.to_thread(bring, self._bundle, self._documents, self._job, self._name, wanted)
                except (SlurmFailed, OSError) as failed:
                    LOG.warning("replicas on top: %s; again in %g s", failed, FURTHER_S)
                brought, again_at = wanted, time.monotonic() + FURTHER_S
            await asyncio.sleep(LOOK_EVERY_S)

    async def _end(self) -> None:
        """The gateway first, so that no request loses its engines, then all replicas at once."""
        self._phase = "stopping"
        await self._front.stop(grace_s=GATEWAY_GRACE_S)
        await asyncio.gather(*(step.stop() for step in self._replicas.values()))
        for task in self._keeping.values():
            task.cancel()
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)
        self._phase = "down" if self._failure is None else "failed"

    def _is_stateful(self, name: str) -> bool:
        engine = next(one.engine for one in self._documents.processes.replicas if one.replica == name)
        return kinds()[self._documents.service.engines[engine].kind].stateful

    async def _say(self) -> None:
        """Say how the job stands, as long as it lasts."""
        while True:
            await written(self._folder.set_state, self._life, self._state())
            await asyncio.sleep(LOOK_EVERY_S)

    def _state(self) -> JobState:
        front = self._front.status
        beside = self._folder.of(self._life, CONTROLLER).status()
        url = f"http://127.0.0.1:{front.port}" if front.phase == "ready" else ""
        if self._phase == "starting" and front.phase == "ready":
            front = msgspec.structs.replace(front, phase="starting", waiting_for=f"its address to be in run/{ADDRESS}")
        processes = (*(step.status for step in self._replicas.values() if step.wanted), front)
        note = "; ".join(note for note in (self._note, self._successors.note) if note)
        notes = tuple(note for note in (note, self._successors.trouble) if note)
        status = Status(self._phase, processes, self._failure, url, notes, () if beside is None else (beside,))
        return JobState(status, self._node)


async def _serve(bundle: Path) -> int:
    run = SharedFolder(bundle).run()
    if run is None or run.name != os.environ.get("SLURM_JOB_NAME", run.name):
        LOG.error("the service that it belongs to has ended")
        return FAILED
    try:
        head = Head(bundle, life_here(), run.name)
    except SlurmFailed as failed:
        LOG.error("%s", failed)
        return FAILED
    return await head.serve()


if __name__ == "__main__":
    sys.exit(main("head", partial(_serve, Path(sys.argv[1]).resolve())))
