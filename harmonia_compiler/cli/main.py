"""The entry point: finds commands by name and turns every way to fail into its exit code.

A command is a module in this folder that defines `command`; it is imported when it is asked for,
so that `check` starts without the planner and `plan` without the gateway.
"""

import errno
import gc
import sys
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import click

import harmonia_compiler.cli as package
from harmonia_compiler import __version__
from harmonia_compiler.cli.examples import examples
from harmonia_compiler.cli.exits import BUG, DIAGNOSTICS, FINE, UNREAD, USAGE
from harmonia_compiler.cli.output import findings_document, print_bug, print_diagnostics, print_json
from harmonia_compiler.cli.stopping import code_of, heard, unheard
from harmonia_compiler.cli.streams import go_on_without_readers, lost
from harmonia_compiler.contract.utf8 import is_utf8
from harmonia_compiler.diagnostics.diagnostic import Diagnostic, Rejected
from harmonia_compiler.diagnostics.near import nearest

#: What a command's module contains; other modules of this folder are what commands share.
_DEFINITION = "\ndef command("


class LazyGroup(click.Group):
    """A group whose commands are modules, each loaded when its name is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002 - click gives it
        """Name the modules of this folder that are commands."""
        return sorted(filter(_is_command, _modules()))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:  # noqa: ARG002 - click gives it
        """Load the module of that name."""
        if not _is_command(name):
            return None
        command: click.Command = import_module(f"{package.__name__}.{name}").command
        heard()
        return command

    def invoke(self, context: click.Context) -> Any:
        """Run the command. A pipe or connection of its own that breaks is a bug like any other, where click ends us."""
        try:
            return super().invoke(context)
        except BrokenPipeError as problem:
            raise RuntimeError("what a command wrote to has left") from problem

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Offer the nearest command for an unknown one."""
        name = arguments[0]
        if not name.startswith("-") and not _is_command(name):
            near = nearest(name, self.list_commands(context))
            context.fail(f"no such command: {name}" + (f"; did you mean {near}?" if near else ""))
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by the first lines of their modules, without loading any."""
        rows = [(name, _headline(name)) for name in self.list_commands(context)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@cache
def _modules() -> frozenset[str]:
    return frozenset(found.name for found in iter_modules(package.__path__))


def _is_command(name: str) -> bool:
    return name in _modules() and _DEFINITION in _text(name)


@cache
def _text(name: str) -> str:
    """A module's source: reading it is cheaper than importing what it imports."""
    return (Path(package.__path__[0]) / f"{name}.py").read_text(encoding="utf-8")


def _headline(name: str) -> str:
    """The first line of a command's module, without the name that it begins with."""
    line = _text(name).partition("\n")[0].strip().strip('"')
    return line.removeprefix(f"`harmoniac {name}`").removeprefix(f"`{name}`").lstrip(": ").rstrip(".")


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=examples(
        "harmoniac check app.rag",
        "harmoniac inventory detect > machine.toml",
        "harmoniac plan app.rag --inventory machine.toml",
        "harmoniac compile app.rag --inventory machine.toml --out bundle",
        "harmoniac up bundle",
        'harmoniac ask "What is RAG?"',
        "harmoniac simulate --help",
    ),
)
@click.version_option(__version__, prog_name="harmoniac")
def harmoniac() -> None:
    """Compile a RAG pipeline, plan where it runs, and start it.

    Commands take `.rag` files that declare pipelines, an inventory of the machines there are, as TOML, and the folder
    of a bundle, which `compile` writes and `up` starts.
    """


#: Trees and flows have no cycles, and looking for some every 700 objects takes a quarter of a large check.
_OBJECTS_UNTIL_COLLECTION = 100_000


def main() -> None:
    """Run the command of this process and exit with its code."""
    gc.set_threshold(_OBJECTS_UNTIL_COLLECTION)
    go_on_without_readers()
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt as again:
        code = code_of(again)
    # Nothing is left that an interrupt could be told of.
    unheard()
    # A reader that has left (`| head`) has what it wanted; a full disk is worth a line.
    problem = lost()
    if problem is not None and not isinstance(problem, BrokenPipeError) and code in {FINE, UNREAD}:
        code = _unwritable(problem)
    # The interpreter would look through all modules for cycles while it ends, a fifth of the time of a small check.
    gc.freeze()
    sys.exit(code)


def _unwritable(problem: OSError) -> int:
    print_diagnostics(
        [Diagnostic("E1131", f"the output cannot be written: {problem.strerror}", help="make room where it goes")]
    )
    return DIAGNOSTICS


def run(arguments: list[str]) -> int:
    """Run one command line and give its exit code; a command leaves early by `context.exit(code)`."""
    if odd := next((given for given in arguments if not is_utf8(given)), None):
        message = f"{odd!a} is not UTF-8"
        print_diagnostics([Diagnostic("E1132", message, help="rename the file, or write the argument in UTF-8")])
        return DIAGNOSTICS
    try:
        code = harmoniac.main(args=arguments, prog_name="harmoniac", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as asked:
        asked.show()
        return USAGE
    except (click.exceptions.Abort, KeyboardInterrupt) as interrupt:
        # click takes an end of a file for that of a conversation. Nothing here asks for words.
        if isinstance(interrupt.__cause__, EOFError):
            print_bug(interrupt.__cause__)
            return BUG
        return code_of(interrupt)
    except click.ClickException as problem:
        problem.show()
        return USAGE
    except Rejected as rejected:
        if _wants_json(arguments):
            print_json(findings_document(rejected.found))
        else:
            print_diagnostics(rejected.found)
        return DIAGNOSTICS
    except OSError as problem:
        return _unusable(problem)
    except Exception as bug:  # noqa: BLE001 - the last resort turns any bug into its exit code
        print_bug(bug)
        return BUG
    return code if isinstance(code, int) else FINE


def _wants_json(arguments: list[str]) -> bool:
    """Whether the command was asked for JSON: a failure is a document then too, whichever command it is."""
    return "--format=json" in arguments or ("--format", "json") in pairwise(arguments)


def _unusable(problem: OSError) -> int:
    """A path that a command was given and the machine refuses; one without a path is a bug or a full disk."""
    if problem.filename is None:
        if problem.errno == errno.ENOENT and not _has_folder():
            gone = Diagnostic("E1133", "the current folder has been removed", help="change to one that exists")
            print_diagnostics([gone])
            return DIAGNOSTICS
        if problem.errno != errno.ENOSPC:
            print_bug(problem)
            return BUG
        return _unwritable(problem)
    message = f"`{str(problem.filename)[:200]}` cannot be used: {problem.strerror}"
    print_diagnostics([Diagnostic("E1133", message, help="check that it exists, its permissions, and the room there")])
    return DIAGNOSTICS


def _has_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True
