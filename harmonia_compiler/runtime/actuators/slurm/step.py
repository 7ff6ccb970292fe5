"""The launcher of one replica, inside its step: `python -m …slurm.step DIR LIFE REPLICA ADDRESS`.

It starts the engine on this node's loopback, waits until it is ready, keeps it up, and lets in from `ADDRESS` whoever
knows the token. Where the gateway finds it, it says again and again: what has not been said for a while is not
believed.
"""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Endpoint, ReplicaLaunch
from harmonia_compiler.contract.slurm import SlurmSite
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.runtime.actuators.actuator import ProcessPhase, ProcessStatus
from harmonia_compiler.runtime.actuators.slurm.folder import ProcessFolder, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.keeping import (
    LOOK_EVERY_S,
    Ending,
    alone,
    kept,
    main,
    read_job,
    signalled,
    written,
)
from harmonia_compiler.runtime.actuators.slurm.tunnel import Outlet
from harmonia_compiler.runtime.actuators.supervision.command import launch_here
from harmonia_compiler.runtime.actuators.supervision.ending import FAILED, GRACE_S, STOPPED
from harmonia_compiler.runtime.actuators.supervision.managed import Managed, StartFailed
from harmonia_compiler.runtime.actuators.supervision.scaling import DRAIN_S
from harmonia_compiler.runtime.actuators.supervision.spec import Spec
from harmonia_compiler.runtime.actuators.supervision.store import expected_of
from harmonia_compiler.runtime.bundle import LocalBundle

#: How often a replica says that it is still there, in seconds.
BEAT_EVERY_S = 4.0


class Step:
    """One replica from start to end. On a signal one that `drains` first ends what it has begun."""

    def __init__(self, bundle: Path, life: str, spec: Spec, address: str, *, drains: bool = False) -> None:
        self._folder, self._life, self._name = SharedFolder(bundle), life, spec.name
        self._mine: ProcessFolder = self._folder.of(life, spec.name)
        self._address, self._on_signal = address, "drain" if drains else "now"
        self._managed: Managed = kept(spec, self._folder, life, self._changed)
        self._outlet = Outlet(self._folder.token(), self._port)
        self._news = asyncio.Event()
        self._listens = 0
        self._leaving = False

    async def serve(self) -> int:
        """Until told to end, by a signal or in the shared folder, or it does not come up; gives the exit code."""
        told = asyncio.create_task(Ending(self._folder, self._life).told(self._mine, signalled()))
        async with alone(self._folder, self._life, self._name, told) as is_alone:
            return await self._serve(told) if is_alone else STOPPED

    async def _serve(self, told: "asyncio.Task[str]") -> int:
        self._mine.begin()
        self._listens = await self._outlet.open(self._address)
        ended: ProcessPhase = "stopped"
        why, code = "", STOPPED
        saying, running = asyncio.create_task(self._say()), asyncio.create_task(self._managed.run())
        try:
            await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            elif (told.result() or self._on_signal) == "drain":
                await self._drain()
        except StartFailed as failed:
            ended, why, code = "failed", failed.reason, FAILED
        finally:
            self._leaving = True
            for task in (told, saying, running):
                task.cancel()
            await asyncio.gather(told, saying, running, return_exceptions=True)
            self._outlet.close()
            await written(self._mine.set_endpoint, None)
            await self._managed.stop(GRACE_S)
        last = msgspec.structs.replace(self._managed.status, phase=ended, since=time.time(), waiting_for=why)
        await written(self._mine.set_status, last)
        return code

    async def _drain(self) -> None:
        """Take nothing more, and wait until the gateway says that it awaits nothing."""
        self._leaving = True
        self._managed.drain()
        await written(self._mine.set_endpoint, None)
        until = time.monotonic() + DRAIN_S
        while time.monotonic() < until and not self._mine.is_drained():  # noqa: ASYNC110 - another process says so
            await asyncio.sleep(LOOK_EVERY_S)

    async def _say(self) -> None:
        """Say how it stands whenever that changes, and that it is there from time to time."""
        while True:
            self._news.clear()
            status = self._managed.status
            is_ready = status.phase == "ready" and not self._leaving
            there = Endpoint(status.name, status.engine, self._address, self._listens, status.started_in_s)
            await written(self._mine.set_status, status)
            await written(self._mine.set_endpoint, there if is_ready else None)
            # `wait_for` would pass over being cancelled where there is news at the same moment, as where a start fails.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_EVERY_S):
                    await self._news.wait()

    def _changed(self) -> None:
        self._news.set()

    def _port(self) -> int | None:
        status = self._managed.status
        return status.port if status.phase in ("ready", "stopping") else None


def spec_of(
    bundle: Path,
    documents: LocalBundle,
    site: SlurmSite,
    replica: ReplicaLaunch,
    devices: Sequence[int],
    *,
    reembed: bool,
) -> Spec:
    """What is to run here; raises `Rejected` where this node cannot."""
    launch = launch_here(replica.launch)
    is_store = launch.probe.transport == "milvus"
    return Spec(
        replica.replica,
        replica.engine,
        launch,
        bundle,
        data=documents.service.engines[replica.engine].kind,
        devices=devices,
        collections=expected_of(documents.service, replica.engine, may_differ=reembed) if is_store else (),
        stage=Path(site.stage) if site.stage else None,
    )


def devices_here(planned: Sequence[int], name: str, *, by_number: bool) -> list[int]:
    """The GPUs of a replica by the numbers that a process uses for them here; raises `Rejected` where one is not shown.

    Slurm says which GPUs of the node a step has, and by which numbers it sees them: they differ where a control group
    hides the others. On a node that was not planned for, or is not the job's alone, those of the type may be others
    than the plan's: the replica's count those that the step is shown then.
    """
    if not planned:
        return []
    visible = _numbers(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    on_node = _numbers(os.environ.get("SLURM_STEP_GPUS", "")) or visible
    shown = sorted(zip(on_node, visible, strict=False))
    here = {device if by_number else at: seen for at, (device, seen) in enumerate(shown)}
    if missing := [device for device in planned if device not in here]:
        given = ", ".join(map(str, on_node)) or "none"
        message = f"`{name}` is planned for GPU {', '.join(map(str, missing))}, and Slurm shows its step {given}"
        step = "say in the site profile how GPUs are asked for (`gres`), or plan with the GPUs that the node has"
        raise Rejected([Diagnostic("E0934", message, help=step)])
    return [here[device] for device in planned]


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part.strip().isdigit()]


async def _serve(bundle: Path, life: str, name: str, address: str) -> int:
    documents, described = read_job(bundle)
    replica = next(one for one in documents.processes.replicas if one.replica == name)
    mine = next(one for one in described.steps if one.replica == name)
    folder = SharedFolder(bundle)
    run = folder.run()
    try:
        devices = devices_here(mine.devices, name, by_number=described.site.has_planned_gpus)
        spec = spec_of(
            bundle, documents, described.site, replica, devices, reembed=run is not None and run.asked.reembed
        )
    except Rejected as rejected:
        why = "; ".join(finding.message for finding in rejected.found)
        said = folder.of(life, name)
        said.make()
        said.set_status(ProcessStatus(name, replica.engine, "failed", time.time(), waiting_for=why))
        raise
    return await Step(bundle, life, spec, address).serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[3], partial(_serve, Path(sys.argv[1]).resolve(), *sys.argv[2:5])))
