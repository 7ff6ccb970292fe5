"""What the launchers of a service's processes have in common: one process of ours kept up, said, and ended as asked."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

from harmonia_compiler.contract.slurm import JOB, SlurmJob, SlurmSite
from harmonia_compiler.diagnostics.diagnostic import Rejected
from harmonia_compiler.runtime.actuators.slurm.folder import ProcessFolder, SharedFolder
from harmonia_compiler.runtime.actuators.supervision import pids
from harmonia_compiler.runtime.actuators.supervision.ending import FAILED, GRACE_S
from harmonia_compiler.runtime.actuators.supervision.logs import Logs
from harmonia_compiler.runtime.actuators.supervision.managed import Managed
from harmonia_compiler.runtime.actuators.supervision.rundir import RunDirectory
from harmonia_compiler.runtime.actuators.supervision.scaling import DRAIN_S
from harmonia_compiler.runtime.actuators.supervision.spec import Shared, Spec
from harmonia_compiler.runtime.actuators.supervision.turns import Turns, turns_on_machine
from harmonia_compiler.runtime.bundle import LocalBundle, read_document, read_local_bundle
from harmonia_compiler.runtime.stderr import unbuffered

LOG = logging.getLogger(__name__)

#: What the job itself is called among its processes: its log is what the batch script wrote.
JOB_LOG = "job"
#: How often files are looked at, in seconds.
LOOK_EVERY_S = 0.3
#: How long the folder of a life must be away until its processes take it for ended, in seconds.
OVER_S = 3.0
#: How long the gateway has for what it works on where the service ends, in seconds, and until it has ended itself.
GATEWAY_DRAIN_S, GATEWAY_GRACE_S = GRACE_S - 1.0, GRACE_S + 5.0


def longest_drain_s(site: SlurmSite) -> int:
    """How long at most a gateway that has handed over ends what it has begun: as long as its job may last."""
    return max(round(DRAIN_S), site.wall_time_s)


def read_job(bundle: Path) -> tuple[LocalBundle, SlurmJob]:
    """All documents of a bundle of this target; raises `Rejected` where they do not say the same."""
    return read_local_bundle(bundle, JOB), read_document(bundle, JOB, SlurmJob)


def kept(spec: Spec, folder: SharedFolder, life: str, changed: Callable[[], None]) -> Managed:
    """One process on this node, which is asked on this node's loopback; nothing of it runs yet."""
    run = RunDirectory(spec.bundle)
    return Managed(spec, Shared(run, Logs(run), folder.environment(), changed, _turns(folder, life)))


def _turns(folder: SharedFolder, life: str) -> Turns:
    """Turns of those that a life has on this node: GPUs are numbered within a job."""
    return turns_on_machine(folder.token(), f"{life} {os.environ.get('SLURMD_NODENAME', '')}")


@contextlib.asynccontextmanager
async def alone(folder: SharedFolder, life: str, name: str, told: "asyncio.Task[str]") -> AsyncIterator[bool]:
    """The only launcher of a process on this node, once an earlier one has gone, which Slurm may have lost.

    False where it is told to end before.
    """
    async with contextlib.AsyncExitStack() as stack:
        turn = asyncio.create_task(stack.enter_async_context(_turns(folder, life)(f"launcher of {name}")))
        await asyncio.wait([turn, told], return_when=asyncio.FIRST_COMPLETED)
        if turn.done():
            turn.result()
            yield True
            return
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        yield False


class Ending:
    """Sees that the life of a process is over.

    Slurm ends nothing on a node that it has given up: there it is seen in the shared folder alone.
    """

    def __init__(self, folder: SharedFolder, life: str) -> None:
        self._folder, self._life = folder, life
        self._seen = time.monotonic()

    async def is_over(self) -> bool:
        """Whether it is, and was when this was asked before."""
        if not await asyncio.to_thread(self._folder.is_over, self._life):
            self._seen = time.monotonic()
            return False
        return time.monotonic() - self._seen > OVER_S

    async def told(self, mine: ProcessFolder, stop: asyncio.Event) -> str:
        """How a process is to end, once it is: `drain`, `now`, or nothing where a signal said so."""
        while not stop.is_set():
            if asked := await asyncio.to_thread(mine.stop_asked):
                return asked
            if await self.is_over():
                return "now"
            await asyncio.sleep(LOOK_EVERY_S)
        return ""


def signalled() -> asyncio.Event:
    """Set once somebody tells this process to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def written(write: Callable[..., None], *what: object) -> bool:
    """Whether something could be written into the shared folder; one that does not answer now may in a moment."""
    with contextlib.suppress(OSError):
        await asyncio.to_thread(write, *what)
        return True
    return False


def main(name: str, serve: Callable[[], Coroutine[None, None, int]]) -> int:
    """Run one of these programs to its end and give its exit code; a problem is one line."""
    logging.basicConfig(format=f"%(asctime)s {name}: %(message)s", level=logging.INFO, stream=unbuffered())
    pids.adopt_orphans()

    try:
        return asyncio.run(serve())
    except (OSError, Rejected) as problem:
        LOG.error("%s", problem)  # noqa: TRY400 - it is a user's matter, and no bug of ours
        return FAILED
