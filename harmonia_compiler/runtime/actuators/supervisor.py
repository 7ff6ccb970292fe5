"""The supervisor of a `local` bundle: a process of its own that starts the others and keeps them up.

    python -m harmonia_compiler.runtime.actuators.supervisor DIR [--port N] [--reembed]

It holds `DIR/run/lock` as long as it lives, so that a bundle has one supervisor at most, and says in
`DIR/run/state.json` how things stand. SIGTERM ends the service: the gateway first, then all replicas
at once, since none calls another. Where it is killed itself, its children end with it (see `child.py`).

A replica that does not come up at the first start ends the start: everything is stopped again and
the state says which process it was and why. Once the service has been up, replicas are restarted for ever.
"""

import asyncio
import logging
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from harmonia_compiler.contract.bundle import Address, Endpoint, Endpoints, ReplicaLaunch, Service
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime import bundle as bundles
from harmonia_compiler.runtime.actuators.actuator import Failure, Phase, Status
from harmonia_compiler.runtime.actuators.supervision import pids, placing, rundir
from harmonia_compiler.runtime.actuators.supervision.command import launch_here
from harmonia_compiler.runtime.actuators.supervision.ending import (
    FAILED,
    GRACE_S,
    HELD_BY_ANOTHER,
    ORPHAN_GRACE_S,
    STOPPED,
)
from harmonia_compiler.runtime.actuators.supervision.managed import Managed, Shared, Spec, StartFailed
from harmonia_compiler.runtime.actuators.supervision.orphans import left_behind
from harmonia_compiler.runtime.actuators.supervision.probes import LOOPBACK
from harmonia_compiler.runtime.actuators.supervision.store import expected_of

LOG = logging.getLogger(__name__)

#: How often the state file is compared with what was written into it, in seconds.
_HEAL_EVERY_S = 1.0


