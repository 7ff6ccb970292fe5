"""`harmoniac up`: start a bundle, and say what is waited for until it answers."""

import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harmonia_compiler.cli.exits import DIAGNOSTICS
from harmonia_compiler.cli.options import PATH
from harmonia_compiler.cli.output import print_diagnostics
from harmonia_compiler.runtime.actuators.actuator import (
    Actuator,
    NotStarted,
    ProcessStatus,
    Status,
    Watch,
    found_actuator,
)
from harmonia_compiler.runtime.bundle import read_service

#: How often a process that is still not ready is named again where nobody watches a terminal, in seconds.
_REMIND_S = 10.0

#: Phases in which something happens; the others wait for these.
_UNDER_WAY = ("starting", "restarting", "stopping")

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _seconds(context: click.Context, parameter: click.Parameter, written: str) -> float:
    """`90`, `90s`, `10m`, `1h` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?", written)
    if match is None:
        raise click.BadParameter(f"{written!r} is no duration; write 90s, 10m or 1h", context, parameter)
    return float(match[1]) * _UNITS[match[2] or ""]


@click.command()
@click.argument("bundle", metavar="DIR", default="bundle", type=PATH)
@click.option(
    "--timeout",
    default="10m",
    show_default=True,
    metavar="DURATION",
    callback=_seconds,
    help="How long the start may take.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="The gateway's port; a free one where it is not said.")
@click.option("--reembed", is_flag=True, help="Start although a collection was built otherwise, to build it anew.")
@click.option("--foreground", is_flag=True, help="Stay until Ctrl-C, then stop the service.")
@click.pass_context
def command(
    context: click.Context, bundle: Path, timeout: float, port: int | None, *, reembed: bool, foreground: bool
) -> None:
    """Start the bundle in DIR and return once every process answers.

    The service goes on after this command: `harmoniac down DIR` stops it. Where it already runs, nothing is started.
    """
    actuator = found_actuator(bundle)
    findings = actuator.preflight(bundle, port=port)
    print_diagnostics(findings)
    if any(finding.is_error for finding in findings):
        context.exit(DIAGNOSTICS)
    began = time.monotonic()
    try:
        with _progress() as watch:
            started = actuator.start(bundle, port=port, reembed=reembed, timeout_s=timeout, watch=watch)
    except NotStarted as failure:
        _print_log(failure)
        raise
    status = actuator.status(bundle)
    if started:
        click.echo(f"ready after {time.monotonic() - began:.1f} s: {status.url}/v1")
        absent = frozenset(collection for process in status.processes for collection in process.absent)
    else:
        click.echo(f"already running: {status.url}/v1")
        # The state knows how things stood when a process started; documents may have come since.
        absent = actuator.absent(bundle)
    _print_next(bundle, absent, reembed=reembed)
    if foreground:
        _stay(actuator, bundle)


@contextmanager
def _progress() -> Iterator[Watch]:
    """A table that keeps itself current on a terminal, lines elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield _Lines()
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield lambda status: live.update(_table(status.processes))


def _table(processes: tuple[ProcessStatus, ...]) -> Table:
    table = Table("", "process", "state", "since", "waiting for", box=None, pad_edge=False)
    now = time.time()
    for process in processes:
        mark = Text("✓", "green") if process.phase == "ready" else Text("·", "yellow")
        since = f"{max(0.0, now - process.since):.0f} s"
        table.add_row(mark, Text(process.name), process.phase, since, Text(process.waiting_for))
    return table


class _Lines:
    """One line for each change of a process, and a reminder of what is still waited for."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._reminded = time.monotonic()

    def __call__(self, status: Status) -> None:
        """Print what is new."""
        remind = time.monotonic() - self._reminded > _REMIND_S
        for process in status.processes:
            changed = self._shown.get(process.name) != process.phase
            if changed or (remind and process.phase in _UNDER_WAY):
                passed = "" if changed else f" for {time.time() - process.since:.0f} s"
                waits = f", waits for {process.waiting_for}" if process.waiting_for else ""
                print(f"up: {process.name} {process.phase}{passed}{waits}", file=sys.stderr, flush=True)
            self._shown[process.name] = process.phase
        if remind:
            self._reminded = time.monotonic()


def _print_log(failure: NotStarted) -> None:
    if failure.said:
        click.echo(f"the last lines of {failure.process}'s log:", err=True)
        for line in failure.said:
            click.echo(f"  | {line}", err=True)


def _print_next(bundle: Path, absent: frozenset[str], *, reembed: bool) -> None:
    service = read_service(bundle)
    components = {name: made for program in service.programs.values() for name, made in program.components.items()}
    fill = [name for name, made in components.items() if made.settings.get("collection") in absent]
    if fill:
        anew = " --reembed" if reembed else ""
        step = f"harmoniac ingest PATH... --component {fill[0]} --service {bundle}{anew}"
        click.echo(f"`{fill[0]}` has nothing to search yet; next: {step}")
    else:
        click.echo(f'next: harmoniac ask "..." --service {bundle}')


def _stay(actuator: Actuator, bundle: Path) -> None:
    """Until the service is taken down or somebody presses Ctrl-C; say what happens to its processes."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    lines = _Lines()
    try:
        while (status := actuator.status(bundle)).phase != "down":
            lines(status)
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("stopping", err=True)
        actuator.stop(bundle)
