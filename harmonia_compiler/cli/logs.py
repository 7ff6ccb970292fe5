"""`harmoniac logs`: what the processes of a bundle wrote."""

from pathlib import Path

import click

from harmonia_compiler.cli.exits import UNREAD
from harmonia_compiler.cli.options import PATH, WholeRange
from harmonia_compiler.cli.streams import is_unread
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import nearest
from harmonia_compiler.runtime.actuators.actuator import found_actuator


@click.command()
@click.argument("bundle", metavar="DIR", type=PATH)
@click.argument("name", required=False)
@click.option("--lines", default=20, show_default=True, type=WholeRange(0), help="How many of the last lines.")
@click.option("--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.pass_context
def command(context: click.Context, bundle: Path, name: str | None, lines: int, *, follow: bool) -> None:
    """Show what the process NAME of the bundle in DIR wrote since it was last started, or what all of them did."""
    actuator = found_actuator(bundle)
    names = actuator.log_names(bundle)
    if name is not None and name not in names:
        near = nearest(name, names)
        step = f"did you mean `{near}`?" if near else f"there are {', '.join(f'`{known}`' for known in names)}"
        raise Rejected([Diagnostic("E0915", f"no process of this bundle is called `{name}`", help=step)])
    width = max(len(known) for known in names)
    for writer, line in actuator.log(bundle, names if name is None else [name], lines=lines, follow=follow):
        click.echo(line if name is not None else f"{writer:<{width}} | {line}")
        if follow and is_unread():
            context.exit(UNREAD)
