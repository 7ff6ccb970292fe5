"""Everything that the command prints about findings and bugs, in text or JSON."""

import os
import sys
import traceback
from collections.abc import Iterable

import click

from harmonia_compiler.diagnostics.diagnostic import Diagnostic
from harmonia_compiler.diagnostics.render import render


def wants_colour() -> bool:
    """Colour only for a person at a terminal who has not set NO_COLOR."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def print_diagnostics(found: Iterable[Diagnostic]) -> None:
    """Findings to stderr, one frame each."""
    for item in found:
        click.echo(render(item, colour=wants_colour()), err=True)


def print_bug(bug: Exception) -> None:
    """A failure of ours: say so, and give what a report needs."""
    click.echo("".join(traceback.format_exception(bug)), err=True, nl=False)
    click.echo("harmoniac: this is a bug in harmoniac, not in your files; please report it with the lines above", err=True)
