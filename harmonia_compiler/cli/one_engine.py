"""Starts the engine of one component on this machine, as target `local` would, for as long as a command needs it."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from harmonia_compiler.contract.card import Card
from harmonia_compiler.contract.component import Engine
from harmonia_compiler.contract.inventory import Inventory
from harmonia_compiler.contract.plan import Configuration
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.kinds.kind import Work
from harmonia_compiler.kinds.registry import kinds
from harmonia_compiler.profile.best import BestProfiles
from harmonia_compiler.profile.detect import detect
from harmonia_compiler.profile.profiles import Asked
from harmonia_compiler.runtime.actuators.supervision import command as commands
from harmonia_compiler.runtime.actuators.supervision import pids
from harmonia_compiler.runtime.actuators.supervision.ending import GRACE_S
from harmonia_compiler.runtime.actuators.supervision.ports import free_port
from harmonia_compiler.runtime.actuators.supervision.probes import ask, describe, warm_up
from harmonia_compiler.runtime.actuators.supervision.tailing import tail
from harmonia_compiler.runtime.weights import locate

#: The work of a call that a configuration is chosen for where nothing is planned.
_USUAL = Work(prompt_tokens=1000.0, output_tokens=100.0)
_ASK_EVERY_S = 0.25
_SHOWN_LINES = 12


def configuration_here(engine: Engine, batch: int | None) -> Configuration:
    """The most of this machine that the engine can use: GPUs where there are any, else all cores.

    With `batch`, for so many calls at once; else for as many as the planner would take at most.
    Raises Rejected where this machine has no room for it.
    """
    here = Inventory((detect().host,))
    options = BestProfiles().offer(Asked(engine, {engine.id: _USUAL}), here).options
    fitting = [each.configuration for each in options if batch is None or each.configuration.batch == batch]
    if not fitting:
        message = f"this machine has no room for engine `{engine.id}`" + (f" with batch {batch}" if batch else "")
        raise Rejected([Diagnostic("E1203", message, help="give another `--batch`, or measure on a larger machine")])
    return max(fitting, key=lambda each: (each.gpus, each.cores if not each.gpu else 0.0, each.batch))


@asynccontextmanager
async def running(
    engine: Engine, card: Card, configuration: Configuration, environment: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """The URL of the engine, once it answers and is warm. It ends when the context does.

    `environment` is what its process sees in place of what its kind says.
    """
    kind = kinds()[engine.kind]
    assert kind.launch is not None, engine
    launch = commands.launch_here(kind.launch(engine, card, configuration))
    launch = replace(launch, environment={**launch.environment, **(environment or {})})
    weights = None if launch.model is None else await asyncio.to_thread(locate, launch.model)
    port = free_port(())
    with tempfile.TemporaryDirectory(prefix="harmoniac-engine-") as folder:
        folders = commands.Folders(Path(folder), Path(folder) / "data", weights)
        log = Path(folder) / "log"
        devices = range(round(configuration.gpus)) if configuration.gpus >= 1 else range(bool(configuration.gpus))
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *commands.supervised(commands.command_line(launch, folders, port), ()),
                env=commands.environment_of(launch, folders, devices, os.environ),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        leader = pids.identify(process.pid)
        try:
            began = time.monotonic()
            while (why := await ask(launch.probe, port)) is not None:
                if process.returncode is not None or time.monotonic() - began > launch.probe.timeout_s:
                    raise _not_started(engine, f"{describe(launch.probe, port)}: {why}", log)
                await asyncio.sleep(_ASK_EVERY_S)
            await warm_up(launch.probe, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            those = [] if leader is None else pids.session_of(leader)
            await asyncio.to_thread(pids.end, those, GRACE_S)
            await process.wait()


def _not_started(engine: Engine, why: str, log: Path) -> Rejected:
    said = "\n".join(tail(log, _SHOWN_LINES))
    help = f"the last lines that it printed:\n{said}" if said else "it printed nothing"
    return Rejected([Diagnostic("E1204", f"engine `{engine.id}` did not start: {why}", help=help)])
