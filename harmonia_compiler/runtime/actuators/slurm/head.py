"""What the batch script becomes: `python -m …slurm.head DIR`. It starts every step, keeps them up, and hands over.

A step that does not come up at the first start of a service ends the job, and the job's state says which it was and
why. Once the service has been up, steps are started again for ever.

Where another job has the service when this one starts, it is this one's to take over: it brings everything up beside
the other, and then says in `owner.json` that it serves. The other sees that, lets clients find the new gateway, ends
what it has begun, for which it has until its wall time, and goes. A vector store cannot be open twice: where there is
one, the other is asked to go first, and the service is away until the store is open again.

As long as the other serves, a step that does not come up ends the one that was to take over, and the other submits the
next. Once the other has gone nobody else has the service, and this one starts its steps until they come up.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from harmonia_compiler.contract.launch import GATEWAY_PROCESSES
from harmonia_compiler.contract.slurm import SCRIPT
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.runtime.actuators.actuator import Failure, Phase, Status
from harmonia_compiler.runtime.actuators.slurm.commands import SlurmFailed, outside, submit
from harmonia_compiler.runtime.actuators.slurm.folder import JobState, Owner, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.keeping import (
    GATEWAY_GRACE_S,
    JOB_LOG,
    LOG,
    LOOK_EVERY_S,
    longest_drain_s,
    main,
    read_job,
    signalled,
    written,
)
from harmonia_compiler.runtime.actuators.slurm.scaling import bring
from harmonia_compiler.runtime.actuators.slurm.srun import find_nodes, front_words, job_number, step_words
from harmonia_compiler.runtime.actuators.slurm.steps import KeptStep
from harmonia_compiler.runtime.actuators.slurm.succession import Succession
from harmonia_compiler.runtime.actuators.supervision import placing
from harmonia_compiler.runtime.actuators.supervision.ending import FAILED, STOPPED
from harmonia_compiler.runtime.actuators.supervision.rundir import ADDRESS
from harmonia_compiler.runtime.actuators.supervision.scaling import DRAIN_S, wanted_in
from harmonia_compiler.runtime.bundle import CONTROLLER, GATEWAY

#: How long clients have to find the gateway that took over before the old one goes, in seconds.
LINGER_S = 5.0
#: So much earlier than it is asked for, in seconds, Slurm may tell a job of its end: a minute, and what lies before
#: this process, as modules that are loaded.
EARLIER_S = 120.0
#: How often it is seen whether a job is there that is to take over, in seconds; a delay after each is added.
SUCCESSOR_S = 5.0
#: How often it is seen whether the jobs of replicas that came on top are still there, in seconds.
FURTHER_S = 20.0


class Head:
    """One job of the service, from its start to its end."""

    def __init__(self, bundle: Path, number: str, name: str) -> None:
        self._bundle, self._number = bundle, number
        self._folder = SharedFolder(bundle)
        self._name = name
        self._succession = Succession(self._folder, number, name)
        self._documents, self._job = read_job(bundle)
        nodes = find_nodes(self._job, os.environ)
        self._node = nodes.addresses[self._job.components[0].hosts[0]]
        self._replicas = {
            step.replica: KeptStep(
                step.replica,
                launch.engine,
                step_words(self._job, step, nodes, str(bundle), number, launch.launch.model),
                self._folder.of(number, step.replica),
            )
            for step, launch in zip(self._job.steps, self._documents.processes.replicas, strict=True)
        }
        # What is no number, the gateway itself refuses.
        processes = os.environ.get(GATEWAY_PROCESSES, "")
        count = int(processes) if processes.isdecimal() and len(processes) < 4 else 1
        words = front_words(self._job, nodes, str(bundle), number, max(1, count))
        self._front = KeptStep(GATEWAY, "", words, self._folder.of(number, GATEWAY))
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._phase: Phase = "starting"
        self._failure: Failure | None = None
        self._began = time.monotonic()
        self._see_successor_after = self._time_of_handover()
        self._mine = Owner(number)
        self._successors: list[str] = []
        self._note = self._trouble = ""
        self._brought: Mapping[str, int] = {}
        self._bring_after = 0.0
        self._stop = asyncio.Event()

    async def serve(self) -> int:
        """Until told to end, or another took over, or a step does not come up; gives the exit code."""
        self._stop = signalled()
        saying = asyncio.create_task(self._say())
        try:
            if await self._come_up():
                self._phase = "running"
                LOG.info("the service is up")
                await self._look_after()
            if self._stop.is_set() and self._phase != "stopping":
                await self._told()
        finally:
            await self._end()
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
            await written(self._folder.set_state, self._number, self._state())
        return STOPPED if self._failure is None else FAILED

    async def _come_up(self) -> bool:
        """Start everything in its order; False where it is told to end before, or something does not come up."""
        before = await self._succession.other()
        stores = [name for name in self._replicas if self._is_stateful(name)]
        first = [name for name in self._replicas if before is None or name not in stores]
        if not await self._start(self._replicas[name] for name in first):
            return False
        self._mine = Owner(self._number, self._succession.next_epoch(before))
        if before is not None and stores:
            await asyncio.to_thread(self._folder.set_claim, self._mine)
            while not self._stop.is_set() and await self._succession.is_alive(before.job):  # noqa: ASYNC110 - it says so
                await asyncio.sleep(LOOK_EVERY_S)
            if not await self._start(self._replicas[name] for name in stores):
                return False
        if not await self._start([self._front]):
            return False
        await asyncio.to_thread(self._folder.set_owner, self._mine)
        while not self._stop.is_set() and not await asyncio.to_thread(self._is_found):  # noqa: ASYNC110 - its step does it
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    def _is_found(self) -> bool:
        """Whether clients find this job's gateway where they look."""
        places = (self._folder.of(self._number, GATEWAY).path / ADDRESS, self._bundle / "run" / ADDRESS)
        try:
            mine, found = (place.read_bytes() for place in places)
        except FileNotFoundError:
            return False
        return mine == found

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
            await self._hand_over_in_time()
            await asyncio.sleep(LOOK_EVERY_S)
        return not self._stop.is_set()

    def _keep(self, step: KeptStep) -> None:
        self._keeping[step.name] = asyncio.create_task(step.keep())

    async def _look_after(self) -> None:
        """Until told to end or another takes over: what is wanted of the controller, and the successor in time."""
        leaving: dict[str, asyncio.Task[None]] = {}
        while not self._stop.is_set():
            taken = await self._succession.taken_from(self._mine)
            if taken is not None and taken.waits_for_store:
                LOG.info("job %s takes over, and waits for the store", taken.job)
                return
            if taken is not None:
                LOG.info("job %s has taken over", taken.job)
                await self._drain()
                return
            await self._hand_over_in_time()
            wanted = wanted_in(self._bundle / "run")
            for engine, count in wanted.items():
                self._bring(engine, count, leaving)
            await self._bring_further(wanted)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _drain(self) -> None:
        """Let clients find the gateway that took over, and have this one's end what it has begun, until told to end."""
        self._phase = "stopping"
        told = asyncio.create_task(self._stop.wait())
        await asyncio.wait([told], timeout=LINGER_S)
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
        if self._see_successor_after is not None:
            self._see_successor_after = 0.0
            await self._hand_over_in_time()
        self._note = "; ".join(note for note in (f"job {self._number} ended with its wall time", self._note) if note)

    def _bring(self, engine: str, count: int, leaving: dict[str, asyncio.Task[None]]) -> None:
        """Of the plan's replicas of an engine the first ones stay; those that came on top are jobs of their own."""
        of_engine = [one.replica for one in self._documents.processes.replicas if one.engine == engine]
        for at, name in enumerate(of_engine):
            step, task = self._replicas[name], leaving.get(name)
            if at < max(1, count) and not step.wanted and (task is None or task.done()):
                self._keep(step)
            elif at >= max(1, count) and step.wanted:
                leaving[name] = asyncio.create_task(step.stop(drain_s=DRAIN_S))

    async def _bring_further(self, wanted: Mapping[str, int]) -> None:
        """Have the jobs of the replicas that are to come on top; where Slurm refuses, it is asked again later."""
        now = time.monotonic()
        if not self._job.further or (wanted == self._brought and now < self._bring_after):
            return
        self._brought, self._bring_after = wanted, now + FURTHER_S
        try:
            await asyncio.to_thread(bring, self._bundle, self._documents, self._job, self._name, wanted)
        except SlurmFailed as failed:
            LOG.warning("replicas on top: %s; again in %g s", failed, FURTHER_S)

    async def _hand_over_in_time(self) -> None:
        """From its time on, see that a job is there that is to take over: one that is refused or ends is followed.

        Which there are, the queue says.
        """
        if self._see_successor_after is None or time.monotonic() < self._see_successor_after:
            return
        try:
            if not await self._succession.has_successor():
                await self._submit_successor()
            self._trouble = ""
        except SlurmFailed as failed:
            self._trouble = f"no job that is to take over can be submitted: {failed}"
            LOG.warning("%s", self._trouble)
        self._see_successor_after = time.monotonic() + SUCCESSOR_S + placing.delay_s(max(1, len(self._successors)))

    async def _submit_successor(self) -> None:
        """Submit one, and say how the one before it ended. Raises `SlurmFailed`."""
        ended = ""
        if self._successors:
            state = self._folder.state(self._successors[-1])
            failure = None if state is None else state.status.failure
            why = "" if failure is None else f", since `{failure.process}` did not become ready: {failure.reason}"
            ended = f"job {self._successors[-1]} was to take over and ended before it did{why}"
        environment = outside(os.environ, self._job.site)
        number = await asyncio.to_thread(submit, self._bundle, SCRIPT, self._name, (), environment)
        self._successors.append(number)
        self._note = f"{ended}; job {number} follows" if ended else ""
        LOG.info("job %s is to take over%s", number, f", after {ended}" if ended else "")

    def _time_of_handover(self) -> float | None:
        site = self._job.site
        if not site.handover_s:
            return None
        return self._began + site.wall_time_s - site.drain_s - site.handover_s

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
            await written(self._folder.set_state, self._number, self._state())
            await asyncio.sleep(LOOK_EVERY_S)

    def _state(self) -> JobState:
        front = self._front.status
        beside = self._folder.of(self._number, CONTROLLER).status()
        url = f"http://127.0.0.1:{front.port}" if front.phase == "ready" else ""
        processes = (*(step.status for step in self._replicas.values() if step.wanted), front)
        notes = tuple(note for note in (self._note, self._trouble) if note)
        status = Status(self._phase, processes, self._failure, url, notes, () if beside is None else (beside,))
        return JobState(status, self._node)


async def _serve(bundle: Path) -> int:
    run = SharedFolder(bundle).run()
    if run is None:
        LOG.error("the service that it belongs to has ended")
        return FAILED
    try:
        head = Head(bundle, job_number(), run.name)
    except SlurmFailed as failed:
        LOG.error("%s", failed)
        return FAILED
    return await head.serve()


if __name__ == "__main__":
    sys.exit(main("head", partial(_serve, Path(sys.argv[1]).resolve())))
