"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def files_argument(command: Command) -> Command:
    """`FILE...`: the `.rag` files whose pipelines are served. Whether they exist is for checking to say."""
    return click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))(command)


def format_option(command: Command) -> Command:
    """`--format text|json`."""
    help = "For people, or one JSON document."
    option = click.option(
        "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help=help
    )
    return option(command)


def settings_option(command: Command) -> Command:
    """`--set name=value`, as often as there are settings: gives the command a dictionary of texts."""
    help = 'A value for `setting("NAME")`; may be given several times.'
    option = click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, callback=_settings, help=help)
    return option(command)


def inputs_option(command: Command) -> Command:
    """`--set name=value`, as often as there are inputs: gives the command a dictionary of texts."""
    help = "Another input; JSON where it is no text. May be given several times."
    option = click.option("--set", "inputs", metavar="NAME=VALUE", multiple=True, callback=_settings, help=help)
    return option(command)


def _settings(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", context, parameter)
        if name in settings:
            raise click.BadParameter(f"{name} is given twice", context, parameter)
        settings[name] = value
    return settings
