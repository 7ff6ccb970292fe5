"""The rules that a machine can check hold: one format, ruff, mypy --strict, and imports that point one way.

mypy reads everything anew, which on a clean checkout takes a minute: it is with the slow tests, and in `make check`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

#: On a clean checkout a fourth of mypy's time would go into a cache that nobody reads.
NO_CACHE = () if (ROOT / ".mypy_cache").is_dir() else ("--cache-dir", os.devnull)

TOOLS = {
    "format": ["ruff", "format", "--check"],
    "ruff": ["ruff", "check"],
    "mypy": ["mypy", *NO_CACHE],
    "layers": ["lint-imports"],
}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=name, marks=[pytest.mark.slow] if name == "mypy" else [])
        for name, command in TOOLS.items()
    ],
)
def test_tool_finds_nothing(command: list[str]) -> None:
    tool, *arguments = command
    finished = subprocess.run([BIN / tool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{' '.join(command)}\n{finished.stdout}{finished.stderr}"