class Supervisor:
    """One service from start to stop. Everything it holds belongs to one event loop."""

    def __init__(self, bundle: Path, run: rundir.RunDirectory, port: int | None, *, reembed: bool) -> None:
        self._run = run
        self._phase: Phase = "starting"
        self._failure: Failure | None = None
        me = pids.identify(os.getpid())
        assert me is not None
        self._me = me
        self._shared = Shared(run, dict(os.environ), self._write)
        documents = bundles.read_local_bundle(bundle)
        self._replicas = [Managed(spec, self._shared) for spec in _specs(bundle, documents, reembed=reembed)]
        gateway = Spec(bundles.GATEWAY, "", documents.processes.gateway, bundle, port=port)
        self._gateway = Managed(gateway, self._shared)
        self._endpoints = Endpoints((), 0)
        self._address: Address | None = None
        self._written: tuple[int, int] | None = None

    async def serve(self, stop: asyncio.Event) -> int:
        """Start everything, keep it up until told to stop, and stop it; gives the exit code."""
        self._write()
        running = [asyncio.create_task(replica.run()) for replica in self._replicas]
        stopping = asyncio.create_task(stop.wait())
        try:
            if await self._all_ready(self._replicas, running, stopping):
                running.append(asyncio.create_task(self._gateway.run()))
                if await self._all_ready([self._gateway], running, stopping):
                    self._phase = "running"
                    self._write()
                    await self._look_after(running, stopping)
        except StartFailed as failed:
            self._failure = Failure(failed.process, failed.reason)
            LOG.warning("%s", failed)
        finally:
            await self._stop([*running, stopping])
        return STOPPED if self._failure is None else FAILED

    async def _all_ready(
        self, wanted: Sequence[Managed], running: Sequence[asyncio.Task[None]], stopping: asyncio.Task[bool]
    ) -> bool:
        """Wait until these were all ready; False when told to stop. Raises `StartFailed`."""
        everyone = asyncio.gather(*(managed.was_ready.wait() for managed in wanted))
        try:
            awaited: list[asyncio.Future[Any]] = [everyone, stopping, *running]
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()
            return everyone.done()
        finally:
            everyone.cancel()

    async def _look_after(self, running: Sequence[asyncio.Task[None]], stopping: asyncio.Task[bool]) -> None:
        """Let the processes run until told to stop; write the state anew where somebody else changed it.

        Once its folder is gone nobody could tell it to stop any more: then it stops by itself.
        """
        awaited: list[asyncio.Future[Any]] = [stopping, *running]
        while not stopping.done():
            await asyncio.wait(awaited, timeout=_HEAL_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                if task.done():
                    task.result()
            if not self._run.path.is_dir():
                LOG.warning("the folder of the bundle has been removed")
                return
            if self._stamp() != self._written:
                self._write()

    async def _stop(self, tasks: Sequence[asyncio.Task[None] | asyncio.Task[bool]]) -> None:
        """The gateway first, so that no request loses its engines, then all replicas at once."""
        if self._phase != "failed":
            self._phase = "stopping"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._gateway.stop(GRACE_S)
        await asyncio.gather(*(replica.stop(GRACE_S) for replica in self._replicas))
        if self._failure is not None:
            self._phase = "failed"
            self._write()

    def _write(self) -> None:
        """Say in the run directory how things stand; a disk that is full must not take the service down."""
        try:
            self._write_endpoints()
            state = rundir.State(self._me, self._status())
            self._run.write(rundir.STATE, msgspec.json.encode(state))
            self._written = self._stamp()
        except OSError as problem:
            self._written = None
            LOG.warning("the state cannot be written: %s", problem)
            if self._phase == "starting":
                raise

    def _status(self) -> Status:
        everyone = [managed.status for managed in (*self._replicas, self._gateway)]
        url = "" if self._address is None else f"http://{self._address.host}:{self._address.port}"
        return Status(self._phase, tuple(everyone), self._failure, url)

    def _write_endpoints(self) -> None:
        ready = tuple(
            Endpoint(status.name, status.engine, LOOPBACK, status.port)
            for replica in self._replicas
            if (status := replica.status).phase == "ready" and status.port is not None
        )
        if ready != self._endpoints.replicas:
            self._endpoints = Endpoints(ready, self._endpoints.epoch + 1)
            self._run.write(rundir.ENDPOINTS, msgspec.json.encode(self._endpoints))
        gateway = self._gateway.status
        # Its last address stays while it is away; after a restart it may listen on another port.
        address = None if gateway.port is None else Address(LOOPBACK, gateway.port)
        if gateway.phase == "ready" and address is not None and address != self._address:
            self._address = address
            self._run.write(rundir.ADDRESS, msgspec.json.encode(self._address))

    def _stamp(self) -> tuple[int, int] | None:
        """What tells the state file that was written last from any other."""
        try:
            found = (self._run.path / rundir.STATE).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


def _specs(bundle: Path, documents: bundles.LocalBundle, *, reembed: bool) -> list[Spec]:
    """The replicas as they are to run on this machine; raises `Rejected` where one cannot."""
    replicas = documents.processes.replicas
    cpus = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    pinned = placing.pin_cores({replica.replica: replica.cores for replica in replicas}, cpus)
    return [
        _spec(bundle, documents.service, replica, sorted(pinned.get(replica.replica, ())), reembed=reembed)
        for replica in replicas
    ]


def _spec(bundle: Path, service: Service, replica: ReplicaLaunch, cpus: Sequence[int], *, reembed: bool) -> Spec:
    launch = launch_here(replica.launch)
    return Spec(
        replica.replica,
        replica.engine,
        launch,
        bundle,
        data=service.engines[replica.engine].kind,
        devices=replica.devices,
        cpus=cpus,
        collections=(
            expected_of(service, replica.engine, may_differ=reembed) if launch.probe.transport == "milvus" else ()
        ),
    )


async def _serve(bundle: Path, run: rundir.RunDirectory, port: int | None, *, reembed: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return await Supervisor(bundle, run, port, reembed=reembed).serve(stop)


def supervise(bundle: Path, port: int | None, *, reembed: bool) -> int:
    """Look after a bundle until told to stop; gives the exit code."""
    run = rundir.RunDirectory(bundle)
    run.prepare()
    lock = run.lock()
    if lock is None:
        return HELD_BY_ANOTHER
    me = pids.identify(os.getpid())
    assert me is not None
    run.sign(lock, me)
    pids.adopt_orphans()
    pids.end(left_behind(bundle, run), ORPHAN_GRACE_S)
    run.clear_state()
    for log in run.logs.glob("*.log"):
        if log != run.log_of(bundles.SUPERVISOR):
            log.replace(log.with_suffix(".log.1"))
    code = asyncio.run(_serve(bundle, run, port, reembed=reembed))
    if code == STOPPED:
        run.clear()
    return code


def main() -> None:
    """Read the arguments and look after the bundle; a problem is one line and exit code 1."""
    parser = ArgumentParser(prog="harmonia_compiler.runtime.actuators.supervisor")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--port", type=int, default=None)
    parser.add_argument("--reembed", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    try:
        sys.exit(supervise(arguments.bundle.resolve(), arguments.port, reembed=arguments.reembed))
    except (OSError, Rejected) as problem:
        sys.exit(f"the service cannot be looked after: {problem}")


if __name__ == "__main__":
    main()
