"""Has the collections of a Milvus that has just started checked and loaded, outside the supervisor's process."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from harmonia_compiler.contract.bundle import Service
from harmonia_compiler.contract.collection import CollectionRecord
from harmonia_compiler.runtime.actuators.supervision.ports import LOOPBACK
from harmonia_compiler.runtime.modules import module_command

#: What is said of a collection that was built otherwise; whoever started its store knows what to do about it.
UNFIT = "cannot serve this plan"


class Expected(msgspec.Struct, frozen=True):
    """A collection that pipelines search, and what it must have been built with.

    One that differs is refused, or where it `may_differ` left unloaded until it is built anew.
    """

    collection: str
    record: CollectionRecord
    may_differ: bool = False


class Opened(msgspec.Struct, frozen=True):
    """`problems` are sentences that speak against serving.

    `absent` are the collections still to be ingested, for the first time or anew.
    """

    problems: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


def expected_of(service: Service, engine: str, *, may_differ: bool) -> list[Expected]:
    """What a Milvus must hold for the pipelines that search it."""
    components = [made for program in service.programs.values() for made in program.components.values()]
    searched = {str(made.settings["collection"]) for made in components if made.engine == engine}
    found = service.collections.items()
    return [Expected(name, record, may_differ) for name, record in found if name in searched]


async def open_on(port: int, expected: Sequence[Expected], environment: Mapping[str, str], log: Path | None) -> Opened:
    """Run `opening` against the Milvus on a port; what it prints beside its answer goes into the log, if there is one.

    Raises OSError where the log cannot be written.
    """
    with ExitStack() as open_file:
        errors = DEVNULL if log is None else open_file.enter_context(log.open("ab"))
        process = await asyncio.create_subprocess_exec(
            *module_command("harmonia_compiler.runtime.actuators.supervision.opening", f"http://{LOOPBACK}:{port}"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=errors,
            env=environment,
        )
    try:
        said, _ = await process.communicate(msgspec.json.encode(expected))
    except asyncio.CancelledError:
        process.kill()
        # It is seen to end, since this loop may end next.
        await process.wait()
        raise
    try:
        return msgspec.json.decode(said, type=Opened)
    except msgspec.MsgspecError:
        return Opened(("its collections could not be checked",))
