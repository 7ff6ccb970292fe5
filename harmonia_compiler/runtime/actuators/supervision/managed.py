"""One process under supervision: started, asked until it is ready, watched, started again."""

import asyncio
import contextlib
import logging
import shutil
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event
from traceback import format_exc

import msgspec

from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.actuator import ProcessPhase, ProcessStatus
from harmonia_compiler.runtime.actuators.supervision import placing, scratch
from harmonia_compiler.runtime.actuators.supervision.command import (
    Folders,
    basics,
    command_line,
    environment_of,
    supervised,
)
from harmonia_compiler.runtime.actuators.supervision.ending import ORPHAN_GRACE_S, describe_exit
from harmonia_compiler.runtime.actuators.supervision.helpers import Helpers
from harmonia_compiler.runtime.actuators.supervision.pids import Ident, identify, kill, reap, session_of
from harmonia_compiler.runtime.actuators.supervision.ports import free_port, is_free, listens
from harmonia_compiler.runtime.actuators.supervision.probes import ask, describe, warm_up
from harmonia_compiler.runtime.actuators.supervision.spec import Shared, Spec
from harmonia_compiler.runtime.actuators.supervision.store import Opened, open_on
from harmonia_compiler.runtime.actuators.supervision.tailing import tail
from harmonia_compiler.runtime.staging import staged
from harmonia_compiler.runtime.weights import locate

LOG = logging.getLogger(__name__)

#: How often a process that is not ready yet is asked, in seconds.
ASK_EVERY_S = 0.2

#: How often another port is tried where somebody took the one that was found free.
PORT_ATTEMPTS = 5


class StartFailed(Exception):
    """A process that was never ready has ended, or was not ready in time."""

    def __init__(self, process: str, reason: str) -> None:
        super().__init__(f"{process}: {reason}")
        self.process, self.reason = process, reason


