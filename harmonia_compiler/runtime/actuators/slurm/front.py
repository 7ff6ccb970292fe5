"""The launcher of the gateway and the controller, inside their step: `python -m …slurm.front DIR LIFE`.

For each replica that says that it is ready there is an inlet on this node's loopback, and the gateway finds those.
One that has not said so for a while may have gone with its node: it gets no new calls until it says so again. One that
takes its word back gets none either, and is told once the gateway awaits nothing of it.

Two lives have a gateway each for a moment, when one hands the service over. So each gateway follows files of its own,
and only that of the owner stands where clients and the controller look.
"""

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from harmonia_compiler.contract.bundle import Address, Endpoint, Endpoints
from harmonia_compiler.contract.decision import DECISION
from harmonia_compiler.contract.launch import Launch
from harmonia_compiler.contract.regular import write_whole
from harmonia_compiler.runtime.actuators.slurm.folder import BELIEVED_S, ProcessFolder, SharedFolder
from harmonia_compiler.runtime.actuators.slurm.keeping import (
    GATEWAY_DRAIN_S,
    GATEWAY_GRACE_S,
    LOG,
    LOOK_EVERY_S,
    Ending,
    alone,
    kept,
    longest_drain_s,
    main,
    read_job,
    signalled,
    written,
)
from harmonia_compiler.runtime.actuators.slurm.tunnel import LOOPBACK, Inlet
from harmonia_compiler.runtime.actuators.supervision.beside import controller_of, keep_beside
from harmonia_compiler.runtime.actuators.supervision.ending import FAILED, GRACE_S, STOPPED
from harmonia_compiler.runtime.actuators.supervision.managed import Managed, StartFailed
from harmonia_compiler.runtime.actuators.supervision.rundir import ADDRESS, ENDPOINTS
from harmonia_compiler.runtime.actuators.supervision.scaling import UNROUTED_S
from harmonia_compiler.runtime.actuators.supervision.spec import Spec
from harmonia_compiler.runtime.bundle import CONTROLLER, GATEWAY
from harmonia_compiler.runtime.controller.asking import ask


@dataclass(slots=True)
class Known:
    """A replica that says that it is ready: where, through which inlet, and when it was last seen to say so."""

    there: Endpoint
    inlet: Inlet
    port: int
    said_ns: int
    seen: float
    is_believed: bool = True


