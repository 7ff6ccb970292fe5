"""What commands that report on a workload have in common: which part of it counts, and how the report is given."""

import dataclasses
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import click

from harmonia_compiler.cli.arriving import Asked, Workload, duration_option
from harmonia_compiler.cli.options import OUT_FILE
from harmonia_compiler.cli.outputs import is_no_file, write_output
from harmonia_compiler.contract.duration import shown_ms
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.report.document import Report, encode_report
from harmonia_compiler.report.measures import Window
from harmonia_compiler.report.page import as_page
from harmonia_compiler.report.text import as_text
from harmonia_compiler.workload.request import Arrival

Command = TypeVar("Command", bound=Callable[..., Any])

#: The part of a run that is warm-up where nobody says, and the most that it is then.
WARMUP_PART, WARMUP_MOST_MS = 0.1, 30_000.0
_WIDTH = 140


def warmup_option(command: Command) -> Command:
    """`--warmup DURATION`: gives the command milliseconds, or None where `window_of` shall decide."""
    help = "What does not count: a tenth of the run, 30s at most."
    return duration_option("--warmup", "warmup_ms", zero=True, help=help)(command)


def html_option(command: Command) -> Command:
    """`--html FILE`; that it can be written is known before the run, which leaves no file where it gives no report."""
    help = "Write the report as a page as well."
    return click.option("--html", type=OUT_FILE, callback=_writable, help=help)(command)


def _writable(_context: click.Context, _parameter: click.Parameter, given: Path | None) -> Path | None:
    if given is not None and not is_no_file(given):
        is_new = not given.exists() and not given.is_symlink()
        given.open("a", encoding="utf-8").close()
        if is_new:
            given.unlink()
    return given


def at_rate(asked: Asked, declared_rps: float) -> Asked:
    """What is asked for, at the declared loads where neither a rate nor a trace is given."""
    if asked.rate is not None or asked.trace is not None or declared_rps <= 0.0:
        return asked
    return dataclasses.replace(asked, rate=declared_rps)


def window_of(end_ms: float, warmup_ms: float | None) -> Window:
    """What counts of a run: all but its warm-up."""
    before = min(WARMUP_PART * end_ms, WARMUP_MOST_MS) if warmup_ms is None else warmup_ms
    if before >= end_ms:
        raise click.UsageError("--warmup is as long as the whole run: shorten it, or let requests come --for longer")
    return Window(before, end_ms)


def counted(coming: Workload, warmup_ms: float | None) -> tuple[Workload, Window]:
    """The requests that come, and which part of the run counts. Raises Rejected where none comes in that."""
    window = window_of(coming.end_ms, warmup_ms)
    taken: list[Arrival] = []
    for one in coming.arrivals:
        taken.append(one)
        if window.holds(one.at_ms):
            return dataclasses.replace(coming, arrivals=chain(taken, coming.arrivals)), window
    message = f"no request comes in the {shown_ms(1000.0 * window.seconds)} that count"
    help_ = "let them come for longer with --for, or let all of them count with --warmup 0s"
    raise Rejected([Diagnostic("E1307", message, help=help_)])


def print_report(report: Report, form: str, html: Path | None) -> None:
    """The report to stdout as text or JSON, and to a file as a page."""
    if form == "json":
        click.echo(encode_report(report), nl=False)
    else:
        click.echo(as_text(report, _WIDTH), nl=False)
    # What a disk that is full by now refuses would not be measured again.
    if html is not None:
        write_output(html, as_page(report).encode())
