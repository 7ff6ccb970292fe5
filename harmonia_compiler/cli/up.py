"""`harmoniac up`: start a bundle, and say what is waited for until it answers."""

import contextlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from harmonia_compiler.cli.exits import DIAGNOSTICS
from harmonia_compiler.cli.fetching import fetched
from harmonia_compiler.cli.options import PATH, WholeRange
from harmonia_compiler.cli.output import print_diagnostics
from harmonia_compiler.cli.progress import Lines, progress, timeout_option
from harmonia_compiler.cli.replacing import print_log, replaced, replacing, share_of
from harmonia_compiler.cli.stopping import stopped_as_by_hand
from harmonia_compiler.diagnostics.render import visible
from harmonia_compiler.diagnostics.shell import shell_word
from harmonia_compiler.runtime.actuators.actuator import (
    NOTHING_LEFT,
    Actuator,
    NotStarted,
    Status,
    Watch,
    found_actuator,
)
from harmonia_compiler.runtime.bundle import read_service


@click.command()
@click.argument("bundle", metavar="DIR", default="bundle", type=PATH)
@timeout_option
@click.option("--port", type=WholeRange(1, 65535), help="The gateway's port; a free one where it is not said.")
@click.option("--reembed", is_flag=True, help="Start although a collection was built otherwise, to build it anew.")
@click.option("--fetch", is_flag=True, help="Download the weights that are not here from the hub first (HF_TOKEN).")
@click.option("--foreground", is_flag=True, help="Stay until Ctrl-C, then stop the service.")
@click.option("--over", metavar="SERVICE", type=PATH, help="Take the place of the service that runs in this folder.")
@click.option("--canary", metavar="SHARE", callback=share_of, help="With --over: of new requests only 5%, say.")
@click.option("--make-room", is_flag=True, help="With --over: end what runs first where both do not fit.")
@click.option("--promote", is_flag=True, help="Have the bundle that serves a part over DIR serve all requests.")
@click.pass_context
def command(
    context: click.Context,
    bundle: Path,
    timeout: float,
    port: int | None,
    over: Path | None,
    canary: float | None,
    *,
    reembed: bool,
    fetch: bool,
    foreground: bool,
    make_room: bool,
    promote: bool,
) -> None:
    """Start the bundle in DIR and return once every process answers.

    The service goes on after this command: `harmoniac down DIR` stops it. Where it already runs, nothing is started.

    With --over SERVICE, the bundle in DIR takes the place of the one that runs there, without an error for anybody:
    each request ends on the Program that it began with. `harmoniac rollback SERVICE` goes back.
    """
    _check_together(
        over, canary, promote=promote, make_room=make_room, starts=reembed or fetch or foreground or port is not None
    )
    if over is not None or promote:
        with progress() as watch:
            _replace(bundle, over, canary, make_room=make_room, timeout_s=timeout, watch=watch)
        return
    with stopped_as_by_hand():
        _start(context, bundle, timeout, port, reembed=reembed, fetch=fetch, foreground=foreground)


def _start(
    context: click.Context,
    bundle: Path,
    timeout_s: float,
    port: int | None,
    *,
    reembed: bool,
    fetch: bool,
    foreground: bool,
) -> None:
    actuator = found_actuator(bundle)
    if fetch:
        fetched(actuator.models(bundle))
    findings = actuator.preflight(bundle, port=port)
    print_diagnostics(findings)
    if any(finding.is_error for finding in findings):
        context.exit(DIAGNOSTICS)
    began = time.monotonic()
    try:
        with progress() as watch:
            started = actuator.start(bundle, port=port, reembed=reembed, timeout_s=timeout_s, watch=watch)
    except NotStarted as failure:
        print_log(failure)
        raise
    except KeyboardInterrupt:
        click.echo(_left(actuator, bundle), err=True)
        raise
    try:
        _tell(actuator, bundle, time.monotonic() - began, started=started, reembed=reembed)
        if foreground:
            _stay(actuator, bundle)
    except KeyboardInterrupt:
        # Until this command has said that the service is there and has ended, the service is its own to stop.
        if not started and not foreground:
            raise
        _stop(actuator, bundle)
        if not foreground:
            raise


