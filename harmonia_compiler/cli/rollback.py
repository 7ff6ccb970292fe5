"""`harmoniac rollback`: let a running service be again what it was."""

from functools import partial
from pathlib import Path

import click

from harmonia_compiler.cli.options import PATH
from harmonia_compiler.cli.progress import progress, timeout_option
from harmonia_compiler.cli.replacing import replaced, replacing


@click.command()
@click.argument("bundle", metavar="DIR", default="bundle", type=PATH)
@timeout_option
def command(bundle: Path, timeout: float) -> None:
    """Have the service of the bundle in DIR serve again what it served before `up --over` replaced it.

    Where another bundle serves a part of the requests, or is on its way, that one is ended and the service stays.
    No request is cut off: each ends on the Program that it began with.
    """
    with progress() as watch:
        replaced(bundle, partial(replacing(bundle).roll_back, bundle, timeout_s=timeout, watch=watch))
