"""Checking twice as many declarations is twice the work, whatever they are: counted in lines executed, not in time."""

from pathlib import Path

import pytest

from bench.many import FIRST, SHAPES, shaped
from harmonia_compiler.check import program
from harmonia_compiler.check.files import check_files
from tests.executed import executed

FEW = 120
#: What twice as many add is twice as much; where each declaration looks at all others, it is 4 times as much.
MOST_GROWTH = 2.1


def work(shape: str, lines: int) -> int:
    """How many lines are executed while such a program is checked, each turn of a loop counted."""
    for name, text in shaped(shape, lines=lines).items():
        Path(name).write_text(text, encoding="utf-8")
    # What reads the text has tests of its own, and is most of the work.
    return executed(lambda: check_files([Path(FIRST)]), but="/syntax/")


@pytest.mark.parametrize("shape", SHAPES)
def test_work_grows_with_the_declarations(shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # Each look for the nearest name goes through all: few of them are enough to see whether there are ever more.
    monkeypatch.setattr(program, "MOST_SUGGESTED", 5)
    work(shape, 10)
    few, some, many = (work(shape, count) for count in (FEW, 2 * FEW, 4 * FEW))
    assert many - some < MOST_GROWTH * (some - few)
