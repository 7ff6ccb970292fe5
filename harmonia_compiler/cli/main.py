"""The entry point: finds commands by name and turns every way to fail into its exit code.

A command is a module in this folder that defines `command`; it is imported when it is asked for,
so that `check` starts without the planner and `plan` without the gateway.
"""

import sys
from importlib import import_module
from importlib.metadata import version
from pkgutil import iter_modules

import click

import harmonia_compiler.cli as package
from harmonia_compiler.cli.exits import BUG, DIAGNOSTICS, FINE, USAGE
from harmonia_compiler.cli.output import print_bug, print_diagnostics
from harmonia_compiler.diagnostics.diagnostic import Rejected

_NOT_COMMANDS = {"main", "exits", "output", "options", "files"}


class LazyGroup(click.Group):
    """A group whose commands are modules, loaded by name: the one place that imports inside a function."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(found.name for found in iter_modules(package.__path__) if found.name not in _NOT_COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(context):
            return None
        command: click.Command = import_module(f"{package.__name__}.{name}").command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("harmonia-compiler"), prog_name="harmoniac")
def harmoniac() -> None:
    """Compile a RAG pipeline, plan where it runs, and start it."""


def main() -> None:
    """Run the command of this process and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code; a command leaves early by `context.exit(code)`."""
    try:
        code = harmoniac.main(args=arguments, prog_name="harmoniac", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as problem:
        problem.show()
        return USAGE
    except Rejected as rejected:
        print_diagnostics(rejected.found)
        return DIAGNOSTICS
    except Exception as bug:
        print_bug(bug)
        return BUG
    return code if isinstance(code, int) else FINE
