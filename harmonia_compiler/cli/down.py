"""`harmoniac down`: stop a bundle and leave nothing of it running."""

from pathlib import Path

import click

from harmonia_compiler.cli.options import PATH
from harmonia_compiler.diagnostics.render import visible
from harmonia_compiler.runtime.actuators.actuator import found_actuator


@click.command()
@click.argument("bundle", metavar="DIR", default="bundle", type=PATH)
def command(bundle: Path) -> None:
    """Stop the service of the bundle in DIR: the gateway first, which finishes what it has begun, then the rest.

    Data and logs stay. Where nothing runs, nothing happens.
    """
    stopped = found_actuator(bundle).stop(bundle)
    shown = visible(str(bundle))
    click.echo(f"{shown} is down" if stopped else f"{shown} was not running")
