"""What commands show while processes come up: a table on a terminal, lines elsewhere; and how long they wait."""

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harmonia_compiler.diagnostics.render import visible
from harmonia_compiler.runtime.actuators.actuator import ProcessStatus, Status, Watch

#: How often a process that is still not ready is named again where nobody watches a terminal, in seconds.
_REMIND_S = 10.0

#: Phases in which something happens; the others wait for these.
_UNDER_WAY = ("starting", "restarting", "stopping")

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def _seconds(context: click.Context, parameter: click.Parameter, written: str) -> float:
    """`90`, `90s`, `10m`, `1h` in seconds."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h)?", written)
    if match is None:
        raise click.BadParameter(f"{written!r} is no duration; write 90s, 10m or 1h", context, parameter)
    return float(match[1]) * _UNITS[match[2] or ""]


#: How long a start may take.
timeout_option = click.option(
    "--timeout",
    default="10m",
    show_default=True,
    metavar="DURATION",
    callback=_seconds,
    help="How long the start may take.",
)


@contextmanager
def progress() -> Iterator[Watch]:
    """A table that keeps itself current on a terminal, lines elsewhere."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield Lines()
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield lambda status: live.update(_table(status.processes, status.notes))


def _table(processes: tuple[ProcessStatus, ...], notes: tuple[str, ...] = ()) -> Table:
    table = Table("", "process", "state", "since", "waiting for", box=None, pad_edge=False)
    table.caption = Text("\n".join(map(visible, notes))) if notes else None
    now = time.time()
    for process in processes:
        mark = Text("✓", "green") if process.phase == "ready" else Text("·", "yellow")
        since = f"{max(0.0, now - process.since):.0f} s"
        table.add_row(mark, Text(process.name), process.phase, since, Text(visible(process.waiting_for)))
    return table


class Lines:
    """One line for each change of a process, and each note, and a reminder of what is still waited for."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._noted: set[str] = set()
        self._reminded = time.monotonic()

    def __call__(self, status: Status) -> None:
        """Print what is new."""
        remind = time.monotonic() - self._reminded > _REMIND_S
        for note in status.notes:
            if note not in self._noted:
                print(f"up: {visible(note)}", file=sys.stderr, flush=True)
            self._noted.add(note)
        for process in status.processes:
            changed = self._shown.get(process.name) != process.phase
            if changed or (remind and process.phase in _UNDER_WAY):
                passed = "" if changed else f" for {time.time() - process.since:.0f} s"
                waits = f", waits for {visible(process.waiting_for)}" if process.waiting_for else ""
                print(f"up: {process.name} {process.phase}{passed}{waits}", file=sys.stderr, flush=True)
            self._shown[process.name] = process.phase
        if remind:
            self._reminded = time.monotonic()