class Managed:
    """One process of the service over all its lives. `task` is what keeps it up, once somebody does."""

    def __init__(self, spec: Spec, shared: Shared) -> None:
        self.spec, self._shared = spec, shared
        self.name = shared.take_name(spec.name)
        self.task: asyncio.Task[None] | None = None
        first = "its turn to start" if spec.engine else "the replicas"
        self.status = ProcessStatus(self.name, spec.engine, "waiting", time.time(), waiting_for=first)
        self.was_ready = asyncio.Event()
        self._process: Process | None = None
        self._ident: Ident | None = None
        self._scratch: Path | None = None

    async def run(self) -> None:
        """Keep the process up until cancelled; raises `StartFailed` where it does not come up the first time."""
        failures = 0
        while True:
            try:
                ready_for, reason = await self._live()
            except OSError as problem:
                ready_for, reason = 0.0, f"this machine refuses it: {problem.strerror or problem}"
            if not self.was_ready.is_set():
                self._show("failed", waiting_for="")
                raise StartFailed(self.name, reason)
            failures = placing.failures_after(failures, ready_for)
            delay = placing.delay_s(failures)
            self._show("restarting", waiting_for=f"the next start, {delay:g} s after: {reason}")
            LOG.warning("%s: %s; it starts again in %g s", self.name, reason, delay)
            await asyncio.sleep(delay)
            self._show("waiting", restarts=self.status.restarts + 1, waiting_for="its turn to start")

    def serve(self, spec: Spec) -> None:
        """Be a replica of another plan from now on, whose like it is."""
        self.spec = replace(self.spec, name=spec.name, engine=spec.engine, collections=spec.collections, code=spec.code)
        self._show(self.status.phase, engine=spec.engine)

    def drain(self) -> None:
        """Take no further calls: whoever reads the endpoints does not find it any more."""
        self._show("stopping", waiting_for="the calls that it works on")

    def keep(self) -> None:
        """Make its folder for the time of its life anew where somebody cleaned it away, as systems do with old ones."""
        if self._scratch is not None:
            with contextlib.suppress(OSError):
                self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, the grace, SIGKILL; whatever it had started itself goes with it."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        process = self._process
        if process is not None and process.returncode is None:
            self._show("stopping", waiting_for="its end")
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), grace_s)
        await self._clear_away()
        self._show("failed" if self.status.phase == "failed" else "stopped", waiting_for="")
        self._shared.give_name_back(self.name)

    async def _live(self) -> tuple[float, str]:
        """One life, from start to end: for how many seconds it was ready, and why it ended."""
        await self._clear_away()
        try:
            weights = await self._find_weights()
        except Rejected as rejected:
            return 0.0, _writable("; ".join(f"{finding.message} ({finding.help})" for finding in rejected.found))
        except Exception as problem:  # noqa: BLE001 - whatever a folder of the user's holds, the others go on
            LOG.warning("%s: its weights cannot be looked at\n%s", self.name, _writable(format_exc()))
            return 0.0, _writable(f"its weights cannot be looked at: {problem}")
        for _ in range(PORT_ATTEMPTS):
            async with AsyncExitStack() as turns:
                for name in sorted(placing.turns_of(self.spec.devices, _size(weights))):
                    await turns.enter_async_context(self._shared.turn(name))
                reason = await self._start(
                    Folders(self.spec.bundle, self.spec.bundle / "data" / self.spec.data, weights, self.spec.code)
                )
            if reason is None:
                return await self._watch()
            await self._clear_away()
            if not self._lost_its_port():
                break
        return 0.0, reason or "its port was taken each time"

    async def _find_weights(self) -> Path | None:
        if self.spec.launch.model is None:
            return None
        self._show("starting", waiting_for="its weights, which may have to be read or converted once")
        if self.spec.stage is None:
            found = await asyncio.to_thread(locate, self.spec.launch.model)
        else:
            found = await self._stage(self.spec.launch.model, self.spec.stage)
        self._show("waiting", waiting_for="its turn to start")
        return found

    async def _stage(self, model: str, disk: Path) -> Path:
        """Have the weights on a disk of this host; whoever stops this process stops that too."""
        given_up, loop = Event(), asyncio.get_running_loop()

        def tell(what: str) -> None:
            loop.call_soon_threadsafe(partial(self._show, "starting", waiting_for=what))

        try:
            return await asyncio.to_thread(staged, model, disk, tell, given_up)
        finally:
            given_up.set()

    async def _start(self, folders: Folders) -> str | None:
        """Start the process and wait until it is ready; else the reason why it is not."""
        port = self._choose_port()
        if port == self.spec.port and not self.spec.shares_port and not is_free(port):
            return f"port {port} is in use on its machine"
        self._process = await self._spawn(folders, port)
        self._ident = identify(self._process.pid)
        probe, began = self.spec.launch.probe, time.monotonic()
        birth = None if self._ident is None else self._ident.birth
        self._show("starting", pid=self._process.pid, birth=birth, port=port or None, waiting_for=describe(probe, port))
        while (why := await self._ask(port)) is not None or self._process.returncode is not None:
            if self._process.returncode is not None:
                return f"it ended with {describe_exit(self._process.returncode)} before it was ready"
            if time.monotonic() - began > probe.timeout_s:
                return f"{describe(probe, port)} still fails after {probe.timeout_s:g} s: {why}"
            self._show("starting", waiting_for=f"{describe(probe, port)}: {why}")
            await _settles(self._process.wait(), ASK_EVERY_S)
        return await self._prepare(port, began)

    async def _ask(self, port: int) -> str | None:
        """Why it is not ready; None where it is, and not somebody else who answers on a port that the user fixed."""
        why = await ask(self.spec.launch.probe, port)
        if why is None and port == self.spec.port and self._ident is not None:
            own = await asyncio.to_thread(session_of, self._ident)
            if not await asyncio.to_thread(listens, own, port):
                return "somebody else answers there"
        return why

    async def _prepare(self, port: int, began: float) -> str | None:
        """What lies between answering and serving: first calls, collections. Else the reason why not."""
        assert self._process is not None
        probe, expected = self.spec.launch.probe, self.spec.collections
        if probe.warm_up:
            self._show("starting", waiting_for="its first answers, which warm it up")
            await warm_up(probe, port)
        opened = Opened()
        if expected:
            self._show("starting", waiting_for="its collections to be checked and loaded")
            log = self._shared.run.log_of(self.name)
            opened = await open_on(port, expected, basics(self._shared.outer), log)
            if opened.problems:
                return "; ".join(opened.problems)
        if self._process.returncode is not None:
            return f"it ended with {describe_exit(self._process.returncode)} before it was ready"
        self._show("ready", waiting_for="", absent=opened.absent, started_in_s=time.monotonic() - began)
        self.was_ready.set()
        return None

    async def _watch(self) -> tuple[float, str]:
        """Wait for the end of a ready process."""
        assert self._process is not None
        ready_since = time.monotonic()
        with Helpers(self._ident) as helpers:
            code = await self._process.wait()
        ended = describe_exit(code, helpers.first_ended)
        await self._clear_away()
        self._show(self.status.phase, last_exit=ended)
        return time.monotonic() - ready_since, f"it ended with {ended}"

    async def _spawn(self, folders: Folders, port: int) -> Process:
        launch = self.spec.launch
        folders.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = self._shared.logs.open(self.name)
        outer = self._shared.outer
        self._scratch = await asyncio.to_thread(scratch.made_for, folders.bundle, outer)
        if self._scratch is not None:
            outer = {**outer, "TMPDIR": str(self._scratch)}
        return await asyncio.create_subprocess_exec(
            *supervised(command_line(launch, folders, port), self.spec.cpus),
            env=environment_of(launch, folders, self.spec.devices, outer),
            cwd=folders.bundle,
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    async def _clear_away(self) -> None:
        """Leave nothing of the last life: what it started itself would hold its memory and its port."""
        if self._ident is not None:
            kill(await asyncio.to_thread(session_of, self._ident))
        if self._process is not None:
            await self._process.wait()
            await reap(self._process.pid, ORPHAN_GRACE_S)
            code = self._process.returncode
            self._show(self.status.phase, last_exit=describe_exit(code or 0), pid=None, birth=None)
        if self._scratch is not None:
            await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)
        self._process = self._ident = self._scratch = None

    def _choose_port(self) -> int:
        """The port of the last life where it is still free: what clients know stays true. 0 where it needs none."""
        if self.spec.launch.probe.transport == "none":
            return 0
        if self.spec.port is not None:
            return self.spec.port
        known = self.status.port
        if known is not None and is_free(known):
            return known
        port = free_port(self._shared.ports)
        self._shared.ports.add(port)
        return port

    def _lost_its_port(self) -> bool:
        """Whether somebody else took the port between finding and using it."""
        port = self.status.port
        if port is None or self.spec.port is not None:
            return False
        said = "\n".join(tail(self._shared.run.log_of(self.name), 30)).lower()
        return "address already in use" in said and not is_free(port)

    def _show(self, phase: ProcessPhase, **changes: object) -> None:
        since = self.status.since if phase == self.status.phase else time.time()
        shown = msgspec.structs.replace(self.status, phase=phase, since=since, **changes)
        if shown != self.status:
            self.status = shown
            self._shared.changed()


def _writable(reason: str) -> str:
    """The same as text that can be written down: names of files need not be UTF-8."""
    return reason.encode("utf-8", "backslashreplace").decode("utf-8")


def _size(weights: Path | None) -> int:
    return 0 if weights is None else sum(file.stat().st_size for file in weights.rglob("*") if file.is_file())


async def _settles(awaited: Awaitable[object], limit_s: float) -> None:
    """Wait for something, but no longer than this."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(awaited, limit_s)
