"""How much work the comparing of shares takes."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from harmonia_compiler.check.files import check_files
from harmonia_compiler.flow import disputed
from tests.check.test_shares import VALUES, branches


def _returns(number: int) -> str:
    """Bounds, each of those that returns have left."""
    tests = (f"if x < {at} ~ {1 / (number + 1 - at):.8f} {{ return w(q) }}" for at in range(number))
    return "x = level(q)\n    " + "\n    ".join([*tests, "return q"])


def _statements(number: int) -> str:
    """Labels, bounds and truths of three values, all of the same requests."""
    tests = [
        test
        for at in range(number)
        for test in ('v == "a" ~ 0.3', f"x < {at} ~ {(at + 1) / (number + 1):.8f}", "g ~ 0.2")
    ]
    return branches("level", *tests).replace("y = q", "y = q\n    v = verdict(q)\n    g = good(q)", 1)


def _chain(number: int) -> str:
    """Bounds of one branch, and one behind it."""
    tests = " elif ".join(f"x < {at} ~ {0.5 / number:.8f} {{ y = w(y) }}" for at in range(number))
    return f"x = level(q)\n    y = q\n    if {tests}\n    if x < {number} ~ 0.1 {{ y = w(y) }}\n    return y"


def _lines(body: str, path: Path) -> int:
    """How many lines of what compares shares a check of a pipeline takes."""
    path.write_text(VALUES.replace("BODY", body), encoding="utf-8")
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != disputed.__file__:
            return None
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert check_files([path]).application is not None
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("made", [_returns, _statements, _chain])
def test_the_work_of_comparing_shares_grows_as_their_number(made: Any, tmp_path: Path) -> None:
    few, many = (_lines(made(number), tmp_path / "p.rag") for number in (20, 80))
    assert many <= 4.4 * few


def test_nothing_is_read_for_shares_of_which_no_two_are_of_the_same_requests(tmp_path: Path) -> None:
    assert _lines(_returns(20), tmp_path / "p.rag") == 0
