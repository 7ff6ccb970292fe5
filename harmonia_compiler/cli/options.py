"""Options that several commands share."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected

Command = TypeVar("Command", bound=Callable[..., Any])


class GivenPath(click.Path):
    """A path. Whether there is something, and who may read it, is for whoever opens it to say, with a next step.

    By itself click would refuse what may not be read as wrong usage. An empty path, most often an unset variable of a
    script, would be the current folder to whoever opens it. What is to be `written` is not called `-`: who gives that
    means stdout, where a command prints what it has to say.
    """

    def __init__(
        self, instead: str = "for the current folder, give `.`", *, dir_okay: bool = True, written: bool = False
    ) -> None:
        """`instead` is what to give in place of an empty path."""
        super().__init__(path_type=Path, readable=False, dir_okay=dir_okay)
        self.instead = instead
        self.written = written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; raises Rejected where it is empty, or `-` for what is written."""
        where = "" if param is None else f" for {param.get_error_hint(ctx)}".replace("'", "`")
        if not os.fspath(value):
            raise Rejected([Diagnostic("E1133", f"an empty path was given{where}", help=self.instead)])
        if self.written and os.fspath(value) == "-":
            message = f"`-` was given{where}, which is written beside what goes to stdout"
            raise Rejected([Diagnostic("E1133", message, help=f"{self.instead}; `./-` is one of that name")])
        return super().convert(value, param, ctx)


class OutFile(GivenPath):
    """A file to write. That it is no folder is known before the work."""

    def __init__(self) -> None:
        super().__init__("name the file to write", dir_okay=False, written=True)


PATH = GivenPath()
#: A file to read. That it is no folder is for whoever reads it to say.
IN_FILE = GivenPath("name a file")
OUT_FILE = OutFile()
#: A path of which it matters how it was written.
WRITTEN_PATH = click.Path(readable=False)


class NumberRange(click.FloatRange):
    """A number within bounds.

    NaN is none: it is neither below nor above any, and click would take it; nor are the digits of another script.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number, if it is one within them."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number) or not str(value).isascii():
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class WholeRange(click.IntRange):
    """A whole number within bounds, in digits of ASCII: click takes those of any script."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, if it is one within them."""
        if not str(value).isascii():
            self.fail(f"{value!r} is not a whole number", param, ctx)
        return int(super().convert(value, param, ctx))


class InventoryPath(GivenPath):
    """The inventory to plan for; who has none is told how to come by one."""

    def __init__(self) -> None:
        super().__init__("`harmoniac inventory detect > here.toml` makes an inventory")

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:  # noqa: ARG002
        """What follows on that it is missing."""
        return "Have one written for this machine: harmoniac inventory detect > here.toml"


def files_argument(command: Command) -> Command:
    """`FILE...`: the `.rag` files whose pipelines are served. Whether they exist is for checking to say."""
    return click.argument("files", metavar="FILE...", nargs=-1, required=True, type=IN_FILE)(command)


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
    help = "Another input; JSON where it is no text; `class=NAME` is the request's class. May be given several times."
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