class Front:
    """The gateway of one life, what leads from it to the replicas, and the controller while it serves."""

    def __init__(self, bundle: Path, life: str) -> None:
        self._bundle, self._life = bundle, life
        self._folder = SharedFolder(bundle)
        self._token = self._folder.token()
        self._mine: ProcessFolder = self._folder.of(life, GATEWAY)
        self._known: dict[Path, Known] = {}
        self._endpoints = Endpoints((), 0)
        self._leaving: set[asyncio.Task[None]] = set()
        documents, slurm_job = read_job(bundle)
        run = self._folder.run()
        port = None if run is None else run.asked.port
        self._drain_s = longest_drain_s(slurm_job.site)
        launch = _following(slurm_job.gateway, self._mine.path.relative_to(bundle) / ENDPOINTS, port, self._drain_s)
        spec = Spec(GATEWAY, "", launch, bundle, port=port, shares_port=self._comes_after_one_here())
        self._gateway: Managed = kept(spec, self._folder, life, lambda: None)
        beside = controller_of(bundle, documents)
        self._controller = None if beside is None else kept(beside, self._folder, life, lambda: None)

    async def serve(self) -> int:
        """Until told to end, or the gateway does not come up; gives the exit code."""
        stop, ending = signalled(), Ending(self._folder, self._life)
        told = asyncio.create_task(ending.told(self._mine, stop))
        try:
            async with alone(self._folder, self._life, GATEWAY, told) as is_alone:
                told.cancel()
                return await self._serve(stop, ending) if is_alone else STOPPED
        finally:
            told.cancel()
            await asyncio.gather(told, return_exceptions=True)

    async def _serve(self, stop: asyncio.Event, ending: Ending) -> int:
        self._mine.begin()
        # The controller writes for whoever serves; the gateway looks beside its endpoints.
        decisions = self._mine.path / DECISION
        decisions.unlink(missing_ok=True)
        decisions.symlink_to(Path("..", "..", "..", DECISION))
        await self._look()
        running = asyncio.create_task(self._gateway.run())
        controlling: asyncio.Task[None] | None = None
        is_handed_over = False
        failed: StartFailed | None = None
        try:
            while not (stop.is_set() or running.done() or (asked := self._mine.stop_asked()) == "now"):
                if await ending.is_over():
                    break
                await self._look()
                if asked and not is_handed_over:
                    is_handed_over = True
                    running = asyncio.create_task(self._drain(running, *([] if controlling is None else [controlling])))
                elif self._is_owner():
                    await self._be_found()
                    if self._controller is not None and controlling is None:
                        controlling = asyncio.create_task(keep_beside(self._controller))
                await self._say()
                await asyncio.wait([running], timeout=LOOK_EVERY_S)
            if running.done():
                running.result()
        except StartFailed as problem:
            failed = problem
        finally:
            tasks = [running, *self._leaving, *([] if controlling is None else [controlling])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop(GATEWAY_DRAIN_S)
        last = msgspec.structs.replace(
            self._gateway.status,
            phase="failed" if failed else "stopped",
            since=time.time(),
            waiting_for=failed.reason if failed else "",
        )
        await written(self._mine.set_status, last)
        return FAILED if failed else STOPPED

    async def _drain(self, *tasks: asyncio.Task[None]) -> None:
        """Keep nothing up any more, take no new connections, and return once what has been begun has ended."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stop(self._drain_s)

    async def _stop(self, drain_s: float) -> None:
        """End the controller, and the gateway, which may end what it has begun for so long."""
        ends = [] if self._controller is None else [self._controller.stop(GRACE_S)]
        await asyncio.gather(self._stop_gateway(drain_s), *ends)

    async def _stop_gateway(self, drain_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._gateway.stop(drain_s + GRACE_S)
        # Told once more, it cuts what is left.
        await self._gateway.stop(GATEWAY_GRACE_S - GATEWAY_DRAIN_S)

    def _comes_after_one_here(self) -> bool:
        """Whether the gateway that it takes over from is on this node."""
        owner = self._folder.owner()
        if owner is None or owner.life == self._life:
            return False
        before, mine = self._folder.state(owner.life), self._folder.state(self._life)
        return before is not None and mine is not None and before.node == mine.node

    def _is_owner(self) -> bool:
        owner = self._folder.owner()
        return owner is not None and owner.life == self._life

    async def _look(self) -> None:
        """Bring the inlets to what the replicas say, and the gateway's endpoints to the inlets."""
        found, now = await asyncio.to_thread(self._folder.endpoints, self._life), time.monotonic()
        for path, said_ns in found.items():
            known = self._known.get(path)
            if known is not None and known.said_ns == said_ns:
                continue
            there = await asyncio.to_thread(self._folder.endpoint, path)
            if known is not None and known.there == there:
                known.said_ns, known.seen = said_ns, now
            elif there is not None:
                self._forget(path)
                inlet = Inlet(self._token, there.host, there.port)
                self._known[path] = Known(there, inlet, await inlet.open(LOOPBACK), said_ns, now)
        for path, known in tuple(self._known.items()):
            if path not in found:
                self._forget(path)
                self._leaving.add(leaving := asyncio.create_task(self._tell_drained(path, known.there.replica)))
                leaving.add_done_callback(self._leaving.discard)
            elif (now - known.seen <= BELIEVED_S) != known.is_believed:
                known.is_believed = not known.is_believed
                turn = "says again that it is there" if known.is_believed else f"has said nothing for {BELIEVED_S:g} s"
                LOG.warning("%s %s", known.there.replica, turn)
        ready = tuple(
            replace(known.there, host=LOOPBACK, port=known.port) for known in self._known.values() if known.is_believed
        )
        if ready != self._endpoints.replicas or not self._endpoints.epoch:
            # By the clock, so that the next gateway's are no older in the eyes of whoever reads both.
            endpoints = Endpoints(ready, max(self._endpoints.epoch + 1, time.time_ns() // 1_000_000))
            if await written(self._mine.put, ENDPOINTS, msgspec.json.encode(endpoints)):
                self._endpoints = endpoints

    def _forget(self, path: Path) -> None:
        """Take no more connections for a replica; those that there are go on."""
        if known := self._known.pop(path, None):
            known.inlet.close()

    async def _tell_drained(self, path: Path, replica: str) -> None:
        """Tell a replica that left once the gateway awaits nothing of it."""
        await asyncio.sleep(UNROUTED_S)
        while True:
            heard = await asyncio.to_thread(ask, self._mine.path)
            readings = () if heard.readings is None else heard.readings.replicas
            if not any(one.in_flight > 0 for one in readings if one.replica == replica):
                break
            await asyncio.sleep(LOOK_EVERY_S)
        if path.parent.is_dir():
            await asyncio.to_thread(ProcessFolder(path.parent).set_drained)

    async def _say(self) -> None:
        """How the gateway and the controller stand."""
        status = self._gateway.status
        if status.phase == "ready" and status.port is not None:
            address = msgspec.json.encode(Address(LOOPBACK, status.port))
            if not (self._mine.path / ADDRESS).exists() or (self._mine.path / ADDRESS).read_bytes() != address:
                await written(self._mine.put, ADDRESS, address)
        await written(self._mine.set_status, status)
        if self._controller is not None:
            beside = self._folder.of(self._life, CONTROLLER)
            if await written(beside.make):
                await written(beside.set_status, self._controller.status)

    async def _be_found(self) -> None:
        """Put what clients and the controller look for where they look; what is there already stays."""
        for name in (ADDRESS, ENDPOINTS):
            with contextlib.suppress(FileNotFoundError):
                content, place = (self._mine.path / name).read_bytes(), self._bundle / "run" / name
                if not place.exists() or place.read_bytes() != content:
                    await written(write_whole, place, content, 0o600)


def _following(launch: Launch, endpoints: Path, port: int | None, drain_s: int) -> Launch:
    """The gateway's launch, with the file of this life's replicas in place of the bundle's.

    What it has begun it ends for as long as nobody tells it once more to end. A port that the user fixed is shared with
    the gateway of the next job, which may have to be there before it goes.
    """
    words = [str(endpoints) if word == f"run/{ENDPOINTS}" else word for word in launch.command]
    words += ["--drain", str(drain_s), *([] if port is None else ["--share-port"])]
    return msgspec.structs.replace(launch, command=tuple(words))


async def _serve(bundle: Path, life: str) -> int:
    return await Front(bundle, life).serve()


if __name__ == "__main__":
    sys.exit(main(GATEWAY, partial(_serve, Path(sys.argv[1]).resolve(), sys.argv[2])))
