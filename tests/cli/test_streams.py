"""The command with streams that are closed, full or left by their reader, and with arguments that are no text."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HARMONIAC = Path(sys.executable).parent / "harmoniac"
ROOT = Path(__file__).parents[2]


def run(shell: str) -> tuple[int, str]:
    """Exit code and stderr of a shell line in which `H` is the command."""
    command = f"H={HARMONIAC}; set -o pipefail; {shell}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, timeout=60, check=False)
    return done.returncode, done.stderr.decode(errors="replace")


@pytest.mark.parametrize(
    "line",
    ["$H check samples/quickstart.rag >&-", "$H check samples/quickstart.rag | true", "$H --help | head -1"],
)
def test_a_reader_that_is_not_there_is_no_failure(line: str) -> None:
    assert run(line) == (0, "")


def test_findings_keep_their_code_without_stderr() -> None:
    assert run("$H check nowhere.rag 2>&-")[0] == 1


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$H check samples/quickstart.rag >/dev/full", "E1131"),
        ("$H check $'\\xff.rag'", "E1132"),
        ("$H plan samples/quickstart.rag --inventory samples/inventories/laptop.toml --out /nowhere/x.json", "E1133"),
        ("$H status $(printf 'x%.0s' {1..5000})", "E1133"),
    ],
)
def test_what_the_machine_refuses_is_a_diagnostic(line: str, code: str) -> None:
    status, said = run(line)
    assert status == 1
    assert f"error[{code}]" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "line",
    [
        "$H status nowhere --format json",
        "$H plan samples/quickstart.rag --inventory nowhere.toml --format=json",
        "$H ask hello --service nowhere --format json",
    ],
)
def test_a_failure_is_a_document_too(line: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"H={HARMONIAC}; {line}"], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["findings"][0]["severity"] == "error"