def _left(actuator: Actuator, bundle: Path) -> str:
    """What is left of a start that was interrupted."""
    status = actuator.status(bundle)
    if status == NOTHING_LEFT:
        return "interrupted: what had been started is stopped again"
    # Somebody else's, one that is taken over, or what a second Ctrl-C left: who looks after it knows.
    named, why = shell_word(bundle), "".join(f" ({visible(note)})" for note in status.notes)
    return (
        f"interrupted, and not all is stopped{why}: `harmoniac status {named}` says how it is, "
        f"`harmoniac down {named}` ends it"
    )


def _tell(actuator: Actuator, bundle: Path, took_s: float, *, started: bool, reembed: bool) -> None:
    """Where the service is, and what to do next."""
    status = actuator.status(bundle)
    if started:
        click.echo(f"ready after {took_s:.1f} s: {_where(status)}")
    else:
        click.echo(f"already running: {_where(status)}")
    for note in status.notes:
        click.echo(visible(note))
    if status.url:
        # The state knows how things stood when a process started; documents may have come since, also while others did.
        _print_next(bundle, actuator.absent(bundle), reembed=reembed)


def _where(status: Status) -> str:
    """Where the service answers; of a plan over several hosts, its gateway is on one of them."""
    return f"{status.url}/v1" if status.url else "this host's part of the service"


def _check_together(over: Path | None, canary: float | None, *, promote: bool, make_room: bool, starts: bool) -> None:
    """Raise a usage error where options do not go together."""
    if promote and (over is not None or canary is not None or make_room):
        raise click.UsageError("--promote takes no other option than --timeout: it says what to do with what is there")
    if over is None and (canary is not None or make_room):
        raise click.UsageError("--canary and --make-room need --over SERVICE, the folder of the service to replace")
    if starts and (over is not None or promote):
        raise click.UsageError(
            "--port, --reembed, --fetch and --foreground are for a start; a service that runs keeps its own"
        )


def _replace(
    bundle: Path, over: Path | None, canary: float | None, *, make_room: bool, timeout_s: float, watch: Watch
) -> None:
    if over is None:
        actuator = replacing(bundle)
        replaced(bundle, partial(actuator.promote, bundle, timeout_s=timeout_s, watch=watch))
        return
    share = 1.0 if canary is None else canary
    asked = partial(replacing(over).replace, over, bundle, share=share, make_room=make_room, timeout_s=timeout_s)
    replaced(over, partial(asked, watch=watch))


def _print_next(bundle: Path, absent: frozenset[str], *, reembed: bool) -> None:
    service = read_service(bundle)
    components = {name: made for program in service.programs.values() for name, made in program.components.items()}
    # Of several components with one collection, any will do.
    fill: dict[Any, str] = {}
    for name, made in components.items():
        if made.settings.get("collection") in absent:
            fill.setdefault(made.settings["collection"], name)
    if fill:
        anew, nothing = (" --reembed", "nothing yet that is embedded so") if reembed else ("", "nothing to search yet")
        for name in fill.values():
            step = f"harmoniac ingest PATH... --component {name} --service {shell_word(bundle)}{anew}"
            click.echo(f"`{name}` has {nothing}; next: {step}")
    else:
        click.echo(f'next: harmoniac ask "..." --service {shell_word(bundle)}')


def _stay(actuator: Actuator, bundle: Path) -> None:
    """Until the service is taken down, or Ctrl-C stops it; say what happens to its processes."""
    lines = Lines()
    # This process's own folder stays the bundle's where that is moved.
    with contextlib.chdir(bundle):
        try:
            while (here := _here()) is not None and (status := actuator.status(here)).phase != "down":
                lines(status)
                time.sleep(0.5)
        except KeyboardInterrupt:
            if (here := _here()) is not None:
                _stop(actuator, here)


def _here() -> Path | None:
    """The folder of this process; None where it has been removed."""
    with contextlib.suppress(FileNotFoundError):
        return Path.cwd()
    return None


def _stop(actuator: Actuator, bundle: Path) -> None:
    click.echo("stopping", err=True)
    actuator.stop(bundle)
