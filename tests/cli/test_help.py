"""What the help of commands says to whoever has not used them: what they take, and lines to type."""

import shlex

import click
import pytest

from harmonia_compiler.cli.exits import FINE
from harmonia_compiler.cli.main import harmoniac, run


def examples_of(command: str, capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The lines that stand below a command's help, each in its words without the name of the program."""
    assert run([*command.split(), "--help"]) == FINE
    *_, below = capsys.readouterr().out.partition("Examples:\n")
    lines = [shlex.split(line) for line in below.strip().splitlines()]
    assert {line[0] for line in lines} == {"harmoniac"}
    return [line[1 : line.index(">")] if ">" in line else line[1:] for line in lines]


def _whole() -> click.Command:
    return harmoniac


@pytest.mark.parametrize("command", ["", "simulate", "rehearse", "explain"])
def test_its_examples_are_lines_that_are_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for line in examples_of(command, capsys):
        context, found = click.Context(harmoniac), _whole()
        words = list(line)
        while isinstance(found, click.Group):
            after = found.get_command(context, words.pop(0))
            assert after is not None, line
            found = after
        if "--help" not in words:
            found.make_context(line[0], words, parent=context).close()


@pytest.mark.parametrize(
    ("command", "takes"),
    [
        ("", "an inventory of the machines"),
        ("simulate", "FILE is a `.rag` file"),
        ("rehearse", "FILE is a `.rag` file"),
        ("explain", "NAME: a code such as E0201"),
    ],
)
def test_it_says_what_it_takes(command: str, takes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == FINE
    assert takes in " ".join(capsys.readouterr().out.split())
