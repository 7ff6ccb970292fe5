"""`harmoniac check`: say what is wrong with `.rag` files, or that nothing is."""

from pathlib import Path

import click

from harmonia_compiler.check.files import Checked, check_files
from harmonia_compiler.cli.exits import DIAGNOSTICS
from harmonia_compiler.cli.options import files_argument, format_option, settings_option
from harmonia_compiler.cli.output import findings_document, print_diagnostics, print_json


@click.command()
@files_argument
@settings_option
@format_option
@click.pass_context
def command(context: click.Context, files: tuple[Path, ...], settings: dict[str, str], form: str) -> None:
    """Check FILEs and all that they import.

    Nothing that a file names is imported, run or fetched.
    """
    checked = check_files(files, settings)
    if form == "json":
        print_json(findings_document(checked.found, checked.left_out, ok=checked.application is not None))
    else:
        print_diagnostics(checked.found, checked.left_out)
        if checked.application is not None:
            click.echo(_summary(files, checked))
    if checked.application is None:
        context.exit(DIAGNOSTICS)


def _summary(files: tuple[Path, ...], checked: Checked) -> str:
    assert checked.application is not None
    if not checked.application.flows:
        return f"{', '.join(str(file) for file in files)}: fine, and without a pipeline: nothing in it is served"
    counts = [
        _counted(len(checked.application.flows), "pipeline"),
        _counted(len(checked.application.components), "component"),
        _counted(len(checked.application.engines), "engine"),
    ]
    return f"{', '.join(str(file) for file in files)}: fine ({', '.join(counts)})"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
