"""`harmoniac fmt`: write `.rag` files in the one form, comments kept."""

import errno
import os
import re
import sys
from difflib import unified_diff
from pathlib import Path

import click

from harmonia_compiler.check.sources import LARGEST_FILE, decoded, project_root, read_source
from harmonia_compiler.cli.exits import DIAGNOSTICS
from harmonia_compiler.cli.options import IN_FILE
from harmonia_compiler.cli.output import print_diagnostics
from harmonia_compiler.contract.regular import write_whole
from harmonia_compiler.diagnostics.diagnostic import MOST_OF_A_SORT, Findings, in_order
from harmonia_compiler.diagnostics.source import Source
from harmonia_compiler.syntax.formatter import formatted
from harmonia_compiler.syntax.parser import parse

STDIN = Path("-")

#: Lines as `diff` and git count them: `splitlines` would end them at form feeds, too.
_LINE = re.compile(r".*\n|.+")


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=IN_FILE)
@click.option("--check", "only_check", is_flag=True, help="Change nothing; 1 where a file would be changed.")
@click.option("--diff", "show_diff", is_flag=True, help="As --check, and print what would be changed.")
@click.pass_context
def command(context: click.Context, files: tuple[Path, ...], *, only_check: bool, show_diff: bool) -> None:
    """Format FILEs in place; `-` is standard input, written to standard output.

    Comments, texts and the order of declarations stay. A file that cannot be read whole is left alone.
    """
    if STDIN in files and len(files) > 1:
        raise click.UsageError("`-` stands alone")
    findings = Findings(most=MOST_OF_A_SORT)
    changed: list[Path] = []
    for path in files:
        source = _stdin(findings) if path == STDIN else read_source(path, str(path), project_root([path]), findings)
        outcome = None if source is None else _formatted(source, findings)
        if source is None or outcome is None:
            continue
        is_other = outcome != source.text or source.has_mark
        if is_other:
            changed.append(path)
            if show_diff:
                click.echo(_difference(source, outcome), nl=False)
        if not (only_check or show_diff):
            _put(path, source, outcome, is_other=is_other)
        elif is_other and not show_diff:
            click.echo(f"{source.name}: would be formatted")
    print_diagnostics(in_order(findings.items), findings.left_out)
    if findings.failed or (changed and (only_check or show_diff)):
        context.exit(DIAGNOSTICS)


def _stdin(findings: Findings) -> Source | None:
    data = sys.stdin.buffer.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        findings.add("E0108", "the input is larger than 1 MiB, which a file has at most", help="split it")
        return None
    return decoded(data, "<stdin>", findings)


def _formatted(source: Source, findings: Findings) -> str | None:
    """The text in its one form; None where it has slips, which are then among the findings."""
    found = Findings()
    file = parse(source, found)
    findings.merge(found, found.items)
    return None if found.failed else formatted(file)


def _difference(source: Source, outcome: str) -> str:
    before = ("\ufeff" if source.has_mark else "") + source.text
    lines = unified_diff(_LINE.findall(before), _LINE.findall(outcome), source.name, source.name)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _put(path: Path, source: Source, outcome: str, *, is_other: bool) -> None:
    """Put the outcome where the text came from."""
    if path == STDIN:
        click.echo(outcome, nl=False)
    elif is_other:
        _replace(path.resolve(), outcome.encode())
        click.echo(f"{source.name}: formatted")


def _replace(path: Path, data: bytes) -> None:
    """Replace a file's content as a whole or not at all; its mode stays. Raises OSError with the path that refuses.

    A file with several names is written where it is: another one in its place would have only one of them.
    """
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    found = path.stat()
    if found.st_nlink > 1:
        with path.open("r+b") as file:
            file.write(data)
            file.truncate()
        return
    write_whole(path, data, found.st_mode & 0o7777)
