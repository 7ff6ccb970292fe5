"""`harmoniac status`: what of a bundle runs, and how well."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harmonia_compiler.cli.exits import DIAGNOSTICS
from harmonia_compiler.cli.options import PATH, format_option
from harmonia_compiler.cli.output import print_json
from harmonia_compiler.cli.replacing import told
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus, Status, found_actuator
from harmonia_compiler.runtime.bundle import is_cut_off

FORMAT_VERSION = 1


@click.command()
@click.argument("bundle", metavar="DIR", default="bundle", type=PATH)
@format_option
@click.pass_context
def command(context: click.Context, bundle: Path, form: str) -> None:
    """Show every process of the bundle in DIR. Exits 0 when all are ready, else 1."""
    actuator = found_actuator(bundle)
    status = _as_now(actuator.status(bundle), lambda: actuator.absent(bundle))
    if is_cut_off(bundle):
        note = "its last compilation was cut off, so that it cannot be started: compile it again"
        status = msgspec.structs.replace(status, notes=(*status.notes, note))
    if form == "json":
        print_json({"format_version": FORMAT_VERSION, "ready": status.ready, **msgspec.to_builtins(status)})
    else:
        _print(status, bundle)
    if not status.ready:
        context.exit(DIAGNOSTICS)


def _as_now(status: Status, absent: Callable[[], frozenset[str]]) -> Status:
    """The status without the collections that were ingested since their store started, which tells what it saw then."""
    if status.phase != "running" or not any(process.absent for process in status.processes):
        return status
    left = absent()
    processes = (
        msgspec.structs.replace(process, absent=tuple(name for name in process.absent if name in left))
        for process in status.processes
    )
    return msgspec.structs.replace(status, processes=tuple(processes))


def _print(status: Status, bundle: Path) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(Text(f"{status.phase}: {status.url}/v1" if status.url and status.processes else status.phase))
    if status.failure is not None:
        console.print(Text(f"{status.failure.process} did not become ready: {status.failure.reason}"))
    for note in (*status.notes, *told(status, bundle)):
        console.print(Text(note))
    if status.processes:
        console.print(_table((*status.processes, *status.beside)))
    if status.said is not None:
        console.print(Text(f"The controller, {_duration(time.time() - status.said.at)} ago:"))
        for reason in status.said.reasons:
            console.print(Text("  " + (f"{reason.about}: " if reason.about else "") + reason.why))


def _table(processes: tuple[ProcessStatus, ...]) -> Table:
    table = Table("process", "state", "for", "pid", "port", "restarts", "last exit", "waiting for", box=SIMPLE)
    for process in processes:
        table.add_row(
            Text(process.name),
            process.phase,
            _duration(time.time() - process.since),
            "" if process.pid is None else str(process.pid),
            "" if process.port is None else str(process.port),
            str(process.restarts),
            process.last_exit,
            Text(process.waiting_for),
        )
    return table


def _duration(seconds: float) -> str:
    """`41 s`, `3 min`, `5 h`, `2 d`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
